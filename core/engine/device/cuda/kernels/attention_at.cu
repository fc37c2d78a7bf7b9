// Attention of one query a sequence, at row rows[b]. A block of four warps has one head; each group of eight
// lanes takes every sixteenth key and keeps its own softmax, and these are joined at the end.
#include "attention.cuh"

enum { GROUPS = 16 };

// single is what one head of one query sees.
struct single {
	numbers q, first; // the query's and the first row's head in qkv
	i64 row, column, stride;
	int keys, tokens, place;
};

DEVICE single single_of(numbers qkv, const int *starts, const int *rows, i64 T, i64 heads, i64 d, bool causal) {
	const i64 b = blockIdx.x / heads;
	single u;
	u.row = starts ? starts[b] : b * T;
	u.tokens = starts ? starts[b + 1] - starts[b] : (int)T;
	u.place = (int)(rows[b] - u.row);
	u.keys = causal ? u.place + 1 : u.tokens;
	u.column = blockIdx.x % heads * d;
	u.stride = 3 * heads * d;
	u.first = qkv + (u.row * u.stride + u.column);
	u.q = u.first + u.place * u.stride;
	return u;
}

// A lane has the columns 4·lane, 4·lane + 32, … of a row.
template <int N> DEVICE void load_row(quad (&x)[N], numbers row, int d, bool wide) {
	const int lane = threadIdx.x % 8;
#pragma unroll
	for (int c = 0; c < N; c++) x[c] = 4 * lane + 32 * c < d ? load_quad(row + (4 * lane + 32 * c), d - 4 * lane - 32 * c, wide) : quad{};
}
template <int N> DEVICE void store_row(numbers row, const quad (&x)[N], int d, bool wide) {
	const int lane = threadIdx.x % 8;
#pragma unroll
	for (int c = 0; c < N; c++)
		if (4 * lane + 32 * c < d) store_quad(row + (4 * lane + 32 * c), x[c], d - 4 * lane - 32 * c, wide);
}

template <int N> DEVICE float dot_rows(const quad (&a)[N], const quad (&b)[N]) {
	float s = 0.f;
#pragma unroll
	for (int c = 0; c < N; c++)
#pragma unroll
		for (int e = 0; e < 4; e++) s += a[c].v[e] * b[c].v[e];
	return lanes_sum<8>(s);
}

// Reads K and V of the keys once; 4·keys·d FLOPs a head.
template <int D>
DEVICE void forward_at(numbers qkv, const int *starts, const int *rows, numbers out, i64 T, i64 heads, i64 headdim, bool causal) {
	constexpr int N = D / 32;
	alignas(16) __shared__ float values[GROUPS * D], tops[GROUPS], sums[GROUPS];
	const int d = (int)headdim, group = threadIdx.x / 8, W = (int)(heads * d);
	const single u = single_of(qkv, starts, rows, T, heads, d, causal);
	const bool wide = d % 4 == 0 && aligned(qkv.at);
	const float to_base2 = scale_of(d) * LOG2_E;
	quad q[N], value[N] = {};
	load_row(q, u.q, d, wide);
	float top = -INF, sum = 0.f;
	for (int from = threadIdx.x / 32 * 4; from < u.keys; from += GROUPS) {
		const int key = from + group % 4;
		const numbers row = u.first + (key * u.stride + W);
		quad x[N] = {};
		if (key < u.keys) load_row(x, row, d, wide);
		const float s = dot_rows(q, x) * to_base2;
		if (key >= u.keys) continue;
		load_row(x, row + W, d, wide);
		const float t = fmaxf(top, s), keep = exp2f(top - t), p = exp2f(s - t);
		top = t;
		sum = sum * keep + p;
#pragma unroll
		for (int c = 0; c < N; c++)
#pragma unroll
			for (int e = 0; e < 4; e++) value[c].v[e] = value[c].v[e] * keep + p * x[c].v[e];
	}
	store_row(numbers(values + group * D), value, d, d % 4 == 0);
	if (threadIdx.x % 8 == 0) tops[group] = top, sums[group] = sum;
	__syncthreads();
	float all = -INF, total = 0.f;
	for (int g = 0; g < GROUPS; g++) all = fmaxf(all, tops[g]);
	for (int g = 0; g < GROUPS; g++) total += sums[g] * exp2f(tops[g] - all);
	for (int c = threadIdx.x; c < d; c += 8 * GROUPS) {
		float o = 0.f;
		for (int g = 0; g < GROUPS; g++) o += values[g * D + c] * exp2f(tops[g] - all);
		store_quad(out + (blockIdx.x * (i64)d + c), {{o / total}}, 1, false);
	}
}

// The gradient of that: statistics first, as in the whole attention, then each key's row. Reads K and V twice,
// from the caches the second time, and writes all rows of dqkv once; 10·keys·d FLOPs a head, and 4 for the
// statistics.
template <int D>
DEVICE void backward_at(numbers qkv, const int *starts, const int *rows, numbers dout, numbers dqkv, i64 T, i64 heads,
						i64 headdim, bool causal) {
	constexpr int N = D / 32;
	alignas(16) __shared__ float values[GROUPS * D], tops[GROUPS], sums[GROUPS], dots[GROUPS];
	const int d = (int)headdim, group = threadIdx.x / 8, W = (int)(heads * d);
	const single u = single_of(qkv, starts, rows, T, heads, d, causal);
	const numbers grads = dqkv + (u.row * u.stride + u.column);
	const bool wide = d % 4 == 0 && aligned(qkv.at) && aligned(dqkv.at) && aligned(dout.at);
	const float scale = scale_of(d), to_base2 = scale * LOG2_E;
	quad q[N], o[N];
	load_row(q, u.q, d, wide);
	load_row(o, dout + blockIdx.x * (i64)d, d, wide);
	float top = -INF, sum = 0.f, dot = 0.f;
	for (int from = threadIdx.x / 32 * 4; from < u.keys; from += GROUPS) {
		const int key = from + group % 4;
		const numbers row = u.first + (key * u.stride + W);
		quad x[N] = {}, z[N] = {};
		if (key < u.keys) load_row(x, row, d, wide), load_row(z, row + W, d, wide);
		const float s = dot_rows(q, x) * to_base2, dp = dot_rows(o, z);
		if (key >= u.keys) continue;
		const float t = fmaxf(top, s), keep = exp2f(top - t), p = exp2f(s - t);
		top = t;
		sum = sum * keep + p;
		dot = dot * keep + p * dp;
	}
	if (threadIdx.x % 8 == 0) tops[group] = top, sums[group] = sum, dots[group] = dot;
	__syncthreads();
	float all = -INF, total = 0.f, delta = 0.f;
	for (int g = 0; g < GROUPS; g++) all = fmaxf(all, tops[g]);
	for (int g = 0; g < GROUPS; g++) total += sums[g] * exp2f(tops[g] - all), delta += dots[g] * exp2f(tops[g] - all);
	const float share = 1.f / total;
	delta *= share;

	quad dq[N] = {};
	for (int from = threadIdx.x / 32 * 4; from < u.tokens; from += GROUPS) {
		const int key = from + group % 4;
		const numbers row = u.first + (key * u.stride + W);
		const numbers to = grads + key * u.stride;
		quad x[N] = {}, z[N] = {};
		if (key < u.keys) load_row(x, row, d, wide), load_row(z, row + W, d, wide);
		const float s = dot_rows(q, x) * to_base2, dp = dot_rows(o, z);
		if (key >= u.tokens) continue;
		const float p = key < u.keys ? exp2f(s - all) * share : 0.f, ds = scale * p * (dp - delta);
#pragma unroll
		for (int c = 0; c < N; c++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				dq[c].v[e] += ds * x[c].v[e];
				x[c].v[e] = key < u.keys ? ds * q[c].v[e] : 0.f;
				z[c].v[e] = key < u.keys ? p * o[c].v[e] : 0.f;
			}
		store_row(to + W, x, d, wide);
		store_row(to + 2 * W, z, d, wide);
		const quad nothing[N] = {};
		if (key != u.place) store_row(to, nothing, d, wide);
	}
	store_row(numbers(values + group * D), dq, d, d % 4 == 0);
	__syncthreads();
	for (int c = threadIdx.x; c < d; c += 8 * GROUPS) {
		float x = 0.f;
		for (int g = 0; g < GROUPS; g++) x += values[g * D + c];
		store_quad(grads + (u.place * u.stride + c), {{x}}, 1, false);
	}
}

#define AT(forward, backward, D) \
	extern "C" __global__ void __launch_bounds__(8 * GROUPS) \
	forward(const float *qkv, const int *starts, const int *rows, float *out, i64 T, i64 heads, i64 d, i64 causal, i64 half_qkv, i64 half_out) { \
		forward_at<D>(numbers(qkv, half_qkv), starts, rows, numbers(out, half_out), T, heads, d, causal); \
	} \
	extern "C" __global__ void __launch_bounds__(8 * GROUPS) \
	backward(const float *qkv, const int *starts, const int *rows, const float *dout, float *dqkv, i64 T, i64 heads, i64 d, i64 causal, \
		i64 half_qkv, i64 half_dout, i64 half_dqkv) { \
		backward_at<D>(numbers(qkv, half_qkv), starts, rows, numbers(dout, half_dout), numbers(dqkv, half_dqkv), T, heads, d, causal); \
	}

AT(attention_at_64, attention_at_back_64, 64)
AT(attention_at_128, attention_at_back_128, 128)
AT(attention_at_256, attention_at_back_256, 256)
REGISTER_KERNEL(attention_at_64)
REGISTER_KERNEL(attention_at_128)
REGISTER_KERNEL(attention_at_256)
REGISTER_KERNEL(attention_at_back_64)
REGISTER_KERNEL(attention_at_back_128)
REGISTER_KERNEL(attention_at_back_256)
