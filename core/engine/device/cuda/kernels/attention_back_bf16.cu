// ptx: 80
// The backward pass of attention in bfloat16 of at most 80 tokens, by tensor cores. With P the probabilities, dP = dO·Vᵀ and
// dS = P·(dP − delta), delta = Σ P·dP of each query: dQ = scale·dS·K, dV = Pᵀ·dO, dK = scale·dSᵀ·Q.
//
// A warp makes P and dS of its sixteen queries in registers, and dQ from there. Then P, and after it dS, lie in shared
// memory, where keys and values were, and a warp makes dV and dK of sixteen keys: every sum has one order.
//
// 10·n²·D FLOPs a head (half of it when causal), n rounded up to sixteen; everything is read once and written once. With n
// = 50 and D = 64 these are 44.8 kB in bfloat16, 1600 cycles of an H200's share of its memory for one multiprocessor, against
// 608 products of sixteen by eight by sixteen, 1216 cycles of its tensor cores by mma.
#include "attention_bf16.cuh"

// put stores a warp's rows, from row on, as bfloat16 in a tile [ROWS, ROWS + 8].
template <int ROWS> DEVICE void put(bf16 *tile, const unsigned (&rows)[ROWS / 16][4], int row) {
	const int lane = threadIdx.x % 32;
	bf16 *const at = tile + (row + lane / 4) * (ROWS + 8) + lane % 4 * 2;
#pragma unroll
	for (int j = 0; j < ROWS / 16; j++)
#pragma unroll
		for (int i = 0; i < 4; i++) *(unsigned *)(at + i % 2 * 8 * (ROWS + 8) + 16 * j + i / 2 * 8) = rows[j][i];
}

// add_columns adds to value the product of columns [column, column + 16) of the tile s, transposed, with x: the sum over
// their rows from `from` to n.
template <int ROWS, int D> DEVICE void add_columns(float (&value)[D / 8][4], const bf16 *s, const bf16 *x, int column, int from, int n) {
#pragma unroll 2
	for (int r = from; r < n; r += 16) {
		unsigned left[4];
		load_left<ROWS + 8, true>(left, s, column, r);
#pragma unroll
		for (int c = 0; c < D / 16; c++) {
			unsigned right[4];
			load_right<D + 8, true>(right, x, 16 * c, r);
			mma_pair(value[2 * c], value[2 * c + 1], left, right);
		}
	}
}

// slopes makes dS of P and dP: row sums are of four lanes.
template <int N> DEVICE void slopes(float (&dp)[N][4], const float (&p)[N][4]) {
#pragma unroll
	for (int h = 0; h < 4; h += 2) {
		float delta = 0.f;
#pragma unroll
		for (int j = 0; j < N; j++) delta += p[j][h] * dp[j][h] + p[j][h + 1] * dp[j][h + 1];
		delta = lanes_sum<4>(delta);
#pragma unroll
		for (int j = 0; j < N; j++)
#pragma unroll
			for (int e = h; e < h + 2; e++) dp[j][e] = p[j][e] * (dp[j][e] - delta);
	}
}

template <int ROWS, int D>
DEVICE void attend_back(const float *qkv, const int *starts, const float *dout, float *dqkv, i64 T, i64 heads, bool causal, bool half,
						bool half_dout, bool half_grads) {
	constexpr int THREADS = 2 * ROWS, SIZE = ROWS * (D + 8), SQUARE = ROWS * (ROWS + 8);
	alignas(16) __shared__ bf16 q[SIZE], o[SIZE], both[2 * SIZE > SQUARE ? 2 * SIZE : SQUARE];
	bf16 *const k = both, *const v = both + SIZE;
	const span z = span_of(starts, T, heads, D);
	const i64 stride = 3 * z.W, from = z.row * stride + z.column;
	load_tile<D, THREADS>(q, qkv, from, stride, z.n, half);
	load_tile<D, THREADS>(k, qkv, from + z.W, stride, z.n, half);
	load_tile<D, THREADS>(o, dout, z.row * z.W + z.column, z.W, z.n, half_dout);
	load_tile<D, THREADS>(v, qkv, from + 2 * z.W, stride, z.n, half);
	copies_arrive();
	__syncthreads();
	const int row = threadIdx.x / 32 * 16;
	const bool active = row < z.n; // the warp has queries, and keys
	const float scale = scale_of(D);
	unsigned weights[ROWS / 16][4], slope[ROWS / 16][4];
	if (active) {
		const int limit = causal && row + 16 < z.n ? row + 16 : z.n;
		float p[ROWS / 8][4] = {}, dp[ROWS / 8][4] = {}, value[D / 8][4] = {};
		row_scores<ROWS, D>(p, q, k, row, limit);
		row_softmax(p, row, z.n, causal, scale);
		row_scores<ROWS, D>(dp, o, v, row, limit);
		slopes(dp, p);
#pragma unroll
		for (int j = 0; j < ROWS / 16; j++) {
			left_of(weights[j], p[2 * j], p[2 * j + 1]);
			left_of(slope[j], dp[2 * j], dp[2 * j + 1]);
		}
		add_rows<ROWS, D>(value, slope, k, limit);
		store_rows<D>(dqkv, from, stride, value, row, z.n, scale, half_grads);
	}
	const int first = causal ? row : 0; // query that sees the warp's keys, rounded down
	__syncthreads();
	if (active) put<ROWS>(both, weights, row);
	__syncthreads();
	if (active) {
		float value[D / 8][4] = {};
		add_columns<ROWS, D>(value, both, o, row, first, z.n);
		store_rows<D>(dqkv, from + 2 * z.W, stride, value, row, z.n, 1.f, half_grads);
	}
	__syncthreads();
	if (active) put<ROWS>(both, slope, row);
	__syncthreads();
	if (active) {
		float value[D / 8][4] = {};
		add_columns<ROWS, D>(value, both, q, row, first, z.n);
		store_rows<D>(dqkv, from + z.W, stride, value, row, z.n, scale, half_grads);
	}
}

#define ATTENTION_BACK(name, ROWS, D, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(2 * ROWS, BLOCKS) \
	name(const float *qkv, const int *starts, const float *dout, float *dqkv, i64 T, i64 heads, i64 causal, i64 half, i64 half_dout, \
		 i64 half_grads) { \
		WITH_MMA(attend_back<ROWS, D>(qkv, starts, dout, dqkv, T, heads, causal, half, half_dout, half_grads)); \
	}

ATTENTION_BACK(attention_back_bf16_32_32, 32, 32, 8)
ATTENTION_BACK(attention_back_bf16_32_64, 64, 32, 4)
ATTENTION_BACK(attention_back_bf16_32_80, 80, 32, 3)
ATTENTION_BACK(attention_back_bf16_64_32, 32, 64, 8)
ATTENTION_BACK(attention_back_bf16_64_64, 64, 64, 4)
ATTENTION_BACK(attention_back_bf16_64_80, 80, 64, 3)
REGISTER_KERNEL(attention_back_bf16_32_32)
REGISTER_KERNEL(attention_back_bf16_32_64)
REGISTER_KERNEL(attention_back_bf16_32_80)
REGISTER_KERNEL(attention_back_bf16_64_32)
REGISTER_KERNEL(attention_back_bf16_64_64)
REGISTER_KERNEL(attention_back_bf16_64_80)
