// Elementary functions without branches, so that loops over them vectorise. Included by
// kernels.inc.h once for each instruction set.

static inline float bits_float(int32_t i) {
	float f;
	__builtin_memcpy(&f, &i, 4);
	return f;
}

static inline int32_t float_bits(float f) {
	int32_t i;
	__builtin_memcpy(&i, &f, 4);
	return i;
}

// fexp is exp(x) to 2e-7 relative, 0 and infinity beyond float's range, NaN for NaN. The polynomial
// is Cephes' expf (S. Moshier) on |r| ≤ ln 2 / 2; 2^n is applied in two factors so that results
// near both ends of the range come out.
static inline float fexp(float x) {
	float c = x < -104.f ? -104.f : x;
	c = c > 89.f ? 89.f : c;
	const float magic = 12582912.f; // 1.5·2²³: adding it rounds to a whole number
	float t = c * 1.44269504f + magic;
	float n = t - magic;
	float r = c - n * 0.693359375f;
	r = r - n * -2.12194440e-4f;
	float p = 1.9875691500e-4f;
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * r * r + r + 1.f;
	int32_t i = float_bits(t) - 0x4b400000;
	int32_t half = i >> 1;
	return p * bits_float((half + 127) << 23) * bits_float((i - half + 127) << 23);
}

// flog is the natural logarithm of a positive normal number, to 2e-7 (Cephes' logf).
static inline float flog(float x) {
	int32_t i = float_bits(x);
	int32_t e = ((i >> 23) & 255) - 126;
	float m = bits_float((i & 0x007fffff) | 0x3f000000); // [0.5, 1)
	int small = m < 0.707106781f;
	float fe = (float)(e - small);
	m = small ? m + m - 1.f : m - 1.f;
	float z = m * m;
	float p = 7.0376836292e-2f;
	p = p * m - 1.1514610310e-1f;
	p = p * m + 1.1676998740e-1f;
	p = p * m - 1.2420140846e-1f;
	p = p * m + 1.4249322787e-1f;
	p = p * m - 1.6668057665e-1f;
	p = p * m + 2.0000714765e-1f;
	p = p * m - 2.4999993993e-1f;
	p = p * m + 3.3333331174e-1f;
	p = p * m * z - 2.12194440e-4f * fe - 0.5f * z;
	return m + p + 0.693359375f * fe;
}

static inline float fsigmoid(float x) { return 1.f / (1.f + fexp(-x)); }

// fcdf is the normal distribution function Φ(x) = erfc(−x/√2)/2. The Chebyshev fit of erfc is the
// one of Numerical Recipes (erfcc), relative error under 1.2e-7 before rounding.
static inline float fcdf(float x) {
	float z = __builtin_fabsf(x) * 0.707106781f;
	float t = 1.f / (1.f + 0.5f * z);
	float p = 0.17087277f;
	p = p * t - 0.82215223f;
	p = p * t + 1.48851587f;
	p = p * t - 1.13520398f;
	p = p * t + 0.27886807f;
	p = p * t - 0.18628806f;
	p = p * t + 0.09678418f;
	p = p * t + 0.37409196f;
	p = p * t + 1.00002368f;
	p = p * t - 1.26551223f;
	float tail = 0.5f * t * fexp(p - z * z);
	return x > 0.f ? 1.f - tail : tail;
}

static inline float frelu(float x) { return x < 0.f ? 0.f : x; }
static inline float fgelu(float x) { return x * fcdf(x); }
static inline float fquick(float x) { return x / (1.f + fexp(-1.702f * x)); }

static inline float frelu_back(float x) { return x > 0.f ? 1.f : 0.f; }
static inline float fgelu_back(float x) { return fcdf(x) + x * 0.398942280f * fexp(-0.5f * x * x); }
static inline float fquick_back(float x) {
	float s = fsigmoid(1.702f * x);
	return s + 1.702f * x * s * (1.f - s);
}

static inline float fsoftplus(float x) {
	float e = fexp(-__builtin_fabsf(x));
	float u = 1.f + e;
	// log(u) for the rounded u, and what the rounding lost.
	float l = flog(u) + (e - (u - 1.f)) / u;
	return (x > 0.f ? x : 0.f) + (e != e ? e : l);
}
