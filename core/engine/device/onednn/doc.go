// Package onednn is the fast CPU backend: oneDNN through cgo for matrix products and convolutions,
// and C kernels of its own, vectorised and spread over threads with OpenMP, for everything else.
//
// It is built with the tag onednn, which needs the header and library of oneDNN 2.6 or newer, 3.x
// included (Debian: libdnnl-dev). Without the tag the package is empty.
//
// # Threads
//
// OpenMP keeps a pool of threads for each operating system thread that calls it. Any goroutine may
// call, one at a time, and the results are the same; a caller that calls runtime.LockOSThread first
// spares the process idle pools. libgomp reads its environment when it is loaded, before main: start
// the process with OMP_WAIT_POLICY=passive and a GOMP_SPINCOUNT of some thousands. Threads that spin for longer after
// every kernel take the cores from the other processes; threads that sleep at once are woken twice a kernel.
//
// # Processors
//
// The C kernels exist for any processor, for AVX2 with FMA and for AVX-512, chosen when a backend is
// opened; TANDEM_ISA=generic or avx2 in the environment chooses a narrower set, for tests. oneDNN
// chooses for itself (ONEDNN_MAX_CPU_ISA). Its matrix products are used for AVX-512 alone, and there for large matrices:
// elsewhere they add up a row in an order that depends on the number of rows, and the kernel of matmul.inc.h takes their
// place. go test -bench MatMul compares the two, and every kernel with its floor.
//
// Kernels with BF16 use oneDNN's products of bfloat16 where the processor has AVX512_BF16: operands are
// rounded into scratch, parameters into their packed copy. Elsewhere they are float32 products of
// rounded operands: the same numbers up to the order of the sums, at the speed of float32 or less.
// TANDEM_ISA=generic and avx2 choose the latter.
//
// # Determinism
//
// Work is cut into fixed parts by the thread count, and partial sums are added in order; there are no
// atomics. Equal inputs, machine and thread count give equal bits. What a forward pass computes for a row,
// a sample or an element does not depend on what else is computed with it.
package onednn
