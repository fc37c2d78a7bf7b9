// Entry points of device memory.
#include "finding.h"
#include "memory.h"
#include "settings.h"
#include "stream.h"

using namespace cudadouble;

CUDADOUBLE cuMemAlloc_v2(CUdeviceptr *p, size_t bytes) {
  ENTER;
  if (CUresult e = unsafeInCapture("cuMemAlloc")) return e;
  if (!bytes) return finding(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of 0 bytes");
  const Allocation *a = allocate(current(), bytes);
  if (!a) return CUDA_ERROR_OUT_OF_MEMORY; // no finding: programs may try
  trace("allocation %llu: %zu bytes at 0x%zx", (unsigned long long)a->number, bytes, size_t(a->at));
  *p = a->at;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemFree_v2(CUdeviceptr p) {
  ENTER;
  if (CUresult e = unsafeInCapture("cuMemFree")) return e;
  completeAll(current()); // as the driver does
  if (CUresult e = current()->sticky) return e;
  return release(current(), p, "cuMemFree");
}

CUDADOUBLE cuMemAllocManaged(CUdeviceptr *p, size_t bytes, unsigned) { return cuMemAlloc_v2(p, bytes); }

CUDADOUBLE cuMemAllocAsync(CUdeviceptr *p, size_t bytes, CUstream sh) {
  ENTER;
  CUresult e;
  Stream *s = streamOf(sh, "cuMemAllocAsync", &e);
  if (!s) return e;
  if (s->capture) return finding(CUDA_ERROR_NOT_SUPPORTED, "cuMemAllocAsync in a capture is not supported by the double");
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  const Allocation *a = allocate(current(), bytes);
  if (!a) { // what was freed in stream order may give it
    completeAll(current());
    a = allocate(current(), bytes);
  }
  if (!a) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = a->at;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemFreeAsync(CUdeviceptr p, CUstream sh) {
  ENTER;
  CUresult e;
  Stream *s = streamOf(sh, "cuMemFreeAsync", &e);
  if (!s) return e;
  if (s->capture) return finding(CUDA_ERROR_NOT_SUPPORTED, "cuMemFreeAsync in a capture is not supported by the double");
  const Allocation *a = allocationAt(p);
  if (!a || a->at != p) return finding(CUDA_ERROR_INVALID_VALUE, "cuMemFreeAsync(0x%llx): %s", (unsigned long long)p, nearest(p).c_str());
  return enqueue(s, {"cuMemFreeAsync", {{uintptr_t(p), 1, "what is freed"}}, [=] { return release(nullptr, p, "cuMemFreeAsync"); }});
}

CUDADOUBLE cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr p) {
  ENTER;
  const Allocation *a = allocationAt(p);
  if (!a || a->freed) return finding(CUDA_ERROR_NOT_FOUND, "cuMemGetAddressRange(0x%llx): %s", (unsigned long long)p, nearest(p).c_str());
  if (base) *base = a->at;
  if (bytes) *bytes = a->bytes;
  return CUDA_SUCCESS;
}
