// Matrix products on the CPU.
#pragma once
#include <cstddef>

namespace cudadouble {

// gemm computes C = alpha op(A) op(B) + beta C in float32, column-major: op(A) is [m,k], op(B) [k,n], C [m,n].
// beta = 0 does not read C. It uses oneDNN or a BLAS when this machine has one.
void gemm(bool transA, bool transB, long m, long n, long k, float alpha, const float *a, long lda,
          const float *b, long ldb, float beta, float *c, long ldc);

} // namespace cudadouble
