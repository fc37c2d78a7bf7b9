// Convolutions in float32 by implicit products (conv.cuh), for where cuDNN is not: tiles of 16·S rows by 16·S
// columns, 256 threads with S by S sums each, double-buffered in shared memory. 2·M·N·K FLOPs, S²/2 of them
// for each 16 bytes from shared memory; a tile of the map is read KH·KW times, from the caches but for the first.
#include "conv.cuh"

// A step of the sum over K takes 8 or 16 numbers, so that each thread loads four of a tile.
template <int S> struct shape {
	static constexpr int SIDE = 16 * S, STEP = S == 8 ? 8 : 16, PITCH = SIDE + 4;
};

// shared_quad reads from shared memory. NVRTC would put single reads together into quads itself, but not always the same
// way: the PTX would not be reproducible.
DEVICE quad shared_quad(const float *at) {
#if defined(__CUDA_ARCH__)
	quad q;
	asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
				 : "=f"(q.v[0]), "=f"(q.v[1]), "=f"(q.v[2]), "=f"(q.v[3]) : "r"((unsigned)__cvta_generic_to_shared(at)) : "memory");
	return q;
#else
	return *(const quad *)at;
#endif
}

// multiply_tiles adds aᵀ·b to the thread's sums: a and b are [STEP, PITCH]. It has rows and columns
// 4y … 4y + 3 and, with S = 8, 64 on.
template <int S, int UNROLL> DEVICE void multiply_tiles(float (&sum)[S][S], const float *a, const float *b) {
	using Z = shape<S>;
	const int x = threadIdx.x % 16 * 4, y = threadIdx.x / 16 * 4;
#pragma unroll UNROLL
	for (int k = 0; k < Z::STEP; k++) {
		quad p[S / 4], q[S / 4];
#pragma unroll
		for (int h = 0; h < S / 4; h++) {
			p[h] = shared_quad(a + k * Z::PITCH + y + 64 * h);
			q[h] = shared_quad(b + k * Z::PITCH + x + 64 * h);
		}
#pragma unroll
		for (int i = 0; i < S; i++)
#pragma unroll
			for (int j = 0; j < S; j++) sum[i][j] += p[i / 4].v[i % 4] * q[j / 4].v[j % 4];
	}
}

// store_sums writes a thread's sums to rows [0, M) and columns [0, N) of out, its tile beginning at row and column. HALF: out
// is bfloat16.
template <int S, bool HALF> DEVICE void store_sums(float *out, const float (&sum)[S][S], i64 row, i64 column, i64 M, i64 N) {
	const bool wide = N % 4 == 0 && aligned(out);
	row += threadIdx.x / 16 * 4, column += threadIdx.x % 16 * 4;
#pragma unroll
	for (int i = 0; i < S; i++)
#pragma unroll
		for (int h = 0; h < S / 4; h++) {
			const i64 m = row + i % 4 + i / 4 * 64, n = column + 64 * h;
			if (m < M && n < N)
				store_as(out, m * N + n, {{sum[i][4 * h], sum[i][4 * h + 1], sum[i][4 * h + 2], sum[i][4 * h + 3]}}, (int)(N - n), wide, HALF);
		}
}

DEVICE quad rounded(quad q, bool round) {
	if (round)
#pragma unroll
		for (int e = 0; e < 4; e++) q.v[e] = of_bf16(bf16_of(q.v[e]));
	return q;
}

// gather reads four neighbours of a window from tap t on, and zeros where that is padding. half: the map is bfloat16.
DEVICE quad gather(const float *map, const window &w, tap t, const map_sizes &z, bool wide, bool half) {
	quad q;
	if (wide) {
		const int at = number_at(w, t, z);
		return at < 0 ? quad{} : load_as(map, w.picture + at, 4, true, half);
	}
#pragma unroll
	for (int e = 0; e < 4; e++) {
		const int at = number_at(w, t, z);
		q.v[e] = at < 0 ? 0.f : half ? of_bf16(((const unsigned short *)map)[w.picture + at]) : map[w.picture + at];
		advance(t, 1, z);
	}
	return q;
}

// convolve makes out [M, N] of windows of the map and weights [K, N]. round: operands are rounded to bfloat16. half_map,
// half_out: the map, or the result, is bfloat16.
template <int S>
DEVICE void convolve(const float *map, const float *weights, float *out, i64 M, i64 N, const map_sizes &z, bool round, bool half_map,
					 bool half_out) {
	using Z = shape<S>;
	constexpr int STEP = Z::STEP, PITCH = Z::PITCH, GROUPS = STEP / 4, WIDTH = Z::SIDE / 4;
	alignas(16) __shared__ float a[2][STEP * PITCH], b[2][STEP * PITCH];
	const i64 columns = (N + Z::SIDE - 1) / Z::SIDE, row = blockIdx.x / columns * Z::SIDE, column = blockIdx.x % columns * Z::SIDE;
	const int K = z.KH * z.KW * z.C;
	// This thread's part of a tile: four of the numbers of a window, four columns of a row of weights.
	const int m = threadIdx.x / GROUPS, km = threadIdx.x % GROUPS * 4, kn = threadIdx.x / WIDTH, n = threadIdx.x % WIDTH * 4;
	const window w = window_of(place_of(row + m, z), row + m < M, z);
	const bool wide = z.C % 4 == 0 && aligned(map), wide_n = N % 4 == 0 && aligned(weights);
	const float *from = weights + kn * N + column + n;
	const int left = column + n < N ? (int)(N - column - n) : 0; // columns from there on
	tap t = tap_of(km, z);
	quad nexta, nextb;
	auto load = [&](int k) {
		nexta = gather(map, w, t, z, wide, half_map);
		advance(t, STEP, z);
		nextb = left && k + kn < K ? load_quad(from, left, wide_n) : quad{};
		from += STEP * N;
		nexta = rounded(nexta, round), nextb = rounded(nextb, round);
	};
	auto put = [&](int stage) {
#pragma unroll
		for (int e = 0; e < 4; e++) a[stage][(km + e) * PITCH + m] = nexta.v[e];
		*(quad *)(b[stage] + kn * PITCH + n) = nextb;
	};
	float sum[S][S] = {};
	load(0);
	put(0);
	__syncthreads();
	int stage = 0;
	for (int k = STEP; k < K; k += STEP, stage ^= 1) {
		load(k);
		multiply_tiles<S, Z::STEP>(sum, a[stage], b[stage]);
		put(stage ^ 1);
		__syncthreads();
	}
	multiply_tiles<S, Z::STEP>(sum, a[stage], b[stage]);
	if (half_out) // once: a choice at each store takes registers
		store_sums<S, true>(out, sum, row, column, M, N);
	else
		store_sums<S, false>(out, sum, row, column, M, N);
}

#define CONV(name, S, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(256, BLOCKS) \
	name(const float *map, const float *weights, float *out, i64 M, i64 N, i64 H, i64 W, i64 C, i64 rows, i64 columns, i64 KH, i64 KW, \
		 i64 stride, i64 pad, i64 back, i64 round, i64 half_map, i64 half_out) { \
		convolve<S>(map, weights, out, M, N, \
					{(int)H, (int)W, (int)C, (int)rows, (int)columns, (int)KH, (int)KW, (int)stride, (int)pad, back != 0}, round, half_map, \
					half_out); \
	}

CONV(conv_128, 8, 2)
CONV(conv_64, 4, 3)
REGISTER_KERNEL(conv_128)
REGISTER_KERNEL(conv_64)

// weight_gradient makes parts [splits, K, OutC]: the sum over a chunk of the pixels of y, blockIdx.y, of windows of x
// times dy, each of which may be bfloat16. sum_weights adds them up.
template <int S>
DEVICE void weight_gradient(const float *x, const float *dy, float *parts, i64 pixels, i64 chunk, i64 N, const map_sizes &z, bool round,
							bool half_x, bool half_dy) {
	using Z = shape<S>;
	constexpr int STEP = Z::STEP, PITCH = Z::PITCH, WIDTH = Z::SIDE / 4;
	alignas(16) __shared__ float a[2][STEP * PITCH], b[2][STEP * PITCH];
	const i64 columns = (N + Z::SIDE - 1) / Z::SIDE, row = blockIdx.x / columns * Z::SIDE, column = blockIdx.x % columns * Z::SIDE;
	const i64 from = blockIdx.y * chunk, M = (i64)z.KH * z.KW * z.C;
	const int count = (int)(pixels - from < chunk ? pixels - from : chunk);
	// This thread loads four neighbours of a row of a tile, for x of a window, for dy of the channels.
	const int k = threadIdx.x / WIDTH, n = threadIdx.x % WIDTH * 4;
	const bool wide = z.C % 4 == 0 && aligned(x), wide_n = N % 4 == 0 && aligned(dy);
	const int left = column + n < N ? (int)(N - column - n) : 0; // columns from there on
	const tap t = tap_of(row + n, z);
	place p = place_of(from + k, z);
	quad nexta, nextb;
	const i64 grads = (from + k) * N + column + n;
	auto load = [&](int step) {
		const window w = window_of(p, step + k < count, z);
		advance(p, STEP, z);
		nexta = gather(x, w, t, z, wide, half_x);
		nextb = left && w.in ? load_as(dy, grads + step * N, left, wide_n, half_dy) : quad{};
		nexta = rounded(nexta, round), nextb = rounded(nextb, round);
	};
	auto put = [&](int stage) {
		*(quad *)(a[stage] + k * PITCH + n) = nexta;
		*(quad *)(b[stage] + k * PITCH + n) = nextb;
	};
	float sum[S][S] = {};
	load(0);
	put(0);
	__syncthreads();
	int stage = 0;
	for (int step = STEP; step < count; step += STEP, stage ^= 1) {
		load(step);
		multiply_tiles<S, S == 8 ? 1 : 4>(sum, a[stage], b[stage]);
		put(stage ^ 1);
		__syncthreads();
	}
	multiply_tiles<S, S == 8 ? 1 : 4>(sum, a[stage], b[stage]);
	store_sums<S, false>(parts + blockIdx.y * M * N, sum, row, column, M, N);
}

#define CONV_WEIGHTS(name, S, BLOCKS) \
	extern "C" __global__ void __launch_bounds__(256, BLOCKS) \
	name(const float *x, const float *dy, float *parts, i64 pixels, i64 chunk, i64 N, i64 H, i64 W, i64 C, i64 rows, i64 columns, i64 KH, \
		 i64 KW, i64 stride, i64 pad, i64 round, i64 half_x, i64 half_dy) { \
		weight_gradient<S>(x, dy, parts, pixels, chunk, N, \
						   {(int)H, (int)W, (int)C, (int)rows, (int)columns, (int)KH, (int)KW, (int)stride, (int)pad, false}, round, half_x, \
						   half_dy); \
	}

CONV_WEIGHTS(conv_weights_128, 8, 2)
CONV_WEIGHTS(conv_weights_64, 4, 3)
REGISTER_KERNEL(conv_weights_128)
REGISTER_KERNEL(conv_weights_64)

// sum_weights adds up parts [splits, window, InC, OutC] in order: dw [OutC, InC, window].
extern "C" __global__ void __launch_bounds__(256)
sum_weights(const float *parts, float *dw, i64 splits, i64 window, i64 InC, i64 OutC) {
	const i64 n = window * InC * OutC;
	for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
		float sum = 0.f;
		for (i64 s = 0; s < splits; s++) sum += parts[s * n + i];
		const i64 o = i % OutC, c = i / OutC % InC, k = i / OutC / InC;
		dw[(o * InC + c) * window + k] = sum;
	}
}
REGISTER_KERNEL(sum_weights)

// permute is y[i, j, k] = x[i·s0 + j·s1 + k·s2] for y [n0, n1, n2], which is bfloat16 when half: weights in another
// order.
extern "C" __global__ void __launch_bounds__(256)
permute(const float *x, float *y, i64 n0, i64 n1, i64 n2, i64 s0, i64 s1, i64 s2, i64 half) {
	for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < n0 * n1 * n2; i += (i64)gridDim.x * blockDim.x) {
		const float v = x[i / n2 / n1 * s0 + i / n2 % n1 * s1 + i % n2 * s2];
		if (half)
			((unsigned short *)y)[i] = bf16_of(v);
		else
			y[i] = v;
	}
}
REGISTER_KERNEL(permute)
