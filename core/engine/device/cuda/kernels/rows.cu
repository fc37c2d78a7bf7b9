// Kernels over rows [rows, cols]: sums, lengths, losses. Layer norm is in norm.cu.
#include "reduce.cuh"
#include "vector.cuh"

// sum_rows: parts [lanes, cols] = sums over rows, lane l having rows l, l + lanes, ..., and half = x in bfloat16 when it
// is not null; x may be bfloat16 itself (half_x). A plane whose y threads, over all blocks, are the lanes. Runs of 64 rows are
// summed in float, the runs in double: the order of a column's sum depends on the shape alone.
extern "C" __global__ void __launch_bounds__(256, 3) sum_rows(const float *x, unsigned short *half, float *parts, i64 height,
	i64 cols, i64 half_x) {
	const i64 lane = blockIdx.y * (i64)blockDim.y + threadIdx.y, lanes = gridDim.y * (i64)blockDim.y;
	columns(cols, cols % 4 == 0 && wide(x, half, parts), [&](auto w, i64 c) {
		constexpr int ahead = 4; // rows that are read at once
		double total[w.n] = {};
		for (i64 r = lane; r < height;) {
			auto run = fill(w, 0);
			const i64 end = min(height, r + 64 * lanes);
			for (; r < end; r += ahead * lanes) {
				pack<w.n> v[ahead];
#pragma unroll
				for (int a = 0; a < ahead; a++)
					if (r + a * lanes < end) v[a] = load(w, x, (r + a * lanes) * cols + c, half_x);
#pragma unroll
				for (int a = 0; a < ahead; a++) {
					if (r + a * lanes >= end) continue;
					if (half) store(w, (float *)half, (r + a * lanes) * cols + c, v[a], true);
#pragma unroll
					for (int k = 0; k < w.n; k++) run.v[k] += v[a].v[k];
				}
			}
			for (int k = 0; k < w.n; k++) total[k] += run.v[k];
		}
		auto out = fill(w, 0);
		for (int k = 0; k < w.n; k++) out.v[k] = (float)total[k];
		store(w, parts + lane * cols + c, out);
	});
}
REGISTER_KERNEL(sum_rows)

// add_rows: out [cols] = Σ parts [rows, cols] in double; with more, the second half of the columns go there. parts are
// bfloat16 with half_parts.
// Blocks of 32x8, a block 32 columns: threads along y have rows y, y + 8, ...
extern "C" __global__ void __launch_bounds__(256) add_rows(const float *parts, float *out, float *more, i64 height,
	i64 cols, i64 half_parts) {
	__shared__ double sums[8][32];
	const i64 c = blockIdx.x * (i64)32 + threadIdx.x;
	double sum = 0;
	if (c < cols) {
#pragma unroll 8
		for (i64 r = threadIdx.y; r < height; r += 8) sum += load(width<1>{}, parts, r * cols + c, half_parts).v[0];
	}
	sums[threadIdx.y][threadIdx.x] = sum;
	__syncthreads();
	if (threadIdx.y > 0 || c >= cols) return;
	for (int y = 1; y < 8; y++) sum += sums[y][threadIdx.x];
	const i64 half = more ? cols / 2 : cols;
	(c < half ? out : more - half)[c] = (float)sum;
}
REGISTER_KERNEL(add_rows)

// sum_cols: out [rows] = Σ x [rows, cols] over columns, in double. Teams.
extern "C" __global__ void __launch_bounds__(1024) sum_cols(const float *x, float *out, i64 height, i64 cols) {
	const i64 r = team_row();
	if (r >= height) return; // with all of its team
	x += r * cols;
	double sum = 0;
	along(cols, cols % 4 == 0 && wide(x), [&](auto w, i64 c) {
		const auto v = load(w, x + c);
		for (int k = 0; k < w.n; k++) sum += v.v[k];
	});
	sum = team_sum(sum);
	if (threadIdx.x == 0) out[r] = (float)sum;
}
REGISTER_KERNEL(sum_cols)

// sum_cols_parts: parts [rows, blocks] = sums of pieces of rows: few rows with many columns. Grid x is blocks of a
// row, y rows.
extern "C" __global__ void __launch_bounds__(256) sum_cols_parts(const float *x, double *parts, i64 cols) {
	x += blockIdx.y * cols;
	double sum = 0;
	flat(cols, wide(x), [&](auto w, i64 i) {
		const auto v = load(w, x + i);
		for (int k = 0; k < w.n; k++) sum += v.v[k];
	});
	sum = team_sum(sum);
	if (threadIdx.x == 0) parts[blockIdx.y * (i64)gridDim.x + blockIdx.x] = sum;
}
REGISTER_KERNEL(sum_cols_parts)

// sum_parts: out [rows] = Σ parts [rows, n]. A block a row.
extern "C" __global__ void __launch_bounds__(256) sum_parts(const double *parts, float *out, i64 n) {
	parts += blockIdx.x * n;
	double sum = 0;
	for (i64 i = threadIdx.x; i < n; i += blockDim.x) sum += parts[i];
	sum = team_sum(sum);
	if (threadIdx.x == 0) out[blockIdx.x] = (float)sum;
}
REGISTER_KERNEL(sum_parts)

// l2_norm: y = x/max(‖x‖, eps) of rows. Teams; the row's second reading comes from the L1 cache.
extern "C" __global__ void __launch_bounds__(1024) l2_norm(const float *x, float *y, i64 height, i64 cols, double eps) {
	const i64 r = team_row();
	if (r >= height) return;
	x += r * cols, y += r * cols;
	const bool quads = cols % 4 == 0 && wide(x, y);
	double sum = 0;
	along(cols, quads, [&](auto w, i64 c) {
		const auto v = load(w, x + c);
		for (int k = 0; k < w.n; k++) sum += (double)v.v[k] * v.v[k];
	});
	const float length = (float)sqrt(team_sum(sum)), by = length < (float)eps ? (float)eps : length;
	along(cols, quads, [&](auto w, i64 c) {
		auto v = load(w, x + c);
		for (int k = 0; k < w.n; k++) v.v[k] /= by;
		store(w, y + c, v);
	});
}
REGISTER_KERNEL(l2_norm)

// l2_norm_back: dx = (dy − x·(x·dy)/‖x‖²)/‖x‖ of rows; dy/eps where the row is shorter than eps. Teams.
extern "C" __global__ void __launch_bounds__(1024) l2_norm_back(const float *x, const float *dy, float *dx, i64 height,
	i64 cols, double eps) {
	const i64 r = team_row();
	if (r >= height) return;
	x += r * cols, dy += r * cols, dx += r * cols;
	const bool quads = cols % 4 == 0 && wide(x, dy, dx);
	double squares = 0, dot = 0;
	along(cols, quads, [&](auto w, i64 c) {
		const auto v = load(w, x + c), d = load(w, dy + c);
		for (int k = 0; k < w.n; k++) {
			squares += (double)v.v[k] * v.v[k];
			dot += (double)v.v[k] * d.v[k];
		}
	});
	const float length = (float)sqrt(team_sum(squares));
	const bool tiny = length < (float)eps; // the divisor is a constant then
	const float by = tiny ? (float)eps : length;
	dot = team_sum(dot);
	const float along_x = tiny ? 0 : (float)(dot / by / by);
	along(cols, quads, [&](auto w, i64 c) {
		const auto v = load(w, x + c);
		auto d = load(w, dy + c);
		for (int k = 0; k < w.n; k++) d.v[k] = (d.v[k] - v.v[k] * along_x) / by;
		store(w, dx + c, d);
	});
}
REGISTER_KERNEL(l2_norm_back)

// log_sum_exp of a row, read once: each thread rescales its sum when it meets a greater number. plain is
// Σ x when it is wanted.
DEVICE float log_sum_exp(const float *x, i64 cols, bool quads, bool wanted, double &plain) {
	const float infinity = __int_as_float(0x7f800000);
	float top = -infinity, sum = 0;
	plain = 0;
	along(cols, quads, [&](auto w, i64 c) {
		const auto v = load(w, x + c);
		float best = top;
		for (int k = 0; k < w.n; k++) best = fmaxf(best, v.v[k]);
		if (best > top) {
			sum *= expf(top - best);
			top = best;
		}
		const float from = top == -infinity ? 0 : top; // −∞ − −∞ would be NaN
		for (int k = 0; k < w.n; k++) sum += expf(v.v[k] - from);
		if (wanted)
			for (int k = 0; k < w.n; k++) plain += v.v[k];
	});
	const float best = team_max(top);
	sum = team_sum(top == best ? sum : sum * expf(top - best)); // equal infinities too
	if (wanted) plain = team_sum(plain);
	return best < infinity ? best + logf(sum) : best;
}

// cross_entropy: out [rows] = logsumexp(x) − (1 − smooth)·x[target] − smooth·mean(x). Teams.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy(const float *x, const int *targets, float *out, i64 height,
	i64 cols, double smooth) {
	const i64 r = team_row();
	if (r >= height) return;
	x += r * cols;
	double all;
	const float lse = log_sum_exp(x, cols, cols % 4 == 0 && wide(x), smooth != 0, all);
	if (threadIdx.x != 0) return;
	float loss = lse - (float)(1 - smooth) * x[targets[r]];
	if (smooth != 0) loss -= (float)(smooth / cols * all);
	out[r] = loss;
}
REGISTER_KERNEL(cross_entropy)

// cross_entropy_back: dx = dout·(softmax(x) − q). Teams; the row's second reading comes from the caches: blocks have
// so many threads that the rows in work fit the second one.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy_back(const float *x, const int *targets, const float *dout,
	float *dx, i64 height, i64 cols, double smooth) {
	const i64 r = team_row();
	if (r >= height) return;
	x += r * cols, dx += r * cols;
	const bool quads = cols % 4 == 0 && wide(x, dx);
	double all;
	const float lse = log_sum_exp(x, cols, quads, false, all), d = dout[r];
	const float each = (float)(smooth / cols), target = (float)(1 - smooth);
	const i64 at = targets[r];
	along(cols, quads, [&](auto w, i64 c) {
		auto v = load(w, x + c);
		for (int k = 0; k < w.n; k++) v.v[k] = d * (expf(v.v[k] - lse) - (c + k == at ? target + each : each));
		store(w, dx + c, v);
	});
}
REGISTER_KERNEL(cross_entropy_back)
