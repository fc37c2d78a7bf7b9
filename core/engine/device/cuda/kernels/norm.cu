// Layer norm (Ba et al. 2016). A warp has a row, in registers: it is read once, its mean and variance are
// computed in two passes over the registers (one pass loses the variance of rows far from zero), and each result is
// written once. Rows of more than 1280 columns, or not of whole quads, are read again from the L1 cache instead.
#include "reduce.cuh"
#include "vector.cuh"

// place is the column of the first of four numbers that this lane has of piece k: 128 columns are a piece.
DEVICE int place(int k) { return 4 * (int)threadIdx.x + 128 * k; }

// load_row reads a row of at most 128·K columns from element `at` of x on, as bfloat16 with half; whole quads, 0 from
// cols on.
template <int K> DEVICE void load_row(pack<4> (&row)[K], const float *x, i64 at, int cols, bool half) {
#pragma unroll
	for (int k = 0; k < K; k++) {
		row[k] = {};
		if (place(k) < cols) row[k] = load(width<4>{}, x, at + place(k), half);
	}
}

// store_row writes a row to x from element `at` on, as bfloat16 with half.
template <int K> DEVICE void store_row(float *x, i64 at, const pack<4> (&row)[K], int cols, bool half) {
#pragma unroll
	for (int k = 0; k < K; k++)
		if (place(k) < cols) store(width<4>{}, x, at + place(k), row[k], half);
}

// normalise makes x̂ = (x − mean)/sqrt(var + eps) of a row in place, 0 from cols on, and returns the 1/sqrt.
template <int K> DEVICE float normalise(pack<4> (&row)[K], int cols, double eps) {
	float sum = 0, squares = 0;
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int j = 0; j < 4; j++) sum += row[k].v[j];
	const float mean = warp_sum(sum) / cols;
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int j = 0; j < 4; j++) {
			row[k].v[j] = place(k) < cols ? row[k].v[j] - mean : 0;
			squares += row[k].v[j] * row[k].v[j];
		}
	const float inverse = 1 / sqrtf(warp_sum(squares) / cols + (float)eps);
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int j = 0; j < 4; j++) row[k].v[j] *= inverse;
	return inverse;
}

template <int K> DEVICE void norm_rows(const float *x, const float *gamma, const float *beta, float *y, i64 height, i64 cols,
	double eps, bool half_x, bool half_y) {
	const int n = (int)cols;
	const i64 r = team_row();
	if (r >= height) return; // the whole warp
	pack<4> row[K], scale[K];
	load_row(row, x, r * cols, n, half_x);
	normalise(row, n, eps);
	load_row(scale, gamma, 0, n, false);
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int j = 0; j < 4; j++) row[k].v[j] *= scale[k].v[j];
	load_row(scale, beta, 0, n, false);
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int j = 0; j < 4; j++) row[k].v[j] += scale[k].v[j];
	store_row(y, r * cols, row, n, half_y);
}

// norm_rows_back gives dx of the rows that this block has and parts [blocks, 2, cols], their sums of dγ and of dβ.
// With g = dy·γ: dx = (g − mean(g) − x̂·mean(g·x̂))/σ, plus residual unless that is null. Each warp sums its rows in
// registers; the warps of a block are added in order. The flags say what is bfloat16.
template <int K> DEVICE void norm_rows_back(const float *x, const float *gamma, const float *dy, const float *residual, float *dx,
	float *parts, i64 height, i64 cols, double eps, bool half_x, bool half_dy, bool half_residual, bool half_dx) {
	__shared__ pack<4> sums[2][32 * K]; // of dγ and of dβ
	const int n = (int)cols;
	pack<4> dgamma[K] = {}, dbeta[K] = {};
	const i64 step = gridDim.x * (i64)blockDim.y;
#pragma unroll 1
	for (i64 r = team_row(); r < height; r += step) {
		pack<4> hat[K], g[K], other[K];
		load_row(hat, x, r * cols, n, half_x);
		load_row(g, dy, r * cols, n, half_dy);
		const float inverse = normalise(hat, n, eps);
		float sum = 0, dot = 0;
#pragma unroll
		for (int k = 0; k < K; k++) {
			pack<4> scale[1];
			const int rest = n - 128 * k;
			load_row(scale, gamma, 128 * k, rest, false);
#pragma unroll
			for (int j = 0; j < 4; j++) {
				dgamma[k].v[j] += g[k].v[j] * hat[k].v[j];
				dbeta[k].v[j] += g[k].v[j];
				g[k].v[j] *= scale[0].v[j];
				sum += g[k].v[j];
				dot += g[k].v[j] * hat[k].v[j];
			}
		}
		sum = warp_sum(sum) / n;
		dot = warp_sum(dot) / n;
		if (residual) load_row(other, residual, r * cols, n, half_residual);
#pragma unroll
		for (int k = 0; k < K; k++)
#pragma unroll
			for (int j = 0; j < 4; j++) {
				g[k].v[j] = (g[k].v[j] - sum - hat[k].v[j] * dot) * inverse;
				if (residual) g[k].v[j] += other[k].v[j];
			}
		store_row(dx, r * cols, g, n, half_dx);
	}
	for (unsigned turn = 0; turn < blockDim.y; turn++) {
		if (threadIdx.y == turn) {
#pragma unroll
			for (int k = 0; k < K; k++) {
				pack<4> &gammas = sums[0][place(k) / 4], &betas = sums[1][place(k) / 4];
#pragma unroll
				for (int j = 0; j < 4; j++) {
					dgamma[k].v[j] += turn ? gammas.v[j] : 0;
					dbeta[k].v[j] += turn ? betas.v[j] : 0;
				}
				gammas = dgamma[k];
				betas = dbeta[k];
			}
		}
		__syncthreads();
	}
	parts += blockIdx.x * 2 * cols;
	for (int c = 4 * (int)(threadIdx.y * 32 + threadIdx.x); c < n; c += 4 * (int)(32 * blockDim.y)) {
		store(width<4>{}, parts + c, sums[0][c / 4]);
		store(width<4>{}, parts + cols + c, sums[1][c / 4]);
	}
}

// layer_norm_K, in blocks of 32x8, and layer_norm_back_K, of 32x4, take rows of up to 128·K columns, in whole quads:
// a warp a row. add_rows (rows.cu) makes dγ and dβ of parts. The way back holds 16·K numbers
// a thread and needs few warps: each has kilobytes under way.
#define LAYER_NORM(K) \
	extern "C" __global__ void __launch_bounds__(256) layer_norm_##K(const float *x, const float *gamma, \
		const float *beta, float *y, i64 rows, i64 cols, double eps, i64 half_x, i64 half_y) { \
		norm_rows<K>(x, gamma, beta, y, rows, cols, eps, half_x, half_y); \
	} \
	extern "C" __global__ void __launch_bounds__(128, K <= 4 ? 4 : K <= 6 ? 3 : 2) layer_norm_back_##K(const float *x, const float *gamma, \
		const float *dy, const float *residual, float *dx, float *parts, i64 rows, i64 cols, double eps, i64 half_x, i64 half_dy, \
		i64 half_residual, i64 half_dx) { \
		norm_rows_back<K>(x, gamma, dy, residual, dx, parts, rows, cols, eps, half_x, half_dy, half_residual, half_dx); \
	}

LAYER_NORM(2)
REGISTER_KERNEL(layer_norm_2)
REGISTER_KERNEL(layer_norm_back_2)
LAYER_NORM(3)
REGISTER_KERNEL(layer_norm_3)
REGISTER_KERNEL(layer_norm_back_3)
LAYER_NORM(4)
REGISTER_KERNEL(layer_norm_4)
REGISTER_KERNEL(layer_norm_back_4)
LAYER_NORM(6)
REGISTER_KERNEL(layer_norm_6)
REGISTER_KERNEL(layer_norm_back_6)
LAYER_NORM(8)
REGISTER_KERNEL(layer_norm_8)
REGISTER_KERNEL(layer_norm_back_8)
LAYER_NORM(10)
REGISTER_KERNEL(layer_norm_10)
REGISTER_KERNEL(layer_norm_back_10)

// number_at is number i of x, a bfloat16 with half.
DEVICE float number_at(const float *x, i64 i, bool half) { return load(width<1>{}, x, i, half).v[0]; }

// moments is mean and 1/sqrt(var + eps) of a row that is not in registers.
DEVICE float moments(const float *x, i64 at, i64 cols, double eps, bool half, float *inverse) {
	float sum = 0, squares = 0;
	for (i64 c = threadIdx.x; c < cols; c += blockDim.x) sum += number_at(x, at + c, half);
	const float mean = team_sum(sum) / cols;
	for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
		const float d = number_at(x, at + c, half) - mean;
		squares += d * d;
	}
	*inverse = 1 / sqrtf(team_sum(squares) / cols + (float)eps);
	return mean;
}

// layer_norm_any: rows of any length; the flags say what is bfloat16. Teams (reduce.cuh).
extern "C" __global__ void __launch_bounds__(1024) layer_norm_any(const float *x, const float *gamma, const float *beta,
	float *y, i64 height, i64 cols, double eps, i64 half_x, i64 half_y) {
	const i64 r = team_row();
	if (r >= height) return;
	const i64 at = r * cols;
	float inverse;
	const float mean = moments(x, at, cols, eps, half_x, &inverse);
	for (i64 c = threadIdx.x; c < cols; c += blockDim.x)
		store(width<1>{}, y, at + c, {{(number_at(x, at + c, half_x) - mean) * inverse * gamma[c] + beta[c]}}, half_y);
}
REGISTER_KERNEL(layer_norm_any)

// layer_norm_back_any: dx of rows of any length, plus residual unless that is null, and stats [rows, 2] = mean and 1/sqrt.
// Teams.
extern "C" __global__ void __launch_bounds__(1024) layer_norm_back_any(const float *x, const float *gamma, const float *dy,
	const float *residual, float *dx, float *stats, i64 height, i64 cols, double eps, i64 half_x, i64 half_dy, i64 half_residual,
	i64 half_dx) {
	const i64 r = team_row();
	if (r >= height) return;
	const i64 at = r * cols;
	float inverse, sum = 0, dot = 0;
	const float mean = moments(x, at, cols, eps, half_x, &inverse);
	for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
		const float g = number_at(dy, at + c, half_dy) * gamma[c];
		sum += g;
		dot += g * (number_at(x, at + c, half_x) - mean) * inverse;
	}
	sum = team_sum(sum) / cols;
	dot = team_sum(dot) / cols;
	for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
		const float g = number_at(dy, at + c, half_dy) * gamma[c];
		float d = (g - sum - (number_at(x, at + c, half_x) - mean) * inverse * dot) * inverse;
		if (residual) d += number_at(residual, at + c, half_residual);
		store(width<1>{}, dx, at + c, {{d}}, half_dx);
	}
	if (threadIdx.x == 0) {
		stats[2 * r] = mean;
		stats[2 * r + 1] = inverse;
	}
}
REGISTER_KERNEL(layer_norm_back_any)

// layer_norm_params_any: parts [lanes, 2, cols] = sums of dγ and dβ over rows, given stats; as sum_rows (rows.cu).
extern "C" __global__ void __launch_bounds__(256) layer_norm_params_any(const float *x, const float *dy, const float *stats,
	float *parts, i64 height, i64 cols, i64 half_x, i64 half_dy) {
	const i64 lane = blockIdx.y * (i64)blockDim.y + threadIdx.y;
	columns(cols, false, [&](auto, i64 c) {
		float dgamma = 0, dbeta = 0;
		rows(height, [&](i64 r) {
			const float d = number_at(dy, r * cols + c, half_dy);
			dgamma += d * (number_at(x, r * cols + c, half_x) - stats[2 * r]) * stats[2 * r + 1];
			dbeta += d;
		});
		parts[lane * 2 * cols + c] = dgamma;
		parts[(lane * 2 + 1) * cols + c] = dbeta;
	});
}
REGISTER_KERNEL(layer_norm_params_any)
