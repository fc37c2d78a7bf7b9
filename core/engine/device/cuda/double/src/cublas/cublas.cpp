// libcublas.so.12: what the CUDA backend calls. Types and numbers are of cublas_api.h and library_types.h.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "../enqueue.h"
#include "gemm.h"

using namespace cudadouble;

namespace {

enum Status { Success = 0, NotInitialized = 1, AllocFailed = 3, InvalidValue = 7, ArchMismatch = 8, ExecutionFailed = 13, InternalError = 14, NotSupported = 15 };
enum Type { R32F = 0, R16F = 2, R16BF = 14 };
enum Compute { Compute32F = 68, Compute32FPedantic = 69, Compute32FFast16F = 74, Compute32FFast16BF = 75, Compute32FFastTF32 = 77 };
enum Mode { DefaultMath = 0, TensorOp = 1, Pedantic = 2, TF32TensorOp = 3 };

struct Handle {
  CUstream stream = nullptr;
  int mode = DefaultMath;
  bool devicePointers = false;
  void *workspace = nullptr;
  size_t workspaceBytes = 0;
};
std::set<Handle *> &handles() {
  static auto *all = new std::set<Handle *>;
  return *all;
}

Status status(CUresult e) {
  return e == CUDA_SUCCESS ? Success : e == CUDA_ERROR_INVALID_VALUE || e == CUDA_ERROR_INVALID_HANDLE ? InvalidValue : e == CUDA_ERROR_NOT_SUPPORTED ? NotSupported : ExecutionFailed;
}

int bad(Status s, const char *call, const std::string &why) {
  return double_finding(s, (std::string(call) + ": " + why).c_str());
}

// Matrix describes an operand, column-major, `count` of them `stride` elements apart.
struct Matrix {
  const void *at;
  int type;
  int64_t ld, stride;
  bool trans;
  int64_t rows, cols; // as stored
  // dense says that no gaps lie between columns and matrices.
  bool dense(int64_t count) const { return ld == rows && (count == 1 || stride == rows * cols); }
  size_t bytes(int64_t count) const {
    if (!rows || !cols || !count) return 0;
    return size_t(((count - 1) * stride + (cols - 1) * ld + rows) * (type == R32F ? 4 : 2));
  }
};

// rounded returns x with the mantissa of TF32, to nearest, ties away, as cvt.rna.tf32.f32 rounds it.
float rounded(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7F800000) != 0x7F800000) u = (u + 0x1000) & ~0x1FFFu;
  memcpy(&x, &u, 4);
  return x;
}

// floats returns matrix i as float32 with leading dimension `rows`; the operand itself when it is that already.
const float *floats(const Matrix &m, int64_t i, bool tf32, std::vector<float> &room, int64_t &ld) {
  ld = m.ld;
  if (m.type == R32F && !tf32) return (const float *)m.at + i * m.stride;
  room.resize(size_t(m.rows * m.cols));
  ld = m.rows ? m.rows : 1;
  for (int64_t c = 0; c < m.cols; c++)
    for (int64_t r = 0; r < m.rows; r++) {
      const int64_t from = i * m.stride + c * m.ld + r;
      float &to = room[size_t(c * m.rows + r)];
      if (m.type == R32F) {
        to = rounded(((const float *)m.at)[from]);
      } else {
        const uint32_t u = uint32_t(((const uint16_t *)m.at)[from]) << 16;
        memcpy(&to, &u, 4);
      }
    }
  return room.data();
}

int product(const char *call, Handle *h, int ta, int tb, int64_t m, int64_t n, int64_t k, const void *alphaAt,
            const void *a, int aType, int64_t lda, int64_t sa, const void *b, int bType, int64_t ldb, int64_t sb,
            const void *betaAt, void *c, int cType, int64_t ldc, int64_t sc, int64_t count, int compute) {
  if (!handles().count(h)) return bad(NotInitialized, call, "no such handle");
  if (CUresult e = double_entered(call)) return status(e);
  if (ta < 0 || ta > 1 || tb < 0 || tb > 1) return bad(InvalidValue, call, "an operation is neither N nor T");
  if (m < 0 || n < 0 || k < 0 || count < 0) return bad(InvalidValue, call, "a size is negative");
  if (!alphaAt || !betaAt) return bad(InvalidValue, call, "alpha or beta is null");
  if (h->devicePointers) return bad(NotSupported, call, "alpha and beta in device memory are not supported by the double");
  if (aType != bType || (aType != R32F && aType != R16BF) || cType != R32F)
    return bad(NotSupported, call, "the double multiplies float32 by float32 and bfloat16 by bfloat16 into float32");
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
  const auto apart = [&](const void *p, size_t bytes) {
    return uintptr_t(p) + bytes <= uintptr_t(c) || uintptr_t(c) + C.bytes(count) <= uintptr_t(p);
  };
  if (!apart(a, A.bytes(count)) || !apart(b, B.bytes(count))) return bad(InvalidValue, call, "C overlaps A or B");
  if (h->workspace) w.operands.push_back({h->workspace, h->workspaceBytes, "the workspace", false});
  w.run = [=] {
    std::vector<float> roomA, roomB;
    for (int64_t i = 0; i < count; i++) {
      int64_t la, lb;
      const float *fa = floats(A, i, tf32, roomA, la), *fb = floats(B, i, tf32, roomB, lb);
      gemm(A.trans, B.trans, m, n, k, alpha, fa, la, fb, lb, beta, (float *)c + i * sc, ldc);
    }
  };
  return status(double_enqueue(h->stream, w));
}

} // namespace

#define BLAS extern "C" __attribute__((visibility("default"))) int
#define HANDLE(h)                                                                                      \
  if (!handles().count(h)) return bad(NotInitialized, __func__, "no such handle")

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
