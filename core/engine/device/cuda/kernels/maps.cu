// Pooling of feature maps [B, H, W, C], which lie as rows of C channels. A thread has four
// neighbouring channels (quad.cuh), so that a warp reads whole lines. All of these are bound by memory: each
// says how often it reads and writes its map.
#include "map.cuh"

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
extern "C" __global__ void __launch_bounds__(256, 4)
avg_pool(const float *x, float *y, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 OH, i64 OW, i64 half_x, i64 half_y) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(y);
	const float area = (float)(size * size);
	EACH_SPOT(OW) {
		const spot s = spot_of(i, OH, C);
		with_maps(wide, types(x, half_x, y, half_y), s.n, [&](auto map_of) {
			const auto from_x = map_of(x, half_x);
			const i64 first = ((s.b * H + s.y * stride) * W + s.x * stride) * C + s.c;
			quad sum = {};
			const auto add = [&](auto raw) {
				const quad q = number(raw);
				for (int j = 0; j < 4; j++) sum.v[j] += q.v[j];
			};
			if (size == 2) { // all four are on their way before the first is used
				const auto a = load(from_x, first), b = load(from_x, first + C);
				const auto c = load(from_x, first + W * C), d = load(from_x, first + W * C + C);
				add(a), add(b), add(c), add(d);
			} else {
				for (i64 ky = 0; ky < size; ky++)
					for (i64 kx = 0; kx < size; kx++) add(load(from_x, first + (ky * W + kx) * C));
			}
			for (int j = 0; j < 4; j++) sum.v[j] /= area;
			store(map_of(y, half_y), ((s.b * OH + s.y) * OW + s.x) * C + s.c, sum);
		});
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
avg_pool_back(const float *dy, float *dx, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 OH, i64 OW, i64 half_dy, i64 half_dx) {
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
				const quad q = load_as(dy, ((s.b * OH + oy) * OW + ox) * C + s.c, s.n, wide, half_dy);
				for (int j = 0; j < 4; j++) sum.v[j] += q.v[j] / area;
			}
		store_as(dx, ((s.b * H + s.y) * W + s.x) * C + s.c, sum, s.n, wide, half_dx);
	}
}
REGISTER_KERNEL(avg_pool_back)

// best is the maximum of a window of four channels, and the place y·W + x where it is first.
struct best {
	quad top;
	int at[4];
};

// best_of looks at a window of the picture and channels that begin at number x of map.
DEVICE best best_of(const float *map, i64 x, int H, int W, i64 C, int size, int top, int left, int n, bool wide, bool half) {
	best b;
	for (int j = 0; j < 4; j++) b.top.v[j] = 0.f, b.at[j] = -1;
	const int bottom = top + size < H ? top + size : H, right = left + size < W ? left + size : W;
#pragma unroll 1
	for (int y = top < 0 ? 0 : top; y < bottom; y++)
#pragma unroll 1
		for (int p = left < 0 ? 0 : left; p < right; p++) {
			const quad q = load_as(map, x + (y * W + p) * C, n, wide, half);
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
max_pool(const float *x, float *y, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 pad, i64 OH, i64 OW, i64 half_x, i64 half_y) {
	const bool wide = C % 4 == 0 && aligned(x) && aligned(y);
	EACH_SPOT(OW) {
		const spot s = spot_of(i, OH, C);
		const best b = best_of(x, s.b * H * W * C + s.c, (int)H, (int)W, C, (int)size, (int)(s.y * stride - pad),
							   (int)(s.x * stride - pad), s.n, wide, half_x);
		store_as(y, ((s.b * OH + s.y) * OW + s.x) * C + s.c, b.top, s.n, wide, half_y);
	}
}
REGISTER_KERNEL(max_pool)

// Each input looks for itself among the maxima of its windows. Reads the map size²·(size/stride)² times,
// from the caches but for the first, and writes it once.
extern "C" __global__ void __launch_bounds__(256, 4)
max_pool_back(const float *x, const float *dy, float *dx, i64 H, i64 W, i64 C, i64 size, i64 stride, i64 pad, i64 OH, i64 OW, i64 half_x,
			  i64 half_dy, i64 half_dx) {
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
				const best b = best_of(x, s.b * H * W * C + s.c, (int)H, (int)W, C, (int)size, oy * (int)stride - (int)pad,
									   ox * (int)stride - (int)pad, s.n, wide, half_x);
				const quad q = load_as(dy, ((s.b * OH + oy) * OW + ox) * C + s.c, s.n, wide, half_dy);
				for (int j = 0; j < 4; j++)
					if (b.at[j] == here) sum.v[j] += q.v[j];
			}
		store_as(dx, ((s.b * H + s.y) * W + s.x) * C + s.c, sum, s.n, wide, half_dx);
	}
}
REGISTER_KERNEL(max_pool_back)
