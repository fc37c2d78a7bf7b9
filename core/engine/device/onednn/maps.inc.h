// Kernels over pictures and feature maps; part of kernels.inc.h.

// patchify: n is rows of patches B·H/P, C, P, W. One item is a row of patches.
#define PATCHIFY(name, type, written) \
	static void name(td_exec *e, int part, long lo, long hi) { \
		(void)part; \
		long c = e->n[1], p = e->n[2], w = e->n[3]; \
		for (long r = lo; r < hi; r++) { \
			const float *x = F(0) + r * p * w * c; \
			type *out = (type *)e->arg[1] + r * p * w * c; \
			for (long g = 0; g < w / p; g++) \
				for (long k = 0; k < c; k++) \
					for (long y = 0; y < p; y++) { \
						const float *from = x + (y * w + g * p) * c + k; \
						for (long i = 0; i < p; i++) \
							*out++ = written(from[i * c]); \
					} \
		} \
	}
static inline uint16_t half_of(float x) { return bf16((uint32_t)float_bits(x)) >> 16; }
PATCHIFY(patchify_range, float, )
PATCHIFY(patchify_half_range, uint16_t, half_of)
static void patchify(td_exec *e) {
	split(e, e->n[0], 4 * e->n[1] * e->n[2] * e->n[3], 1, td_half_arg(e->n, 1) ? patchify_half_range : patchify_range);
}

// Pools: n is rows of output B·OH, B, H, W, C, Size, Stride, Pad, OH, OW.
#define POOL_SIZES \
	long h = e->n[2], w = e->n[3], c = e->n[4], size = e->n[5], stride = e->n[6], pad = e->n[7], oh = e->n[8], ow = e->n[9]

// WINDOW runs body for each position (y, x) of the window of output (oy, ox) that is inside the map.
#define WINDOW(body) \
	for (long y = oy * stride - pad; y < oy * stride - pad + size; y++) \
		for (long x = ox * stride - pad; x < ox * stride - pad + size; x++) \
			if (y >= 0 && y < h && x >= 0 && x < w) { body; }

static void avg_pool_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	POOL_SIZES;
	float k = 1.f / (size * size);
	for (long r = lo; r < hi; r++) {
		long b = r / oh, oy = r % oh;
		for (long ox = 0; ox < ow; ox++) {
			float *out = F(1) + (r * ow + ox) * c;
			memset(out, 0, c * sizeof(float));
			WINDOW({
				const float *in = F(0) + ((b * h + y) * w + x) * c;
				SIMD for (long j = 0; j < c; j++) out[j] += in[j];
			})
			SIMD for (long j = 0; j < c; j++) out[j] *= k;
		}
	}
}
static void avg_pool(td_exec *e) { split(e, e->n[0], 2 * e->n[9] * e->n[4] * e->n[5] * e->n[5], 1, avg_pool_range); }

// The backward passes take whole pictures, as windows may overlap: items are pictures.
static void avg_pool_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	POOL_SIZES;
	float k = 1.f / (size * size);
	for (long b = lo; b < hi; b++) {
		memset(F(1) + b * h * w * c, 0, h * w * c * sizeof(float));
		for (long oy = 0; oy < oh; oy++)
			for (long ox = 0; ox < ow; ox++) {
				const float *dy = F(0) + ((b * oh + oy) * ow + ox) * c;
				WINDOW({
					float *dx = F(1) + ((b * h + y) * w + x) * c;
					SIMD for (long j = 0; j < c; j++) dx[j] += k * dy[j];
				})
			}
	}
}
static void avg_pool_back(td_exec *e) { split(e, e->n[1], 3 * e->n[2] * e->n[3] * e->n[4], 1, avg_pool_back_range); }

static void max_pool_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	POOL_SIZES;
	for (long r = lo; r < hi; r++) {
		long b = r / oh, oy = r % oh;
		for (long ox = 0; ox < ow; ox++) {
			float *out = F(1) + (r * ow + ox) * c;
			int first = 1;
			WINDOW({
				const float *in = F(0) + ((b * h + y) * w + x) * c;
				if (first) {
					memcpy(out, in, c * sizeof(float));
				} else {
					// A NaN replaces any number and stays.
					SIMD for (long j = 0; j < c; j++) out[j] = (out[j] >= in[j]) | (out[j] != out[j]) ? out[j] : in[j];
				}
				first = 0;
			})
		}
	}
}
static void max_pool(td_exec *e) { split(e, e->n[0], 2 * e->n[9] * e->n[4] * e->n[5] * e->n[5], 1, max_pool_range); }

static void max_pool_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	POOL_SIZES;
	for (long b = lo; b < hi; b++) {
		const float *in = F(0) + b * h * w * c;
		float *dx = F(2) + b * h * w * c;
		memset(dx, 0, h * w * c * sizeof(float));
		for (long oy = 0; oy < oh; oy++)
			for (long ox = 0; ox < ow; ox++) {
				const float *dy = F(1) + ((b * oh + oy) * ow + ox) * c;
				for (long j0 = 0; j0 < c; j0 += VL) {
					long m = c - j0 < VL ? c - j0 : VL;
					float best[VL];
					int32_t where[VL];
					for (long j = 0; j < m; j++)
						where[j] = -1, best[j] = -INFINITY;
					WINDOW({
						int32_t at = (int32_t)(y * w + x);
						const float *v = in + at * c + j0;
						SIMD for (long j = 0; j < m; j++) {
							int better = (where[j] < 0) | (v[j] > best[j]) | ((v[j] != v[j]) & (best[j] == best[j]));
							best[j] = better ? v[j] : best[j];
							where[j] = better ? at : where[j];
						}
					})
					for (long j = 0; j < m; j++)
						dx[where[j] * c + j0 + j] += dy[j0 + j];
				}
			}
	}
}
static void max_pool_back(td_exec *e) { split(e, e->n[1], 4 * e->n[2] * e->n[3] * e->n[4], 1, max_pool_back_range); }

// Batch norm: n is Rows, C. Sums use the parts of rows.inc.h.

static void deviations_range(td_exec *e, int part, long lo, long hi) {
	long c = e->n[1];
	const float *mean = F(1);
	double *s = part_sum(e, part, 1);
	for (long j0 = 0; j0 < c; j0 += TILE) {
		long m = c - j0 < TILE ? c - j0 : TILE;
		for (long r0 = lo; r0 < hi; r0 += RUN) {
			float acc[TILE] = {0};
			for (long r = r0; r < hi && r < r0 + RUN; r++) {
				const float *x = F(0) + r * c + j0;
				SIMD for (long j = 0; j < m; j++) {
					float d = x[j] - mean[j0 + j];
					acc[j] += d * d;
				}
			}
			SIMD for (long j = 0; j < m; j++) s[j0 + j] += acc[j];
		}
	}
}

static void batch_stats(td_exec *e) {
	long c = e->n[1], rows = e->n[0];
	float *out = F(1);
	const double *s = part_sum(e, 0, 1);
	parts_clear(e, 1);
	split_parts(e, rows, c, 1, sum_rows_range);
	parts_add(e, 1);
	for (long j = 0; j < c; j++)
		out[j] = (float)(s[j] / rows);
	parts_clear(e, 1);
	split_parts(e, rows, c, 1, deviations_range);
	parts_add(e, 1);
	for (long j = 0; j < c; j++)
		out[c + j] = (float)(s[j] / rows);
}

// batch_norm: n is Rows, C, ReLU; tmp is the factor of each channel.
static void batch_norm_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long c = e->n[1];
	const float *mean = F(1), *beta = F(3), *k = e->tmp;
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * c;
		float *y = F(4) + r * c;
		if (e->n[2]) {
			SIMD for (long j = 0; j < c; j++) y[j] = frelu((x[j] - mean[j]) * k[j] + beta[j]);
		} else {
			SIMD for (long j = 0; j < c; j++) y[j] = (x[j] - mean[j]) * k[j] + beta[j];
		}
	}
}
static void batch_norm(td_exec *e) {
	for (long j = 0; j < e->n[1]; j++)
		e->tmp[j] = (float)(F(2)[j] / sqrt((double)F(1)[e->n[1] + j] + e->f[0]));
	split(e, e->n[0], 2 * e->n[1], 1, batch_norm_range);
}

// batch_norm_back: n is Rows, C, ReLU, Training, and where in tmp four rows of C floats begin.
static void batch_norm_sums_range(td_exec *e, int part, long lo, long hi) {
	long c = e->n[1];
	const float *mean = F(1), *inverse = e->tmp + e->n[4];
	double *s = part_sum(e, part, 2);
	for (long j0 = 0; j0 < c; j0 += TILE) {
		long m = c - j0 < TILE ? c - j0 : TILE;
		for (long r0 = lo; r0 < hi; r0 += RUN) {
			float dg[TILE] = {0}, db[TILE] = {0};
			for (long r = r0; r < hi && r < r0 + RUN; r++) {
				const float *x = F(0) + r * c + j0, *dy = F(4) + r * c + j0, *y = e->n[2] ? F(3) + r * c + j0 : dy;
				int relu = (int)e->n[2];
				SIMD for (long j = 0; j < m; j++) {
					float g = (!relu) | (y[j] > 0) ? dy[j] : 0.f;
					db[j] += g;
					dg[j] += g * (x[j] - mean[j0 + j]) * inverse[j0 + j];
				}
			}
			SIMD for (long j = 0; j < m; j++) s[j0 + j] += dg[j], s[c + j0 + j] += db[j];
		}
	}
}
static void batch_norm_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long c = e->n[1];
	// dx = k·(g − mean(g) − x̂·mean(g·x̂)) = k·g + a·x + b for each channel.
	const float *k = e->tmp + e->n[4] + c, *a = k + c, *b = a + c;
	int relu = (int)e->n[2];
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * c, *dy = F(4) + r * c, *y = relu ? F(3) + r * c : dy;
		const float *mean = F(1);
		float *dx = F(5) + r * c;
		SIMD for (long j = 0; j < c; j++) {
			float g = (!relu) | (y[j] > 0) ? dy[j] : 0.f;
			dx[j] = k[j] * g + a[j] * (x[j] - mean[j]) + b[j];
		}
	}
}
static void batch_norm_back(td_exec *e) {
	long c = e->n[1], rows = e->n[0];
	float *inverse = e->tmp + e->n[4], *k = inverse + c, *a = k + c, *b = a + c;
	for (long j = 0; j < c; j++)
		inverse[j] = (float)(1 / sqrt((double)F(1)[c + j] + e->f[0]));
	parts_clear(e, 2);
	split_parts(e, rows, 3 * c, 1, batch_norm_sums_range);
	parts_add(e, 2);
	const double *s = part_sum(e, 0, 2);
	for (long j = 0; j < c; j++) {
		F(6)[j] = (float)s[j];
		F(7)[j] = (float)s[c + j];
		k[j] = F(2)[j] * inverse[j];
		a[j] = e->n[3] ? (float)(-k[j] * inverse[j] * s[j] / rows) : 0;
		b[j] = e->n[3] ? (float)(-k[j] * s[c + j] / rows) : 0;
	}
	split(e, rows, 4 * c, 1, batch_norm_back_range);
}

// running_stats: n is Rows, C; f is Momentum.
static void running_stats(td_exec *e) {
	long c = e->n[1], rows = e->n[0];
	float m = (float)e->f[0], keep = (float)(1 - e->f[0]), unbias = (float)((double)rows / (rows > 1 ? rows - 1 : 1));
	for (long j = 0; j < c; j++) {
		F(1)[j] = keep * F(1)[j] + m * F(0)[j];
		F(2)[j] = keep * F(2)[j] + m * unbias * F(0)[c + j];
	}
}
