// ptx: 80
// Attention in bfloat16 of at most 80 tokens, by tensor cores: a head's queries, keys and values lie in shared memory at once, a
// warp's scores in its registers, and become the left operand of the second product there. Rows from starts[B] on are
// clear_tail's.
//
// 4·n²·D FLOPs a head (half of it when causal), n rounded up to sixteen; qkv is read once, out written once. With n = 50
// and D = 64 these are 25.6 kB in bfloat16, 900 cycles of an H200's share of its memory for one multiprocessor, against 240
// products of sixteen by eight by sixteen, 480 cycles of its tensor cores by mma: blocks hide each other's loads.
#include "attention_bf16.cuh"

template <int ROWS, int D>
DEVICE void attend(const float *qkv, const int *starts, float *out, i64 T, i64 heads, bool causal, bool half, bool half_out) {
	constexpr int THREADS = 2 * ROWS, SIZE = ROWS * (D + 8);
	alignas(16) __shared__ bf16 q[SIZE], k[SIZE], v[SIZE];
	const span z = span_of(starts, T, heads, D);
	const i64 from = z.row * 3 * z.W + z.column;
	load_tile<D, THREADS>(q, qkv, from, 3 * z.W, z.n, half);
	load_tile<D, THREADS>(k, qkv, from + z.W, 3 * z.W, z.n, half);
	load_tile<D, THREADS>(v, qkv, from + 2 * z.W, 3 * z.W, z.n, half);
	copies_arrive();
	__syncthreads();
	const int row = threadIdx.x / 32 * 16;
	if (row >= z.n) return;
	const int limit = causal && row + 16 < z.n ? row + 16 : z.n;
	float p[ROWS / 8][4] = {}, value[D / 8][4] = {};
	row_scores<ROWS, D>(p, q, k, row, limit);
	row_softmax(p, row, z.n, causal, scale_of(D));
	unsigned weights[ROWS / 16][4];
#pragma unroll
	for (int j = 0; j < ROWS / 16; j++) left_of(weights[j], p[2 * j], p[2 * j + 1]);
	add_rows<ROWS, D>(value, weights, v, limit);
	store_rows<D>(out, z.row * z.W + z.column, z.W, value, row, z.n, 1.f, half_out);
}

#define ATTENTION(name, ROWS, D, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(2 * ROWS, BLOCKS) \
	name(const float *qkv, const int *starts, float *out, i64 T, i64 heads, i64 causal, i64 half, i64 half_out) { \
		WITH_MMA(attend<ROWS, D>(qkv, starts, out, T, heads, causal, half, half_out)); \
	}

ATTENTION(attention_bf16_32_32, 32, 32, 8)
ATTENTION(attention_bf16_32_64, 64, 32, 5)
ATTENTION(attention_bf16_32_80, 80, 32, 4)
ATTENTION(attention_bf16_64_32, 32, 64, 8)
ATTENTION(attention_bf16_64_64, 64, 64, 5)
ATTENTION(attention_bf16_64_80, 80, 64, 4)
REGISTER_KERNEL(attention_bf16_32_32)
REGISTER_KERNEL(attention_bf16_32_64)
REGISTER_KERNEL(attention_bf16_32_80)
REGISTER_KERNEL(attention_bf16_64_32)
REGISTER_KERNEL(attention_bf16_64_64)
REGISTER_KERNEL(attention_bf16_64_80)
