#include "pinned.h"

#include <sys/mman.h>

#include <map>

#include "finding.h"
#include "stream.h"

namespace cudadouble {
namespace {

struct Range {
  size_t bytes;
  Context *context;
  bool registered; // the program's own memory
};

std::map<uintptr_t, Range> &ranges() {
  static auto *all = new std::map<uintptr_t, Range>;
  return *all;
}

size_t pages(size_t n) { return (n + 4095) & ~size_t(4095); }

const std::pair<const uintptr_t, Range> *holder(uintptr_t p) {
  auto it = ranges().upper_bound(p);
  if (it == ranges().begin()) return nullptr;
  --it;
  return p < it->first + it->second.bytes ? &*it : nullptr;
}

} // namespace

bool isPinned(const void *p, size_t bytes) {
  const auto *r = holder(uintptr_t(p));
  return r && uintptr_t(p) + bytes <= r->first + r->second.bytes;
}

bool isMapped(const void *p, size_t bytes) {
  const uintptr_t from = uintptr_t(p) & ~uintptr_t(4095);
  return msync((void *)from, uintptr_t(p) + bytes - from, MS_ASYNC) == 0; // changes nothing
}

void endPinned(Context *c) {
  for (auto it = ranges().begin(); it != ranges().end();) {
    const auto [at, r] = *it;
    if (r.context != c) {
      ++it;
      continue;
    }
    finding(CUDA_SUCCESS, "leak: %zu bytes of host memory are %s when their context ends", r.bytes, r.registered ? "registered" : "allocated");
    if (!r.registered) munmap((void *)at, pages(r.bytes));
    it = ranges().erase(it);
  }
}

} // namespace cudadouble

using namespace cudadouble;

CUDADOUBLE cuMemHostAlloc(void **p, size_t bytes, unsigned) {
  ENTER;
  if (CUresult e = unsafeInCapture("cuMemHostAlloc")) return e;
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  void *m = mmap(nullptr, pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  ranges()[uintptr_t(m)] = {bytes, current(), false};
  *p = m;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemAllocHost_v2(void **p, size_t bytes) { return cuMemHostAlloc(p, bytes, 0); }

CUDADOUBLE cuMemFreeHost(void *p) {
  ENTER;
  const auto it = ranges().find(uintptr_t(p));
  if (it == ranges().end() || it->second.registered)
    return finding(CUDA_ERROR_INVALID_VALUE, "cuMemFreeHost(%p): not from cuMemHostAlloc, or freed before", p);
  completeAll(current()); // as the driver does
  munmap(p, pages(it->second.bytes));
  ranges().erase(it);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemHostRegister_v2(void *p, size_t bytes, unsigned) {
  ENTER;
  if (!p || !bytes) return CUDA_ERROR_INVALID_VALUE;
  if (!isMapped(p, bytes)) return finding(CUDA_ERROR_INVALID_VALUE, "cuMemHostRegister(%p, %zu): not all of it is memory", p, bytes);
  const auto it = ranges().lower_bound(uintptr_t(p));
  if (holder(uintptr_t(p)) || (it != ranges().end() && it->first < uintptr_t(p) + bytes))
    return finding(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "cuMemHostRegister(%p, %zu): a part of it is known already", p, bytes);
  ranges()[uintptr_t(p)] = {bytes, current(), true};
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemHostUnregister(void *p) {
  ENTER;
  const auto it = ranges().find(uintptr_t(p));
  if (it == ranges().end() || !it->second.registered)
    return finding(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "cuMemHostUnregister(%p)", p);
  completeAll(current());
  ranges().erase(it);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemHostGetDevicePointer_v2(CUdeviceptr *, void *, unsigned) {
  return finding(CUDA_ERROR_NOT_SUPPORTED, "cuMemHostGetDevicePointer: kernels of the double do not read host memory");
}

CUDADOUBLE cuMemHostGetFlags(unsigned *flags, void *p) {
  ENTER;
  if (!holder(uintptr_t(p))) return CUDA_ERROR_INVALID_VALUE;
  *flags = 0;
  return CUDA_SUCCESS;
}
