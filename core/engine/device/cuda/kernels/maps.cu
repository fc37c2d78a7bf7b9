// Pooling and batch norm of feature maps [B, H, W, C], which lie as rows of C channels. A thread has four
// neighbouring channels (quad.cuh), so that a warp reads whole lines. All of these are bound by memory: each
// says how often it reads and writes its map.
#include "quad.cuh"

// Pools. Blocks: x is a row of the map that is written (b·OH + oy, or b·H + y in the backward passes), y and
// the threads are (column, four channels) in it.

// EACH_SPOT has i go over the columns and groups of channels of this thread.
#define EACH_SPOT(columns) \
	for (i64 i = blockIdx.y * (i64)blockDim.x + threadIdx.x; i < (columns) * ((C + 3) / 4); i += (i64)gridDim.y * blockDim.x)

struct spot {
	i64 b, y, x, c; // picture, row, column, first channel
	int n;			// channels from there on
};

DEVICE spot spot_of(i64 i, i64 rows, i64 C) {
	const unsigned quads = (unsigned)(C + 3) / 4, c = (unsigned)i % quads * 4;
	return {blockIdx.x / (unsigned)rows, blockIdx.x % (unsigned)rows, (unsigned)i / quads, c, (int)(C - c)};
}

// larger says that v replaces the best so far: a NaN does, and then stays.
DEVICE bool larger(float v, float best) { return v > best || (v != v && best == best); }

// Reads a map once, writes 1/stride² of it.
extern "C" __global__ void __launch_bounds__(256)
avg_pool(const float *x, float *y, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 OH, i64 OW) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(y);
	const float area = (float)(size * size);
	EACH_SPOT(OW) {
		const spot s = spot_of(i, OH, C);
		quad sum = {};
		for (i64 ky = 0; ky < size; ky++)
			for (i64 kx = 0; kx < size; kx++) {
				const quad q = load_quad(x + ((s.b * H + s.y * stride + ky) * W + s.x * stride + kx) * C + s.c, s.n, wide);
				for (int j = 0; j < 4; j++) sum.v[j] += q.v[j];
			}
		for (int j = 0; j < 4; j++) sum.v[j] /= area;
		store_quad(y + ((s.b * OH + s.y) * OW + s.x) * C + s.c, sum, s.n, wide);
	}
}
REGISTER_KERNEL(avg_pool)

// windows are the outputs [from, to) whose windows have position p of the input.
DEVICE void windows(i64 p, i64 size, i64 stride, i64 pad, i64 outputs, int *from, int *to) {
	const int first = (int)(p + pad - size + 1), last = (int)((unsigned)(p + pad) / (unsigned)stride);
	*from = first > 0 ? (int)((unsigned)(first + (int)stride - 1) / (unsigned)stride) : 0;
	*to = last < (int)outputs ? last + 1 : (int)outputs;
}

// Each input adds up what its windows got, in their order. Reads dy once, writes the map once.
extern "C" __global__ void __launch_bounds__(256)
avg_pool_back(const float *dy, float *dx, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 OH, i64 OW) {
	const bool wide = C % 4 == 0 && aligned(dx) && aligned(dy);
	const float area = (float)(size * size);
	EACH_SPOT(W) {
		const spot s = spot_of(i, H, C);
		int y0, y1, x0, x1;
		windows(s.y, size, stride, 0, OH, &y0, &y1);
		windows(s.x, size, stride, 0, OW, &x0, &x1);
		quad sum = {};
		for (int oy = y0; oy < y1; oy++)
			for (int ox = x0; ox < x1; ox++) {
				const quad q = load_quad(dy + ((s.b * OH + oy) * OW + ox) * C + s.c, s.n, wide);
				for (int j = 0; j < 4; j++) sum.v[j] += q.v[j] / area;
			}
		store_quad(dx + ((s.b * H + s.y) * W + s.x) * C + s.c, sum, s.n, wide);
	}
}
REGISTER_KERNEL(avg_pool_back)

// best is the maximum of a window of four channels, and the place y·W + x where it is first.
struct best {
	quad top;
	int at[4];
};

DEVICE best best_of(const float *x, int H, int W, i64 C, int size, int top, int left, int n, bool wide) {
	best b;
	for (int j = 0; j < 4; j++) b.top.v[j] = 0.f, b.at[j] = -1;
	const int bottom = top + size < H ? top + size : H, right = left + size < W ? left + size : W;
#pragma unroll 1
	for (int y = top < 0 ? 0 : top; y < bottom; y++)
#pragma unroll 1
		for (int p = left < 0 ? 0 : left; p < right; p++) {
			const quad q = load_quad(x + (y * W + p) * C, n, wide);
			for (int j = 0; j < 4; j++)
				if (b.at[j] < 0 || larger(q.v[j], b.top.v[j])) {
					b.top.v[j] = q.v[j];
					b.at[j] = y * W + p;
				}
		}
	return b;
}

// Reads a map (size/stride)² times, from the caches but for the first, writes 1/stride² of it.
extern "C" __global__ void __launch_bounds__(256)
max_pool(const float *x, float *y, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 pad, i64 OH, i64 OW) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(y);
	EACH_SPOT(OW) {
		const spot s = spot_of(i, OH, C);
		const best b = best_of(x + s.b * H * W * C + s.c, (int)H, (int)W, C, (int)size, (int)(s.y * stride - pad),
							   (int)(s.x * stride - pad), s.n, wide);
		store_quad(y + ((s.b * OH + s.y) * OW + s.x) * C + s.c, b.top, s.n, wide);
	}
}
REGISTER_KERNEL(max_pool)

// Each input looks for itself among the maxima of its windows. Reads the map size²·(size/stride)² times,
// from the caches but for the first, and writes it once.
extern "C" __global__ void __launch_bounds__(256, 4)
max_pool_back(const float *x, const float *dy, float *dx, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 pad, i64 OH, i64 OW) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(dx) && aligned(dy);
	EACH_SPOT(W) {
		const spot s = spot_of(i, H, C);
		int y0, y1, x0, x1;
		windows(s.y, size, stride, pad, OH, &y0, &y1);
		windows(s.x, size, stride, pad, OW, &x0, &x1);
		quad sum = {};
		const int here = (int)(s.y * W + s.x);
		for (int oy = y0; oy < y1; oy++)
			for (int ox = x0; ox < x1; ox++) {
				const best b = best_of(x + s.b * H * W * C + s.c, (int)H, (int)W, C, (int)size, oy * (int)stride - (int)pad,
									   ox * (int)stride - (int)pad, s.n, wide);
				const quad q = load_quad(dy + ((s.b * OH + oy) * OW + ox) * C + s.c, s.n, wide);
				for (int j = 0; j < 4; j++)
					if (b.at[j] == here) sum.v[j] += q.v[j];
			}
		store_quad(dx + ((s.b * H + s.y) * W + s.x) * C + s.c, sum, s.n, wide);
	}
}
REGISTER_KERNEL(max_pool_back)

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
batch_stats_parts(const float *x, float *parts, i64 rows, i64 C, i64 chunk) {
	__shared__ float means[BLOCK][4], squares[BLOCK][4], counts[BLOCK];
	const bool wide = C % 4 == 0 && aligned(x);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4, step = blockDim.y;
	const int n = (int)(C - c);
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	moments<float> all[4] = {};
	// Runs of rows: their mean and distances in registers, then one join.
	for (i64 r = from + threadIdx.y; n > 0 && r < to; r += RUN * step) {
		quad q[RUN];
		int count = 0;
#pragma unroll
		for (int k = 0; k < RUN; k++) {
			const bool in = r + k * step < to;
			q[k] = in ? load_quad(x + (r + k * step) * C + c, n, wide) : quad{};
			count += in;
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

// y = (x − mean)·γ/sqrt(var + eps) + β, and its positive part with relu. Reads and writes the map once.
extern "C" __global__ void __launch_bounds__(256)
batch_norm(const float *x, const float *stats, const float *gamma, const float *beta, float *y, i64 rows, i64 C, i64 chunk,
		   i64 relu, double eps) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(y);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4;
	const int n = (int)(C - c);
	if (n <= 0) return;
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	const quad mean = load_quad(stats + c, n, false), var = load_quad(stats + C + c, n, false);
	quad factor = load_quad(gamma + c, n, false);
	const quad shift = load_quad(beta + c, n, false);
	for (int j = 0; j < 4; j++) factor.v[j] /= sqrtf(var.v[j] + (float)eps);
#pragma unroll 4
	for (i64 r = from + threadIdx.y; r < to; r += blockDim.y) {
		quad q = load_quad(x + r * C + c, n, wide);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			q.v[j] = (q.v[j] - mean.v[j]) * factor.v[j] + shift.v[j];
			if (relu && q.v[j] < 0.f) q.v[j] = 0.f; // a NaN stays
		}
		store_quad(y + r * C + c, q, n, wide);
	}
}
REGISTER_KERNEL(batch_norm)

// parts [chunks, 2, C]: Σ g and Σ g·(x − mean), where g is dy, or 0 where the output y (when given) is not
// positive. Reads x, dy and y once.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_back_parts(const float *x, const float *stats, const float *y, const float *dy, float *parts, i64 rows, i64 C, i64 chunk) {
	__shared__ float plain[BLOCK][4], weighted[BLOCK][4];
	const bool wide = C % 4 == 0 && aligned(x) && aligned(dy) && aligned(y);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4, step = blockDim.y;
	const int n = (int)(C - c);
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	quad a = {}, b = {};
	const quad mean = n > 0 ? load_quad(stats + c, n, false) : quad{};
	for (i64 r0 = from + threadIdx.y; n > 0 && r0 < to; r0 += RUN * step) {
		quad runa = {}, runb = {};
#pragma unroll
		for (int k = 0; k < RUN; k++) {
			const i64 r = r0 + k * step;
			if (r >= to) continue;
			const quad g = load_quad(dy + r * C + c, n, wide), v = load_quad(x + r * C + c, n, wide);
			const quad mask = y ? load_quad(y + r * C + c, n, wide) : quad{{1.f, 1.f, 1.f, 1.f}};
#pragma unroll
			for (int j = 0; j < 4; j++)
				if (mask.v[j] > 0.f) {
					runa.v[j] += g.v[j];
					runb.v[j] += g.v[j] * (v.v[j] - mean.v[j]);
				}
		}
		for (int j = 0; j < 4; j++) a.v[j] += runa.v[j], b.v[j] += runb.v[j];
	}
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

// Reads x, dy and y once, writes dx once.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_back(const float *x, const float *stats, const float *y, const float *dy, const float *coefficients, float *dx, i64 rows,
				i64 C, i64 chunk) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(dy) && aligned(y) && aligned(dx);
	const i64 c = (blockIdx.x * (i64)blockDim.x + threadIdx.x) * 4;
	const int n = (int)(C - c);
	if (n <= 0) return;
	const i64 from = blockIdx.y * chunk, to = from + chunk < rows ? from + chunk : rows;
	const quad mean = load_quad(stats + c, n, false), k = load_quad(coefficients + c, n, false);
	const quad a = load_quad(coefficients + C + c, n, false), b = load_quad(coefficients + 2 * C + c, n, false);
#pragma unroll 4
	for (i64 r = from + threadIdx.y; r < to; r += blockDim.y) {
		const quad g = load_quad(dy + r * C + c, n, wide), v = load_quad(x + r * C + c, n, wide);
		const quad mask = y ? load_quad(y + r * C + c, n, wide) : quad{{1.f, 1.f, 1.f, 1.f}};
		quad q;
#pragma unroll
		for (int j = 0; j < 4; j++)
			q.v[j] = k.v[j] * (mask.v[j] > 0.f ? g.v[j] : 0.f) + a.v[j] * (v.v[j] - mean.v[j]) + b.v[j];
		store_quad(dx + r * C + c, q, n, wide);
	}
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
