// Kernels that move tokens [batch, position, width] and pictures: each number read once and written once. Flags say
// which arrays are bfloat16.
#include "vector.cuh"

// zero: x [n] = 0.
extern "C" __global__ void __launch_bounds__(256) zero(float *x, i64 n, i64 half) {
	flat(n, wide(x), [&](auto w, i64 i) { store(w, x, i, fill(w, 0), half); });
}
REGISTER_KERNEL(zero)

// gather: out [n, cols] = rows ids [n] of table [height, cols]; NaN for an id outside. Plane.
extern "C" __global__ void __launch_bounds__(256) gather(const float *table, const int *ids, float *out, i64 height, i64 n,
	i64 cols, i64 half_table, i64 half_out) {
	columns(cols, cols % 4 == 0 && wide(table, out), [&](auto w, i64 c) {
		rows(n, [&](i64 r) {
			const i64 id = ids[r];
			auto v = fill(w, __int_as_float(0x7fffffff));
			if (id >= 0 && id < height) v = load(w, table, id * cols + c, half_table);
			store(w, out, r * cols + c, v, half_out);
		});
	});
}
REGISTER_KERNEL(gather)

// concat: out [b, na + nc] = a [b, na] then c [b, nc]; a is [na] when it repeats (pitch 0 instead of na). Plane over
// out.
extern "C" __global__ void __launch_bounds__(256) concat(const float *a, const float *c, float *out, i64 b, i64 na, i64 nc,
	i64 pitch, i64 half_a, i64 half_c, i64 half_out) {
	columns(na + nc, na % 4 == 0 && nc % 4 == 0 && wide(a, c, out), [&](auto w, i64 j) {
		const numbers from = j < na ? numbers(a, half_a) + j : numbers(c, half_c) + (j - na);
		const i64 step = j < na ? pitch : nc;
		rows(b, [&](i64 r) { store(w, out, r * (na + nc) + j, load(w, from, r * step), half_out); });
	});
}
REGISTER_KERNEL(concat)

// slice: out [b, n] = columns [from, from + n) of x [b, cols]. Plane over out.
extern "C" __global__ void __launch_bounds__(256) slice(const float *x, float *out, i64 b, i64 cols, i64 from, i64 n,
	i64 half_x, i64 half_out) {
	columns(n, n % 4 == 0 && cols % 4 == 0 && from % 4 == 0 && wide(x, out), [&](auto w, i64 j) {
		rows(b, [&](i64 r) { store(w, out, r * n + j, load(w, x, r * cols + from + j, half_x), half_out); });
	});
}
REGISTER_KERNEL(slice)

// slice_back: dx [b, cols] = dy [b, n] at columns [from, from + n), 0 elsewhere. Plane over dx.
extern "C" __global__ void __launch_bounds__(256) slice_back(const float *dy, float *dx, i64 b, i64 cols, i64 from, i64 n,
	i64 half_dy, i64 half_dx) {
	columns(cols, n % 4 == 0 && cols % 4 == 0 && from % 4 == 0 && wide(dy, dx), [&](auto w, i64 j) {
		const bool inside = j >= from && j < from + n;
		rows(b, [&](i64 r) {
			auto v = fill(w, 0);
			if (inside) v = load(w, dy, r * n + j - from, half_dy);
			store(w, dx, r * cols + j, v, half_dx);
		});
	});
}
REGISTER_KERNEL(slice_back)

// counted is how many of t positions of sequence b count: lengths[b] moved into [1, t], or t.
DEVICE i64 counted(const int *lengths, i64 b, i64 t) { return lengths ? max((i64)1, min((i64)lengths[b], t)) : t; }

// mean_tokens: out [b, cols] = mean over the positions of x [b, t, cols] that count; lengths [b] or null. Plane
// over out.
extern "C" __global__ void __launch_bounds__(256, 4) mean_tokens(const float *x, const int *lengths, float *out, i64 b, i64 t,
	i64 cols, i64 half_x, i64 half_out) {
	columns(cols, cols % 4 == 0 && wide(x, out), [&](auto w, i64 c) {
		rows(b, [&](i64 r) {
			const i64 n = counted(lengths, r, t);
			auto sum = fill(w, 0);
			const numbers from = numbers(x, half_x) + (r * t * cols + c);
#pragma unroll 4
			for (i64 i = 0; i < n; i++) {
				const auto v = load(w, from, i * cols);
				for (int k = 0; k < w.n; k++) sum.v[k] += v.v[k];
			}
			for (int k = 0; k < w.n; k++) sum.v[k] /= n;
			store(w, out, r * cols + c, sum, half_out);
		});
	});
}
REGISTER_KERNEL(mean_tokens)

// mean_tokens_back: dx [b, t, cols] = dy [b, cols]/n at the positions that count, 0 elsewhere. Plane over dy.
extern "C" __global__ void __launch_bounds__(256) mean_tokens_back(const float *dy, const int *lengths, float *dx, i64 b,
	i64 t, i64 cols, i64 half_dy, i64 half_dx) {
	columns(cols, cols % 4 == 0 && wide(dy, dx), [&](auto w, i64 c) {
		rows(b, [&](i64 r) {
			const i64 n = counted(lengths, r, t);
			auto v = load(w, dy, r * cols + c, half_dy);
			for (int k = 0; k < w.n; k++) v.v[k] /= n;
			const numbers to = numbers(dx, half_dx) + (r * t * cols + c);
			for (i64 i = 0; i < t; i++) store(w, to, i * cols, i < n ? v : fill(w, 0));
		});
	});
}
REGISTER_KERNEL(mean_tokens_back)

// transpose: out [b, n, m] = x [b, m, n]. Blocks of 32x8 turn a tile of 32x32 in shared memory, so that both sides
// move in whole lines; grid x is tiles along n, y along m, z matrices, the latter two of any size.
extern "C" __global__ void __launch_bounds__(256, 2) transpose(const float *x, float *out, i64 b, i64 m, i64 n, i64 half_x,
	i64 half_out) {
	__shared__ float tile[32][33];
	const int tx = threadIdx.x, ty = threadIdx.y;
	const i64 c0 = blockIdx.x * (i64)32;
	const int across = (int)min(n - c0, (i64)32);
	for (i64 item = blockIdx.z; item < b; item += gridDim.z) {
		for (i64 r0 = blockIdx.y * (i64)32; r0 < m; r0 += gridDim.y * (i64)32) {
			const int high = (int)min(m - r0, (i64)32);
			i64 from = (item * m + r0 + ty) * n + c0 + tx, to = (item * n + c0 + ty) * m + r0 + tx;
			for (int i = ty; i < high; i += 8, from += 8 * n)
				if (tx < across) tile[i][tx] = load(width<1>{}, x, from, half_x).v[0];
			__syncthreads();
			for (int i = ty; i < across; i += 8, to += 8 * m)
				if (tx < high) store(width<1>{}, out, to, {{tile[tx][i]}}, half_out);
			__syncthreads();
		}
	}
}
REGISTER_KERNEL(transpose)

// patchify: out [b·gh·gw, c, p, p] = x [b, h, w, c] in patches of p·p, as bfloat16 with half. A block a patch:
// threads along x have pixels of a line, along y lines of colours. Lines are read once for each colour, from the L1
// cache after the first time; the patch is written in one stretch.
extern "C" __global__ void __launch_bounds__(256) patchify(const float *x, float *out, i64 h, i64 w, i64 c, i64 p, i64 half) {
	const i64 gw = w / p, gh = h / p;
	const i64 gx = blockIdx.x % gw, gy = blockIdx.x / gw % gh, image = blockIdx.x / gw / gh;
	x += ((image * h + gy * p) * w + gx * p) * c;
	const i64 patch = blockIdx.x * c * p * p;
	const int side = (int)p, colours = (int)c, across = (int)(w * c);
	int colour = (int)threadIdx.y / side, line = (int)threadIdx.y % side;
	while (colour < colours) {
		for (int px = threadIdx.x; px < side; px += blockDim.x)
			store(width<1>{}, out, patch + (colour * side + line) * side + px,
				{{x[line * (i64)across + px * colours + colour]}}, half);
		for (line += blockDim.y; line >= side; line -= side) colour++;
	}
}
REGISTER_KERNEL(patchify)
