// ptx: 80
// Convolutions of bfloat16 by tensor cores, as implicit products (conv.cuh): sums are float32, results too or, where the map
// is bfloat16, rounded once. Channels are multiples of eight, sixteen bytes. 2·M·N·K FLOPs.
//
// Tiles are SIDE rows by SIDE columns, and 32 of K a step, of which three are on their way while one is multiplied: 2·SIDE
// threads, whose warps have 16·MI by 32 of a tile, MI = SIDE/32. The shared memory for this is given by the launch. For a step of sixteen a warp reads MI + 2 times 512 bytes of shared memory for
// 4·MI products of 16·8·16: with MI = 4 that takes 24 cycles of the shared memory of a multiprocessor and 32 of its
// tensor cores on an A100.
#include "conv.cuh"
#include "mma.cuh"

typedef unsigned short bf16;

enum { STEP = 32, STAGES = 4 };

// tile_shape is of tiles as they lie in memory: rows of 32 numbers of K, or with BY_K 32 rows of SIDE. Eight more keep
// rows on different banks.
template <int SIDE, bool BY_K> struct tile_shape {
	static constexpr int PITCH = BY_K ? SIDE + 8 : STEP + 8, SIZE = BY_K ? STEP * PITCH : SIDE * PITCH;
};

// multiply_tiles adds the step's product to the warp's sums. a and b lie as tile_shape says.
template <int SIDE, bool BY_K> DEVICE void multiply_tiles(float (&sum)[SIDE / 32][4][4], const bf16 *a, const bf16 *b) {
	constexpr int PITCH = tile_shape<SIDE, BY_K>::PITCH, MI = SIDE / 32;
	const int warp = threadIdx.x / 32, i = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
	const int row = warp / (SIDE / 32) * 16 * MI, column = warp % (SIDE / 32) * 32;
#pragma unroll
	for (int k = 0; k < STEP; k += 16) {
		// b: columns at k and k + 8, columns + 8 at both. a: rows and rows + 8 at k, the same at k + 8.
		unsigned fb[2][4];
#pragma unroll
		for (int n = 0; n < 2; n++) {
			const int at = column + 16 * n + i / 2 * 8, from = k + i % 2 * 8;
			load_fragments<BY_K>(fb[n], BY_K ? b + (from + r) * PITCH + at : b + (at + r) * PITCH + from);
		}
#pragma unroll
		for (int m = 0; m < MI; m++) {
			const int at = row + 16 * m + i % 2 * 8, from = k + i / 2 * 8;
			unsigned fa[4];
			load_fragments<BY_K>(fa, BY_K ? a + (from + r) * PITCH + at : a + (at + r) * PITCH + from);
#pragma unroll
			for (int n = 0; n < 4; n++) {
				const unsigned pair[2] = {fb[n / 2][n % 2 * 2], fb[n / 2][n % 2 * 2 + 1]};
				mma(sum[m][n], fa, pair);
			}
		}
	}
}

// in_stages multiplies the steps of a sum over n in order, each from a stage of shared memory. load(stage, k) begins to copy
// the step that begins at k, into the stage that was multiplied last.
template <class C, class L, class M> DEVICE void in_stages(int n, C &on_way, L load, M multiply) {
#pragma unroll
	for (int s = 0; s < STAGES - 1; s++) {
		if (s * STEP < n) load(s, s * STEP);
		on_way.end_group();
	}
	int stage = 0;
	for (int k = 0; k < n; k += STEP) {
		on_way.template arrive_but<STAGES - 2>();
		__syncthreads();
		const int next = k + (STAGES - 1) * STEP;
		if (next < n) load((stage + STAGES - 1) % STAGES, next);
		on_way.end_group();
		multiply(stage);
		stage = (stage + 1) % STAGES;
	}
}

// transpose has lane q of N neighbours get v[q] of each of them, in their order.
template <int N> DEVICE void transpose(unsigned (&v)[N]) {
#pragma unroll
	for (int apart = 1; apart < N; apart *= 2) {
		const bool upper = threadIdx.x & apart;
#pragma unroll
		for (int e = 0; e < N; e++) {
			if (e & apart) continue;
			const unsigned got = __shfl_xor_sync(0xffffffffu, upper ? v[e] : v[e + apart], apart);
			v[e] = upper ? got : v[e], v[e + apart] = upper ? v[e + apart] : got;
		}
	}
}

// store_halves writes as bfloat16 what four lanes have of a row of 32 columns, of their sums m and h. All lanes call it; in: there
// is such a row. left: columns from the row's first on.
template <int MI> DEVICE void store_halves(bf16 *to, const float (&sum)[MI][4][4], int m, int h, bool in, int left) {
	const int q = threadIdx.x % 4;
	struct alignas(16) {
		unsigned v[4];
	} row;
#pragma unroll
	for (int n = 0; n < 4; n++) row.v[n] = pair_of(sum[m][n][2 * h], sum[m][n][2 * h + 1]);
	transpose(row.v); // columns 8q to 8q + 7
	if (!in || 8 * q >= left) return;
	to += 8 * q;
	if (aligned(to)) {
		*(decltype(row) *)to = row;
		return;
	}
#pragma unroll
	for (int e = 0; e < 8; e++) to[e] = (bf16)(row.v[e / 2] >> e % 2 * 16);
}

// store_sums writes the warp's sums to rows [0, M) and columns [0, N) of out, the tile beginning at row and column. half: out
// is bfloat16.
template <int SIDE>
DEVICE void store_sums(float *out, const float (&sum)[SIDE / 32][4][4], i64 row, i64 column, i64 M, i64 N, bool half) {
	const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
	row += warp / (SIDE / 32) * (SIDE / 2) + lane / 4, column += warp % (SIDE / 32) * 32;
	const bool pairs = ((unsigned long long)out & 7) == 0; // N is even
#pragma unroll
	for (int m = 0; m < SIDE / 32; m++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			const i64 at = row + 16 * m + 8 * h;
			if (half) {
				store_halves((bf16 *)out + at * N + column, sum, m, h, at < M, (int)(N - column));
				continue;
			}
			if (at >= M) continue;
#pragma unroll
			for (int n = 0; n < 4; n++) {
				const i64 first = column + lane % 4 * 2 + 8 * n;
				if (first >= N) continue;
				float *to = out + at * N + first;
				struct alignas(8) {
					float v[2];
				} two = {{sum[m][n][2 * h], sum[m][n][2 * h + 1]}};
				if (pairs)
					*(decltype(two) *)to = two;
				else
					to[0] = two.v[0], to[1] = two.v[1];
			}
		}
}

// convolve makes out [M, N], bfloat16 when half, of windows of the map and weights [N, K].
template <int SIDE>
DEVICE void convolve(const bf16 *map, const bf16 *weights, float *out, i64 M, i64 N, const map_sizes &z, bool half) {
	using Z = tile_shape<SIDE, false>;
	DYN_SHARED(quad, memory); // [STAGES][a and b]
	const auto tile = [&](int stage, int which) { return (bf16 *)memory + (2 * stage + which) * Z::SIZE; };
	copies<STAGES, 4> on_way;
	const i64 columns = (N + SIDE - 1) / SIDE, row = blockIdx.x / columns * SIDE, column = blockIdx.x % columns * SIDE;
	const int K = z.KH * z.KW * z.C;
	// This thread's part of a tile: eight numbers of K of two rows, SIDE/2 apart.
	const int r = threadIdx.x / 4, at = threadIdx.x % 4 * 8;
	window w[2];
	tap t = tap_of(at, z);
	const bf16 *const from = weights + (column + r) * K + at;
	const int left = (int)(N - column) - r; // columns from this thread's first on
#pragma unroll
	for (int i = 0; i < 2; i++) w[i] = window_of(place_of(row + r + i * SIDE / 2, z), row + r + i * SIDE / 2 < M, z);
	auto load = [&](int stage, int k) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const int number = number_at(w[i], t, z), to = (r + i * SIDE / 2) * Z::PITCH + at;
			const bool in = i * SIDE / 2 < left && k + at < K;
			on_way.begin(tile(stage, 0) + to, number < 0 ? map : map + w[i].picture + number, number >= 0);
			on_way.begin(tile(stage, 1) + to, in ? from + (i64)(i * SIDE / 2) * K + k : weights, in);
		}
		advance(t, STEP, z);
	};
	float sum[SIDE / 32][4][4] = {};
	in_stages(K, on_way, load, [&](int stage) { multiply_tiles<SIDE, false>(sum, tile(stage, 0), tile(stage, 1)); });
	store_sums<SIDE>(out, sum, row, column, M, N, half);
}

#define CONV(name, SIDE, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(2 * SIDE, BLOCKS) \
	name(const unsigned short *map, const unsigned short *weights, float *out, i64 M, i64 N, i64 H, i64 W, i64 C, i64 rows, i64 columns, \
		 i64 KH, i64 KW, i64 stride, i64 pad, i64 back, i64 half) { \
		WITH_MMA(convolve<SIDE>(map, weights, out, M, N, \
								{(int)H, (int)W, (int)C, (int)rows, (int)columns, (int)KH, (int)KW, (int)stride, (int)pad, back != 0}, half != 0)); \
	}

CONV(conv_bf16_128, 128, 2)
CONV(conv_bf16_64, 64, 4)
REGISTER_KERNEL(conv_bf16_128)
REGISTER_KERNEL(conv_bf16_64)

// weight_gradient makes parts [splits, K, OutC]: the sum over a chunk of the pixels of y, blockIdx.y, of windows of x
// times dy. sum_weights (conv.cu) adds them up.
template <int SIDE>
DEVICE void weight_gradient(const bf16 *x, const bf16 *dy, float *parts, i64 pixels, i64 chunk, i64 N, const map_sizes &z) {
	using Z = tile_shape<SIDE, true>;
	constexpr int WIDTH = SIDE / 8, APART = 2 * SIDE / WIDTH;
	DYN_SHARED(quad, memory); // [STAGES][a and b]
	const auto tile = [&](int stage, int which) { return (bf16 *)memory + (2 * stage + which) * Z::SIZE; };
	copies<STAGES, 4> on_way;
	const i64 columns = (N + SIDE - 1) / SIDE, row = blockIdx.x / columns * SIDE, column = blockIdx.x % columns * SIDE;
	const i64 from = blockIdx.y * chunk, M = (i64)z.KH * z.KW * z.C;
	const int count = (int)(pixels - from < chunk ? pixels - from : chunk);
	// This thread's part of a tile: eight neighbours at two pixels, 16 apart.
	const int k = threadIdx.x / WIDTH, at = threadIdx.x % WIDTH * 8;
	const tap t = tap_of(row + at, z);
	place p[2];
#pragma unroll
	for (int i = 0; i < 2; i++) p[i] = place_of(from + k + i * APART, z);
	auto load = [&](int stage, int step) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			const int pixel = step + k + i * APART, to = (k + i * APART) * Z::PITCH + at;
			const window w = window_of(p[i], pixel < count, z);
			const int number = number_at(w, t, z);
			const bool in = w.in && column + at < N;
			on_way.begin(tile(stage, 0) + to, number < 0 ? x : x + w.picture + number, number >= 0);
			on_way.begin(tile(stage, 1) + to, in ? dy + (from + pixel) * N + column + at : dy, in);
			advance(p[i], STEP, z);
		}
	};
	float sum[SIDE / 32][4][4] = {};
	in_stages(count, on_way, load, [&](int stage) { multiply_tiles<SIDE, true>(sum, tile(stage, 0), tile(stage, 1)); });
	store_sums<SIDE>(parts + blockIdx.y * M * N, sum, row, column, M, N, false);
}

#define CONV_WEIGHTS(name, SIDE, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(2 * SIDE, BLOCKS) \
	name(const unsigned short *x, const unsigned short *dy, float *parts, i64 pixels, i64 chunk, i64 N, i64 H, i64 W, i64 C, i64 rows, \
		 i64 columns, i64 KH, i64 KW, i64 stride, i64 pad) { \
		WITH_MMA(weight_gradient<SIDE>(x, dy, parts, pixels, chunk, N, \
									   {(int)H, (int)W, (int)C, (int)rows, (int)columns, (int)KH, (int)KW, (int)stride, (int)pad, false})); \
	}

CONV_WEIGHTS(conv_weights_bf16_128, 128, 2)
CONV_WEIGHTS(conv_weights_bf16_64, 64, 4)
REGISTER_KERNEL(conv_weights_bf16_128)
REGISTER_KERNEL(conv_weights_bf16_64)
