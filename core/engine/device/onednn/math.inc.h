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

// fexp computes exp(x) to 2e-7 relative: 0 under 2^-126, infinity from 2^127.5 on, NaN for NaN. The
// polynomial is Cephes' expf (S. Moshier) on |r| ≤ ln 2 / 2; the clamps let 2^n reach its encodings
// of 0 and infinity and no further.
static inline float fexp(float x) {
	float c = x < -88.f ? -88.f : x;
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
	return p * bits_float((float_bits(t) - 0x4b400000 + 127) << 23);
}

// flog computes the natural logarithm of a positive normal number, to 2e-7 (Cephes' logf).
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

// fpdf computes the density φ of the normal distribution.
static inline float fpdf(float x) { return 0.398942280f * fexp(-0.5f * x * x); }

// fcdf computes the normal distribution function Φ(x), given φ(x), to 2e-7 relative where x < 0 also. The
// ratio Φ(−z)/φ(z) is a polynomial in t = 1/(1 + 0.28z), times t: a least-maximum fit of its
// relative error, 1.7e-7, over all z ≥ 0.
static inline float fcdf(float x, float pdf) {
	float t = 1.f / (1.f + 0.28f * __builtin_fabsf(x));
	float p = 6.196410684e-02f;
	p = p * t - 2.346043272e-01f;
	p = p * t + 2.316845865e-01f;
	p = p * t - 1.616690282e-02f;
	p = p * t + 1.824203773e-01f;
	p = p * t + 2.096312074e-01f;
	p = p * t + 2.583949446e-01f;
	p = p * t + 2.799898834e-01f;
	p = p * t + 2.800000477e-01f;
	float tail = pdf * t * p;
	return x > 0.f ? 1.f - tail : tail;
}

static inline float frelu(float x) { return x < 0.f ? 0.f : x; }
static inline float fgelu(float x) { return x * fcdf(x, fpdf(x)); }
static inline float fquick(float x) { return x / (1.f + fexp(-1.702f * x)); }

// ftanhslope computes a + b·x², where x·ftanhslope(x) is u = 2√(2/π)·(x + 0.044715x³); tanh's GELU is x·σ(u).
static inline float ftanhslope(float x) { return 1.5957691216f + 0.0713548163f * x * x; }
static inline float ftanhgelu(float x) { return x / (1.f + fexp(-x * ftanhslope(x))); }

static inline float frelu_back(float x) { return x > 0.f ? 1.f : 0.f; }
static inline float fgelu_back(float x) {
	float pdf = fpdf(x);
	return fcdf(x, pdf) + x * pdf;
}
static inline float fquick_back(float x) {
	float s = fsigmoid(1.702f * x);
	return s + 1.702f * x * s * (1.f - s);
}

static inline float ftanhgelu_back(float x) {
	float s = fsigmoid(x * ftanhslope(x)), d = s * (1.f - s);
	// Where d is 0, x² may be infinite.
	return s + (d == 0.f ? 0.f : x * d * (1.5957691216f + 0.2140644488f * x * x));
}

static inline float fsoftplus(float x) {
	float e = fexp(-__builtin_fabsf(x));
	float u = 1.f + e;
	// log(u) for the rounded u, and what the rounding lost.
	float l = flog(u) + (e - (u - 1.f)) / u;
	return (x > 0.f ? x : 0.f) + (e != e ? e : l);
}

// bf16 rounds a float's bits: the upper half is the nearest bfloat16, ties to even. NaN stays NaN.
static inline uint32_t bf16(uint32_t u) {
	uint32_t rounded = u + 0x7fff + (u >> 16 & 1), quiet = u | 0x400000;
	return (u & 0x7fffffff) > 0x7f800000 ? quiet : rounded;
}

// to_half writes n floats as bfloat16.
static inline void to_half(uint16_t *restrict y, const float *restrict x, long n) {
	_Pragma("omp simd") for (long i = 0; i < n; i++) y[i] = (uint16_t)(bf16((uint32_t)float_bits(x[i])) >> 16);
}

// vec holds a register of floats; in memory it may lie at any address.
typedef float vec __attribute__((vector_size(4 * VL), aligned(4), may_alias));

// V is the vector that begins at a number.
#define V(x) (*(vec *)(x))

// load and store move the first n floats of a vector; those missing are 0.
static inline vec load(const float *x, long n) {
	if (n == VL)
		return *(const vec *)x;
	vec v = {0};
	__builtin_memcpy(&v, x, n * sizeof(float));
	return v;
}

static inline void store(float *x, long n, vec v) {
	if (n == VL)
		*(vec *)x = v;
	else
		__builtin_memcpy(x, &v, n * sizeof(float));
}

typedef int32_t ivec __attribute__((vector_size(4 * VL)));

// larger gives the larger of each two numbers, b where one is NaN.
static inline vec larger(vec a, vec b) {
	ivec take = a > b;
	return (vec)((take & (ivec)a) | (~take & (ivec)b));
}

// across moves the halves of a vector into each other's place, those of its halves, and so on: steps 0, 1, ….
#if VL == 16
enum { STEPS = 4 };
static const ivec swaps[STEPS] = {{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}, {4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11},
	{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}, {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}};
#elif VL == 8
enum { STEPS = 3 };
static const ivec swaps[STEPS] = {{4, 5, 6, 7, 0, 1, 2, 3}, {2, 3, 0, 1, 6, 7, 4, 5}, {1, 0, 3, 2, 5, 4, 7, 6}};
#else
enum { STEPS = 2 };
static const ivec swaps[STEPS] = {{2, 3, 0, 1}, {1, 0, 3, 2}};
#endif
static inline vec across(vec x, int step) { return __builtin_shuffle(x, swaps[step]); }

// sum_of adds up the numbers of a vector: its halves, those halves, and so on.
static inline float sum_of(vec x) {
#pragma GCC unroll 4
	for (int i = 0; i < STEPS; i++)
		x += across(x, i);
	return x[0];
}

// vsqrt takes the square root of each number, without the call of sqrtf that C makes for errno.
static inline vec vsqrt(vec x) {
#if VL == 16
	return (vec)_mm512_sqrt_ps((__m512)x);
#elif VL == 8
	return (vec)_mm256_sqrt_ps((__m256)x);
#else
	for (int i = 0; i < VL; i++)
		x[i] = sqrtf(x[i]);
	return x;
#endif
}
