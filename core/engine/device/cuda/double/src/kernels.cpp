// What libkernels.so exports beside the kernels themselves.
#include "double.h"

extern "C" __attribute__((visibility("default"))) cudadouble::Kernels double_kernels() {
  using namespace cudadouble;
#ifdef DOUBLE_CHECKED
  constexpr bool checked = true;
#else
  constexpr bool checked = false;
#endif
  return {first, [](const Runtime *r) { runtime = r; }, []() -> Thread ** { return &current; }, checked};
}
