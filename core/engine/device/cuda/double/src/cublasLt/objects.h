// The objects of cublasLt: handles, descriptors, layouts, preferences, algorithms. Numbers are of cublasLt.h.
#pragma once
#include <cstdint>
#include <string>

#include "../cublas/matrix.h"
#include "../known.h"

namespace cudadouble {

enum Epilogue { Plain = 1, Bias = 4, GradientA = 256, GradientB = 512 };
enum Reduction { None = 0, InPlace = 1, ComputeType = 2, OutputType = 4 };

struct Handle {};

// Operation holds a cublasLtMatmulDesc_t.
struct Operation {
  int compute, scale;
  int32_t pointers = 0, transA = 0, transB = 0;
  uint32_t epilogue = Plain;
  const void *bias = nullptr;
  int64_t biasStride = 0;
};

// Layout holds a cublasLtMatrixLayout_t.
struct Layout {
  uint32_t type;
  int32_t order = 0; // columns
  uint64_t rows, cols;
  int64_t ld;
  int32_t count = 1;
  int64_t stride = 0;
};

// Preference holds a cublasLtMatmulPreference_t.
struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = 7;
  uint32_t alignment[4] = {256, 256, 256, 256}; // of A, B, C, D
};

// Algorithm is what the double keeps in a cublasLtMatmulAlgo_t.
struct Algorithm {
  uint64_t mark, shape; // of what it was found for
  uint32_t reduction, split;
  uint32_t alignment[4], biasAlignment;
  uint32_t unused;
  uint64_t workspace, rest[1];
};
static_assert(sizeof(Algorithm) == 64, "as cublasLtMatmulAlgo_t");

// Heuristic is a cublasLtMatmulHeuristicResult_t.
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

// all returns the objects of a kind that were made and not destroyed.
template <class T> Known<const T *> &all() {
  static auto *objects = new Known<const T *>;
  return *objects;
}

// Problem holds a product as it is described, with its places.
struct Problem {
  Matrix A, B, C, D;
  int64_t m, n, k, count;
  uint32_t epilogue;
  int compute;
  // shape is equal for problems that may have one algorithm.
  uint64_t shape() const;
  std::string text() const;
};

// describe holds a problem to the rules of cublasLt; why says what it breaks.
Status describe(const Operation *, const Layout *a, const Layout *b, const Layout *c, const Layout *d, Problem &, std::string &why);

// alignmentOf returns the largest power of two, up to 256, that divides an address.
uint32_t alignmentOf(const void *);

} // namespace cudadouble
