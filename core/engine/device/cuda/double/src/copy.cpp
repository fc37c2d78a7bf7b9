// Copies and fills.
#include <cstring>
#include <memory>
#include <vector>

#include "finding.h"
#include "memory.h"
#include "pinned.h"
#include "stream.h"

namespace cudadouble {
namespace {

enum class Side { Host, Device };

struct End {
  Side side;
  uintptr_t at;
};

// copy does every kind of copy. The driver's rules for asynchronous ones with pageable host memory: the source
// is staged at once, and a copy to it is over when the call returns.
CUresult copy(const char *call, End to, End from, size_t bytes, Stream *s, bool async) {
  if (!bytes) return CUDA_SUCCESS;
  if ((to.side == Side::Host && !to.at) || (from.side == Side::Host && !from.at))
    return finding(CUDA_ERROR_INVALID_VALUE, "%s: the host's address is null", call);
  const bool host = to.side == Side::Host || from.side == Side::Host;
  const uintptr_t hostAt = to.side == Side::Host ? to.at : from.at;
  const bool pinned = host && isPinned((void *)hostAt, bytes);
  if (host && allocationAt(hostAt))
    return finding(CUDA_ERROR_INVALID_VALUE, "%s: the host's address is a device address", call);
  if (s->capture && host && !pinned) {
    s->capture->invalid = true;
    return finding(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s: pageable host memory in a capture", call);
  }
  Work w{call, {}, nullptr};
  if (to.side == Side::Device) w.spans.push_back({to.at, bytes, "destination"});
  if (from.side == Side::Device) w.spans.push_back({from.at, bytes, "source"});
  std::shared_ptr<std::vector<char>> staged;
  if (async && from.side == Side::Host && !pinned)
    staged = std::make_shared<std::vector<char>>((char *)from.at, (char *)from.at + bytes);
  const std::string name = call;
  w.run = [=]() -> CUresult {
    if (async && pinned && !isPinned((void *)hostAt, bytes))
      return finding(CUDA_ERROR_ILLEGAL_ADDRESS, "%s: the host memory was freed or unregistered before the copy ran", name.c_str());
    if (host && !staged && !isMapped((void *)hostAt, bytes))
      return finding(CUDA_ERROR_ILLEGAL_ADDRESS, "%s: %p is no host memory, or not any longer", name.c_str(), (void *)hostAt);
    size_t first;
    if (to.side == Side::Host)
      if (const size_t n = poisonedWords((void *)from.at, bytes, &first))
        return finding(CUDA_ERROR_ILLEGAL_ADDRESS, "%s: %zu words were never written, or computed from such; the first at %s", name.c_str(), n, nearest(from.at + first).c_str());
    memmove((void *)to.at, staged ? staged->data() : (const void *)from.at, bytes);
    return CUDA_SUCCESS;
  };
  if (CUresult e = enqueue(s, std::move(w))) return e;
  if (!async || (to.side == Side::Host && !pinned)) {
    complete(s->tail);
    return s->context->sticky;
  }
  return CUDA_SUCCESS;
}

CUresult fill(const char *call, CUdeviceptr at, const void *value, size_t width, size_t n, Stream *s, bool async) {
  if (!n) return CUDA_SUCCESS;
  if (at % width) return finding(CUDA_ERROR_INVALID_VALUE, "%s: 0x%llx is not aligned", call, (unsigned long long)at);
  uint32_t v = 0;
  memcpy(&v, value, width);
  const CUresult e = enqueue(s, {call, {{uintptr_t(at), n * width, "destination"}}, [=] {
    if (width == 1) memset((void *)at, int(v), n);
    else for (size_t i = 0; i < n; i++) memcpy((char *)at + i * width, &v, width);
    return CUDA_SUCCESS;
  }});
  if (e || async) return e;
  complete(s->tail);
  return s->context->sticky;
}

Side sideOf(CUdeviceptr p) { return allocationAt(p) ? Side::Device : Side::Host; }

} // namespace
} // namespace cudadouble

using namespace cudadouble;

#define STREAM(s, h)                                                                                   \
  CUresult missing_;                                                                                   \
  Stream *const s = streamOf(h, __func__, &missing_);                                                  \
  if (!s) return missing_
#define HOST(p) {Side::Host, uintptr_t(p)}
#define DEVICE(p) {Side::Device, uintptr_t(p)}
#define NOW current()->legacy, false

CUDADOUBLE cuMemcpyHtoD_v2(CUdeviceptr d, const void *s, size_t n) { ENTER; return copy("cuMemcpyHtoD", DEVICE(d), HOST(s), n, NOW); }
CUDADOUBLE cuMemcpyDtoH_v2(void *d, CUdeviceptr s, size_t n) { ENTER; return copy("cuMemcpyDtoH", HOST(d), DEVICE(s), n, NOW); }
CUDADOUBLE cuMemcpyDtoD_v2(CUdeviceptr d, CUdeviceptr s, size_t n) { ENTER; return copy("cuMemcpyDtoD", DEVICE(d), DEVICE(s), n, NOW); }
CUDADOUBLE cuMemcpy(CUdeviceptr d, CUdeviceptr s, size_t n) { ENTER; return copy("cuMemcpy", {sideOf(d), uintptr_t(d)}, {sideOf(s), uintptr_t(s)}, n, NOW); }

CUDADOUBLE cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void *s, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return copy("cuMemcpyHtoDAsync", DEVICE(d), HOST(s), n, st, true);
}
CUDADOUBLE cuMemcpyDtoHAsync_v2(void *d, CUdeviceptr s, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return copy("cuMemcpyDtoHAsync", HOST(d), DEVICE(s), n, st, true);
}
CUDADOUBLE cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return copy("cuMemcpyDtoDAsync", DEVICE(d), DEVICE(s), n, st, true);
}
CUDADOUBLE cuMemcpyAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return copy("cuMemcpyAsync", {sideOf(d), uintptr_t(d)}, {sideOf(s), uintptr_t(s)}, n, st, true);
}
// Devices of the double share their memory.
CUDADOUBLE cuMemcpyPeer(CUdeviceptr d, CUcontext, CUdeviceptr s, CUcontext, size_t n) { ENTER; return copy("cuMemcpyPeer", DEVICE(d), DEVICE(s), n, NOW); }
CUDADOUBLE cuMemcpyPeerAsync(CUdeviceptr d, CUcontext, CUdeviceptr s, CUcontext, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return copy("cuMemcpyPeerAsync", DEVICE(d), DEVICE(s), n, st, true);
}

CUDADOUBLE cuMemsetD8_v2(CUdeviceptr d, unsigned char v, size_t n) { ENTER; return fill("cuMemsetD8", d, &v, 1, n, NOW); }
CUDADOUBLE cuMemsetD16_v2(CUdeviceptr d, unsigned short v, size_t n) { ENTER; return fill("cuMemsetD16", d, &v, 2, n, NOW); }
CUDADOUBLE cuMemsetD32_v2(CUdeviceptr d, unsigned v, size_t n) { ENTER; return fill("cuMemsetD32", d, &v, 4, n, NOW); }
CUDADOUBLE cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return fill("cuMemsetD8Async", d, &v, 1, n, st, true);
}
CUDADOUBLE cuMemsetD16Async(CUdeviceptr d, unsigned short v, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return fill("cuMemsetD16Async", d, &v, 2, n, st, true);
}
CUDADOUBLE cuMemsetD32Async(CUdeviceptr d, unsigned v, size_t n, CUstream h) {
  ENTER;
  STREAM(st, h);
  return fill("cuMemsetD32Async", d, &v, 4, n, st, true);
}
