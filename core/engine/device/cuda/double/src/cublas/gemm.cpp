#include "gemm.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace cudadouble {
namespace {

// Row-major, as in oneDNN's dnnl.h.
using Dnnl = int (*)(char ta, char tb, long m, long n, long k, float alpha, const float *a, long lda,
                     const float *b, long ldb, float beta, float *c, long ldc);
using Cblas = void (*)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                       const float *b, int ldb, float beta, float *c, int ldc);

struct Library {
  Dnnl dnnl = nullptr;
  Cblas cblas = nullptr;
  Library() {
    if (getenv("TANDEM_CUDA_DOUBLE_GEMM")) return; // "own": the loop below, for its tests
    for (const char *name : {"libdnnl.so.3", "libdnnl.so.2", "libdnnl.so"})
      if (void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL))
        if ((dnnl = (Dnnl)dlsym(lib, "dnnl_sgemm"))) return;
    for (const char *name : {"libopenblas.so.0", "libopenblas.so", "libcblas.so.3", "libblas.so.3"})
      if (void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL))
        if ((cblas = (Cblas)dlsym(lib, "cblas_sgemm"))) return;
  }
};

// own multiplies on machines without a library: B is packed in panels, rows of A in fours, columns by vectors.
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
void panel(long rows, long cols, long depth, const float *a, const float *b, float *c, long ldc) {
  // a is [rows, depth], b [depth, cols], c [rows, ldc]; all row-major
  long i = 0;
  for (; i + 4 <= rows; i += 4) {
    float *c0 = c + i * ldc, *c1 = c0 + ldc, *c2 = c1 + ldc, *c3 = c2 + ldc;
    for (long p = 0; p < depth; p++) {
      const float x0 = a[i * depth + p], x1 = a[(i + 1) * depth + p], x2 = a[(i + 2) * depth + p], x3 = a[(i + 3) * depth + p];
      const float *bp = b + p * cols;
      for (long j = 0; j < cols; j++) c0[j] += x0 * bp[j], c1[j] += x1 * bp[j], c2[j] += x2 * bp[j], c3[j] += x3 * bp[j];
    }
  }
  for (; i < rows; i++)
    for (long p = 0; p < depth; p++)
      for (long j = 0; j < cols; j++) c[i * ldc + j] += a[i * depth + p] * b[p * cols + j];
}

// Row-major: C[m,n] = alpha op(A) op(B) + beta C.
void own(bool ta, bool tb, long m, long n, long k, float alpha, const float *a, long lda, const float *b, long ldb,
         float beta, float *c, long ldc) {
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
  constexpr long depth = 128, cols = 256, rows = 64;
  std::vector<float> pa(size_t(rows * depth)), pb(size_t(depth * cols));
  for (long p0 = 0; p0 < k; p0 += depth) {
    const long d = std::min(depth, k - p0);
    for (long j0 = 0; j0 < n; j0 += cols) {
      const long w = std::min(cols, n - j0);
      for (long p = 0; p < d; p++)
        for (long j = 0; j < w; j++) pb[size_t(p * w + j)] = tb ? b[(j0 + j) * ldb + p0 + p] : b[(p0 + p) * ldb + j0 + j];
      for (long i0 = 0; i0 < m; i0 += rows) {
        const long h = std::min(rows, m - i0);
        for (long i = 0; i < h; i++)
          for (long p = 0; p < d; p++) pa[size_t(i * d + p)] = alpha * (ta ? a[(p0 + p) * lda + i0 + i] : a[(i0 + i) * lda + p0 + p]);
        panel(h, w, d, pa.data(), pb.data(), c + i0 * ldc + j0, ldc);
      }
    }
  }
}

} // namespace

void gemm(bool ta, bool tb, long m, long n, long k, float alpha, const float *a, long lda, const float *b, long ldb,
          float beta, float *c, long ldc) {
  static const Library lib;
  if (!m || !n) return;
  // A column-major product is the row-major one of the transposes in the other order.
  if (k && lib.dnnl && lib.dnnl(tb ? 'T' : 'N', ta ? 'T' : 'N', n, m, k, alpha, b, ldb, a, lda, beta, c, ldc) == 0) return;
  if (k && lib.cblas) return lib.cblas(102, ta ? 112 : 111, tb ? 112 : 111, int(m), int(n), int(k), alpha, a, int(lda), b, int(ldb), beta, c, int(ldc));
  own(tb, ta, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc);
}

} // namespace cudadouble
