// Kernels over rows: norms, sums, losses, tokens; part of kernels.inc.h. n is Rows, Cols, … as in
// the Go struct.

#define ROWS(name, cost) \
	static void name(td_exec *e) { split(e, e->n[0], (cost) * e->n[1], 1, name##_range); }

// Sums over rows: each part of the rows sums its own into doubles of its own, sixty-four rows at a
// time in float, then the parts are added in order. tmp holds, for each part, n[1] doubles per sum and
// n[1] floats.
enum { RUN = 64 };

// part_sum returns the doubles of one part: sums columns each.
static double *part_sum(td_exec *e, int part, int sums) { return (double *)e->tmp + (long)part * sums * e->n[1]; }

// parts_add adds up part p > 0 into part 0.
static void parts_add(td_exec *e, int sums) {
	double *s = part_sum(e, 0, sums);
	for (int p = 1; p < e->be->threads; p++) {
		const double *t = part_sum(e, p, sums);
		SIMD for (long j = 0; j < sums * e->n[1]; j++) s[j] += t[j];
	}
}

static void parts_clear(td_exec *e, int sums) {
	memset(e->tmp, 0, sizeof(double) * sums * e->n[1] * e->be->threads);
}

enum { TILE = 256 }; // columns summed at once, so that the running sums stay in the first cache

static void sum_rows_range(td_exec *e, int part, long lo, long hi) {
	long c = e->n[1];
	double *s = part_sum(e, part, 1);
	for (long j0 = 0; j0 < c; j0 += TILE) {
		long m = c - j0 < TILE ? c - j0 : TILE;
		for (long r0 = lo; r0 < hi; r0 += RUN) {
			float acc[TILE] = {0};
			for (long r = r0; r < hi && r < r0 + RUN; r++) {
				const float *x = F(0) + r * c + j0;
				SIMD for (long j = 0; j < m; j++) acc[j] += x[j];
			}
			SIMD for (long j = 0; j < m; j++) s[j0 + j] += acc[j];
		}
	}
}
static void sum_rows(td_exec *e) {
	parts_clear(e, 1);
	split_parts(e, e->n[0], e->n[1], 1, sum_rows_range);
	parts_add(e, 1);
	const double *s = part_sum(e, 0, 1);
	float *out = F(1);
	SIMD for (long j = 0; j < e->n[1]; j++) out[j] = (float)s[j];
}

static void sum_cols_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * e->n[1];
		double s = 0;
		_Pragma("omp simd reduction(+:s)") for (long j = 0; j < e->n[1]; j++) s += x[j];
		F(1)[r] = (float)s;
	}
}
ROWS(sum_cols, 1)

static void broadcast_rows_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	float a = (float)e->s[0];
	for (long r = lo; r < hi; r++) {
		const float *x = F(0);
		float *y = F(1) + r * e->n[1];
		SIMD for (long j = 0; j < e->n[1]; j++) y[j] = a * x[j];
	}
}
ROWS(broadcast_rows, 1)

// moments computes mean and 1/sqrt(var + eps) of a row, in two passes: one pass loses the variance of rows
// far from zero. Four sums at once, as an addition takes some cycles.
static inline void moments(const float *x, long n, double eps, float *mean, float *inverse) {
	long whole4 = n / (4 * VL) * (4 * VL);
	vec s[4] = {{0}}, v[4] = {{0}};
	for (long j = 0; j < whole4; j += 4 * VL)
		for (int u = 0; u < 4; u++)
			s[u] += V(x + j + u * VL);
	float m = sum_of((s[0] + s[1]) + (s[2] + s[3]));
	for (long j = whole4; j < n; j++)
		m += x[j];
	m /= n;
	for (long j = 0; j < whole4; j += 4 * VL)
		for (int u = 0; u < 4; u++) {
			vec d = V(x + j + u * VL) - m;
			v[u] += d * d;
		}
	float var = sum_of((v[0] + v[1]) + (v[2] + v[3]));
	for (long j = whole4; j < n; j++)
		var += (x[j] - m) * (x[j] - m);
	*mean = m;
	*inverse = 1.f / vsqrt((vec){0} + (var / n + (float)eps))[0];
}

static void layer_norm_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	const float *gamma = F(1), *beta = F(2);
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * n;
		float *y = F(3) + r * n, m, k;
		moments(x, n, e->f[0], &m, &k);
		SIMD for (long j = 0; j < n; j++) y[j] = (x[j] - m) * k * gamma[j] + beta[j];
	}
}
static void layer_norm_half_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	const float *gamma = F(1), *beta = F(2);
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * n;
		float y[CHUNK], m, k;
		moments(x, n, e->f[0], &m, &k);
		for (long i = 0; i < n; i += CHUNK) {
			long c = n - i < CHUNK ? n - i : CHUNK;
			SIMD for (long j = 0; j < c; j++) y[j] = (x[i + j] - m) * k * gamma[i + j] + beta[i + j];
			to_half(H(3) + r * n + i, y, c);
		}
	}
}
static void layer_norm(td_exec *e) {
	split(e, e->n[0], 4 * e->n[1], 1, td_half_arg(e->n, 3) ? layer_norm_half_range : layer_norm_range);
}

// layer_norm_back: n is Rows, Cols, Residual. Args: x, gamma, dy, with Residual the gradient to add, dx, dgamma, dbeta.
static void layer_norm_back_range(td_exec *e, int part, long lo, long hi) {
	long n = e->n[1], vectors = n / VL * VL;
	const float *gamma = F(1);
	double *sums = part_sum(e, part, 2);
	float *dg = (float *)((double *)e->tmp + 2 * n * e->be->threads) + 2 * n * part, *db = dg + n;
	for (long r0 = lo; r0 < hi; r0 += RUN) {
		memset(dg, 0, 2 * n * sizeof(float));
		for (long r = r0; r < hi && r < r0 + RUN; r++) {
			const float *x = F(0) + r * n, *dy = F(2) + r * n, *add = e->n[2] ? F(3) + r * n : 0;
			float *dx = F(3 + e->n[2]) + r * n, m, k;
			moments(x, n, e->f[0], &m, &k);
			// With g = dy·γ and x̂ the normalised row: dx = (g − mean(g) − x̂·mean(g·x̂))/σ.
			vec vs = {0}, vd = {0};
			for (long j = 0; j < vectors; j += VL) {
				vec hat = (V(x + j) - m) * k, g = V(dy + j) * V(gamma + j);
				vs += g;
				vd += g * hat;
				V(dg + j) += V(dy + j) * hat;
				V(db + j) += V(dy + j);
			}
			float s = sum_of(vs), d = sum_of(vd);
			for (long j = vectors; j < n; j++) {
				float hat = (x[j] - m) * k, g = dy[j] * gamma[j];
				s += g;
				d += g * hat;
				dg[j] += dy[j] * hat;
				db[j] += dy[j];
			}
			s /= n;
			d /= n;
			if (add) {
				SIMD for (long j = 0; j < n; j++) dx[j] = (dy[j] * gamma[j] - s - (x[j] - m) * k * d) * k + add[j];
			} else {
				SIMD for (long j = 0; j < n; j++) dx[j] = (dy[j] * gamma[j] - s - (x[j] - m) * k * d) * k;
			}
		}
		SIMD for (long j = 0; j < 2 * n; j++) sums[j] += dg[j];
	}
}
static void layer_norm_back(td_exec *e) {
	long n = e->n[1];
	parts_clear(e, 2);
	split_parts(e, e->n[0], 8 * n, 1, layer_norm_back_range);
	parts_add(e, 2);
	const double *s = part_sum(e, 0, 2);
	float *dg = F(4 + e->n[2]), *db = F(5 + e->n[2]);
	SIMD for (long j = 0; j < n; j++) dg[j] = (float)s[j], db[j] = (float)s[n + j];
}

static float length(const float *x, long n) {
	double s = 0;
	_Pragma("omp simd reduction(+:s)") for (long j = 0; j < n; j++) s += (double)x[j] * x[j];
	return (float)sqrt(s);
}

static void l2_norm_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * n;
		float *y = F(1) + r * n, l = length(x, n);
		l = l < (float)e->f[0] ? (float)e->f[0] : l;
		SIMD for (long j = 0; j < n; j++) y[j] = x[j] / l;
	}
}
ROWS(l2_norm, 3)

static void l2_norm_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * n, *dy = F(1) + r * n;
		float *dx = F(2) + r * n, l = length(x, n), d = 0;
		if (l < (float)e->f[0]) {
			l = (float)e->f[0]; // the divisor is a constant then
		} else {
			double s = 0;
			_Pragma("omp simd reduction(+:s)") for (long j = 0; j < n; j++) s += (double)x[j] * dy[j];
			d = (float)(s / l / l);
		}
		SIMD for (long j = 0; j < n; j++) dx[j] = (dy[j] - x[j] * d) / l;
	}
}
ROWS(l2_norm_back, 4)

// top returns the largest number of a row, NaN if there is one.
static float top(const float *x, long n) {
	float m = -INFINITY;
	int nan = 0;
	_Pragma("omp simd reduction(max:m) reduction(|:nan)") for (long j = 0; j < n; j++) {
		m = x[j] > m ? x[j] : m;
		nan |= x[j] != x[j];
	}
	return nan ? NAN : m;
}

static float log_sum_exp(const float *x, long n) {
	float m = top(x, n), s = 0;
	if (!(m > -INFINITY && m < INFINITY))
		return m;
	_Pragma("omp simd reduction(+:s)") for (long j = 0; j < n; j++) s += fexp(x[j] - m);
	return m + logf(s);
}

// cross_entropy: f is Smooth.
static void cross_entropy_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	float target = (float)(1 - e->f[0]), all = (float)(e->f[0] / n);
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * n;
		float loss = log_sum_exp(x, n) - target * x[I(1)[r]];
		if (all != 0) {
			double s = 0;
			_Pragma("omp simd reduction(+:s)") for (long j = 0; j < n; j++) s += x[j];
			loss -= (float)(e->f[0] / n * s);
		}
		F(2)[r] = loss;
	}
}
ROWS(cross_entropy, 5)

static void cross_entropy_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	float target = (float)(1 - e->f[0]), all = (float)(e->f[0] / n);
	for (long r = lo; r < hi; r++) {
		const float *x = F(0) + r * n;
		float *dx = F(3) + r * n, lse = log_sum_exp(x, n), dout = F(2)[r];
		SIMD for (long j = 0; j < n; j++) dx[j] = dout * (fexp(x[j] - lse) - all);
		dx[I(1)[r]] -= dout * target;
	}
}
ROWS(cross_entropy_back, 8)

// gather: n is N, Cols.
static void gather_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	for (long r = lo; r < hi; r++)
		memcpy(F(2) + r * e->n[1], F(0) + (long)I(1)[r] * e->n[1], e->n[1] * sizeof(float));
}
ROWS(gather, 2)

// gather_back: n is N, Cols, Rows. Threads own columns, so that rows of equal id add in order.
static void gather_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long c = e->n[1];
	for (long i = 0; i < e->n[0]; i++) {
		const float *dy = F(1) + i * c;
		float *d = F(2) + (long)I(0)[i] * c;
		SIMD for (long j = lo; j < hi; j++) d[j] += dy[j];
	}
}
static void clear_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	memset(F(2) + lo, 0, (hi - lo) * sizeof(float));
}
static void gather_back(td_exec *e) {
	split(e, e->n[1] * e->n[2], 1, 16, clear_range);
	split(e, e->n[1], 3 * e->n[0], 16, gather_back_range);
}

// concat: n is B, floats of a, floats of c, BroadcastA.
static void concat_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long na = e->n[1], nc = e->n[2];
	for (long b = lo; b < hi; b++) {
		float *out = F(2) + b * (na + nc);
		memcpy(out, F(0) + (e->n[3] ? 0 : b * na), na * sizeof(float));
		memcpy(out + na, F(1) + b * nc, nc * sizeof(float));
	}
}
static void concat(td_exec *e) { split(e, e->n[0], 2 * (e->n[1] + e->n[2]), 1, concat_range); }

// slice and slice_back: n is B, T·W, From·W, N·W.
static void slice_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	for (long b = lo; b < hi; b++)
		memcpy(F(1) + b * e->n[3], F(0) + b * e->n[1] + e->n[2], e->n[3] * sizeof(float));
}
static void slice(td_exec *e) { split(e, e->n[0], 2 * e->n[3], 1, slice_range); }

static void slice_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	for (long b = lo; b < hi; b++) {
		float *dx = F(1) + b * e->n[1];
		memset(dx, 0, e->n[1] * sizeof(float));
		memcpy(dx + e->n[2], F(0) + b * e->n[3], e->n[3] * sizeof(float));
	}
}
ROWS(slice_back, 1)

// mean_tokens: n is B, T·W, T, W.
static long tokens(td_exec *e, long b) {
	long t = e->arg[1] ? I(1)[b] : e->n[2];
	return t < 1 ? 1 : t > e->n[2] ? e->n[2] : t;
}
static void mean_tokens_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long w = e->n[3];
	for (long b = lo; b < hi; b++) {
		long n = tokens(e, b);
		float *out = F(2) + b * w, k = 1.f / n;
		memset(out, 0, w * sizeof(float));
		for (long t = 0; t < n; t++) {
			const float *x = F(0) + b * e->n[1] + t * w;
			SIMD for (long j = 0; j < w; j++) out[j] += x[j];
		}
		SIMD for (long j = 0; j < w; j++) out[j] *= k;
	}
}
ROWS(mean_tokens, 1)

static void mean_tokens_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long w = e->n[3];
	for (long b = lo; b < hi; b++) {
		long n = tokens(e, b);
		const float *dy = F(0) + b * w;
		float k = 1.f / n;
		for (long t = 0; t < e->n[2]; t++) {
			float *dx = F(2) + b * e->n[1] + t * w;
			if (t >= n)
				memset(dx, 0, w * sizeof(float));
			else
				SIMD for (long j = 0; j < w; j++) dx[j] = k * dy[j];
		}
	}
}
ROWS(mean_tokens_back, 1)

// transpose: n is bands, floats of a band, B, M, N; a band is sixteen columns of one matrix.
static void transpose_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long m = e->n[3], n = e->n[4], bands = (n + 15) / 16;
	for (long i = lo; i < hi; i++) {
		const float *x = F(0) + i / bands * m * n;
		float *out = F(1) + i / bands * m * n;
		long j0 = i % bands * 16, j1 = j0 + 16 < n ? j0 + 16 : n;
		for (long r0 = 0; r0 < m; r0 += 16) {
			long r1 = r0 + 16 < m ? r0 + 16 : m;
			for (long j = j0; j < j1; j++)
				for (long r = r0; r < r1; r++)
					out[j * m + r] = x[r * n + j];
		}
	}
}
ROWS(transpose, 3)
