// Events: marks in streams, the only order between them.
#include <set>

#include "finding.h"
#include "stream.h"

namespace cudadouble {
namespace {

struct Event {
  Context *context;
  unsigned flags;
  std::shared_ptr<Node> node;       // null: never recorded, which counts as done
  std::shared_ptr<Capture> capture; // when last recorded while capturing
  std::vector<int> captured;
};

std::set<Event *> &events() {
  static auto *all = new std::set<Event *>;
  return *all;
}

Event *eventOf(CUevent h, const char *call, CUresult *e) {
  auto *event = (Event *)h;
  *e = CUDA_SUCCESS;
  if (events().count(event)) return event;
  *e = finding(CUDA_ERROR_INVALID_HANDLE, "%s: no such event", call);
  return nullptr;
}

bool capturing(const Event &e) { return e.capture && !e.capture->over; }

} // namespace

void endEvents(Context *c) {
  for (auto it = events().begin(); it != events().end();) {
    if ((*it)->context != c) {
      ++it;
      continue;
    }
    finding(CUDA_SUCCESS, "leak: an event is alive when its context ends");
    delete *it;
    it = events().erase(it);
  }
}

} // namespace cudadouble

using namespace cudadouble;

#define EVENT(e, h)                                                                                    \
  CUresult missing_##e;                                                                                \
  Event *const e = eventOf(h, __func__, &missing_##e);                                                 \
  if (!e) return missing_##e

CUDADOUBLE cuEventCreate(CUevent *e, unsigned flags) {
  ENTER;
  auto *made = new Event{current(), flags, {}, {}, {}};
  events().insert(made);
  *e = CUevent(made);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuEventDestroy_v2(CUevent h) {
  LOCK;
  EVENT(e, h);
  events().erase(e);
  delete e;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuEventRecord(CUevent h, CUstream sh) {
  ENTER;
  EVENT(e, h);
  CUresult bad;
  Stream *s = streamOf(sh, "cuEventRecord", &bad);
  if (!s) return bad;
  if (e->context != s->context) return finding(CUDA_ERROR_INVALID_HANDLE, "cuEventRecord: event and stream are of different contexts");
  if (s->capture) {
    e->capture = s->capture, e->captured = s->captured;
    return CUDA_SUCCESS;
  }
  e->capture = nullptr;
  e->node = mark(s);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuEventRecordWithFlags(CUevent h, CUstream s, unsigned) { return cuEventRecord(h, s); }

CUDADOUBLE cuEventSynchronize(CUevent h) {
  ENTER;
  EVENT(e, h);
  if (capturing(*e)) return finding(CUDA_ERROR_CAPTURED_EVENT, "cuEventSynchronize of an event recorded in a capture");
  complete(e->node);
  return current()->sticky;
}

CUDADOUBLE cuEventQuery(CUevent h) {
  ENTER;
  EVENT(e, h);
  if (capturing(*e)) return finding(CUDA_ERROR_CAPTURED_EVENT, "cuEventQuery of an event recorded in a capture");
  if (!e->node || e->node->done) return CUDA_SUCCESS;
  complete(e->node); // who polls gets there at the next call
  return current()->sticky ? current()->sticky : CUDA_ERROR_NOT_READY;
}

CUDADOUBLE cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  ENTER;
  EVENT(a, from);
  EVENT(b, to);
  if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING)
    return finding(CUDA_ERROR_INVALID_HANDLE, "cuEventElapsedTime of an event without timing");
  if (!a->node || !b->node) return finding(CUDA_ERROR_INVALID_HANDLE, "cuEventElapsedTime of an event that was never recorded");
  if (!a->node->done || !b->node->done) return CUDA_ERROR_NOT_READY;
  *ms = float((b->node->finished - a->node->finished) * 1e3);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuEventElapsedTime_v2(float *ms, CUevent a, CUevent b) { return cuEventElapsedTime(ms, a, b); }

CUDADOUBLE cuStreamWaitEvent(CUstream sh, CUevent h, unsigned) {
  ENTER;
  EVENT(e, h);
  CUresult bad;
  Stream *s = streamOf(sh, "cuStreamWaitEvent", &bad);
  if (!s) return bad;
  if (!capturing(*e)) {
    if (s->capture) {
      if (!e->node) return CUDA_SUCCESS;
      s->capture->invalid = true;
      return finding(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "cuStreamWaitEvent: a stream that captures waits for an event from outside");
    }
    after(s, e->node);
    return CUDA_SUCCESS;
  }
  if (s->capture && s->capture != e->capture) {
    s->capture->invalid = e->capture->invalid = true;
    return finding(CUDA_ERROR_STREAM_CAPTURE_MERGE, "cuStreamWaitEvent would merge two captures");
  }
  if (s == s->context->legacy) {
    e->capture->invalid = true;
    return finding(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "cuStreamWaitEvent: the default stream cannot capture");
  }
  s->capture = e->capture; // the wait takes the stream into the capture
  s->captured.insert(s->captured.end(), e->captured.begin(), e->captured.end());
  return CUDA_SUCCESS;
}
