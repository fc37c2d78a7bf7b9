// Batch norm of feature maps, which lie as rows of C channels. A thread has four neighbouring channels (quad.cuh), so that a
// warp reads whole lines. All of these are bound by memory: each says how often it reads and writes its maps.
#include "map.cuh"

// Batch norm of x [rows, C]. Blocks: blockDim.x threads have four channels each, blockDim.y rows are taken
// at once; blockIdx.x goes over the channels, blockIdx.y over chunks of rows. At most 256 threads, the
// powers of two. Sums are made in chunks, then over the chunks: the order depends on the sizes alone.
enum { BLOCK = 256, RUN = 8 };

// moments are the mean of n numbers and the sum of squares of the distances to it.
template <class T> struct moments {
	T n, mean, square;
};

// join is of both groups of numbers (Chan, Golub & LeVeque 1983).
template <class T> DEVICE moments<T> join(moments<T> a, moments<T> b) {
	const T n = a.n + b.n;
	if (b.n == 0) return a;
	const T part = b.n / n, d = b.mean - a.mean;
	return {n, a.mean + d * part, a.square + b.square + d * d * a.n * part};
}

// parts [chunks, 2, C]: mean and sum of squares of each chunk. Reads x once.
extern "C" __global__ void __launch_bounds__(256)
batch_stats_parts(const float *x, float *parts, i64 rows, i64 C, i64 chunk, i64 half) {
	__shared__ float means[BLOCK][4], squares[BLOCK][4], counts[BLOCK];
	const bool wide = C % 4 == 0 && aligned(x);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4, step = blockDim.y;
	const int n = (int)(C - c);
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	moments<float> all[4] = {};
	// Runs of rows: their mean and distances in registers, then one join.
	with_maps(wide, types(x, half), n, [&](auto map_of) {
		const auto in = map_of(x, half);
		for (i64 r = from + threadIdx.y; n > 0 && r < to; r += RUN * step) {
			const auto raw = load_rows<RUN>(in, r, step, to, C, c);
			quad q[RUN];
			int count = 0;
#pragma unroll
			for (int k = 0; k < RUN; k++) {
				const bool there = r + k * step < to;
				q[k] = there ? number(raw.row[k]) : quad{};
				count += there;
			}
			const float share = 1.f / (float)count;
#pragma unroll
			for (int j = 0; j < 4; j++) {
				float sum = 0.f, square = 0.f;
#pragma unroll
				for (int k = 0; k < RUN; k++) sum += q[k].v[j];
				const float mean = sum * share;
#pragma unroll
				for (int k = 0; k < RUN; k++)
					if (k < count) square += (q[k].v[j] - mean) * (q[k].v[j] - mean);
				all[j] = join(all[j], {(float)count, mean, square});
			}
		}
	});
	const int at = threadIdx.y * blockDim.x + threadIdx.x;
	for (int half = blockDim.y / 2; ; half /= 2) {
		for (int j = 0; j < 4; j++) means[at][j] = all[j].mean, squares[at][j] = all[j].square;
		counts[at] = all[0].n;
		__syncthreads();
		if (!half) break;
		if ((int)threadIdx.y < half) {
			const int other = at + half * blockDim.x;
			for (int j = 0; j < 4; j++) all[j] = join(all[j], {counts[other], means[other][j], squares[other][j]});
		}
		__syncthreads();
	}
	if (threadIdx.y) return;
	for (int j = 0; j < 4; j++)
		if (j < n) {
			parts[blockIdx.y * 2 * C + c + j] = all[j].mean;
			parts[(blockIdx.y * 2 + 1) * C + c + j] = all[j].square;
		}
}
REGISTER_KERNEL(batch_stats_parts)

// Blocks of 32 channels by 8 threads, each of which takes every eighth chunk.
extern "C" __global__ void __launch_bounds__(256)
batch_stats_total(const float *parts, float *stats, i64 rows, i64 C, i64 chunk) {
	__shared__ moments<double> share[8][32];
	const i64 c = blockIdx.x * 32 + threadIdx.x, chunks = (rows + chunk - 1) / chunk;
	moments<double> all = {};
	for (i64 k = threadIdx.y; c < C && k < chunks; k += 8) {
		const i64 left = rows - k * chunk;
		all = join(all, {(double)(left < chunk ? left : chunk), parts[k * 2 * C + c], parts[(k * 2 + 1) * C + c]});
	}
	share[threadIdx.y][threadIdx.x] = all;
	__syncthreads();
	if (threadIdx.y || c >= C) return;
	for (int k = 1; k < 8; k++) all = join(all, share[k][threadIdx.x]);
	stats[c] = (float)all.mean;
	stats[C + c] = (float)(all.square / (double)rows);
}
REGISTER_KERNEL(batch_stats_total)

// channels holds four channels' factors: y = (x − mean)·factor + shift, plus the residual.
struct channels {
	quad mean, factor, shift;
};

DEVICE channels channels_of(const float *stats, const float *gamma, const float *beta, i64 C, i64 c, int n, double eps) {
	channels q = {load_quad(stats + c, n, false), load_quad(gamma + c, n, false), beta ? load_quad(beta + c, n, false) : quad{}};
	const quad var = load_quad(stats + C + c, n, false);
	for (int j = 0; j < 4; j++) q.factor.v[j] /= sqrtf(var.v[j] + (float)eps);
	return q;
}

// normed is what a channel's number becomes before the residual and ReLU: the same bits in both passes.
DEVICE float normed(const channels &q, int j, float x) { return (x - q.mean.v[j]) * q.factor.v[j] + q.shift.v[j]; }

// y = (x − mean)·γ/sqrt(var + eps) + β, plus the residual when given, and the positive part of it with relu. Reads x and the
// residual once, writes y once.
extern "C" __global__ void __launch_bounds__(256, 4)
batch_norm(const float *x, const float *stats, const float *gamma, const float *beta, const float *residual, float *y, i64 rows, i64 C,
		   i64 chunk, i64 relu, double eps, i64 half_x, i64 half_residual, i64 half_y) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(y) && aligned(residual);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4;
	const int n = (int)(C - c);
	if (n <= 0) return;
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	const channels q = channels_of(stats, gamma, beta, C, c, n, eps);
	with_maps(wide, types(x, half_x, residual, half_residual, y, half_y), n, [&](auto map_of) {
		const auto from_x = map_of(x, half_x), from_residual = map_of(residual, half_residual), to_y = map_of(y, half_y);
		constexpr int AHEAD = ahead<decltype(map_of(x, 0))>;
		const i64 step = blockDim.y;
		for (i64 r = from + threadIdx.y; r < to; r += AHEAD * step) {
			const auto rows = load_rows<AHEAD>(from_x, r, step, to, C, c);
			auto adds = rows;
			if (residual) adds = load_rows<AHEAD>(from_residual, r, step, to, C, c);
#pragma unroll
			for (int k = 0; k < AHEAD; k++) {
				if (r + k * step >= to) continue;
				quad v = number(rows.row[k]);
				const quad add = residual ? number(adds.row[k]) : quad{};
#pragma unroll
				for (int j = 0; j < 4; j++) {
					v.v[j] = normed(q, j, v.v[j]) + add.v[j];
					if (relu && v.v[j] < 0.f) v.v[j] = 0.f; // a NaN stays
				}
				store(to_y, (r + k * step) * C + c, v);
			}
		}
	});
}
REGISTER_KERNEL(batch_norm)

// parts [chunks, 2, C]: Σ g and Σ g·(x − mean), where g is dy where the gradient passes ReLU, else 0: where the output y is
// positive, when it is given, else with relu where it would be. dresidual, when given, becomes g. Reads x, dy and y once.
extern "C" __global__ void __launch_bounds__(256, 2)
batch_norm_back_parts(const float *x, const float *stats, const float *gamma, const float *beta, const float *y, const float *dy,
					  float *parts, float *dresidual, i64 rows, i64 C, i64 chunk, i64 relu, double eps, i64 half_x, i64 half_y,
					  i64 half_dy, i64 half_dresidual) {
	__shared__ float plain[BLOCK][4], weighted[BLOCK][4];
	const bool wide = C % 4 == 0 && aligned(x) && aligned(dy) && aligned(y) && aligned(dresidual);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4, step = blockDim.y;
	const int n = (int)(C - c);
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	quad a = {}, b = {};
	channels q = {};
	if (n > 0) q = channels_of(stats, gamma, beta, C, c, n, eps);
	with_maps(wide, types(x, half_x, y, half_y, dy, half_dy, dresidual, half_dresidual), n, [&](auto map_of) {
		const auto from_x = map_of(x, half_x), from_y = map_of(y, half_y), from_dy = map_of(dy, half_dy);
		const auto to_residual = map_of(dresidual, half_dresidual);
		constexpr int AHEAD = ahead<decltype(map_of(x, 0))>;
		for (i64 r0 = from + threadIdx.y; n > 0 && r0 < to; r0 += RUN * step) {
			quad runa = {}, runb = {};
#pragma unroll 1
			for (int part = 0; part < RUN; part += AHEAD) {
				const i64 first = r0 + part * step;
				if (first >= to) break;
				const auto grads = load_rows<AHEAD>(from_dy, first, step, to, C, c);
				const auto rows = load_rows<AHEAD>(from_x, first, step, to, C, c);
				auto masks = rows;
				if (y) masks = load_rows<AHEAD>(from_y, first, step, to, C, c);
#pragma unroll
				for (int k = 0; k < AHEAD; k++) {
					const i64 r = first + k * step;
					if (r >= to) continue;
					quad g = number(grads.row[k]);
					const quad v = number(rows.row[k]), mask = y ? number(masks.row[k]) : quad{{1.f, 1.f, 1.f, 1.f}};
#pragma unroll
					for (int j = 0; j < 4; j++) {
						if (!(mask.v[j] > 0.f) || (relu && !(normed(q, j, v.v[j]) > 0.f))) g.v[j] = 0.f;
						runa.v[j] += g.v[j];
						runb.v[j] += g.v[j] * (v.v[j] - q.mean.v[j]);
					}
					if (dresidual) store(to_residual, r * C + c, g);
				}
			}
			for (int j = 0; j < 4; j++) a.v[j] += runa.v[j], b.v[j] += runb.v[j];
		}
	});
	const int at = threadIdx.y * blockDim.x + threadIdx.x;
	for (int half = blockDim.y / 2; ; half /= 2) {
		for (int j = 0; j < 4; j++) plain[at][j] = a.v[j], weighted[at][j] = b.v[j];
		__syncthreads();
		if (!half) break;
		if ((int)threadIdx.y < half) {
			const int other = at + half * blockDim.x;
			for (int j = 0; j < 4; j++) a.v[j] += plain[other][j], b.v[j] += weighted[other][j];
		}
		__syncthreads();
	}
	if (threadIdx.y) return;
	for (int j = 0; j < 4; j++)
		if (j < n) {
			parts[blockIdx.y * 2 * C + c + j] = a.v[j];
			parts[(blockIdx.y * 2 + 1) * C + c + j] = b.v[j];
		}
}
REGISTER_KERNEL(batch_norm_back_parts)

// dγ, dβ and the channels' coefficients [3, C] of dx = k·g + a·(x − mean) + b, blocks as batch_stats_total.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_back_total(const float *parts, const float *stats, const float *gamma, float *dgamma, float *dbeta, float *coefficients,
					  i64 rows, i64 C, i64 chunks, i64 training, double eps) {
	__shared__ double plain[8][32], weighted[8][32];
	const i64 c = blockIdx.x * 32 + threadIdx.x;
	double a = 0, b = 0;
	for (i64 k = threadIdx.y; c < C && k < chunks; k += 8) {
		a += parts[k * 2 * C + c];
		b += parts[(k * 2 + 1) * C + c];
	}
	plain[threadIdx.y][threadIdx.x] = a;
	weighted[threadIdx.y][threadIdx.x] = b;
	__syncthreads();
	if (threadIdx.y || c >= C) return;
	for (int k = 1; k < 8; k++) a += plain[k][threadIdx.x], b += weighted[k][threadIdx.x];
	const double inverse = 1 / sqrt((double)stats[C + c] + eps), k = gamma[c] * inverse;
	dgamma[c] = (float)(b * inverse);
	dbeta[c] = (float)a;
	coefficients[c] = (float)k;
	coefficients[C + c] = training ? (float)(-k * inverse * inverse * b / (double)rows) : 0.f;
	coefficients[2 * C + c] = training ? (float)(-k * a / (double)rows) : 0.f;
}
REGISTER_KERNEL(batch_norm_back_total)

// Reads x and the gradient once, writes dx once. The gradient is dresidual, which is masked, where that holds what dy
// was, not less; else dy, masked as in batch_norm_back_parts.
extern "C" __global__ void __launch_bounds__(256, 3)
batch_norm_back(const float *x, const float *stats, const float *gamma, const float *beta, const float *y, const float *dy,
				const float *dresidual, const float *coefficients, float *dx, i64 rows, i64 C, i64 chunk, i64 relu, double eps,
				i64 half_x, i64 half_y, i64 half_dy, i64 half_dresidual, i64 half_dx) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(dy) && aligned(dx) && aligned(y) && aligned(dresidual);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4;
	const int n = (int)(C - c);
	if (n <= 0) return;
	if (dresidual && (!half_dresidual || half_dy)) dy = dresidual, half_dy = half_dresidual, y = nullptr;
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	const channels q = channels_of(stats, gamma, beta, C, c, n, eps);
	const quad k = load_quad(coefficients + c, n, false);
	const quad a = load_quad(coefficients + C + c, n, false), b = load_quad(coefficients + 2 * C + c, n, false);
	with_maps(wide, types(x, half_x, y, half_y, dy, half_dy, dx, half_dx), n, [&](auto map_of) {
		const auto from_x = map_of(x, half_x), from_y = map_of(y, half_y), from_dy = map_of(dy, half_dy), to_dx = map_of(dx, half_dx);
		constexpr int AHEAD = ahead<decltype(map_of(x, 0))>;
		const i64 step = blockDim.y;
		for (i64 r0 = from + threadIdx.y; r0 < to; r0 += AHEAD * step) {
			const auto grads = load_rows<AHEAD>(from_dy, r0, step, to, C, c);
			const auto rows = load_rows<AHEAD>(from_x, r0, step, to, C, c);
#pragma unroll
			for (int e = 0; e < AHEAD; e++) {
				if (r0 + e * step >= to) continue;
				quad g = number(grads.row[e]);
				const quad v = number(rows.row[e]), mask = y ? number(load(from_y, (r0 + e * step) * C + c)) : quad{{1.f, 1.f, 1.f, 1.f}};
#pragma unroll
				for (int j = 0; j < 4; j++) {
					if (!(mask.v[j] > 0.f) || (relu && !(normed(q, j, v.v[j]) > 0.f))) g.v[j] = 0.f;
					g.v[j] = k.v[j] * g.v[j] + a.v[j] * (v.v[j] - q.mean.v[j]) + b.v[j];
				}
				store(to_dx, (r0 + e * step) * C + c, g);
			}
		}
	});
}
REGISTER_KERNEL(batch_norm_back)

// A thread has a channel. A single row has no unbiased variance; its biased one, 0, is taken.
extern "C" __global__ void __launch_bounds__(256)
running_stats(const float *stats, float *mean, float *variance, i64 rows, i64 C, double momentum) {
	const i64 c = blockIdx.x * (i64)blockDim.x + threadIdx.x;
	if (c >= C) return;
	const float m = (float)momentum, keep = (float)(1 - momentum);
	const float unbias = (float)((double)rows / (double)(rows > 1 ? rows - 1 : 1));
	mean[c] = keep * mean[c] + m * stats[c];
	variance[c] = keep * variance[c] + m * unbias * stats[C + c];
}
REGISTER_KERNEL(running_stats)
