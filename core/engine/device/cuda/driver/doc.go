// Package driver gives Go NVIDIA's driver, cuBLAS, cublasLt, cuDNN and NCCL: devices, contexts, memory, streams, events,
// modules, launches, graphs, matrix products, convolutions and sums over processes. It calls gorgonia.org/cu where cu has the
// call, and goes through dlsym where cu lacks it. Libraries are opened when they are first used, so that
// a binary starts anywhere (see core/engine/device/cuda/trampoline for the driver itself).
//
// All but this file has the build tag clipcuda.
//
// # Order of use
//
//  1. Devices lists what is there and why something cannot be used; Open makes the context of a device.
//  2. Context.Load compiles a module, Module.Function finds its kernels.
//  3. Context.Alloc, HostAlloc, NewStream, NewEvent, OpenBLAS, OpenDNN make what work needs.
//  4. Stream.Launch, CopyIn, CopyOut, BLAS.Multiply and so on enqueue; Stream.Synchronize waits.
//  5. Stream.Capture makes a Graph of what a function enqueues, Graph.Launch repeats it.
//  6. Everything is destroyed by its own method, then Context.Close.
//
// # Threads
//
// CUDA's current context belongs to an OS thread. Every method here locks its thread, makes the context
// current where it is not, and unlocks: any goroutine may call. A Stream, a BLAS and a DNN are used by one
// goroutine at a time.
//
// # Errors
//
// Every status is checked. Errors are *fault.Error with the operation ("cuda:0: cuMemAlloc"), the driver's
// name of the status and, where there is one, the remedy:
//
//   - Unavailable: no driver, device, library or entry point, or one too old
//   - Exhausted: out of memory, with how much was asked for and how much is free
//   - Invalid: a size that the call cannot take
//   - Internal: everything else. An error of a kernel shows at a later call, the next Synchronize at the
//     latest, names the stream's last launches, and leaves the context unusable.
package driver
