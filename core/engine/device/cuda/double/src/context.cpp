#include "context.h"

#include <map>

#include "finding.h"
#include "grid.h"
#include "memory.h"
#include "module.h"
#include "pinned.h"
#include "settings.h"
#include "stream.h"

namespace cudadouble {
namespace {

bool ready;
std::map<CUcontext, Context *> &contexts() {
  static auto *all = new std::map<CUcontext, Context *>;
  return *all;
}
std::map<int, Context *> primaries;
thread_local std::vector<Context *> stack;
std::map<int, unsigned> primaryFlags;

CUcontext handle(Context *c) { return CUcontext(c); }

Context *make(int device, bool primary) {
  auto *c = new Context();
  c->device = device, c->primary = primary;
  contexts()[handle(c)] = c;
  c->legacy = newStream(c, CU_STREAM_DEFAULT, 0);
  return c;
}

} // namespace

std::recursive_mutex &world() {
  static auto *m = new std::recursive_mutex;
  return *m;
}

bool initialised() { return ready; }
int devices() { return settings().devices; }

Context *contextOf(CUcontext h) {
  const auto it = contexts().find(h);
  return it == contexts().end() ? nullptr : it->second;
}

Context *current() { return stack.empty() ? nullptr : stack.back(); }

CUresult entered(const char *call) {
  if (!ready) return finding(CUDA_ERROR_NOT_INITIALIZED, "%s before cuInit", call);
  const Context *c = current();
  if (!c) return finding(CUDA_ERROR_INVALID_CONTEXT, "%s: no context is current to this OS thread", call);
  if (!c->alive) return finding(CUDA_ERROR_CONTEXT_IS_DESTROYED, "%s: the current context was destroyed", call);
  return c->sticky;
}

void die(Context *c) {
  completeAll(c);
  for (const Allocation *a : allocationsOf(c)) {
    finding(CUDA_SUCCESS, "leak: allocation %llu of %zu bytes is alive when its context ends", (unsigned long long)a->number, a->bytes);
    release(c, a->at, "end of context");
  }
  while (!c->streams.empty()) {
    Stream *s = *c->streams.begin();
    if (s != c->legacy) finding(CUDA_SUCCESS, "leak: a stream is alive when its context ends");
    dropStream(s);
  }
  endEvents(c);
  endModules(c);
  endPinned(c);
  c->alive = false;
}

namespace {
// AtExit names what the process left behind.
struct AtExit {
  ~AtExit() {
    for (auto &[h, c] : contexts()) {
      if (!c->alive) continue;
      for (const Allocation *a : allocationsOf(c))
        finding(CUDA_SUCCESS, "leak: allocation %llu of %zu bytes is alive when the process ends", (unsigned long long)a->number, a->bytes);
    }
  }
} atExit;
} // namespace

} // namespace cudadouble

using namespace cudadouble;

CUDADOUBLE cuInit(unsigned) {
  LOCK;
  const Settings &s = settings();
  if (s.init) return CUresult(s.init);
  if (s.devices < 1) return CUDA_ERROR_NO_DEVICE;
  ready = true;
  catchFaults();
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
  LOCK;
  if (!ready) return CUDA_ERROR_NOT_INITIALIZED;
  if (d < 0 || d >= devices()) return CUDA_ERROR_INVALID_DEVICE;
  Context *&p = primaries[d];
  if (!p || !p->alive) p = make(d, true);
  p->retained++;
  *c = handle(p);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  LOCK;
  Context *p = primaries[d];
  if (!p || p->retained < 1)
    return finding(CUDA_ERROR_INVALID_CONTEXT, "cuDevicePrimaryCtxRelease: released more often than retained");
  if (--p->retained > 0) return CUDA_SUCCESS;
  // The driver says nothing of leaks here; an error makes tests fail that do not read stderr.
  const auto before = findings();
  die(p);
  return findings() == before ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_STATE;
}

CUDADOUBLE cuDevicePrimaryCtxReset_v2(CUdevice d) {
  LOCK;
  Context *p = primaries[d];
  if (p && p->alive) die(p);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDevicePrimaryCtxSetFlags_v2(CUdevice d, unsigned flags) {
  LOCK;
  primaryFlags[d] = flags;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDevicePrimaryCtxGetState(CUdevice d, unsigned *flags, int *active) {
  LOCK;
  const Context *p = primaries[d];
  *flags = primaryFlags[d], *active = p && p->alive;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxCreate_v2(CUcontext *c, unsigned, CUdevice d) {
  LOCK;
  if (!ready) return CUDA_ERROR_NOT_INITIALIZED;
  if (d < 0 || d >= devices()) return CUDA_ERROR_INVALID_DEVICE;
  Context *made = make(d, false);
  stack.push_back(made);
  *c = handle(made);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxDestroy_v2(CUcontext h) {
  LOCK;
  Context *c = contextOf(h);
  if (!c || !c->alive) return finding(CUDA_ERROR_INVALID_CONTEXT, "cuCtxDestroy: no such context, or destroyed before");
  die(c);
  if (current() == c) stack.pop_back();
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxSetCurrent(CUcontext h) {
  LOCK;
  if (!ready) return CUDA_ERROR_NOT_INITIALIZED;
  if (!h) {
    if (!stack.empty()) stack.pop_back();
    return CUDA_SUCCESS;
  }
  Context *c = contextOf(h);
  if (!c) return finding(CUDA_ERROR_INVALID_CONTEXT, "cuCtxSetCurrent: no such context");
  if (!c->alive) return finding(CUDA_ERROR_CONTEXT_IS_DESTROYED, "cuCtxSetCurrent: the context was destroyed");
  if (stack.empty()) stack.push_back(c);
  else stack.back() = c;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxGetCurrent(CUcontext *h) {
  LOCK;
  if (!ready) return CUDA_ERROR_NOT_INITIALIZED;
  *h = handle(current());
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxPushCurrent_v2(CUcontext h) {
  LOCK;
  Context *c = contextOf(h);
  if (!c || !c->alive) return finding(CUDA_ERROR_INVALID_CONTEXT, "cuCtxPushCurrent: no such context");
  stack.push_back(c);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxPopCurrent_v2(CUcontext *h) {
  LOCK;
  if (stack.empty()) return finding(CUDA_ERROR_INVALID_CONTEXT, "cuCtxPopCurrent: no context is current to this OS thread");
  if (h) *h = handle(stack.back());
  stack.pop_back();
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxGetDevice(CUdevice *d) {
  ENTER;
  *d = current()->device;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxGetApiVersion(CUcontext, unsigned *v) {
  LOCK;
  *v = 3020;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxGetFlags(unsigned *flags) {
  ENTER;
  *flags = 0;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  ENTER;
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuCtxSynchronize() {
  ENTER;
  if (CUresult e = unsafeInCapture("cuCtxSynchronize")) return e;
  completeAll(current());
  return current()->sticky;
}
