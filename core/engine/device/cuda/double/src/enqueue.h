// The way in for the doubles of libraries above the driver (cuBLAS, cuDNN): their work runs in streams
// like kernels, is captured like them and has its memory checked like theirs.
#pragma once
#include <cuda.h>

#include <functional>
#include <vector>

namespace cudadouble {

struct Operand {
  const void *at;
  size_t bytes;
  const char *what;
  bool read; // it must hold no uninitialised words
};

struct LibraryWork {
  const char *name;
  std::vector<Operand> operands;
  std::function<void()> run;
};

// entered returns the error of a library's call without a context or after a sticky error.
extern "C" __attribute__((visibility("default"))) CUresult double_entered(const char *call);
extern "C" __attribute__((visibility("default"))) CUresult double_enqueue(CUstream, const LibraryWork &);
// double_finding reports one; it returns code.
extern "C" __attribute__((visibility("default"))) int double_finding(int code, const char *text);

} // namespace cudadouble
