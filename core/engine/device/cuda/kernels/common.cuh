// What every kernel file includes first. One source, two compilers: NVRTC or nvcc make PTX for the GPU,
// g++ makes host code for the test double (core/engine/device/cuda/double) through double.h.
//
// Rules. Entries are `extern "C" __global__ void name(...)`, followed by REGISTER_KERNEL(name), with every
// parameter eight bytes wide: pointers, long long (here `i64`), double. Indices are i64. Sums have a fixed
// order: no floating-point atomics. Threads of a block meet at every __syncthreads(), lanes of a warp at
// every shuffle. bfloat16 is stored as `unsigned short` and converted by bf16_of and of_bf16 below.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define DYN_SHARED(T, name) extern __shared__ T name[]
#define REGISTER_KERNEL(k)
#define DEVICE static __device__ __forceinline__
#else
#include "double.h"
#define DEVICE static inline
#endif

typedef long long i64;

// bf16_of is the bfloat16 nearest to x, ties to even: device.RoundBF16. NaN stays NaN.
DEVICE unsigned short bf16_of(float x) {
	const unsigned u = __float_as_uint(x);
	return (unsigned short)((u & 0x7fffffffu) > 0x7f800000u ? (u | 0x400000u) >> 16 : (u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

// of_bf16 is a bfloat16 as a float.
DEVICE float of_bf16(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
