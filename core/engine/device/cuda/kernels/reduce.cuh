// Sums and maxima over the threads that share a row, the same tree each time.
//
// A team is the threads with one threadIdx.y: a warp, when blockDim.x is 32, or a whole block, a multiple of 32
// threads, when blockDim.y is 1. Every thread of a team calls these together and gets the result.
#pragma once
#include "common.cuh"

struct adding {
	template <class T> static __device__ T join(T a, T b) { return a + b; }
	static constexpr double empty = 0;
};

// greatest leaves out NaN, as fmaxf does.
struct greatest {
	static __device__ float join(float a, float b) { return fmaxf(a, b); }
	static constexpr double empty = -3.402823466e38;
};

template <class Op, class T> DEVICE T warp_join(T v) {
#pragma unroll
	for (int o = 16; o > 0; o >>= 1) v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, o));
	return v;
}

template <class Op, class T> DEVICE T team_join(T v) {
	v = warp_join<Op>(v);
	if (blockDim.x == 32) return v;
	__shared__ T warps[32];
	const unsigned lane = threadIdx.x & 31;
	__syncthreads(); // what the last call left has been read
	if (lane == 0) warps[threadIdx.x >> 5] = v;
	__syncthreads();
	return warp_join<Op>(lane < blockDim.x >> 5 ? warps[lane] : (T)Op::empty);
}

template <class T> DEVICE T warp_sum(T v) { return warp_join<adding>(v); }
template <class T> DEVICE T team_sum(T v) { return team_join<adding>(v); }
DEVICE float team_max(float v) { return team_join<greatest>(v); }

// team_row is the row that this thread's team works on, when each block has blockDim.y of them.
DEVICE i64 team_row() { return blockIdx.x * (i64)blockDim.y + threadIdx.y; }
