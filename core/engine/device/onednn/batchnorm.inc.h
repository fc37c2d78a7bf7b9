// Batch norm: n is Rows, C; part of kernels.inc.h. Sums use the parts of rows.inc.h. They go from the last row to the
// first, as the convolution before them has left its last rows in the caches; what maps the rows next begins at the first.

enum { AT_ONCE = 4 }; // rows whose sums are read from and written to the first cache once

// DOWN runs its body for the rows [lo, hi) in runs of RUN at most, the last first: rows [r0, r1).
#define DOWN(...) \
	for (long r1 = hi, r0; r1 > lo; r1 = r0) { \
		r0 = r1 - lo > RUN ? r1 - RUN : lo; \
		__VA_ARGS__ \
	}

// add_distances adds rows rows of x − near to s and their squares to q.
static inline __attribute__((always_inline)) void add_distances(const int rows, long m, const float *restrict x, long c,
	const float *restrict near, float *restrict s, float *restrict q) {
	SIMD for (long j = 0; j < m; j++) {
		float a = s[j], b = q[j];
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++) {
			float d = x[r * c + j] - near[j];
			a += d;
			b += d * d;
		}
		s[j] = a;
		q[j] = b;
	}
}

// The sums of a part's numbers and of their squares, in one pass: in float they are those of the distances to the mean of
// the first rows that are read, so that little is lost.
static void batch_stats_range(td_exec *e, int part, long lo, long hi) {
	long c = e->n[1], first = hi - lo < 16 ? hi - lo : 16;
	double *s = part_sum(e, part, 2);
	for (long j0 = 0; j0 < c; j0 += TILE) {
		long m = c - j0 < TILE ? c - j0 : TILE;
		const float *x = F(0) + j0;
		float near[TILE] = {0};
		double sum[TILE] = {0}, square[TILE] = {0};
		for (long r = hi - first; r < hi; r++)
			SIMD for (long j = 0; j < m; j++) near[j] += x[r * c + j];
		SIMD for (long j = 0; j < m; j++) near[j] /= first;
		DOWN({
			float a[TILE] = {0}, b[TILE] = {0};
			long r = r0;
			for (; r + AT_ONCE <= r1; r += AT_ONCE)
				add_distances(AT_ONCE, m, x + r * c, c, near, a, b);
			for (; r < r1; r++)
				add_distances(1, m, x + r * c, c, near, a, b);
			SIMD for (long j = 0; j < m; j++) sum[j] += a[j], square[j] += b[j];
		})
		for (long j = 0; j < m; j++) {
			double p = near[j], n = hi - lo;
			s[j0 + j] = n * p + sum[j];
			s[c + j0 + j] = square[j] + p * (2 * sum[j] + n * p);
		}
	}
}

static void batch_stats(td_exec *e) {
	long c = e->n[1], rows = e->n[0];
	float *out = F(1);
	const double *s = part_sum(e, 0, 2);
	parts_clear(e, 2);
	split_parts(e, rows, c, 1, batch_stats_range);
	parts_add(e, 2);
	for (long j = 0; j < c; j++) {
		double mean = s[j] / rows, variance = s[c + j] / rows - mean * mean;
		out[j] = (float)mean;
		out[c + j] = variance < 0 ? 0 : (float)variance; // a NaN stays
	}
}

// normed computes a number before the residual and ReLU: the same bits in both passes.
#define normed(x, j) (((x) - mean[j]) * k[j] + beta[j])

// factors computes γ/sqrt(variance + eps) of each channel.
static void factors(td_exec *e, float *k) {
	for (long j = 0; j < e->n[1]; j++)
		k[j] = (float)(F(2)[j] / sqrt((double)F(1)[e->n[1] + j] + e->f[0]));
}

// batch_norm: n is Rows, C, ReLU; tmp is the factor of each channel.
#define BATCH_NORM(name, what) \
	static void name(td_exec *e, int part, long lo, long hi) { \
		(void)part; \
		long c = e->n[1]; \
		const float *mean = F(1), *beta = F(3), *k = e->tmp; \
		for (long r = lo; r < hi; r++) { \
			const float *x = F(0) + r * c, *residual = F(4) + r * c; \
			float *y = F(5) + r * c; \
			(void)residual; \
			SIMD for (long j = 0; j < c; j++) y[j] = what; \
		} \
	}
BATCH_NORM(batch_norm_plain, normed(x[j], j))
BATCH_NORM(batch_norm_relu, frelu(normed(x[j], j)))
BATCH_NORM(batch_norm_added, normed(x[j], j) + residual[j])
BATCH_NORM(batch_norm_added_relu, frelu(normed(x[j], j) + residual[j]))
static void batch_norm(td_exec *e) {
	factors(e, e->tmp);
	range f = e->arg[4] ? (e->n[2] ? batch_norm_added_relu : batch_norm_added) : e->n[2] ? batch_norm_relu : batch_norm_plain;
	split(e, e->n[0], (e->arg[4] ? 3 : 2) * e->n[1], 1, f);
}

// How a gradient passes: as it is, through a ReLU that is computed again, or through the signs of y.
enum { PASS, AGAIN, SIGNS };

// add_gradients adds rows rows of g = dy, masked as how says, to s, and g·(x − mean) to w. With SIGNS it writes g to dr.
static inline __attribute__((always_inline)) void add_gradients(const int how, const int rows, long m, const float *restrict x,
	const float *restrict dy, const float *restrict y, float *restrict dr, long c, const float *restrict mean,
	const float *restrict k, const float *restrict beta, float *restrict s, float *restrict w) {
	SIMD for (long j = 0; j < m; j++) {
		float a = s[j], b = w[j];
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++) {
			float v = x[r * c + j], g = dy[r * c + j];
			if (how == AGAIN)
				g = normed(v, j) > 0 ? g : 0.f;
			if (how == SIGNS)
				dr[r * c + j] = g = y[r * c + j] > 0 ? g : 0.f;
			a += g;
			b += g * (v - mean[j]);
		}
		s[j] = a;
		w[j] = b;
	}
}

// batch_norm_back: n is Rows, C, ReLU, Training, and where in tmp three rows of C floats begin: k, a and b of
// dx = k·(g − mean(g) − x̂·mean(g·x̂)) = k·g + a·(x − mean) + b.
#define SUMS(how) \
	static void batch_norm_sums_##how(td_exec *e, int part, long lo, long hi) { \
		long c = e->n[1]; \
		double *s = part_sum(e, part, 2); \
		for (long j0 = 0; j0 < c; j0 += TILE) { \
			long m = c - j0 < TILE ? c - j0 : TILE; \
			const float *x = F(0) + j0, *mean = F(1) + j0, *beta = F(3) + j0, *y = F(4) + j0, *dy = F(5) + j0; \
			const float *k = e->tmp + e->n[4] + j0; \
			float *dr = F(9) + j0; \
			DOWN({ \
				float a[TILE] = {0}, b[TILE] = {0}; \
				long r = r0; \
				for (; r + AT_ONCE <= r1; r += AT_ONCE) \
					add_gradients(how, AT_ONCE, m, x + r * c, dy + r * c, y + r * c, dr + r * c, c, mean, k, beta, a, b); \
				for (; r < r1; r++) \
					add_gradients(how, 1, m, x + r * c, dy + r * c, y + r * c, dr + r * c, c, mean, k, beta, a, b); \
				SIMD for (long j = 0; j < m; j++) s[j0 + j] += a[j], s[c + j0 + j] += b[j]; \
			}) \
		} \
	}
SUMS(PASS)
SUMS(AGAIN)
SUMS(SIGNS)

#define BATCH_NORM_BACK(name, from, mask) \
	static void name(td_exec *e, int part, long lo, long hi) { \
		(void)part; \
		long c = e->n[1]; \
		const float *mean = F(1), *beta = F(3), *k = e->tmp + e->n[4], *a = k + c, *b = a + c; \
		(void)beta; \
		for (long r = lo; r < hi; r++) { \
			const float *x = F(0) + r * c, *dy = F(from) + r * c; \
			float *dx = F(6) + r * c; \
			SIMD for (long j = 0; j < c; j++) dx[j] = k[j] * (mask) + a[j] * (x[j] - mean[j]) + b[j]; \
		} \
	}
BATCH_NORM_BACK(batch_norm_back_plain, 5, dy[j])
BATCH_NORM_BACK(batch_norm_back_again, 5, normed(x[j], j) > 0 ? dy[j] : 0.f)
BATCH_NORM_BACK(batch_norm_back_masked, 9, dy[j])
static void batch_norm_back(td_exec *e) {
	long c = e->n[1], rows = e->n[0];
	float *k = e->tmp + e->n[4], *a = k + c, *b = a + c;
	int how = e->arg[9] ? SIGNS : e->n[2] ? AGAIN : PASS;
	range sums[] = {batch_norm_sums_PASS, batch_norm_sums_AGAIN, batch_norm_sums_SIGNS};
	range maps[] = {batch_norm_back_plain, batch_norm_back_again, batch_norm_back_masked};
	factors(e, k);
	parts_clear(e, 2);
	split_parts(e, rows, 3 * c, 1, sums[how]);
	parts_add(e, 2);
	const double *s = part_sum(e, 0, 2);
	for (long j = 0; j < c; j++) {
		double inverse = 1 / sqrt((double)F(1)[c + j] + e->f[0]);
		F(7)[j] = (float)(s[c + j] * inverse);
		F(8)[j] = (float)s[j];
		a[j] = e->n[3] ? (float)(-k[j] * inverse * inverse * s[c + j] / rows) : 0;
		b[j] = e->n[3] ? (float)(-k[j] * s[j] / rows) : 0;
	}
	split(e, rows, 4 * c, 1, maps[how]);
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
