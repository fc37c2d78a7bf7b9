// Attention; part of kernels.inc.h. Each head of each row of the batch is a handful of small matrix
// products on scratch that stays in the second cache; nothing of size Tq·Tk reaches memory.
//
// n is B, Tq, Tk, Heads, HeadDim, Causal, Packed, floats of scratch for one part.

// The register block of the small product: MR rows by NV vectors of C.
#if VL == 16
enum { MR = 6, NV = 4 };
#else
enum { MR = 4, NV = 2 };
#endif

// micro is C [mr, nv·VL] = alpha·A·B: element (i, k) of A is a[i·ars + k·aks]; rows of B and C are ldb
// and ldc apart. mr and nv are constants at every call.
static inline __attribute__((always_inline)) void micro(const int mr, const int nv, long k, const float *restrict a,
	long ars, long aks, const float *restrict b, long ldb, float *restrict c, long ldc, float alpha) {
	vec acc[MR][NV];
#pragma GCC unroll 8
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
		for (int j = 0; j < nv; j++)
			acc[i][j] = (vec){0};
	for (long x = 0; x < k; x++) {
		vec bv[NV];
#pragma GCC unroll 8
		for (int j = 0; j < nv; j++)
			bv[j] = *(const vec *)(b + x * ldb + j * VL);
#pragma GCC unroll 8
		for (int i = 0; i < mr; i++) {
			float ai = a[i * ars + x * aks];
#pragma GCC unroll 8
			for (int j = 0; j < nv; j++)
				acc[i][j] += ai * bv[j];
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
		for (int j = 0; j < nv; j++)
			*(vec *)(c + i * ldc + j * VL) = alpha * acc[i][j];
}

// MICRO(nv) is a row block of micro for every count of rows.
#define MICRO(nv) \
	static void micro_##nv(int mr, long k, const float *a, long ars, long aks, const float *b, long ldb, float *c, \
		long ldc, float alpha) { \
		switch (mr) { \
		case 1: micro(1, nv, k, a, ars, aks, b, ldb, c, ldc, alpha); break; \
		case 2: micro(2, nv, k, a, ars, aks, b, ldb, c, ldc, alpha); break; \
		case 3: micro(3, nv, k, a, ars, aks, b, ldb, c, ldc, alpha); break; \
		case 4: micro(4, nv, k, a, ars, aks, b, ldb, c, ldc, alpha); break; \
		MICRO_MORE(nv) \
		} \
	}
#if VL == 16
#define MICRO_MORE(nv) \
	case 5: micro(5, nv, k, a, ars, aks, b, ldb, c, ldc, alpha); break; \
	case 6: micro(6, nv, k, a, ars, aks, b, ldb, c, ldc, alpha); break;
#else
#define MICRO_MORE(nv)
#endif
MICRO(1)
MICRO(2)
#if VL == 16
MICRO(3)
MICRO(4)
#endif

// product is C [m, n] = alpha·A·B with n a multiple of VL.
static void product(long m, long n, long k, const float *a, long ars, long aks, const float *b, long ldb, float *c,
	long ldc, float alpha) {
	for (long j = 0; j < n; j += NV * VL) {
		long nv = (n - j) / VL < NV ? (n - j) / VL : NV;
		for (long i = 0; i < m; i += MR) {
			int mr = m - i < MR ? (int)(m - i) : MR;
			const float *ai = a + i * ars, *bj = b + j;
			float *cij = c + i * ldc + j;
			switch (nv) {
			case 1: micro_1(mr, k, ai, ars, aks, bj, ldb, cij, ldc, alpha); break;
			case 2: micro_2(mr, k, ai, ars, aks, bj, ldb, cij, ldc, alpha); break;
#if VL == 16
			case 3: micro_3(mr, k, ai, ars, aks, bj, ldb, cij, ldc, alpha); break;
			case 4: micro_4(mr, k, ai, ars, aks, bj, ldb, cij, ldc, alpha); break;
#endif
			}
		}
	}
}

typedef int32_t ivec __attribute__((vector_size(4 * VL)));

// Masks that interleave the first and the second halves of two vectors.
#if VL == 16
#define FIRST {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#define SECOND {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31}
#elif VL == 8
#define FIRST {0, 8, 1, 9, 2, 10, 3, 11}
#define SECOND {4, 12, 5, 13, 6, 14, 7, 15}
#else
#define FIRST {0, 4, 1, 5}
#define SECOND {2, 6, 3, 7}
#endif

// flip is out [cols, ld] = xᵀ for x [rows, cols] with rows stride apart; columns from rows to ld, a
// multiple of VL, are 0. Blocks of VL×VL are transposed in registers: log₂ VL times, each vector is
// interleaved with the one half the block further.
static void flip(const float *x, long stride, long rows, long cols, float *out, long ld) {
	for (long j = 0; j < ld; j += VL)
		for (long d = 0; d < cols; d += VL) {
			long n = cols - d < VL ? cols - d : VL;
			vec a[VL], b[VL];
#pragma GCC unroll 16
			for (int i = 0; i < VL; i++)
				a[i] = j + i < rows ? load(x + (j + i) * stride + d, n) : (vec){0};
#pragma GCC unroll 4
			for (int s = 1; s < VL; s *= 2) {
#pragma GCC unroll 16
				for (int i = 0; i < VL / 2; i++) {
					b[2 * i] = __builtin_shuffle(a[i], a[i + VL / 2], (ivec)FIRST);
					b[2 * i + 1] = __builtin_shuffle(a[i], a[i + VL / 2], (ivec)SECOND);
				}
#pragma GCC unroll 16
				for (int i = 0; i < VL; i++)
					a[i] = b[i];
			}
#pragma GCC unroll 16
			for (int i = 0; i < VL; i++)
				if (i < n)
					*(vec *)(out + (d + i) * ld + j) = a[i];
		}
}

// operand gives rows [rows, cols] that product can read in whole vectors: x itself, or a padded copy.
static const float *operand(const float *x, long stride, long rows, long cols, float *copy, long ld, long *out_stride) {
	if (cols % VL == 0) {
		*out_stride = stride;
		return x;
	}
	for (long j = 0; j < rows; j++) {
		memcpy(copy + j * ld, x + j * stride, cols * sizeof(float));
		memset(copy + j * ld + cols, 0, (ld - cols) * sizeof(float));
	}
	*out_stride = ld;
	return copy;
}

// place is where a product with cols columns is written: out itself or, when cols is no whole number
// of vectors, a padded copy that deliver then moves there.
typedef struct {
	float *at;
	long ld;
} place;

static place target(float *out, long stride, long cols, float *copy, long ld) {
	return cols % VL ? (place){copy, ld} : (place){out, stride};
}

static void deliver(place p, float *out, long stride, long rows, long cols) {
	if (p.at != out)
		for (long i = 0; i < rows; i++)
			memcpy(out + i * stride, p.at + i * p.ld, cols * sizeof(float));
}

// head is where one head of one row of the batch lies.
typedef struct {
	const float *q, *k, *v;
	long stride;
} head;

static head head_at(td_exec *e, int first, long item) {
	long heads = e->n[3], d = e->n[4], w = heads * d, row = item / heads, h = item % heads * d;
	if (e->n[6]) {
		const float *qkv = F(first) + row * e->n[1] * 3 * w + h;
		return (head){qkv, qkv + w, qkv + 2 * w, 3 * w};
	}
	return (head){F(first) + row * e->n[1] * w + h, F(first + 1) + row * e->n[2] * w + h,
		F(first + 2) + row * e->n[2] * w + h, w};
}

// Long causal attention is done in bands of rows, each with only the keys that its last row sees.
enum { BAND = 2 * MR };

static long band_of(td_exec *e) { return e->n[5] && e->n[1] > 3 * BAND ? BAND : e->n[1]; }

// softmax of the first n numbers of a row; those from n to padded, a multiple of VL, become 0. A NaN
// makes all NaN through the sum. Whole vectors only: tails would cost as much as short rows.
static void softmax(float *x, long n, long padded) {
	long w = (n + VL - 1) / VL * VL;
	float m[VL], s[VL];
	SIMD for (int l = 0; l < VL; l++) x[w - VL + l] = w - VL + l < n ? x[w - VL + l] : -INFINITY;
	memset(x + w, 0, (padded - w) * sizeof(float));
	SIMD for (int l = 0; l < VL; l++) m[l] = x[l], s[l] = 0;
	for (long j = VL; j < w; j += VL)
		SIMD for (int l = 0; l < VL; l++) m[l] = x[j + l] > m[l] ? x[j + l] : m[l];
	for (int h = VL / 2; h; h /= 2)
		for (int l = 0; l < h; l++)
			m[l] = m[l + h] > m[l] ? m[l + h] : m[l];
	for (long j = 0; j < w; j += VL)
		SIMD for (int l = 0; l < VL; l++) {
			x[j + l] = fexp(x[j + l] - m[0]);
			s[l] += x[j + l];
		}
	for (int h = VL / 2; h; h /= 2)
		for (int l = 0; l < h; l++)
			s[l] += s[l + h];
	float k = 1.f / s[0];
	for (long j = 0; j < w; j += VL)
		SIMD for (int l = 0; l < VL; l++) x[j + l] *= k;
}

// probabilities fills p [tq, kp] from q and the transposed keys kt [d, kp].
static void probabilities(td_exec *e, head h, const float *kt, float *p, long kp) {
	long tq = e->n[1], tk = e->n[2], d = e->n[4], causal = e->n[5];
	float scale = (float)(1 / sqrt((double)d));
	long band = band_of(e);
	for (long i = 0; i < tq; i += band) {
		long m = tq - i < band ? tq - i : band, seen = causal ? (i + m + VL - 1) / VL * VL : kp;
		product(m, seen < kp ? seen : kp, d, h.q + i * h.stride, h.stride, 1, kt, kp, p + i * kp, kp, scale);
		for (long r = i; r < i + m; r++)
			softmax(p + r * kp, causal ? r + 1 : tk, kp);
	}
}

static void attention_range(td_exec *e, int part, long lo, long hi) {
	long tq = e->n[1], tk = e->n[2], heads = e->n[3], d = e->n[4], causal = e->n[5], w = heads * d;
	long kp = td_round(tk), dp = td_round(d);
	float *kt = e->tmp + part * e->n[7], *p = kt + d * kp, *vp = p + tq * kp, *op = vp + tk * dp;
	for (long item = lo; item < hi; item++) {
		head h = head_at(e, 0, item);
		float *out = F(e->n[6] ? 1 : 3) + item / heads * tq * w + item % heads * d;
		long ldv;
		place to;
		flip(h.k, h.stride, tk, d, kt, kp);
		probabilities(e, h, kt, p, kp);
		const float *v = operand(h.v, h.stride, tk, d, vp, dp, &ldv);
		long nd = (d + VL - 1) / VL * VL, band = band_of(e);
		to = target(out, w, d, op, dp);
		for (long i = 0; i < tq; i += band) {
			long m = tq - i < band ? tq - i : band;
			product(m, nd, causal ? i + m : tk, p + i * kp, kp, 1, v, ldv, to.at + i * to.ld, to.ld, 1);
		}
		deliver(to, out, w, tq, d);
	}
}
static void attention(td_exec *e) {
	split(e, e->n[0] * e->n[3], e->n[1] * e->n[2] * e->n[4] / 4, 1, attention_range);
}

static void attention_back_range(td_exec *e, int part, long lo, long hi) {
	long tq = e->n[1], tk = e->n[2], heads = e->n[3], d = e->n[4], causal = e->n[5], w = heads * d;
	long kp = td_round(tk), dp = td_round(d), nd = (d + VL - 1) / VL * VL;
	int in = e->n[6] ? 1 : 3;
	float scale = (float)(1 / sqrt((double)d));
	float *kt = e->tmp + part * e->n[7], *vt = kt + d * kp, *p = vt + d * kp, *dpr = p + tq * kp;
	float *qc = dpr + tq * kp, *kc = qc + tq * dp, *oc = kc + tk * dp, *res = oc + tq * dp;
	for (long item = lo; item < hi; item++) {
		head h = head_at(e, 0, item), g = head_at(e, in + 1, item);
		const float *dout = F(in) + item / heads * tq * w + item % heads * d;
		float *dq = (float *)g.q, *dk = (float *)g.k, *dv = (float *)g.v;
		long ldq, ldk, ldo;
		place to;
		flip(h.k, h.stride, tk, d, kt, kp);
		flip(h.v, h.stride, tk, d, vt, kp);
		probabilities(e, h, kt, p, kp);
		const float *qo = operand(h.q, h.stride, tq, d, qc, dp, &ldq);
		const float *ko = operand(h.k, h.stride, tk, d, kc, dp, &ldk);
		const float *go = operand(dout, w, tq, d, oc, dp, &ldo);
		long qband = band_of(e), kband = causal ? qband : tk;
		// dV = Pᵀ·dO: key j is seen by the queries from j on.
		to = target(dv, g.stride, d, res, dp);
		for (long j = 0; j < tk; j += kband) {
			long m = tk - j < kband ? tk - j : kband, first = causal ? j : 0;
			product(m, nd, tq - first, p + first * kp + j, 1, kp, go + first * ldo, ldo, to.at + j * to.ld, to.ld, 1);
		}
		deliver(to, dv, g.stride, tk, d);
		// dP = dO·Vᵀ, then through the softmax: dS = scale·P·(dP − Σ P·dP).
		for (long i = 0; i < tq; i += qband) {
			long m = tq - i < qband ? tq - i : qband, seen = causal ? (i + m + VL - 1) / VL * VL : kp;
			product(m, seen < kp ? seen : kp, d, dout + i * w, w, 1, vt, kp, dpr + i * kp, kp, 1);
			for (long r = i; r < i + m; r++) {
				// Beyond the row's keys P is 0 and dP is finite, up to the next whole vector.
				float *pr = p + r * kp, *dr = dpr + r * kp, s[VL] = {0};
				long n = ((causal ? r + 1 : tk) + VL - 1) / VL * VL;
				for (long j = 0; j < n; j += VL)
					SIMD for (int l = 0; l < VL; l++) s[l] += pr[j + l] * dr[j + l];
				for (int half = VL / 2; half; half /= 2)
					for (int l = 0; l < half; l++)
						s[l] += s[l + half];
				for (long j = 0; j < n; j += VL)
					SIMD for (int l = 0; l < VL; l++) dr[j + l] = scale * pr[j + l] * (dr[j + l] - s[0]);
				memset(dr + n, 0, (kp - n) * sizeof(float));
			}
		}
		to = target(dq, g.stride, d, res, dp);
		for (long i = 0; i < tq; i += qband) {
			long m = tq - i < qband ? tq - i : qband;
			product(m, nd, causal ? i + m : tk, dpr + i * kp, kp, 1, ko, ldk, to.at + i * to.ld, to.ld, 1);
		}
		deliver(to, dq, g.stride, tq, d);
		to = target(dk, g.stride, d, res, dp);
		for (long j = 0; j < tk; j += kband) {
			long m = tk - j < kband ? tk - j : kband, first = causal ? j : 0;
			product(m, nd, tq - first, dpr + first * kp + j, 1, kp, qo + first * ldq, ldq, to.at + j * to.ld, to.ld, 1);
		}
		deliver(to, dk, g.stride, tk, d);
	}
}
static void attention_back(td_exec *e) {
	split(e, e->n[0] * e->n[3], e->n[1] * e->n[2] * e->n[4] / 2, 1, attention_back_range);
}
