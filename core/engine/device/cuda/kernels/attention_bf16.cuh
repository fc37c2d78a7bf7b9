// What both passes of attention in bfloat16 share (device.Attention with BF16): products by tensor cores, scores and softmax
// in float32. qkv is [B, T, 3, W], float or bfloat16 in memory; tiles are bfloat16, of D + 8 columns, which keeps the
// eight rows that ldmatrix reads at once on different banks.
//
// A block has one head of one sequence of at most ROWS tokens, and a warp for sixteen of them: 2·ROWS threads.
#pragma once
#include "attention.cuh"
#include "mma.cuh"

typedef unsigned short bf16;

// span is one head of one sequence.
struct span {
	i64 row, column, W; // its first row among all, its first column of W
	int n;				// tokens
};

DEVICE span span_of(const int *starts, i64 T, i64 heads, i64 d) {
	const i64 item = blockIdx.x, b = item / heads;
	if (starts) return {starts[b], item % heads * d, heads * d, starts[b + 1] - starts[b]};
	return {b * T, item % heads * d, heads * d, (int)T};
}

// load_tile copies n rows of x, from element `from` on and stride elements apart, to a tile, and clears the rows up to
// the next sixteen. Half copies are on their way until copies_arrive; they begin on four bytes at least, as do stores.
template <int D, int THREADS> DEVICE void load_tile(bf16 *tile, const float *x, i64 from, i64 stride, int n, bool half) {
	struct alignas(8) pairs {
		unsigned v[2];
	};
	// This thread's pieces: columns c, four of float or eight of bfloat16, of rows r, r + step, …
	const int across = half ? D / 8 : D / 4, step = THREADS / across, r = threadIdx.x / across, c = threadIdx.x % across * (D / across);
	const int rows = (n + 15) & ~15;
	bf16 *const to = tile + c;
	if (half) {
		const bf16 *const at = (const bf16 *)x + from + c;
		if (aligned(at)) {
#pragma unroll 2
			for (int i = r; i < rows; i += step) copy_16(to + i * (D + 8), i < n ? at + i * stride : at, i < n);
		} else {
#pragma unroll 1
			for (int i = r; i < rows; i += step)
#pragma unroll 1
				for (int e = 0; e < 8; e += 2) *(unsigned *)(to + i * (D + 8) + e) = i < n ? *(const unsigned *)(at + i * stride + e) : 0;
		}
		return;
	}
	const float *const at = x + from + c;
	if (aligned(at)) {
#pragma unroll 4
		for (int i = r; i < rows; i += step) {
			const quad q = i < n ? *(const quad *)(at + i * stride) : quad{};
			*(pairs *)(to + i * (D + 8)) = {{pair_of(q.v[0], q.v[1]), pair_of(q.v[2], q.v[3])}};
		}
	} else {
#pragma unroll 1
		for (int i = r; i < rows; i += step) {
			const quad q = load_quad(at + i * stride, i < n ? 4 : 0, false);
			*(pairs *)(to + i * (D + 8)) = {{pair_of(q.v[0], q.v[1]), pair_of(q.v[2], q.v[3])}};
		}
	}
}

// row_scores adds to s the products of the warp's sixteen rows of a, from row on, with the first `limit` rows of b.
template <int ROWS, int D> DEVICE void row_scores(float (&s)[ROWS / 8][4], const bf16 *a, const bf16 *b, int row, int limit) {
#pragma unroll
	for (int k = 0; k < D; k += 16) {
		unsigned left[4];
		load_left<D + 8, false>(left, a, row, k);
#pragma unroll
		for (int j = 0; j < ROWS / 16; j++) {
			if (16 * j >= limit) break;
			unsigned right[4];
			load_right<D + 8, false>(right, b, 16 * j, k);
			mma_pair(s[2 * j], s[2 * j + 1], left, right);
		}
	}
}

// row_softmax makes probabilities of the scores of sixteen queries from row on with n keys. Four lanes have a query.
template <int N> DEVICE void row_softmax(float (&s)[N][4], int row, int n, bool causal, float scale) {
	const float to_base2 = scale * LOG2_E;
	const int key = threadIdx.x % 4 * 2;
#pragma unroll
	for (int h = 0; h < 4; h += 2) {
		const int query = row + threadIdx.x % 32 / 4 + 4 * h, seen = causal && query < n ? query + 1 : n;
		float top = -INF, sum = 0.f;
#pragma unroll
		for (int j = 0; j < N; j++)
#pragma unroll
			for (int e = 0; e < 2; e++) {
				float &x = s[j][h + e];
				x = 8 * j + key + e < seen ? x * to_base2 : -INF;
				top = fmaxf(top, x);
			}
		top = lanes_max<4>(top);
#pragma unroll
		for (int j = 0; j < N; j++)
#pragma unroll
			for (int e = 0; e < 2; e++) sum += s[j][h + e] = exp2f(s[j][h + e] - top);
		const float share = 1.f / lanes_sum<4>(sum);
#pragma unroll
		for (int j = 0; j < N; j++)
#pragma unroll
			for (int e = 0; e < 2; e++) s[j][h + e] *= share;
	}
}

// add_rows adds to value the product of sixteen rows, which the warp has as fragments of sixteen columns each, with as many
// rows of the tile x as limit says, rounded up to sixteen.
template <int ROWS, int D> DEVICE void add_rows(float (&value)[D / 8][4], const unsigned (&rows)[ROWS / 16][4], const bf16 *x, int limit) {
#pragma unroll
	for (int j = 0; j < ROWS / 16; j++) {
		if (16 * j >= limit) break;
#pragma unroll
		for (int c = 0; c < D / 16; c++) {
			unsigned right[4];
			load_right<D + 8, true>(right, x, 16 * c, 16 * j);
			mma_pair(value[2 * c], value[2 * c + 1], rows[j], right);
		}
	}
}

// transpose_quad exchanges words between four lanes: word i of lane l becomes word l of lane i.
DEVICE void transpose_quad(unsigned (&w)[4]) {
	const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
#pragma unroll
	for (int i = 0; i < 4; i += 2) {
		const unsigned got = __shfl_xor_sync(ALL, odd ? w[i] : w[i + 1], 1);
		(odd ? w[i] : w[i + 1]) = got;
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const unsigned got = __shfl_xor_sync(ALL, upper ? w[i] : w[i + 2], 2);
		(upper ? w[i] : w[i + 2]) = got;
	}
}

// store_rows writes factor times the warp's sixteen rows of a value, from row on, those under n: to x from element `to` on,
// whole sectors of 32 bytes at a time where x is aligned.
template <int D>
DEVICE void store_rows(float *x, i64 to, i64 stride, const float (&value)[D / 8][4], int row, int n, float factor, bool half) {
	struct alignas(16) octet {
		unsigned v[4];
	};
	struct alignas(8) two {
		float v[2];
	};
	const int lane = threadIdx.x % 32, t = lane % 4;
#pragma unroll
	for (int h = 0; h < 4; h += 2) {
		const int r = row + lane / 4 + 4 * h;
		const i64 first = to + r * stride;
		if (half) {
			bf16 *const at = (bf16 *)x + first;
#pragma unroll
			for (int j = 0; j < D / 8; j += 4) {
				octet o;
#pragma unroll
				for (int i = 0; i < 4; i++) o.v[i] = pair_of(factor * value[j + i][h], factor * value[j + i][h + 1]);
				transpose_quad(o.v);
				if (r >= n) continue;
				unsigned *const words = (unsigned *)(at + 8 * (j + t));
				if (aligned(at))
					*(octet *)words = o;
				else
#pragma unroll
					for (int i = 0; i < 4; i++) words[i] = o.v[i];
			}
		} else if (r < n) {
			float *const at = x + first + 2 * t;
			const bool even = ((unsigned long long)at & 7) == 0;
#pragma unroll
			for (int j = 0; j < D / 8; j++) {
				const two o = {{factor * value[j][h], factor * value[j][h + 1]}};
				if (even)
					*(two *)(at + 8 * j) = o;
				else
					at[8 * j] = o.v[0], at[8 * j + 1] = o.v[1];
			}
		}
	}
}
