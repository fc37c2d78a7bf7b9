// Package trampoline has no Go. build.sh makes from src the libcuda.a and the cuda.h with which gorgonia.org/cu is
// built. Every entry of the driver that cu links jumps through a slot (src/slots.S, src/symbols.inc), which
// loader.c fills when core/engine/device/cuda/driver opens libcuda.so.1. So one binary runs on machines with and
// without a driver, and nobody needs NVIDIA's libcuda, or its stub, to build.
//
// src/symbols.inc fails to link when it lacks an entry, after an update of cu; add the one the linker names.
package trampoline
