// The backward pass of attention. With P the probabilities, dP = dO·Vᵀ and dS = scale·P·(dP − delta), delta = Σ P·dP of
// each query: dV = Pᵀ·dO, dQ = dS·K, dK = dSᵀ·Q.
//
// A block of 4·R threads has one head and takes tiles of R queries by R keys. Thread (y, x), sixteen x, has in
// the scores the queries 4y … 4y + 3 and the keys x, x + 16, …, in a value the rows 4y … and the columns 4x …,
// 4x + 64, …. Two tiles of shared memory hold in turn Q and K, dO and V, dO and P, K and dS, Q and dS.
#pragma once
#include "attention.cuh"

// Blocks that are to fit on a multiprocessor at once, by their registers. Before compute capability 8.0 there is
// shared memory for fewer.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define NEWER(blocks) blocks
#else
#define NEWER(blocks) 1
#endif

// stats of the queries: three planes [B·heads, Tq], the largest score to base 2, 1/Σ exp2(score − largest)
// and delta.
struct row_stats {
	float top, share, delta;
};

// join_tile brings a tile of one query's scores, of which it takes the exponentials, into its statistics. share
// is the sum of the exponentials and delta Σ exponential·dP so far. Sixteen lanes have one query.
template <int N> DEVICE void join_tile(row_stats &t, const float (&s)[N], const float (&dp)[N]) {
	float top = t.top, sum = 0.f, dot = 0.f;
#pragma unroll
	for (int j = 0; j < N; j++) top = fmaxf(top, s[j]);
	top = lanes_max<16>(top);
#pragma unroll
	for (int j = 0; j < N; j++) {
		const float p = exp2f(s[j] - top);
		sum += p;
		dot += p * dp[j];
	}
	const float keep = exp2f(t.top - top);
	t.share = t.share * keep + lanes_sum<16>(sum);
	t.delta = t.delta * keep + lanes_sum<16>(dot);
	t.top = top;
}

DEVICE row_stats finished(row_stats t) {
	t.share = 1.f / t.share;
	t.delta *= t.share;
	return t;
}

// tile_scores makes the scores to base 2, −∞ where a query does not see a key, and dP of a tile of n queries from
// query on by m keys from key on. a and b are the two tiles, which all threads have done with before.
template <int R, int D, class A>
DEVICE void tile_scores(float (&s)[4][R / 16], float (&dp)[4][R / 16], float *a, float *b, const head<A> &h, A dout, i64 W, int query,
						int key, int d, bool causal, bool wide) {
	constexpr int PITCH = D + 4, THREADS = 4 * R;
	const int x = threadIdx.x % 16, y = threadIdx.x / 16, n = h.tq - query, m = h.tk - key;
	const float to_base2 = scale_of(d) * LOG2_E;
	const bool active = (int)threadIdx.x / 32 * 8 < n; // this warp's first query is one
#pragma unroll
	for (int i = 0; i < 4; i++)
#pragma unroll
		for (int j = 0; j < R / 16; j++) s[i][j] = dp[i][j] = 0.f;
	fill<R, D, THREADS>(a, h.q + query * h.stride, h.stride, n, d, wide);
	fill<R, D, THREADS>(b, h.k + key * h.stride, h.stride, m, d, wide);
	__syncthreads();
	if (active) scores<4, R / 16, PITCH, 1>(s, a + 4 * y * PITCH, 1, b + x * PITCH, 16, d);
	__syncthreads();
	fill<R, D, THREADS>(a, dout + query * W, W, n, d, wide);
	fill<R, D, THREADS>(b, h.v + key * h.stride, h.stride, m, d, wide);
	__syncthreads();
	if (active) scores<4, R / 16, PITCH, 1>(dp, a + 4 * y * PITCH, 1, b + x * PITCH, 16, d);
#pragma unroll
	for (int i = 0; i < 4; i++)
#pragma unroll
		for (int j = 0; j < R / 16; j++) {
			const bool seen = x + 16 * j < m && 4 * y + i < n && !(causal && key + x + 16 * j > query + 4 * y + i);
			s[i][j] = seen ? s[i][j] * to_base2 : -INF;
		}
}

// The statistics of all queries, where a head has more than R keys: grid y is a tile of queries.
//
// 4·Tq·Tk·d FLOPs a head.
template <int R, int D, class A>
DEVICE void find_stats(A q, A k, A v, const int *starts, A dout, float *stats, i64 Tq, i64 Tk, i64 heads,
					   i64 headdim, bool causal) {
	alignas(16) __shared__ float a[R * (D + 4)], b[R * (D + 4)];
	const int d = (int)headdim, query = blockIdx.y * R, y = threadIdx.x / 16;
	const head<A> h = head_of(q, k, v, starts, Tq, Tk, heads, d);
	if (query >= h.tq) return;
	const i64 W = heads * d;
	const A grads = dout + (h.row * W + h.column);
	const bool wide = d % 4 == 0 && aligned(h.q.at) && aligned(h.k.at) && aligned(h.v.at) && aligned(grads.at);
	row_stats t[4];
	for (int i = 0; i < 4; i++) t[i] = {-INF, 0.f, 0.f};
	const int limit = causal && query + R < h.tk ? query + R : h.tk;
	for (int key = 0; key < limit; key += R) {
		float s[4][R / 16], dp[4][R / 16];
		__syncthreads();
		tile_scores<R, D>(s, dp, a, b, h, grads, W, query, key, d, causal, wide);
#pragma unroll
		for (int i = 0; i < 4; i++) join_tile(t[i], s[i], dp[i]);
	}
	if (threadIdx.x % 16) return;
	const i64 plane = gridDim.x * Tq;
	for (int i = 0; i < 4; i++) {
		if (query + 4 * y + i >= h.tq) continue;
		const row_stats done = finished(t[i]);
		float *at = stats + blockIdx.x * Tq + query + 4 * y + i;
		at[0] = done.top;
		at[plane] = done.share;
		at[2 * plane] = done.delta;
	}
}

// put stores a thread's scores as rows of a tile [R, R + 4].
template <int R> DEVICE void put(float *tile, const float (&s)[4][R / 16]) {
	const int x = threadIdx.x % 16, y = threadIdx.x / 16;
#pragma unroll
	for (int i = 0; i < 4; i++)
#pragma unroll
		for (int j = 0; j < R / 16; j++) tile[(4 * y + i) * (R + 4) + x + 16 * j] = s[i][j];
}

// add_transposed adds sᵀ·x to value: s [n, R + 4] is what put stored, x a tile [n, D + 4].
template <int R, int D> DEVICE void add_transposed(quad (&value)[D / 64][4], const float *s, const float *x, int n) {
	const float *a = s + threadIdx.x / 16 * 4, *b = x + threadIdx.x % 16 * 4;
#pragma unroll 2
	for (int r = 0; r < n; r++) {
		const quad p = tile_quad(a + r * (R + 4));
#pragma unroll
		for (int c = 0; c < D / 64; c++) {
			const quad o = tile_quad(b + r * (D + 4) + 64 * c);
#pragma unroll
			for (int i = 0; i < 4; i++)
#pragma unroll
				for (int e = 0; e < 4; e++) value[c][i].v[e] += p.v[i] * o.v[e];
		}
	}
}

// add_plain adds columns 64c to 64c + 63 of s·x to value, the sum over n rows of x rounded up to four.
template <int R, int D> DEVICE void add_plain(quad (&value)[4], const float *s, const float *x, int c, int n) {
	const float *a = s + threadIdx.x / 16 * 4 * (R + 4), *b = x + threadIdx.x % 16 * 4 + 64 * c;
#pragma unroll 1
	for (int r = 0; r < n; r += 4) {
		quad p[4];
#pragma unroll
		for (int i = 0; i < 4; i++) p[i] = tile_quad(a + i * (R + 4) + r);
#pragma unroll
		for (int u = 0; u < 4; u++) {
			const quad o = tile_quad(b + (r + u) * (D + 4));
#pragma unroll
			for (int i = 0; i < 4; i++)
#pragma unroll
				for (int e = 0; e < 4; e++) value[i].v[e] += p[i].v[u] * o.v[e];
		}
	}
}

// deliver writes a thread's part of columns 64c to 64c + 63 of n rows of a value to x, with add plus what is at old.
template <class A, class B>
DEVICE void deliver(A x, i64 stride, const quad (&value)[4], int c, int n, int d, bool wide, bool add, B old, i64 old_stride) {
	const int row = threadIdx.x / 16 * 4, at = threadIdx.x % 16 * 4 + 64 * c;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (row + i >= n || at >= d) continue;
		quad o = value[i];
		if (add) {
			const quad before = load_quad(old + ((row + i) * old_stride + at), d - at, wide);
			for (int e = 0; e < 4; e++) o.v[e] += before.v[e];
		}
		store_quad(x + ((row + i) * stride + at), o, d - at, wide);
	}
}

// backward: a block has one head. dK and dV of a tile of keys stay in registers, dQ is added up in memory, where
// no other block writes: in dq itself, or in sums [rows, W] until it is done, when dq is bfloat16. With at most R keys
// statistics are made on the way, else stats has them. SINGLE: one tile is all, Tq and Tk are at most R.
//
// 10·Tq·Tk·d FLOPs a head, and the statistics' where they are needed before. Every tile of queries and keys reads
// Q and K twice, dO and V once, mostly from the L2 cache but for the first time.
template <int R, int D, bool SINGLE, class A>
DEVICE void backward(A q, A k, A v, const int *starts, A dout, const float *stats, float *sums, A dq, A dk,
					 A dv, i64 Tq, i64 Tk, i64 heads, i64 headdim, bool causal) {
	constexpr int SIDE = R > D ? R : D, THREADS = 4 * R, PARTS = D / 64;
	alignas(16) __shared__ float a[R * (D + 4)], b[R * (SIDE + 4)];
	const int d = (int)headdim, y = threadIdx.x / 16;
	const i64 W = heads * d;
	const head<A> h = head_of(q, k, v, starts, Tq, Tk, heads, d);
	const head<A> to = head_of(dq, dk, dv, starts, Tq, Tk, heads, d);
	const A grads = dout + (h.row * W + h.column);
	const bool wide = d % 4 == 0 && aligned(h.q.at) && aligned(h.k.at) && aligned(h.v.at) && aligned(grads.at) && aligned(to.q.at) && aligned(to.k.at) &&
					  aligned(to.v.at);
	const float scale = scale_of(d);
	const i64 plane = gridDim.x * Tq, partial_stride = A::half ? W : to.stride;
	const typed<false> partial = A::half ? typed<false>{sums} + (h.row * W + h.column) : typed<false>{to.q.at};
	for (int key = 0; key < (SINGLE ? 1 : h.tk); key += R) {
		const int m = h.tk - key < R ? h.tk - key : R;
		quad keys[PARTS][4] = {}, values[PARTS][4] = {};
		for (int query = causal ? key : 0; query < (SINGLE ? 1 : h.tq); query += R) {
			const int n = h.tq - query < R ? h.tq - query : R;
			float s[4][R / 16], dp[4][R / 16];
			if (!SINGLE) __syncthreads();
			tile_scores<R, D>(s, dp, a, b, h, grads, W, query, key, d, causal, wide);
#pragma unroll
			for (int i = 0; i < 4; i++) {
				row_stats t = {-INF, 0.f, 0.f};
				if (SINGLE || h.tk <= R) {
					join_tile(t, s[i], dp[i]);
					t = finished(t);
				} else if (4 * y + i < n) {
					const float *at = stats + blockIdx.x * Tq + query + 4 * y + i;
					t = {at[0], at[plane], at[2 * plane]};
				}
#pragma unroll
				for (int j = 0; j < R / 16; j++) {
					s[i][j] = 4 * y + i < n ? exp2f(s[i][j] - t.top) * t.share : 0.f;
					dp[i][j] = scale * s[i][j] * (dp[i][j] - t.delta);
				}
			}
			__syncthreads();
			put<R>(b, s);
			__syncthreads();
			add_transposed<R, D>(values, b, a, n);
			if (SINGLE)
#pragma unroll
				for (int c = 0; c < PARTS; c++) deliver(to.v, to.stride, values[c], c, m, d, wide, false, to.v, to.stride);
			__syncthreads();
			put<R>(b, dp);
			fill<R, D, THREADS>(a, h.k + key * h.stride, h.stride, m, d, wide);
			__syncthreads();
#pragma unroll
			for (int c = 0; c < PARTS; c++) {
				quad queries[4] = {};
				add_plain<R, D>(queries, b, a, c, m);
				const typed<false> old = partial + query * partial_stride;
				if (SINGLE || !A::half || key + R >= (causal && query + R < h.tk ? query + R : h.tk)) // done
					deliver(to.q + query * to.stride, to.stride, queries, c, n, d, wide, key > 0, old, partial_stride);
				else
					deliver(old, partial_stride, queries, c, n, d, wide, key > 0, old, partial_stride);
			}
			__syncthreads();
			fill<R, D, THREADS>(a, h.q + query * h.stride, h.stride, n, d, wide);
			__syncthreads();
			add_transposed<R, D>(keys, b, a, n);
		}
#pragma unroll
		for (int c = 0; c < PARTS; c++) {
			deliver(to.k + key * to.stride, to.stride, keys[c], c, m, d, wide, false, to.k, to.stride);
			if (!SINGLE) deliver(to.v + key * to.stride, to.stride, values[c], c, m, d, wide, false, to.v, to.stride);
		}
	}
}

#define BACKWARD(name, HALF, R, D, SINGLE, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(4 * R, BLOCKS) \
	name(const float *q, const float *k, const float *v, const int *starts, const float *dout, const float *stats, float *sums, float *dq, \
		 float *dk, float *dv, i64 Tq, i64 Tk, i64 heads, i64 d, i64 causal) { \
		backward<R, D, SINGLE>(typed<HALF>{q}, typed<HALF>{k}, typed<HALF>{v}, starts, typed<HALF>{dout}, stats, sums, \
							   typed<HALF>{dq}, typed<HALF>{dk}, typed<HALF>{dv}, Tq, Tk, heads, d, causal); \
	}

#define STATS(name, HALF, R, D, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(4 * R, BLOCKS) \
	name(const float *q, const float *k, const float *v, const int *starts, const float *dout, float *stats, i64 Tq, i64 Tk, i64 heads, \
		 i64 d, i64 causal) { \
		find_stats<R, D>(typed<HALF>{q}, typed<HALF>{k}, typed<HALF>{v}, starts, typed<HALF>{dout}, stats, Tq, Tk, heads, d, causal); \
	}
