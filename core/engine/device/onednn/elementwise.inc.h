// Elementwise kernels and optimisers; part of kernels.inc.h.

enum { IDENTITY, RELU, GELU, QUICKGELU, TANHGELU };

// ACTS writes a loop once for each activation, so that the choice is outside of it.
#define ACTS(which, loop) \
	switch (which) { \
	case IDENTITY: loop(fidentity, fone) break; \
	case RELU: loop(frelu, frelu_back) break; \
	case GELU: loop(fgelu, fgelu_back) break; \
	case QUICKGELU: loop(fquick, fquick_back) break; \
	case TANHGELU: loop(ftanhgelu, ftanhgelu_back) break; \
	}

static inline float fidentity(float x) { return x; }
static inline float fone(float x) { (void)x; return 1.f; }

static void act_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	const float *x = F(0);
	float *y = F(1);
#define LOOP(f, d) SIMD for (long i = lo; i < hi; i++) y[i] = f(x[i]);
	ACTS(e->n[1], LOOP)
#undef LOOP
}
static void act(td_exec *e) { split(e, e->n[0], e->n[1] > RELU ? 4 : 2, 16, act_range); }

static void act_back_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	const float *x = F(0), *dy = F(1);
	float *dx = F(2);
#define LOOP(f, d) SIMD for (long i = lo; i < hi; i++) dx[i] = dy[i] * d(x[i]);
	ACTS(e->n[1], LOOP)
#undef LOOP
}
static void act_back(td_exec *e) { split(e, e->n[0], e->n[1] > RELU ? 6 : 3, 16, act_back_range); }

enum { ADDED = 1, GATE };

// finish_row does what follows the product in a row of n numbers x: v = alpha·x + bias, slope = act'(v),
// y = act(v) + residual, or times it. bias, slope and residual may be 0; x may be y or slope.
static inline void finish_row(long n, const float *x, float alpha, const float *bias, int act, float *slope,
	int combine, const float *residual, float *y) {
	if (bias) {
		SIMD for (long i = 0; i < n; i++) y[i] = alpha * x[i] + bias[i];
	} else if (x != y || alpha != 1) {
		SIMD for (long i = 0; i < n; i++) y[i] = alpha * x[i];
	}
#define BOTH(f, d) SIMD for (long i = 0; i < n; i++) { float v = y[i]; slope[i] = d(v); y[i] = f(v); }
#define LOOP(f, d) SIMD for (long i = 0; i < n; i++) y[i] = f(y[i]);
	if (slope) {
		ACTS(act, BOTH)
	} else if (act) {
		ACTS(act, LOOP)
	}
#undef LOOP
#undef BOTH
	if (residual && combine == GATE) {
		SIMD for (long i = 0; i < n; i++) y[i] *= residual[i];
	} else if (residual) {
		SIMD for (long i = 0; i < n; i++) y[i] += residual[i];
	}
}

// epilogue finishes a matrix product over n[0] rows of n[1] with activation n[2]; n[3] says what to do with
// the residual. Args: x, bias or 0, residual or 0, y, slope or 0.
static void epilogue_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	for (long r = lo; r < hi; r++)
		finish_row(n, F(0) + r * n, (float)e->s[0], F(1), (int)e->n[2], e->arg[4] ? F(4) + r * n : 0, (int)e->n[3],
			e->arg[2] ? F(2) + r * n : 0, F(3) + r * n);
}
// epilogue_half_range does the same for a y of bfloat16, by way of the first cache.
static void epilogue_half_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[1];
	float y[CHUNK];
	for (long r = lo; r < hi; r++)
		for (long j = 0; j < n; j += CHUNK) {
			long m = n - j < CHUNK ? n - j : CHUNK, at = r * n + j;
			finish_row(m, F(0) + at, (float)e->s[0], e->arg[1] ? F(1) + j : 0, (int)e->n[2], e->arg[4] ? F(4) + at : 0,
				(int)e->n[3], e->arg[2] ? F(2) + at : 0, y);
			to_half(H(3) + at, y, m);
		}
}
static void epilogue(td_exec *e) {
	split(e, e->n[0], 5 * e->n[1], 1, td_half_arg(e->n, 3) ? epilogue_half_range : epilogue_range);
}

// binary: n is N, Period, operator.
static void binary_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long period = e->n[1];
	for (long i = lo; i < hi;) {
		long from = i % period, m = period - from < hi - i ? period - from : hi - i;
		const float *a = F(0) + i, *b = F(1) + from;
		float *o = F(2) + i;
		switch (e->n[2]) {
		case '+': SIMD for (long j = 0; j < m; j++) o[j] = a[j] + b[j]; break;
		case '-': SIMD for (long j = 0; j < m; j++) o[j] = a[j] - b[j]; break;
		case '*': SIMD for (long j = 0; j < m; j++) o[j] = a[j] * b[j]; break;
		}
		i += m;
	}
}
static void binary_scalar_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	const float *a = F(0), b = F(1)[0];
	float *o = F(2);
	switch (e->n[2]) {
	case '+': SIMD for (long i = lo; i < hi; i++) o[i] = a[i] + b; break;
	case '-': SIMD for (long i = lo; i < hi; i++) o[i] = a[i] - b; break;
	case '*': SIMD for (long i = lo; i < hi; i++) o[i] = a[i] * b; break;
	}
}
static void binary(td_exec *e) { split(e, e->n[0], 3, 16, e->n[1] == 1 ? binary_scalar_range : binary_range); }

FLAT(scale, 2, const float *x = F(0); float *y = F(1); float a = (float)e->s[0]; float b = (float)e->s[1],
	 y[i] = a * x[i] + b)

// factor returns f(s) of ScaleBy.
static float factor(td_exec *e) { return e->n[1] ? expf(F(1)[0]) : F(1)[0]; }

FLAT(scale_by, 2, const float *x = F(0); float *y = F(2); float a = factor(e), y[i] = a * x[i])

// Sums over all elements: blocks of fixed size, each summed in vectors, added up in double in order.
enum { BLOCK = 4096 };

static void dot_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	double *sums = (double *)e->tmp;
	const float *x = F(0), *y = F(e->n[2]);
	for (long b = lo; b < hi; b++) {
		long end = (b + 1) * BLOCK < e->n[0] ? (b + 1) * BLOCK : e->n[0];
		double s = 0;
		_Pragma("omp simd reduction(+:s)") for (long i = b * BLOCK; i < end; i++) s += (double)x[i] * y[i];
		sums[b] = s;
	}
}

static double dot(td_exec *e) {
	long blocks = (e->n[0] + BLOCK - 1) / BLOCK;
	split(e, blocks, BLOCK, 1, dot_range);
	double s = 0;
	for (long b = 0; b < blocks; b++)
		s += ((double *)e->tmp)[b];
	return s;
}

// sum_squares: n[2] = 0 names the argument by which x is multiplied: x itself.
static void sum_squares(td_exec *e) { F(1)[0] = (float)dot(e); }

FLAT(scale_dy, 2, const float *dy = F(2); float *dx = F(3); float a = factor(e), dx[i] = a * dy[i])

// scale_by_back: n[2] = 2, dy.
static void scale_by_back(td_exec *e) {
	double s = dot(e);
	float f = factor(e);
	scale_dy(e);
	F(4)[0] = (float)(e->n[1] ? s * f : s);
}

FLAT(accumulate, 3, const float *x = F(0); float *y = F(1); float a = (float)e->s[0], y[i] += a * x[i])

// normalize: n is pixels; f is mean and std.
static void normalize_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	const uint8_t *x = (const uint8_t *)e->arg[0];
	float *y = F(1), a[3], b[3];
	for (int c = 0; c < 3; c++) {
		a[c] = (float)(1 / (255 * e->f[3 + c]));
		b[c] = (float)(-e->f[c] / e->f[3 + c]);
	}
	// Sixteen pixels are a whole number of vectors and of colours.
	float va[48], vb[48];
	for (int j = 0; j < 48; j++)
		va[j] = a[j % 3], vb[j] = b[j % 3];
	long i = 3 * lo;
	for (; i + 48 <= 3 * hi; i += 48)
		SIMD for (int j = 0; j < 48; j++) y[i + j] = x[i + j] * va[j] + vb[j];
	for (int j = 0; i < 3 * hi; i++, j++)
		y[i] = x[i] * va[j] + vb[j];
}
static void normalize(td_exec *e) { split(e, e->n[0], 4, 16, normalize_range); }

FLAT(softplus, 6, const float *x = F(0); float *y = F(1), y[i] = fsoftplus(x[i]))
FLAT(softplus_back, 5, const float *x = F(0); const float *dy = F(1); float *dx = F(2), dx[i] = dy[i] * fsigmoid(x[i]))

// adamw: f is β₁, β₂, ε; s is lr, decay, gradScale, step.
static void adamw_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	double lr = e->s[0], b1 = e->f[0], b2 = e->f[1], step = e->s[3];
	float c1 = (float)(lr / (1 - pow(b1, step))), c2 = (float)(1 / (1 - pow(b2, step)));
	float keep = (float)(lr * e->s[1]), scale = (float)e->s[2], eps = (float)e->f[2];
	float f1 = (float)b1, g1 = (float)(1 - b1), f2 = (float)b2, g2 = (float)(1 - b2);
	for (long i = lo; i < hi; i += VL) {
		long n = hi - i < VL ? hi - i : VL;
		vec g = load(F(0) + i, n) * scale, p = load(F(1) + i, n);
		vec m = f1 * load(F(2) + i, n) + g1 * g;
		vec v = f2 * load(F(3) + i, n) + g2 * g * g;
		store(F(2) + i, n, m);
		store(F(3) + i, n, v);
		store(F(1) + i, n, p - keep * p - c1 * m / (vsqrt(v * c2) + eps));
	}
}
static void adamw(td_exec *e) {
	split(e, e->n[0], 7, 16, adamw_range);
	e->be->generation++;
}

FLAT(sgd_flat, 5, const float *restrict g = F(0); float *restrict p = F(1); float *restrict v = F(2);
	 float lr = (float)e->s[0]; float decay = (float)e->s[1]; float scale = (float)e->s[2]; float mu = (float)e->f[0],
	 float vi = mu * v[i] + scale * g[i] + decay * p[i]; v[i] = vi; p[i] -= lr * vi)
static void sgd(td_exec *e) {
	sgd_flat(e);
	e->be->generation++;
}

static inline float fsign(float u) { return u > 0.f ? 1.f : u < 0.f ? -1.f : u; }

FLAT(lion_flat, 5, const float *restrict g = F(0); float *restrict p = F(1); float *restrict m = F(2);
	 float lr = (float)e->s[0]; float decay = (float)e->s[1]; float scale = (float)e->s[2];
	 float b1 = (float)e->f[0]; float c1 = (float)(1 - e->f[0]); float b2 = (float)e->f[1]; float c2 = (float)(1 - e->f[1]),
	 float gi = scale * g[i]; float mi = m[i]; p[i] -= lr * (fsign(b1 * mi + c1 * gi) + decay * p[i]);
	 m[i] = b2 * mi + c2 * gi)
static void lion(td_exec *e) {
	lion_flat(e);
	e->be->generation++;
}

FLAT(average_flat, 3, const float *restrict x = F(0); float *restrict y = F(1); float w = (float)e->s[0], y[i] += w * (x[i] - y[i]))
static void average(td_exec *e) {
	average_flat(e);
	e->be->generation++;
}

FLAT(to_bf16, 2, const uint32_t *x = (const uint32_t *)e->arg[0]; uint16_t *y = (uint16_t *)e->arg[1], y[i] = bf16(x[i]) >> 16)
FLAT(from_bf16, 2, const uint16_t *x = (const uint16_t *)e->arg[0]; uint32_t *y = (uint32_t *)e->arg[1], y[i] = (uint32_t)x[i] << 16)
FLAT(round_bf16, 2, const uint32_t *x = (const uint32_t *)e->arg[0]; uint32_t *y = (uint32_t *)e->arg[1],
	y[i] = bf16(x[i]) & 0xffff0000)
