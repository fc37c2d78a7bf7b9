// Stream capture and graphs.
#include <algorithm>
#include <set>

#include "finding.h"
#include "settings.h"
#include "stream.h"

namespace cudadouble {
namespace {

// Handles of graphs and of their executable copies.
struct Handle {
  std::shared_ptr<Graph> graph;
  Context *context;
};
std::set<Handle *> &graphs() {
  static auto *all = new std::set<Handle *>;
  return *all;
}
std::set<Handle *> &executables() {
  static auto *all = new std::set<Handle *>;
  return *all;
}
std::vector<std::shared_ptr<Capture>> active;

void leave(const std::shared_ptr<Capture> &c, Context *context) {
  for (Stream *s : context->streams)
    if (s->capture == c) s->capture = nullptr, s->captured.clear();
  c->over = true;
  active.erase(std::remove(active.begin(), active.end(), c), active.end());
}

// joined says whether all captured work comes before the end of the origin.
bool joined(const Graph &g, const std::vector<int> &tail) {
  std::vector<char> reached(g.items.size());
  for (int i : tail) reached[size_t(i)] = 1;
  for (size_t i = g.items.size(); i-- > 0;)
    if (reached[i])
      for (int b : g.items[i].before) reached[size_t(b)] = 1;
  return std::all_of(reached.begin(), reached.end(), [](char c) { return c; });
}

CUresult replay(Context *c, const Graph &g) {
  std::vector<char> done(g.items.size());
  for (size_t n = 0; n < g.items.size(); n++) {
    std::vector<size_t> ready; // without a seed the first, in the order of capture
    for (size_t i = 0; i < g.items.size() && ready.size() < (settings().seed ? 16 : 1); i++)
      if (!done[i] && std::all_of(g.items[i].before.begin(), g.items[i].before.end(), [&](int b) { return done[size_t(b)]; })) ready.push_back(i);
    const size_t pick = settings().seed ? ready[draw() % ready.size()] : ready[0];
    perform(c, *g.items[pick].work);
    done[pick] = 1;
    if (c->sticky) return c->sticky;
  }
  return CUDA_SUCCESS;
}

} // namespace

CUresult unsafeInCapture(const char *call) {
  for (const auto &c : active) {
    if (c->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (c->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && c->thread != std::this_thread::get_id()) continue;
    c->invalid = true;
    return finding(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s while a stream captures", call);
  }
  return CUDA_SUCCESS;
}

} // namespace cudadouble

using namespace cudadouble;

#define STREAM(s, h)                                                                                   \
  CUresult missing_;                                                                                   \
  Stream *const s = streamOf(h, __func__, &missing_);                                                  \
  if (!s) return missing_

CUDADOUBLE cuStreamBeginCapture_v2(CUstream h, CUstreamCaptureMode mode) {
  ENTER;
  STREAM(s, h);
  if (s == s->context->legacy) return finding(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuStreamBeginCapture: the default stream cannot capture");
  if (s->capture) return finding(CUDA_ERROR_ILLEGAL_STATE, "cuStreamBeginCapture: the stream captures already");
  s->capture = std::make_shared<Capture>();
  s->capture->origin = s, s->capture->mode = mode, s->capture->thread = std::this_thread::get_id();
  s->captured.clear();
  active.push_back(s->capture);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuStreamEndCapture(CUstream h, CUgraph *g) {
  ENTER;
  STREAM(s, h);
  *g = nullptr;
  const std::shared_ptr<Capture> c = s->capture;
  if (!c) return finding(CUDA_ERROR_ILLEGAL_STATE, "cuStreamEndCapture: the stream does not capture");
  if (c->origin != s) return finding(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "cuStreamEndCapture: the capture began on another stream");
  if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && c->thread != std::this_thread::get_id())
    return finding(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "cuStreamEndCapture: the capture began on another OS thread");
  const bool whole = joined(*c->graph, s->captured);
  leave(c, s->context);
  if (c->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!whole) return finding(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "cuStreamEndCapture: work of another stream is not waited for");
  auto *made = new Handle{c->graph, s->context};
  graphs().insert(made);
  *g = CUgraph(made);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuStreamIsCapturing(CUstream h, CUstreamCaptureStatus *status) {
  ENTER;
  STREAM(s, h);
  *status = !s->capture ? CU_STREAM_CAPTURE_STATUS_NONE : s->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *) {
  return finding(CUDA_ERROR_NOT_SUPPORTED, "cuThreadExchangeStreamCaptureMode is not supported by the double");
}

CUDADOUBLE cuGraphInstantiateWithFlags(CUgraphExec *x, CUgraph h, unsigned long long) {
  ENTER;
  auto *g = (Handle *)h;
  if (!graphs().count(g)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuGraphInstantiate: no such graph");
  auto *made = new Handle(*g);
  executables().insert(made);
  *x = CUgraphExec(made);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuGraphInstantiate_v2(CUgraphExec *x, CUgraph g, CUgraphNode *, char *, size_t) {
  return cuGraphInstantiateWithFlags(x, g, 0);
}

CUDADOUBLE cuGraphUpload(CUgraphExec h, CUstream) {
  ENTER;
  return executables().count((Handle *)h) ? CUDA_SUCCESS : finding(CUDA_ERROR_INVALID_HANDLE, "cuGraphUpload: no such executable graph");
}

CUDADOUBLE cuGraphLaunch(CUgraphExec h, CUstream sh) {
  ENTER;
  STREAM(s, sh);
  auto *x = (Handle *)h;
  if (!executables().count(x)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuGraphLaunch: no such executable graph");
  if (x->context != s->context) return finding(CUDA_ERROR_INVALID_CONTEXT, "cuGraphLaunch: the graph is of another context");
  const std::shared_ptr<Graph> g = x->graph;
  Context *c = s->context;
  return enqueue(s, {"graph", {}, [=] { return replay(c, *g); }});
}

CUDADOUBLE cuGraphExecDestroy(CUgraphExec h) {
  ENTER;
  auto *x = (Handle *)h;
  if (!executables().erase(x)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuGraphExecDestroy: no such executable graph");
  delete x;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuGraphDestroy(CUgraph h) {
  ENTER;
  auto *g = (Handle *)h;
  if (!graphs().erase(g)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuGraphDestroy: no such graph");
  delete g;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuGraphGetNodes(CUgraph h, CUgraphNode *nodes, size_t *n) {
  ENTER;
  auto *g = (Handle *)h;
  if (!graphs().count(g)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuGraphGetNodes: no such graph");
  if (nodes) return finding(CUDA_ERROR_NOT_SUPPORTED, "cuGraphGetNodes: the double counts nodes only");
  *n = g->graph->items.size();
  return CUDA_SUCCESS;
}
