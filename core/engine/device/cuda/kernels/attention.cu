// Attention with an online softmax (Milakov & Gimelshein 2018; Dao et al. 2022): scores live in registers and
// shared memory, nothing of size Tq·Tk reaches memory. Rows from starts[B] on are clear_tail's.
#include "attention.cuh"

// forward: a block has 16·WARPS queries of a head and goes over its keys in tiles of BK. A warp owns 16
// queries: lane 8g + l has queries g, g + 4, g + 8, g + 12, in the scores the keys l, l + 8, …, in the value
// the columns 4l, 4l + 32, …. Each tile is on its way to registers while the one before is used.
//
// 4·Tq·Tk·d FLOPs a head (half of it when causal), as the two products need; q, k and v are read once for each
// 16·WARPS queries, from the L2 cache but for the first.
template <int WARPS, int BK, int D, class A, class O>
DEVICE void forward(A q, A k, A v, const int *starts, O out, i64 Tq, i64 Tk, i64 heads, i64 headdim,
					bool causal) {
	constexpr int THREADS = 32 * WARPS, BQ = 16 * WARPS, PITCH = D + 4, QUADS = BK * D / 4 / THREADS, NK = BK / 8, ND = D / 32;
	constexpr int STEP = THREADS / (D / 4);
	constexpr bool AHEAD = D <= 128; // registers
	alignas(16) __shared__ float queries[BQ * PITCH], tile[BK * PITCH], shares[WARPS * BK * 20];
	const int d = (int)headdim, first = blockIdx.y * BQ;
	const head<A> h = head_of(q, k, v, starts, Tq, Tk, heads, d);
	if (first >= h.tq) return;
	const bool wide = d % 4 == 0 && aligned(h.q.at) && aligned(h.k.at) && aligned(h.v.at) && aligned(out.at);
	const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 8, l = threadIdx.x % 8;
	const int mine = first + 16 * warp; // the warp's first query
	const int limit = causal && first + BQ < h.tk ? first + BQ : h.tk;
	const float to_base2 = scale_of(d) * LOG2_E;
	float *share = shares + warp * BK * 20;
	const i64 to = (h.row + mine + g) * heads * d + h.column; // element of out
	float top[4], sum[4];
	quad value[4][ND] = {};
	for (int i = 0; i < 4; i++) top[i] = -INF, sum[i] = 0.f;

	// A thread moves the rows r, r + STEP, … of a tile of keys or values, from column c on: ahead to registers,
	// arrive to shared memory.
	const int r = threadIdx.x / (D / 4), c = threadIdx.x % (D / 4) * 4;
	quad next[QUADS];
	auto piece = [&](A x, int from, int i) {
		return from + r + i * STEP < limit && c < d ? load_quad(x + ((from + r + i * STEP) * h.stride + c), d - c, wide) : quad{};
	};
	auto ahead = [&](A x, int from) {
		if constexpr (AHEAD) {
#pragma unroll
			for (int i = 0; i < QUADS; i++) next[i] = piece(x, from, i);
		}
	};
	auto arrive = [&](A x, int from) {
#pragma unroll
		for (int i = 0; i < QUADS; i++) *(quad *)(tile + (r + i * STEP) * PITCH + c) = AHEAD ? next[i] : piece(x, from, i);
	};
	fill<BQ, D, THREADS>(queries, h.q + first * h.stride, h.stride, h.tq - first, d, wide);
	ahead(h.k, 0);
	for (int from = 0; from < limit; from += BK) {
		arrive(h.k, from);
		__syncthreads();
		ahead(h.v, from);
		const bool active = mine < h.tq && (!causal || from <= mine + 15);
		if (active) {
			float s[4][NK] = {};
			scores<4, NK, PITCH, D == 64 ? 2 : 1>(s, queries + (16 * warp + g) * PITCH, 4, tile + l * PITCH, 8, d);
#pragma unroll
			for (int i = 0; i < 4; i++) {
				const int seen = causal && mine + 4 * i + g + 1 < limit ? mine + 4 * i + g + 1 : limit;
				float t = top[i];
#pragma unroll
				for (int j = 0; j < NK; j++) {
					s[i][j] = from + l + 8 * j < seen ? s[i][j] * to_base2 : -INF;
					t = fmaxf(t, s[i][j]);
				}
				t = lanes_max<8>(t);
				// The first tile has keys for every query: t is the largest of some.
				const float keep = exp2f(top[i] - t);
				top[i] = t;
				sum[i] *= keep;
#pragma unroll
				for (int j = 0; j < NK; j++) {
					s[i][j] = exp2f(s[i][j] - t);
					sum[i] += s[i][j];
				}
#pragma unroll
				for (int c = 0; c < ND; c++)
#pragma unroll
					for (int e = 0; e < 4; e++) value[i][c].v[e] *= keep;
			}
#pragma unroll
			for (int j = 0; j < NK; j++) *(quad *)(share + (l + 8 * j) * 20 + 4 * g) = {{s[0][j], s[1][j], s[2][j], s[3][j]}};
		}
		__syncthreads();
		arrive(h.v, from);
		__syncthreads();
		if (from + BK < limit) ahead(h.k, from + BK);
		if (active) {
			const int n = limit - from < BK ? limit - from : BK;
#pragma unroll 4
			for (int j = 0; j < n; j++) {
				const quad p = tile_quad(share + j * 20 + 4 * g);
#pragma unroll
				for (int c = 0; c < ND; c++) {
					if (ND > 2 && 32 * c >= d) break;
					const quad x = tile_quad(tile + j * PITCH + 32 * c + 4 * l);
#pragma unroll
					for (int i = 0; i < 4; i++)
#pragma unroll
						for (int e = 0; e < 4; e++) value[i][c].v[e] += p.v[i] * x.v[e];
				}
			}
		}
		__syncthreads();
	}
	if (mine >= h.tq) return;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		const float share = 1.f / lanes_sum<8>(sum[i]);
		const int query = mine + 4 * i + g;
		if (query >= h.tq) continue;
#pragma unroll
		for (int c = 0; c < ND; c++) {
			if (32 * c + 4 * l >= d) continue;
			for (int e = 0; e < 4; e++) value[i][c].v[e] *= share;
			store_quad(out + (to + 4 * i * heads * d + 32 * c + 4 * l), value[i][c], d - 32 * c - 4 * l, wide);
		}
	}
}

// name takes q, k and v in float, and out is bfloat16 with half; half_name has bfloat16 alone.
#define FORWARD_OF(name, HALF, OUT, WARPS, BK, D) \
	extern "C" __global__ void __launch_bounds__(32 * WARPS) \
	name(const float *q, const float *k, const float *v, const int *starts, float *out, i64 Tq, i64 Tk, i64 heads, i64 d, i64 causal, \
		 [[maybe_unused]] i64 half) { \
		forward<WARPS, BK, D>(typed<HALF>{q}, typed<HALF>{k}, typed<HALF>{v}, starts, OUT, Tq, Tk, heads, d, causal); \
	}
#define FORWARD(name, WARPS, BK, D) \
	FORWARD_OF(name, false, numbers(out, half), WARPS, BK, D) FORWARD_OF(half_##name, true, typed<true>{out}, WARPS, BK, D)

FORWARD(attention_64, 4, 32, 64)
FORWARD(attention_128, 4, 16, 128)
FORWARD(attention_256, 2, 8, 256)
REGISTER_KERNEL(attention_64)
REGISTER_KERNEL(attention_128)
REGISTER_KERNEL(attention_256)
REGISTER_KERNEL(half_attention_64)
REGISTER_KERNEL(half_attention_128)
REGISTER_KERNEL(half_attention_256)

// clear_tail clears rows [starts[B], rows) of x [rows, width], which are bfloat16 when half.
extern "C" __global__ void __launch_bounds__(256)
clear_tail(float *x, const int *starts, i64 B, i64 rows, i64 width, i64 half) {
	for (i64 i = starts[B] * width + blockIdx.x * (i64)blockDim.x + threadIdx.x; i < rows * width; i += (i64)gridDim.x * blockDim.x)
		if (half)
			((unsigned short *)x)[i] = 0;
		else
			x[i] = 0.f;
}
REGISTER_KERNEL(clear_tail)
