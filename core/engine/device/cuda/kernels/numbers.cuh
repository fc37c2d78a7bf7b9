// An array in memory, of floats or of bfloat16, known when the kernel runs.
#pragma once
#include "common.cuh"

// numbers is an array of float, or of bfloat16 with half.
struct numbers {
	const float *at;
	bool half;
	numbers() = default;
	__device__ numbers(const float *at, bool half = false) : at(at), half(half) {}
	// The array from element n on.
	__device__ numbers operator+(i64 n) const { return numbers((const float *)((const char *)at + (half ? 2 : 4) * n), half); }
	__device__ float *to() const { return (float *)at; }
};

// typed is the same where the compiler knows which it is.
template <bool HALF> struct typed {
	const float *at;
	static constexpr bool half = HALF;
	__device__ typed operator+(i64 n) const { return {(const float *)((const char *)at + (HALF ? 2 : 4) * n)}; }
};
