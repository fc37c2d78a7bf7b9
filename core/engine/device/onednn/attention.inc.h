// Attention; part of kernels.inc.h. Each head of each row of the batch is a handful of small matrix
// products on scratch that stays in the second cache; nothing of size Tq·Tk reaches memory.
//
// n is B, Tq, Tk, Heads, HeadDim, Causal, Packed, floats of scratch for one part, Rows.

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

// place tells where a product with cols columns is written: to out itself or, when cols is no whole number
// of vectors, to a padded copy that deliver then moves there.
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

// head tells where one head of one row of the batch lies, and how long its row is.
typedef struct {
	const float *q, *k, *v;
	long stride, row, tq, tk; // row: the first of its queries among all
} head;

static head head_at(td_exec *e, int first, long item) {
	long heads = e->n[3], d = e->n[4], w = heads * d, b = item / heads, h = item % heads * d;
	long tq = e->n[1], tk = e->n[2], row = b * tq;
	if (e->n[8]) {
		row = I(1)[b];
		tq = tk = I(1)[b + 1] - row;
	}
	if (e->n[6]) {
		const float *qkv = F(first) + row * 3 * w + h;
		return (head){qkv, qkv + w, qkv + 2 * w, 3 * w, row, tq, tk};
	}
	return (head){F(first) + row * w + h, F(first + 1) + b * tk * w + h, F(first + 2) + b * tk * w + h, w, row, tq, tk};
}

// Rows of a head lie apart, which processors do not foresee. So the products of one head ask for the rows of the next one, a
// few at a time: more at once would have to wait for each other.
static void fetch_later(trail *t, const float *x, long stride, long rows, long d) {
	t->at[t->count++] = (region){x, stride, rows, d};
	t->rows += rows;
}
static void fetch_head(trail *t, head h, long d) {
	fetch_later(t, h.k, h.stride, h.tk, d);
	fetch_later(t, h.v, h.stride, h.tk, d);
	fetch_later(t, h.q, h.stride, h.tq, d);
}

// clear_tail clears what is beyond the last sequence in rows of width numbers, where lengths differ.
static void clear_tail(td_exec *e, int arg, long width) {
	long bytes = width * (td_half_arg(e->n, arg) ? 2 : 4);
	if (e->n[8])
		memset((char *)e->arg[arg] + I(1)[e->n[0]] * bytes, 0, (e->n[8] - I(1)[e->n[0]]) * bytes);
}

// Long causal attention is done in bands of rows, each with only the keys that its last row sees.
enum { BAND = 2 * MR };

static long band_of(td_exec *e, long tq) { return e->n[5] && tq > 3 * BAND ? BAND : tq; }

// softmax of the first n numbers of a row; those from n to padded, a multiple of VL, become 0. A NaN
// makes all NaN through the sum. Whole vectors only: tails would cost as much as short rows.
static void softmax(float *x, long n, long padded) {
	long w = whole(n);
	SIMD for (int l = 0; l < VL; l++) x[w - VL + l] = w - VL + l < n ? x[w - VL + l] : -INFINITY;
	for (long j = w; j < padded; j += VL)
		V(x + j) = (vec){0};
	vec m = V(x), s = {0};
	for (long j = VL; j < w; j += VL)
		m = larger(V(x + j), m);
#pragma GCC unroll 4
	for (int i = 0; i < STEPS; i++)
		m = larger(across(m, i), m);
	float most = m[0];
	for (long j = 0; j < w; j += VL)
		SIMD for (int l = 0; l < VL; l++) x[j + l] = fexp(x[j + l] - most);
	for (long j = 0; j < w; j += VL)
		s += V(x + j);
	float k = 1.f / sum_of(s);
	for (long j = 0; j < w; j += VL)
		V(x + j) *= k;
}

// probabilities fills p [tq, kp] from q and the transposed keys kt [d, kp].
static void probabilities(td_exec *e, head h, const float *kt, float *p, long kp, trail *next) {
	long tq = h.tq, tk = h.tk, d = e->n[4], causal = e->n[5];
	float scale = (float)(1 / sqrt((double)d));
	long band = band_of(e, tq);
	for (long i = 0; i < tq; i += band) {
		long m = tq - i < band ? tq - i : band, seen = causal ? whole(i + m) : kp;
		product(m, seen < kp ? seen : kp, d, h.q + i * h.stride, h.stride, 1, kt, kp, p + i * kp, kp, scale, next);
		for (long r = i; r < i + m; r++)
			softmax(p + r * kp, causal ? r + 1 : tk, kp);
	}
}

static void attention_range(td_exec *e, int part, long lo, long hi) {
	long heads = e->n[3], d = e->n[4], causal = e->n[5], w = heads * d, dp = whole(d);
	int to_arg = e->n[8] ? 2 : e->n[6] ? 1 : 3, half = td_half_arg(e->n, to_arg);
	for (long item = lo; item < hi; item++) {
		head h = head_at(e, 0, item);
		trail next = {0};
		if (item + 1 < hi) {
			head then = head_at(e, 0, item + 1);
			fetch_head(&next, then, d);
			if (!half)
				fetch_later(&next, F(to_arg) + then.row * w + (item + 1) % heads * d, w, then.tq, d);
		}
		long tq = h.tq, tk = h.tk, kp = whole(tk), at = h.row * w + item % heads * d, ldv;
		float *kt = e->tmp + part * e->n[7], *p = kt + d * kp, *vp = p + tq * kp, *op = vp + tk * dp;
		float *out = F(to_arg) + at; // unless half
		place to;
		next.each = 1 + next.rows / (1 + tiles(tq, kp) + tiles(tq, d));
		flip(h.k, h.stride, tk, d, kt, kp);
		probabilities(e, h, kt, p, kp, &next);
		const float *v = operand(h.v, h.stride, tk, d, vp, dp, &ldv);
		long nd = whole(d), band = band_of(e, tq);
		to = half ? (place){op, dp} : target(out, w, d, op, dp);
		for (long i = 0; i < tq; i += band) {
			long m = tq - i < band ? tq - i : band;
			product(m, nd, causal ? i + m : tk, p + i * kp, kp, 1, v, ldv, to.at + i * to.ld, to.ld, 1, &next);
		}
		if (!half)
			deliver(to, out, w, tq, d);
		for (long i = 0; half && i < tq; i++)
			to_half(H(to_arg) + at + i * w, op + i * dp, d);
	}
}
static void attention(td_exec *e) {
	clear_tail(e, 2, e->n[3] * e->n[4]);
	split(e, e->n[0] * e->n[3], e->n[1] * e->n[2] * e->n[4] / 4, 1, attention_range);
}

static void attention_back_range(td_exec *e, int part, long lo, long hi) {
	long heads = e->n[3], d = e->n[4], causal = e->n[5], w = heads * d;
	long dp = whole(d), nd = whole(d);
	int in = e->n[8] ? 2 : e->n[6] ? 1 : 3;
	float scale = (float)(1 / sqrt((double)d));
	for (long item = lo; item < hi; item++) {
		head h = head_at(e, 0, item), g = head_at(e, in + 1, item);
		trail next = {0};
		if (item + 1 < hi) {
			head then = head_at(e, 0, item + 1);
			fetch_head(&next, then, d);
			fetch_head(&next, head_at(e, in + 1, item + 1), d);
			fetch_later(&next, F(in) + then.row * w + (item + 1) % heads * d, w, then.tq, d);
		}
		long tq = h.tq, tk = h.tk, kp = whole(tk);
		float *kt = e->tmp + part * e->n[7], *vt = kt + d * kp, *p = vt + d * kp, *dpr = p + tq * kp;
		float *qc = dpr + tq * kp, *kc = qc + tq * dp, *oc = kc + tk * dp, *res = oc + tq * dp;
		const float *dout = F(in) + h.row * w + item % heads * d;
		float *dq = (float *)g.q, *dk = (float *)g.k, *dv = (float *)g.v;
		long ldq, ldk, ldo;
		place to;
		next.each = 1 + next.rows / (1 + 2 * tiles(tq, kp) + tiles(tq, d) + 2 * tiles(tk, d));
		flip(h.k, h.stride, tk, d, kt, kp);
		flip(h.v, h.stride, tk, d, vt, kp);
		probabilities(e, h, kt, p, kp, &next);
		const float *qo = operand(h.q, h.stride, tq, d, qc, dp, &ldq);
		const float *ko = operand(h.k, h.stride, tk, d, kc, dp, &ldk);
		const float *go = operand(dout, w, tq, d, oc, dp, &ldo);
		long qband = band_of(e, tq), kband = causal ? qband : tk;
		// dV = Pᵀ·dO: key j is seen by the queries from j on.
		to = target(dv, g.stride, d, res, dp);
		for (long j = 0; j < tk; j += kband) {
			long m = tk - j < kband ? tk - j : kband, first = causal ? j : 0;
			product(m, nd, tq - first, p + first * kp + j, 1, kp, go + first * ldo, ldo, to.at + j * to.ld, to.ld, 1, &next);
		}
		deliver(to, dv, g.stride, tk, d);
		// dP = dO·Vᵀ, then through the softmax: dS = scale·P·(dP − Σ P·dP).
		for (long i = 0; i < tq; i += qband) {
			long m = tq - i < qband ? tq - i : qband, seen = causal ? whole(i + m) : kp;
			product(m, seen < kp ? seen : kp, d, dout + i * w, w, 1, vt, kp, dpr + i * kp, kp, 1, &next);
			for (long r = i; r < i + m; r++) {
				// Beyond the row's keys P is 0 and dP is finite, up to the next whole vector.
				float *pr = p + r * kp, *dr = dpr + r * kp;
				vec s = {0};
				long n = whole(causal ? r + 1 : tk);
				for (long j = 0; j < n; j += VL)
					s += V(pr + j) * V(dr + j);
				float sum = sum_of(s);
				for (long j = 0; j < n; j += VL)
					V(dr + j) = scale * V(pr + j) * (V(dr + j) - sum);
				for (long j = n; j < kp; j += VL)
					V(dr + j) = (vec){0};
			}
		}
		to = target(dq, g.stride, d, res, dp);
		for (long i = 0; i < tq; i += qband) {
			long m = tq - i < qband ? tq - i : qband;
			product(m, nd, causal ? i + m : tk, dpr + i * kp, kp, 1, ko, ldk, to.at + i * to.ld, to.ld, 1, &next);
		}
		deliver(to, dq, g.stride, tq, d);
		to = target(dk, g.stride, d, res, dp);
		for (long j = 0; j < tk; j += kband) {
			long m = tk - j < kband ? tk - j : kband, first = causal ? j : 0;
			product(m, nd, tq - first, dpr + first * kp + j, 1, kp, qo + first * ldq, ldq, to.at + j * to.ld, to.ld, 1, &next);
		}
		deliver(to, dk, g.stride, tk, d);
	}
}
static void attention_back(td_exec *e) {
	clear_tail(e, 3, 3 * e->n[3] * e->n[4]);
	split(e, e->n[0] * e->n[3], e->n[1] * e->n[2] * e->n[4] / 2, 1, attention_back_range);
}
