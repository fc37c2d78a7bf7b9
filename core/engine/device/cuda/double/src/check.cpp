#include "check.h"

#include <cuda.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "finding.h"
#include "memory.h"

namespace cudadouble {
namespace {

constexpr size_t mostPages = 4096; // of cells, half a gigabyte
constexpr unsigned char garbage = 0xFB;

// Segments tells where the library that has a kernel keeps its data and this OS thread's `__shared__` arrays.
struct Segments {
  uintptr_t code; // an address in it
  const char *tls = nullptr;
  size_t tlsBytes = 0;
  uintptr_t from = 0, to = 0;
};

int segments(dl_phdr_info *info, size_t, void *arg) {
  auto *s = (Segments *)arg;
  uintptr_t from = ~uintptr_t(0), to = 0;
  size_t tls = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto &p = info->dlpi_phdr[i];
    if (p.p_type == PT_LOAD) from = std::min(from, info->dlpi_addr + p.p_vaddr), to = std::max(to, info->dlpi_addr + p.p_vaddr + p.p_memsz);
    if (p.p_type == PT_TLS) tls = p.p_memsz;
  }
  if (s->code < from || s->code >= to) return 0;
  s->from = from, s->to = to, s->tls = (const char *)info->dlpi_tls_data, s->tlsBytes = tls;
  return 1;
}

} // namespace

std::string sourceLine(const void *pc) {
  Dl_info info;
  if (!dladdr(pc, &info)) return "";
  const std::string command = format("addr2line -e '%s' -i 0x%zx 2>/dev/null", info.dli_fname, size_t((const char *)pc - (const char *)info.dli_fbase - 1));
  FILE *f = popen(command.c_str(), "r");
  if (!f) return "";
  std::string lines;
  char line[512];
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, " \n")] = 0;
    const char *name = strrchr(line, '/');
    name = name ? name + 1 : line;
    if (!strncmp(name, "double", 6) || !strncmp(name, "??", 2)) continue;
    lines += (lines.empty() ? " at " : " < ") + std::string(name);
  }
  pclose(f);
  return lines;
}

void Check::launch(const Kernel *k) {
  launch_++;
  if (pages_.size() > mostPages) {
    pages_.clear();
    memset(recent_, 0, sizeof recent_);
  }
  Segments s{uintptr_t(k->run)};
  dl_iterate_phdr(segments, &s);
  fixed_ = s.tls, fixedBytes_ = s.tls ? s.tlsBytes : 0;
  data_[0] = s.from, data_[1] = s.to;
}

void Check::block(uint64_t n, const char *shared, size_t bytes) {
  block_ = n, shared_ = shared, sharedBytes_ = bytes, acquired_ = false, barriers_ = 0;
  memset(warps_, 0, sizeof warps_);
  if (fixed_) memset((void *)fixed_, garbage, fixedBytes_); // the caller keeps what else lives there
}

Check::Cell &Check::cell(uintptr_t at) {
  const uintptr_t page = at >> 12;
  Page *&p = recentPage_[page % 256];
  if (recent_[page % 256] != page) {
    auto &owned = pages_[page];
    if (!owned) owned = std::make_unique<Page>();
    recent_[page % 256] = page, p = owned.get();
  }
  return p->cells[at & 4095];
}

// apart says that nothing orders the other thread's access before this one.
bool Check::apart(uint32_t other, const uint32_t (&when)[2], const Thread &t) const {
  other--;
  if (other / 1024 != uint32_t(block_)) return true;
  if (other % 1024 == t.linear || when[0] != barriers_) return false;
  const uint32_t warp = t.linear / 32;
  return other % 1024 / 32 != warp || when[1] == warps_[warp];
}

std::string Check::race(const Thread &t, const Access &a, bool shared) {
  const uint64_t epoch = shared ? launch_ << 32 | (block_ + 1) : launch_ << 32;
  const uint32_t me = uint32_t(1 + block_ * 1024 + t.linear), warp = t.linear / 32;
  for (uintptr_t at = a.at; at < a.at + a.bytes; at++) {
    Cell &c = cell(at);
    if (c.epoch != epoch) c = {}, c.epoch = epoch;
    const auto with = [&](uint32_t who, const char *did) {
      return format("a race: block %u, thread %u %s it, and no barrier is between", (who - 1) / 1024, (who - 1) % 1024, did);
    };
    const bool otherBlock = c.writer && (c.writer - 1) / 1024 != uint32_t(block_);
    if (c.writer && c.writer != me && apart(c.writer, c.written, t) && !(otherBlock && acquired_ && !a.write)) return with(c.writer, "wrote");
    if (a.write) {
      const bool mine = c.reader == me && !c.many;
      if (c.reader && !mine && !(acquired_ && c.manyBlocks) && (c.manyBlocks || apart(c.reader, c.readAt, t) || (c.many && c.reader == me && c.readAt[0] == barriers_ && c.readAt[1] == warps_[warp])))
        return with(c.reader, c.many ? "and others read" : "read");
      c.writer = me, c.written[0] = barriers_, c.written[1] = warps_[warp];
      c.reader = 0, c.many = c.manyBlocks = false;
    } else if (!c.reader || (c.reader - 1) / 1024 != uint32_t(block_)) {
      c.manyBlocks |= c.reader != 0;
      c.reader = me, c.readAt[0] = barriers_, c.readAt[1] = warps_[warp], c.many = false;
    } else if (c.reader != me || c.readAt[0] != barriers_) {
      c.many = c.readAt[0] == barriers_; // who read before the barrier is no danger
      c.reader = me, c.readAt[0] = barriers_, c.readAt[1] = warps_[warp];
    }
  }
  return "";
}

std::string Check::access(const Thread &t, const Access &a, CUresult *code) {
  const auto within = [&](const void *from, size_t bytes) { return a.at - uintptr_t(from) < bytes; };
  const char *verb = a.write ? "writes" : "reads";
  const bool dynamic = within(shared_, sharedBytes_ + 256), shared = dynamic || within(fixed_, fixedBytes_);
  if (!shared && a.at - data_[0] < data_[1] - data_[0] && !a.write) return ""; // constants
  *code = CUDA_ERROR_ILLEGAL_ADDRESS;
  std::string where;
  if (dynamic) {
    if (a.at + a.bytes > uintptr_t(shared_) + sharedBytes_)
      return format("%s %u bytes from byte %zu of %zu of dynamic shared memory", verb, a.bytes, size_t(a.at - uintptr_t(shared_)), sharedBytes_);
  } else if (!shared) {
    const Allocation *m = allocationAt(a.at);
    if (!m || m->freed || a.at + a.bytes > m->at + m->bytes)
      return format("%s %u bytes at 0x%zx: %s", verb, a.bytes, size_t(a.at), nearest(a.at).c_str());
  }
  const auto place = [&] { return shared ? std::string("shared memory") : nearest(a.at); };
  if (a.aligned && a.at % a.bytes) {
    *code = CUDA_ERROR_MISALIGNED_ADDRESS;
    return format("%s %u bytes at an address that is no multiple of it: %s", verb, a.bytes, place().c_str());
  }
  if (!a.write) {
    const uint32_t fresh = shared ? 0xFBFBFBFB : poison;
    for (uintptr_t w = a.at & ~uintptr_t(3); w < a.at + a.bytes; w += 4)
      if (*(const uint32_t *)w == fresh) return format("reads %s, which was never written", place().c_str());
  }
  *code = CUDA_ERROR_LAUNCH_FAILED;
  if (a.atomic) {
    acquired_ |= !shared;
    return "";
  }
  const std::string r = race(t, a, shared);
  return r.empty() ? r : format("%s %s: %s", verb, place().c_str(), r.c_str());
}

} // namespace cudadouble
