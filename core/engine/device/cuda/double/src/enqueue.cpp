#include "enqueue.h"

#include "finding.h"
#include "memory.h"
#include "stream.h"

namespace cudadouble {

CUresult double_entered(const char *call) {
  LOCK;
  return entered(call);
}

CUresult double_enqueue(CUstream h, const LibraryWork &w) {
  ENTER;
  CUresult e;
  Stream *s = streamOf(h, w.name, &e);
  if (!s) return e;
  Work work{w.name, {}, nullptr};
  for (const Operand &o : w.operands)
    if (CUresult bad = o.bytes ? checkDevice(uintptr_t(o.at), s->context, w.name, CUDA_ERROR_INVALID_VALUE) : CUDA_SUCCESS) return bad;
  for (const Operand &o : w.operands)
    if (o.bytes) work.spans.push_back({uintptr_t(o.at), o.bytes, o.what});
  work.run = [w]() -> CUresult {
    for (const Operand &o : w.operands) {
      size_t first;
      if (!o.read) continue;
      if (const size_t n = poisonedWords(o.at, o.bytes, &first))
        return finding(CUDA_ERROR_ILLEGAL_ADDRESS, "%s: %s holds %zu words that were never written, the first at %s", w.name, o.what, n, nearest(uintptr_t(o.at) + first).c_str());
    }
    w.run();
    return CUDA_SUCCESS;
  };
  return enqueue(s, std::move(work));
}

int double_finding(int code, const char *text) {
  finding(CUDA_SUCCESS, "%s", text);
  return code;
}

} // namespace cudadouble
