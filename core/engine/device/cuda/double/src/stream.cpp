#include "stream.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "finding.h"
#include "memory.h"
#include "settings.h"

namespace cudadouble {
namespace {

constexpr size_t deepest = 1024; // works that wait on a stream before the oldest runs by itself
uint64_t number;

void add(std::vector<std::shared_ptr<Node>> &before, const std::shared_ptr<Node> &n) {
  if (n && !n->done) before.push_back(n);
}

std::shared_ptr<Node> append(Stream *s, std::shared_ptr<const Work> work) {
  auto n = std::make_shared<Node>();
  n->context = s->context, n->work = std::move(work), n->number = ++number;
  add(n->before, s->tail);
  Stream *const legacy = s->context->legacy;
  if (s == legacy) { // it waits for all blocking streams, and they for it
    for (Stream *o : s->context->streams)
      if (!(o->flags & CU_STREAM_NON_BLOCKING)) add(n->before, o->tail);
  } else if (!(s->flags & CU_STREAM_NON_BLOCKING)) {
    add(n->before, legacy->tail);
  }
  s->tail = n;
  s->pending.push_back(n);
  while (!s->pending.empty() && s->pending.front()->done) s->pending.pop_front();
  if (s->pending.size() > deepest) complete(s->pending.front());
  return n;
}

void finish(Node &n) {
  if (n.work && !n.context->sticky) perform(n.context, *n.work);
  n.done = true, n.finished = now();
  n.before.clear();
}

// interleave runs something that nobody waits for yet, as a GPU may.
void interleave(Context *c) {
  if (!settings().seed || draw() % 3) return;
  std::vector<Stream *> all(c->streams.begin(), c->streams.end());
  Stream *s = all[draw() % all.size()];
  while (!s->pending.empty() && s->pending.front()->done) s->pending.pop_front();
  if (!s->pending.empty()) complete(s->pending[draw() % s->pending.size()]);
}

} // namespace

double now() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

uint64_t draw() {
  static uint64_t state = settings().seed;
  uint64_t z = state += 0x9E3779B97F4A7C15u; // SplitMix64
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

Stream *newStream(Context *c, unsigned flags, int priority) {
  auto *s = new Stream{c, flags, priority, {}, {}, {}, {}};
  c->streams.insert(s);
  return s;
}

void dropStream(Stream *s) {
  s->context->streams.erase(s);
  delete s;
}

Stream *streamOf(CUstream h, const char *call, CUresult *e) {
  Context *c = current();
  *e = CUDA_SUCCESS;
  if (!h || h == CU_STREAM_LEGACY) return c->legacy;
  if (c->streams.count((Stream *)h)) return (Stream *)h;
  *e = finding(CUDA_ERROR_INVALID_HANDLE, "%s: %s", call,
               h == CU_STREAM_PER_THREAD ? "the per-thread default stream is not supported by the double"
                                         : "no such stream in the current context");
  return nullptr;
}

CUresult enqueue(Stream *s, Work w) {
  for (const Span &span : w.spans)
    if (CUresult e = checkSpan(span.at, span.bytes, (w.name + ": " + span.what).c_str(), CUDA_ERROR_INVALID_VALUE)) return e;
  auto work = std::make_shared<const Work>(std::move(w));
  if (s->capture) {
    Graph &g = *s->capture->graph;
    if (s->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    g.items.push_back({work, s->captured});
    s->captured = {int(g.items.size()) - 1};
    return CUDA_SUCCESS;
  }
  if (s == s->context->legacy)
    for (Stream *o : s->context->streams)
      if (o->capture && !(o->flags & CU_STREAM_NON_BLOCKING)) {
        o->capture->invalid = true;
        return finding(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "%s: the default stream would wait for a stream that captures", work->name.c_str());
      }
  append(s, work);
  interleave(s->context);
  return CUDA_SUCCESS;
}

std::shared_ptr<Node> mark(Stream *s) { return append(s, nullptr); }

void after(Stream *s, const std::shared_ptr<Node> &n) {
  if (!n || n->done) return;
  append(s, nullptr)->before.push_back(n);
}

void complete(const std::shared_ptr<Node> &last) {
  if (!last || last->done) return;
  std::vector<std::shared_ptr<Node>> all{last};
  std::set<Node *> seen{last.get()};
  for (size_t i = 0; i < all.size(); i++)
    for (const auto &b : all[i]->before)
      if (!b->done && seen.insert(b.get()).second) all.push_back(b);
  std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) { return a->number < b->number; });
  if (!settings().seed) {
    for (const auto &n : all) finish(*n);
    return;
  }
  while (!all.empty()) { // any order that respects what is before what
    std::vector<size_t> ready;
    for (size_t i = 0; i < all.size() && ready.size() < 16; i++)
      if (std::all_of(all[i]->before.begin(), all[i]->before.end(), [](const auto &b) { return b->done; })) ready.push_back(i);
    const size_t pick = ready[draw() % ready.size()];
    finish(*all[pick]);
    all.erase(all.begin() + long(pick));
  }
}

void completeAll(Context *c) {
  const std::vector<Stream *> all(c->streams.begin(), c->streams.end());
  for (Stream *s : all) complete(s->tail);
}

void perform(Context *c, const Work &w) {
  trace("run %s", w.name.c_str());
  CUresult e = CUDA_SUCCESS;
  for (const Span &s : w.spans)
    if (!e) e = checkSpan(s.at, s.bytes, (w.name + ": " + s.what).c_str(), CUDA_ERROR_ILLEGAL_ADDRESS);
  if (!e) e = w.run();
  const CUresult guards = checkGuards(w.name.c_str());
  if (!e) e = guards;
  if (e) c->sticky = e;
}

} // namespace cudadouble

using namespace cudadouble;

CUDADOUBLE cuStreamCreateWithPriority(CUstream *s, unsigned flags, int priority) {
  ENTER;
  *s = CUstream(newStream(current(), flags, priority));
  return CUDA_SUCCESS;
}

CUDADOUBLE cuStreamCreate(CUstream *s, unsigned flags) { return cuStreamCreateWithPriority(s, flags, 0); }

#define STREAM(s, h)                                                                                   \
  CUresult missing_;                                                                                   \
  Stream *const s = streamOf(h, __func__, &missing_);                                                  \
  if (!s) return missing_

CUDADOUBLE cuStreamDestroy_v2(CUstream h) {
  LOCK;
  if (!current()) return entered("cuStreamDestroy");
  STREAM(s, h);
  if (s == s->context->legacy) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture) return finding(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuStreamDestroy of a stream that captures");
  complete(s->tail); // the driver lets pending work end
  dropStream(s);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuStreamSynchronize(CUstream h) {
  ENTER;
  STREAM(s, h);
  if (s->capture) {
    s->capture->invalid = true;
    return finding(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuStreamSynchronize of a stream that captures");
  }
  if (s == s->context->legacy) mark(s); // it stands for all blocking streams
  complete(s->tail);
  return s->context->sticky;
}

CUDADOUBLE cuStreamQuery(CUstream h) {
  ENTER;
  STREAM(s, h);
  if (s->capture) {
    s->capture->invalid = true;
    return finding(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuStreamQuery of a stream that captures");
  }
  const bool ready = !s->tail || s->tail->done;
  if (!ready) complete(s->pending.empty() ? s->tail : s->pending.front()); // who polls gets there
  while (!s->pending.empty() && s->pending.front()->done) s->pending.pop_front();
  if (s->context->sticky) return s->context->sticky;
  return ready ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUDADOUBLE cuStreamGetFlags(CUstream h, unsigned *flags) {
  ENTER;
  STREAM(s, h);
  *flags = s->flags;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuStreamGetPriority(CUstream h, int *priority) {
  ENTER;
  STREAM(s, h);
  *priority = s->priority;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuStreamGetCtx(CUstream h, CUcontext *c) {
  ENTER;
  STREAM(s, h);
  *c = CUcontext(s->context);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuLaunchHostFunc(CUstream h, CUhostFn fn, void *data) {
  ENTER;
  STREAM(s, h);
  return enqueue(s, {"host function", {}, [=] {
    fn(data);
    return CUDA_SUCCESS;
  }});
}
