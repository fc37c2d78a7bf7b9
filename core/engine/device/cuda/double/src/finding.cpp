#include "finding.h"

#include <cstdarg>
#include <cstdio>

#include "api.h"
#include "settings.h"

namespace cudadouble {
namespace {

unsigned long long found;

std::string vformat(const char *fmt, va_list args) {
  char line[1024];
  vsnprintf(line, sizeof line, fmt, args);
  return line;
}

} // namespace

std::string format(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  std::string s = vformat(fmt, args);
  va_end(args);
  return s;
}

CUresult finding(CUresult code, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  const std::string s = vformat(fmt, args);
  va_end(args);
  const char *name = errorName(code);
  fprintf(stderr, "cuda double: %s (%s)\n", s.c_str(), code == CUDA_SUCCESS ? "no error code" : name ? name : "?");
  __atomic_fetch_add(&found, 1, __ATOMIC_SEQ_CST);
  return code;
}

unsigned long long findings() { return __atomic_load_n(&found, __ATOMIC_SEQ_CST); }

void trace(const char *fmt, ...) {
  if (!settings().trace) return;
  va_list args;
  va_start(args, fmt);
  fprintf(stderr, "cuda double: trace: %s\n", vformat(fmt, args).c_str());
  va_end(args);
}

const char *errorName(CUresult e) {
  switch (int(e)) {
#define NAME(x) case x: return #x;
    NAME(CUDA_SUCCESS) NAME(CUDA_ERROR_INVALID_VALUE) NAME(CUDA_ERROR_OUT_OF_MEMORY)
    NAME(CUDA_ERROR_NOT_INITIALIZED) NAME(CUDA_ERROR_DEINITIALIZED) NAME(CUDA_ERROR_STUB_LIBRARY)
    NAME(CUDA_ERROR_DEVICE_UNAVAILABLE) NAME(CUDA_ERROR_NO_DEVICE) NAME(CUDA_ERROR_INVALID_DEVICE)
    NAME(CUDA_ERROR_INVALID_IMAGE) NAME(CUDA_ERROR_INVALID_CONTEXT) NAME(CUDA_ERROR_NO_BINARY_FOR_GPU)
    NAME(CUDA_ERROR_UNSUPPORTED_LIMIT) NAME(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED)
    NAME(CUDA_ERROR_INVALID_PTX) NAME(CUDA_ERROR_UNSUPPORTED_PTX_VERSION) NAME(CUDA_ERROR_INVALID_SOURCE)
    NAME(CUDA_ERROR_FILE_NOT_FOUND) NAME(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED)
    NAME(CUDA_ERROR_OPERATING_SYSTEM) NAME(CUDA_ERROR_INVALID_HANDLE) NAME(CUDA_ERROR_ILLEGAL_STATE)
    NAME(CUDA_ERROR_NOT_FOUND) NAME(CUDA_ERROR_NOT_READY) NAME(CUDA_ERROR_ILLEGAL_ADDRESS)
    NAME(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES) NAME(CUDA_ERROR_LAUNCH_TIMEOUT)
    NAME(CUDA_ERROR_CONTEXT_IS_DESTROYED) NAME(CUDA_ERROR_ASSERT)
    NAME(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED) NAME(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
    NAME(CUDA_ERROR_MISALIGNED_ADDRESS) NAME(CUDA_ERROR_LAUNCH_FAILED) NAME(CUDA_ERROR_NOT_PERMITTED)
    NAME(CUDA_ERROR_NOT_SUPPORTED) NAME(CUDA_ERROR_SYSTEM_NOT_READY)
    NAME(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH) NAME(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    NAME(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED) NAME(CUDA_ERROR_STREAM_CAPTURE_MERGE)
    NAME(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED) NAME(CUDA_ERROR_STREAM_CAPTURE_UNJOINED)
    NAME(CUDA_ERROR_STREAM_CAPTURE_ISOLATION) NAME(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)
    NAME(CUDA_ERROR_CAPTURED_EVENT) NAME(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD)
    NAME(CUDA_ERROR_UNKNOWN)
#undef NAME
  }
  return nullptr;
}

} // namespace cudadouble

using namespace cudadouble;

// double_findings returns how many findings there were, for tests.
extern "C" __attribute__((visibility("default"))) unsigned long long double_findings() { return findings(); }

CUDADOUBLE cuGetErrorName(CUresult e, const char **s) {
  *s = errorName(e);
  return *s ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDADOUBLE cuGetErrorString(CUresult e, const char **s) { return cuGetErrorName(e, s); }

// double_unsupported notes a call of an entry point that the double does not have (build.sh makes those).
extern "C" __attribute__((visibility("hidden"))) int double_unsupported(const char *name) {
  return finding(CUDA_ERROR_NOT_SUPPORTED, "%s is not in the double", name);
}
