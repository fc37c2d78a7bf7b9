// What the doubles of cuBLAS and cublasLt share. Numbers are of cublas_api.h and library_types.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../enqueue.h"

namespace cudadouble {

enum Status { Success = 0, NotInitialized = 1, AllocFailed = 3, InvalidValue = 7, ArchMismatch = 8, ExecutionFailed = 13, InternalError = 14, NotSupported = 15 };
enum Type { R32F = 0, R16F = 2, R16BF = 14 };
enum Compute { Compute32F = 68, Compute32FPedantic = 69, Compute32FFast16F = 74, Compute32FFast16BF = 75, Compute32FFastTF32 = 77 };

Status status(CUresult);
// bad reports a finding and returns s.
int bad(Status s, const char *call, const std::string &why);

// Matrix describes an operand, column-major, `count` of them `stride` elements apart.
struct Matrix {
  const void *at;
  int type;
  int64_t ld, stride;
  bool trans;
  int64_t rows, cols; // as stored
  int size() const { return type == R32F ? 4 : 2; }
  // dense says that no gaps lie between columns and matrices.
  bool dense(int64_t count) const { return ld == rows && (count == 1 || stride == rows * cols); }
  size_t bytes(int64_t count) const {
    if (!rows || !cols || !count) return 0;
    return size_t(((count - 1) * stride + (cols - 1) * ld + rows) * size());
  }
  // apart says that the matrix shares no byte with other memory.
  bool apart(int64_t count, const void *p, size_t n) const {
    return uintptr_t(p) + n <= uintptr_t(at) || uintptr_t(at) + bytes(count) <= uintptr_t(p);
  }
};

// floats returns matrix i as float32 with leading dimension ld; the operand itself when it is that already. With tf32
// its numbers are rounded to TF32.
const float *floats(const Matrix &, int64_t i, bool tf32, std::vector<float> &room, int64_t &ld);

// number returns element i of memory of a type, and setNumber sets it, rounded to nearest even.
float number(const void *at, int type, int64_t i);
void setNumber(void *at, int type, int64_t i, float);

// Sum holds D = alpha op(A) op(B) + beta C for `count` of each; C and D may be one.
struct Sum {
  Matrix A, B, C, D;
  int64_t m, n, k, count;
  float alpha, beta;
  bool tf32;
  int split; // k is summed in so many parts, which are added up then
};

// multiply computes a Sum. Unless it is null, after changes the result i [m, n], of leading dimension m, before it is
// rounded to D's type.
void multiply(const Sum &, const std::function<void(int64_t i, float *d)> &after);

// cold reports whether a product is the first of its shape in this process, while its stream is being captured: a
// real library may have to load its code then, which a capture does not allow. It remembers the shape otherwise.
bool cold(CUstream, const std::string &shape);

} // namespace cudadouble
