// Four floats at a time: one 16-byte access of the GPU where the address allows it.
#pragma once

#include "numbers.cuh"

struct alignas(16) quad {
	float v[4];
};

// aligned says that quads can be read and written at p, of bfloat16 too.
DEVICE bool aligned(const void *p) { return ((unsigned long long)p & 15) == 0; }

// load_quad reads n floats from p, at most four, the others are 0. wide: p is aligned and n is 4 or more.
DEVICE quad load_quad(const float *p, int n, bool wide) {
	if (wide) return *(const quad *)p;
	quad q;
#pragma unroll
	for (int i = 0; i < 4; i++) q.v[i] = i < n ? p[i] : 0.f;
	return q;
}

// store_quad writes the first n floats of q, at most four, to p.
DEVICE void store_quad(float *p, quad q, int n, bool wide) {
	if (wide) {
		*(quad *)p = q;
		return;
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (i < n) p[i] = q.v[i];
}

// load_as reads n numbers from element i of x, at most four, the others are 0; they are bfloat16 when half.
DEVICE quad load_as(const float *x, i64 i, int n, bool wide, bool half) {
	if (!half) return load_quad(x + i, n, wide);
	const unsigned short *from = (const unsigned short *)x + i;
	quad q;
	if (wide) {
		struct alignas(8) { unsigned short v[4]; } packed;
		packed = *(const decltype(packed) *)from;
#pragma unroll
		for (int e = 0; e < 4; e++) q.v[e] = of_bf16(packed.v[e]);
		return q;
	}
#pragma unroll
	for (int e = 0; e < 4; e++) q.v[e] = e < n ? of_bf16(from[e]) : 0.f;
	return q;
}

// store_as writes the first n floats of q to element i of x, as bfloat16 when half.
DEVICE void store_as(float *x, i64 i, quad q, int n, bool wide, bool half) {
	if (!half) {
		store_quad(x + i, q, n, wide);
		return;
	}
	unsigned short *to = (unsigned short *)x + i;
	if (wide) {
		struct alignas(8) { unsigned short v[4]; } packed;
#pragma unroll
		for (int e = 0; e < 4; e++) packed.v[e] = bf16_of(q.v[e]);
		*(decltype(packed) *)to = packed;
		return;
	}
#pragma unroll
	for (int e = 0; e < 4; e++)
		if (e < n) to[e] = bf16_of(q.v[e]);
}

DEVICE quad load_quad(numbers x, int n, bool wide) { return load_as(x.at, 0, n, wide, x.half); }
template <bool HALF> DEVICE quad load_quad(typed<HALF> x, int n, bool wide) { return load_as(x.at, 0, n, wide, HALF); }
template <bool HALF> DEVICE void store_quad(typed<HALF> x, quad q, int n, bool wide) { store_as((float *)x.at, 0, q, n, wide, HALF); }
DEVICE void store_quad(numbers x, quad q, int n, bool wide) { store_as(x.to(), 0, q, n, wide, x.half); }

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define INF __int_as_float(0x7f800000) // NVRTC has no INFINITY
#else
#define INF INFINITY
#endif
