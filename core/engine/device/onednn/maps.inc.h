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
