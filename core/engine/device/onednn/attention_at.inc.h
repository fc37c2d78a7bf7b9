// Attention of one query for each sequence; part of kernels.inc.h.
//
// n is B, T, Heads, HeadDim, Causal, floats of scratch for one part, Rows.

// query holds what one head of one query sees.
typedef struct {
	const float *q, *first; // its row and the first of its sequence, from the head on
	long keys, place, tokens;
} query;

static query query_at(td_exec *e, int arg, long item) {
	long t = e->n[1], heads = e->n[2], d = e->n[3], w = 3 * heads * d, b = item / heads, from = b * t;
	if (e->n[6]) {
		from = I(1)[b];
		t = I(1)[b + 1] - from;
	}
	const float *first = F(arg) + from * w + item % heads * d;
	long place = I(e->n[6] ? 2 : 1)[b] - from;
	return (query){first + place * w, first, e->n[4] ? place + 1 : t, place, t};
}

// dot_rows returns the product of two rows of n floats.
static inline float dot_rows(const float *a, const float *b, long n) {
	vec s = {0};
	for (long i = 0; i < n; i += VL) {
		long m = n - i < VL ? n - i : VL;
		s += load(a + i, m) * load(b + i, m);
	}
	float x[VL];
	*(vec *)x = s;
	for (int half = VL / 2; half; half /= 2)
		for (int l = 0; l < half; l++)
			x[l] += x[l + half];
	return x[0];
}

// weigh fills p [keys] with softmax(scale·q·kᵀ), up to padded with 0.
static void weigh(td_exec *e, query u, float *p, float scale) {
	long d = e->n[3], w = e->n[2] * d;
	for (long j = 0; j < u.keys; j++)
		p[j] = scale * dot_rows(u.q, u.first + j * 3 * w + w, d);
	softmax(p, u.keys, e->n[5]);
}

static void attention_at_range(td_exec *e, int part, long lo, long hi) {
	long d = e->n[3], w = e->n[2] * d;
	float *p = e->tmp + part * e->n[5], scale = (float)(1 / sqrt((double)d));
	int to = e->n[6] ? 3 : 2, half = td_half_arg(e->n, to);
	for (long item = lo; item < hi; item++) {
		query u = query_at(e, 0, item);
		weigh(e, u, p, scale);
		for (long i = 0; i < d; i += VL) {
			long m = d - i < VL ? d - i : VL;
			vec s = {0};
			for (long j = 0; j < u.keys; j++)
				s += p[j] * load(u.first + j * 3 * w + 2 * w + i, m);
			float row[VL];
			*(vec *)row = s;
			if (half)
				to_half(H(to) + item * d + i, row, m);
			else
				store(F(to) + item * d + i, m, s);
		}
	}
}
static void attention_at(td_exec *e) {
	split(e, e->n[0] * e->n[2], e->n[1] * e->n[3] / 2, 1, attention_at_range);
}

static void attention_at_back_range(td_exec *e, int part, long lo, long hi) {
	long d = e->n[3], w = e->n[2] * d;
	int in = e->n[6] ? 3 : 2;
	float *p = e->tmp + part * e->n[5], scale = (float)(1 / sqrt((double)d));
	for (long item = lo; item < hi; item++) {
		query u = query_at(e, 0, item);
		const float *dout = F(in) + item * d;
		float *grads = (float *)query_at(e, in + 1, item).first, *dq = grads + u.place * 3 * w;
		weigh(e, u, p, scale);
		// Through the softmax: ds = scale·p·(dp − Σ p·dp), dp = dout·v. dp waits where dk goes.
		double sum = 0;
		for (long j = 0; j < u.keys; j++) {
			float dp = dot_rows(dout, u.first + j * 3 * w + 2 * w, d);
			grads[j * 3 * w + w] = dp;
			sum += p[j] * dp;
		}
		for (long j = 0; j < u.tokens; j++)
			memset(grads + j * 3 * w, 0, d * sizeof(float));
		for (long j = 0; j < u.keys; j++) {
			float *g = grads + j * 3 * w, ds = scale * p[j] * (g[w] - (float)sum);
			const float *k = u.first + j * 3 * w + w;
			for (long i = 0; i < d; i += VL) {
				long m = d - i < VL ? d - i : VL;
				store(dq + i, m, load(dq + i, m) + ds * load(k + i, m));
				store(g + w + i, m, ds * load(u.q + i, m));
				store(g + 2 * w + i, m, p[j] * load(dout + i, m));
			}
		}
		for (long j = u.keys; j < u.tokens; j++) {
			memset(grads + j * 3 * w + w, 0, d * sizeof(float));
			memset(grads + j * 3 * w + 2 * w, 0, d * sizeof(float));
		}
	}
}
static void attention_at_back(td_exec *e) {
	if (e->n[6])
		memset(F(4) + I(1)[e->n[0]] * 3 * e->n[2] * e->n[3], 0, (e->n[6] - I(1)[e->n[0]]) * 3 * e->n[2] * e->n[3] * sizeof(float));
	split(e, e->n[0] * e->n[2], e->n[1] * e->n[3], 1, attention_at_back_range);
}
