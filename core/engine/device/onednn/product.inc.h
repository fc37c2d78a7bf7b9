// Small matrix products in registers; part of kernels.inc.h. Attention's, and those of matrices that fit
// the second cache, where oneDNN's overhead is a quarter of the time.

// The register block of the small product: MR rows by NV vectors of C.
#if VL == 16
enum { MR = 6, NV = 4 };
#elif VL == 8
enum { MR = 6, NV = 2 };
#else
enum { MR = 4, NV = 2 };
#endif
// whole rounds n up to a number of whole vectors.
static inline long whole(long n) { return (n + VL - 1) / VL * VL; }

enum { PANEL = NV * VL }; // columns of C that a block of registers holds

// tiles counts the blocks of registers in a product of m by n.
static inline long tiles(long m, long n) { return (m + MR - 1) / MR * ((n + PANEL - 1) / PANEL); }

// micro computes C [mr, nv·VL] = alpha·A·B, or += with add: element (i, k) of A is a[i·ars + k·aks]; rows of B
// and C are ldb and ldc apart. mr and nv are constants at every call.
static inline __attribute__((always_inline)) void micro(const int mr, const int nv, long k, const float *restrict a,
	long ars, long aks, const float *restrict b, long ldb, float *restrict c, long ldc, float alpha, int add) {
	for (int i = 0; i < mr; i++) // in time for the end
		for (int j = 0; j < nv * VL; j += 16)
			__builtin_prefetch(c + i * ldc + j, 1);
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
			*(vec *)(c + i * ldc + j * VL) = add ? *(vec *)(c + i * ldc + j * VL) + alpha * acc[i][j] : alpha * acc[i][j];
}

// MICRO(nv) calls micro for a block of rows, with their count as a constant.
#define MICRO(nv) \
	static void micro_##nv(int mr, long k, const float *a, long ars, long aks, const float *b, long ldb, float *c, \
		long ldc, float alpha, int add) { \
		switch (mr) { \
		case 1: micro(1, nv, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break; \
		case 2: micro(2, nv, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break; \
		case 3: micro(3, nv, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break; \
		case 4: micro(4, nv, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break; \
		MICRO_MORE(nv) \
		} \
	}
#if VL > 4
#define MICRO_MORE(nv) \
	case 5: micro(5, nv, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break; \
	case 6: micro(6, nv, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break;
#else
#define MICRO_MORE(nv)
#endif
MICRO(1)
MICRO(2)
#if VL == 16
MICRO(3)
MICRO(4)
#endif

// tile computes micro for mr ≤ MR rows and n columns, a multiple of VL up to NV·VL.
static inline void tile(int mr, long n, long k, const float *a, long ars, long aks, const float *b, long ldb, float *c,
	long ldc, float alpha, int add) {
	switch (n / VL) {
	case 1: micro_1(mr, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break;
	case 2: micro_2(mr, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break;
#if VL == 16
	case 3: micro_3(mr, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break;
	case 4: micro_4(mr, k, a, ars, aks, b, ldb, c, ldc, alpha, add); break;
#endif
	}
}

// region holds a part of a matrix in memory: rows of so many floats, stride apart.
typedef struct {
	const float *from;
	long stride, rows, width;
} region;

// fetch asks for the next rows of a region, so many, to be in the second cache when they are needed. The memory has nothing
// else to do while a block is computed.
static inline __attribute__((always_inline)) void fetch(region *x, long rows) {
	for (; rows > 0 && x->rows > 0; rows--, x->rows--, x->from += x->stride)
		for (long j = 0; j < x->width; j += 16)
			__builtin_prefetch(x->from + j, 0, 2);
}

// trail is a list of regions for fetch_some, which asks for the next rows of it.
typedef struct {
	region at[7];
	int count, now;
	long row, rows, each; // the next row of at[now]; of all regions; at a time
} trail;

static inline void fetch_some(trail *t) {
	for (long n = t->each; n && t->now < t->count; n--) {
		region *x = &t->at[t->now];
		for (long j = 0; j < x->width; j += 16)
			__builtin_prefetch(x->from + t->row * x->stride + j, 0, 2);
		if (++t->row >= x->rows) {
			t->row = 0;
			t->now++;
		}
	}
}

// product computes C [m, n] = alpha·A·B with n a multiple of VL. Between its tiles it asks for rows of what comes next.
static void product(long m, long n, long k, const float *a, long ars, long aks, const float *b, long ldb, float *c,
	long ldc, float alpha, trail *next) {
	for (long j = 0; j < n; j += NV * VL)
		for (long i = 0; i < m; i += MR) {
			fetch_some(next);
			tile(m - i < MR ? (int)(m - i) : MR, n - j < NV * VL ? n - j : NV * VL, k, a + i * ars, ars, aks, b + j, ldb,
				c + i * ldc + j, ldc, alpha, 0);
		}
}

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

// flip computes out [cols, ld] = xᵀ for x [rows, cols] with rows stride apart; columns from rows to ld, a
// multiple of VL, are 0. Blocks of VL×VL are transposed in registers: log₂ VL times, each vector is
// interleaved with the one that lies half a block further.
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

