// Package cuda is the backend on NVIDIA GPUs, on gorgonia.org/cu: all kernels of core/engine/device in float32,
// products and convolutions in TF32 or bfloat16 where they ask for it, through cuBLAS, cuDNN when it is
// there, and kernels of our own (core/engine/device/cuda/kernels).
//
// It is built with the tag clipcuda. The binary needs no CUDA to start: driver and libraries are opened
// when a device is (core/engine/device/cuda/driver). Nothing here knows graphs, layers or CLIP.
//
// # A kernel
//
// The backend turns a device.Kernel into code (launch.go): launches of kernels and calls of libraries in order,
// with parameters that name arguments, scratch and run-time numbers. The code_*.go files make it for each
// kernel. They know shapes alone, so the order of a sum, and its bits, do not depend on the GPU. Prepare
// finds the functions, holds grids and blocks to the limits, and allocates scratch; Run fills addresses in.
//
// # Order and errors
//
// All work goes to one stream, which runs it in order while the host goes on; Prefetch has a second one,
// joined by events. Run, Write, Copy and Zero return no errors: the first error of any work stays in Err with
// the stream's last launches, and nothing is done after it. Read waits, so that Err after a Read knows of all
// errors before it. Wrong arguments panic at once.
//
// # Memory
//
// Alloc asks the driver, within the limit of Options; the engine needs few large pieces. Scratch is one
// buffer that all kernels share and only Prepare grows. Host memory is copied through pinned staging memory
// in pieces, or directly where it was given to ShareHost.
//
// # bfloat16
//
// A product in bfloat16 takes operands that are stored in bfloat16 (Halves) as they are. It rounds others into one of
// two buffers, where the next product finds them until their source is written. The result of a product is float32, or
// bfloat16 rounded once, after all that follows: by cublasLt, or by one kernel of ours that takes the sums in float32.
//
// # Recordings
//
// Record captures work as a CUDA graph. The graph rounds operands anew, so that it depends on buffers alone. It is
// stale once scratch or the buffers of rounded operands have moved.
//
// # Tests
//
// The tests run on a GPU, or without one through the test double (make test-cuda, core/engine/device/cuda/double), which
// cannot show tensor cores' rounding, timing, nor how NVIDIA's libraries behave.
package cuda
