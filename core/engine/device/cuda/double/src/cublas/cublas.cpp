// libcublas.so.12: what the CUDA backend calls. Types and numbers are of cublas_api.h and library_types.h.
#include "../known.h"
#include "matrix.h"

using namespace cudadouble;

namespace {

enum Mode { DefaultMath = 0, TensorOp = 1, Pedantic = 2, TF32TensorOp = 3 };

struct Handle {
  CUstream stream = nullptr;
  int mode = DefaultMath;
  bool devicePointers = false;
  void *workspace = nullptr;
  size_t workspaceBytes = 0;
};
Known<Handle *> &handles() {
  static auto *all = new Known<Handle *>;
  return *all;
}

int product(const char *call, Handle *h, int ta, int tb, int64_t m, int64_t n, int64_t k, const void *alphaAt,
            const void *a, int aType, int64_t lda, int64_t sa, const void *b, int bType, int64_t ldb, int64_t sb,
            const void *betaAt, void *c, int cType, int64_t ldc, int64_t sc, int64_t count, int compute) {
  if (!handles().has(h)) return bad(NotInitialized, call, "no such handle");
  if (CUresult e = double_entered(call)) return status(e);
  if (ta < 0 || ta > 1 || tb < 0 || tb > 1) return bad(InvalidValue, call, "an operation is neither N nor T");
  if (m < 0 || n < 0 || k < 0 || count < 0) return bad(InvalidValue, call, "a size is negative");
  if (!alphaAt || !betaAt) return bad(InvalidValue, call, "alpha or beta is null");
  if (h->devicePointers) return bad(NotSupported, call, "alpha and beta in device memory are not supported by the double");
  if (aType != bType || (aType != R32F && aType != R16BF) || (cType != R32F && cType != aType))
    return bad(NotSupported, call, "the double multiplies float32 by float32 into float32, and bfloat16 by bfloat16 into either");
  if (compute != Compute32F && compute != Compute32FPedantic && compute != Compute32FFastTF32 && compute != Compute32FFast16BF)
    return bad(NotSupported, call, "compute type " + std::to_string(compute) + " is not known to the double");
  const Matrix A{a, aType, lda, sa, ta != 0, ta ? k : m, ta ? m : k}, B{b, bType, ldb, sb, tb != 0, tb ? n : k, tb ? k : n};
  const Matrix C{c, cType, ldc, sc, false, m, n};
  const auto atLeast = [](int64_t x) { return x > 1 ? x : 1; };
  if (lda < atLeast(A.rows) || ldb < atLeast(B.rows) || ldc < atLeast(m)) return bad(InvalidValue, call, "a leading dimension is shorter than its matrix");
  if (count > 1 && sc < (n - 1) * ldc + m && m && n) return bad(InvalidValue, call, "results of the batch overlap");
  if (!m || !n || !count) return Success;
  const float alpha = *(const float *)alphaAt, beta = *(const float *)betaAt;
  const bool tf32 = aType == R32F && (compute == Compute32FFastTF32 || (compute == Compute32F && h->mode == TF32TensorOp));
  LibraryWork w{call, {}, nullptr};
  w.operands = {{a, k ? A.bytes(count) : 0, "A", A.dense(count)}, {b, k ? B.bytes(count) : 0, "B", B.dense(count)},
                {c, C.bytes(count), "C", beta != 0 && C.dense(count)}};
  if (!C.apart(count, a, A.bytes(count)) || !C.apart(count, b, B.bytes(count))) return bad(InvalidValue, call, "C overlaps A or B");
  if (h->workspace) w.operands.push_back({h->workspace, h->workspaceBytes, "the workspace", false});
  std::string shape;
  for (const int64_t x : {int64_t(ta), int64_t(tb), m, n, k, lda, ldb, ldc, count, int64_t(aType), int64_t(cType), int64_t(compute)}) shape += std::to_string(x) + ' ';
  if (cold(h->stream, shape)) return bad(ExecutionFailed, call, "the first product of this shape is within a capture, and may have to load its code");
  const Sum s{A, B, C, C, m, n, k, count, alpha, beta, tf32, 1};
  w.run = [s] { multiply(s, nullptr); };
  return status(double_enqueue(h->stream, w));
}

} // namespace

#define BLAS extern "C" __attribute__((visibility("default"))) int
#define HANDLE(h)                                                                                      \
  if (!handles().has(h)) return bad(NotInitialized, __func__, "no such handle")

BLAS cublasCreate_v2(Handle **h) {
  if (double_entered("cublasCreate")) return NotInitialized;
  handles().insert(*h = new Handle);
  return Success;
}

BLAS cublasDestroy_v2(Handle *h) {
  HANDLE(h);
  handles().erase(h);
  delete h;
  return Success;
}

BLAS cublasGetVersion_v2(Handle *, int *v) {
  *v = 120804;
  return Success;
}

BLAS cublasSetStream_v2(Handle *h, CUstream s) {
  HANDLE(h);
  h->stream = s;
  h->workspace = nullptr, h->workspaceBytes = 0; // cuBLAS goes back to its own
  return Success;
}

BLAS cublasGetStream_v2(Handle *h, CUstream *s) {
  HANDLE(h);
  *s = h->stream;
  return Success;
}

BLAS cublasSetMathMode(Handle *h, int mode) {
  HANDLE(h);
  const int base = mode & 0xF;
  if (base != DefaultMath && base != TensorOp && base != Pedantic && base != TF32TensorOp) return bad(InvalidValue, __func__, "no such mode");
  h->mode = base;
  return Success;
}

BLAS cublasGetMathMode(Handle *h, int *mode) {
  HANDLE(h);
  *mode = h->mode;
  return Success;
}

BLAS cublasSetPointerMode_v2(Handle *h, int mode) {
  HANDLE(h);
  h->devicePointers = mode == 1;
  return Success;
}

BLAS cublasSetAtomicsMode(Handle *h, int) {
  HANDLE(h);
  return Success;
}

BLAS cublasSetWorkspace_v2(Handle *h, void *at, size_t bytes) {
  HANDLE(h);
  if (uintptr_t(at) % 256) return bad(InvalidValue, __func__, "the workspace is not aligned to 256 bytes");
  h->workspace = at, h->workspaceBytes = at ? bytes : 0;
  return Success;
}

BLAS cublasSgemm_v2(Handle *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
  return product("cublasSgemm", h, ta, tb, m, n, k, alpha, a, R32F, lda, 0, b, R32F, ldb, 0, beta, c, R32F, ldc, 0, 1, Compute32F);
}

BLAS cublasSgemmStridedBatched(Handle *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, long long sa, const float *b, int ldb, long long sb, const float *beta, float *c, int ldc, long long sc, int count) {
  return product("cublasSgemmStridedBatched", h, ta, tb, m, n, k, alpha, a, R32F, lda, sa, b, R32F, ldb, sb, beta, c, R32F, ldc, sc, count, Compute32F);
}

BLAS cublasGemmEx(Handle *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, const void *b, int bt, int ldb, const void *beta, void *c, int ct, int ldc, int compute, int) {
  return product("cublasGemmEx", h, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0, 1, compute);
}

BLAS cublasGemmStridedBatchedEx(Handle *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, long long sa, const void *b, int bt, int ldb, long long sb, const void *beta, void *c, int ct, int ldc, long long sc, int count, int compute, int) {
  return product("cublasGemmStridedBatchedEx", h, ta, tb, m, n, k, alpha, a, at, lda, sa, b, bt, ldb, sb, beta, c, ct, ldc, sc, count, compute);
}

extern "C" __attribute__((visibility("default"))) const char *cublasGetStatusString(int s) {
  switch (s) {
  case Success: return "success";
  case NotInitialized: return "the library was not initialized";
  case AllocFailed: return "the resource allocation failed";
  case InvalidValue: return "an unsupported value or parameter was passed to the function";
  case ArchMismatch: return "the requested feature does not exist on the device";
  case ExecutionFailed: return "the function failed to launch on the GPU";
  case InternalError: return "an internal operation failed";
  case NotSupported: return "the requested functionality is not supported";
  }
  return "unknown status";
}
