// What the files of attention share. All of it is in float32, sums in a fixed order; what is read and written may be bfloat16.
//
// q, k, v are where the first head's first row begins: separate matrices [B, T, W] or, with k and v null,
// q is qkv [B, T, 3, W]. starts is null or the sequences' first rows. d is HeadDim; entries end in the most
// that they take.
#pragma once

#include "quad.cuh"

// Scores are taken to base 2: exp2 is what the hardware has.
#define LOG2_E 1.44269504088896340736f
#define ALL 0xffffffffu

// head is one head of one sequence, of arrays A: numbers or typed.
template <class A> struct head {
	A q, k, v;
	i64 stride, row, column; // of q, k and v; its first query among all; its first column among W
	int tq, tk;
};

template <class A> DEVICE head<A> head_of(A q, A k, A v, const int *starts, i64 Tq, i64 Tk, i64 heads, i64 d) {
	const i64 item = blockIdx.x, b = item / heads, W = heads * d;
	head<A> h;
	h.column = item % heads * d;
	h.row = b * Tq;
	h.tq = (int)Tq, h.tk = (int)Tk;
	if (starts) {
		h.row = starts[b];
		h.tq = h.tk = starts[b + 1] - starts[b];
	}
	h.stride = W;
	if (!k.at) {
		h.stride = 3 * W;
		h.q = q + (h.row * 3 * W + h.column);
		h.k = h.q + W;
		h.v = h.k + W;
	} else {
		h.q = q + (h.row * W + h.column);
		h.k = k + (b * Tk * W + h.column);
		h.v = v + (b * Tk * W + h.column);
	}
	return h;
}

DEVICE float scale_of(i64 d) { return (float)(1 / sqrt((double)d)); }

// fill copies the first n rows of x [·, d] to a tile [R, D + 4]; the rest of it becomes 0.
template <int R, int D, int THREADS, class A> DEVICE void fill(float *tile, A x, i64 stride, int n, int d, bool wide) {
#pragma unroll 2
	for (int i = threadIdx.x; i < R * D / 4; i += THREADS) {
		const int r = i / (D / 4), c = i % (D / 4) * 4;
		*(quad *)(tile + r * (D + 4) + c) = r < n && c < d ? load_quad(x + (r * stride + c), d - c, wide) : quad{};
	}
}

DEVICE quad tile_quad(const float *at) { return *(const quad *)at; }

// scores adds a·bᵀ to s, for M rows of the tile a, astep apart, and N of b, bstep apart, of d columns.
template <int M, int N, int PITCH, int UNROLL>
DEVICE void scores(float (&s)[M][N], const float *a, int astep, const float *b, int bstep, int d) {
#pragma unroll UNROLL
	for (int c = 0; c < d; c += 4) {
		quad x[M];
#pragma unroll
		for (int i = 0; i < M; i++) x[i] = tile_quad(a + i * astep * PITCH + c);
#pragma unroll
		for (int j = 0; j < N; j++) {
			const quad y = tile_quad(b + j * bstep * PITCH + c);
#pragma unroll
			for (int i = 0; i < M; i++)
#pragma unroll
				for (int e = 0; e < 4; e++) s[i][j] += x[i].v[e] * y.v[e];
		}
	}
}

// The largest and the sum over lanes that differ in the bits under WIDTH.
template <int WIDTH> DEVICE float lanes_max(float x) {
#pragma unroll
	for (int o = WIDTH / 2; o; o /= 2) x = fmaxf(x, __shfl_xor_sync(ALL, x, o));
	return x;
}
template <int WIDTH> DEVICE float lanes_sum(float x) {
#pragma unroll
	for (int o = WIDTH / 2; o; o /= 2) x += __shfl_xor_sync(ALL, x, o);
	return x;
}
