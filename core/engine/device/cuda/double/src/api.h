// How entry points of the driver are written here: CUDADOUBLE cuName(...) { ENTER; ... }.
#pragma once
#include <cuda.h>

#include <mutex>

// Names that some version of cuda.h turns into others, while the driver has both.
#undef cuCtxCreate
#undef cuCtxCreate_v2
#undef cuDeviceGetUuid
#undef cuEventElapsedTime
#undef cuGraphInstantiate

#define CUDADOUBLE extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI

namespace cudadouble {

// world guards all state of the double; who runs work holds it too.
std::recursive_mutex &world();

// entered returns the error with which a call that needs a current context ends at once: not initialised, no context current
// to this OS thread, or the context's sticky error.
CUresult entered(const char *call);

} // namespace cudadouble

#define LOCK std::lock_guard<std::recursive_mutex> lock_(cudadouble::world())
#define ENTER                                                                                          \
  LOCK;                                                                                                \
  if (CUresult e_ = cudadouble::entered(__func__)) return e_
