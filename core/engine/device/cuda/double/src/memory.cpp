#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "context.h"
#include "finding.h"
#include "settings.h"

namespace cudadouble {
namespace {

constexpr size_t page = 4096, alignment = 256; // the driver's documented alignment
constexpr size_t moat = size_t(16) << 20;      // of addresses that trap, on both sides
constexpr unsigned char guard = 0xA5;
constexpr size_t many = 128; // allocations, from which on only the slack next to memory is looked at
constexpr size_t poisonAll = size_t(256) << 20, poisonEnds = size_t(16) << 20;

std::map<uintptr_t, Allocation> &table() { // alive and freed, by address
  static auto *t = new std::map<uintptr_t, Allocation>;
  return *t;
}
// alive lists the allocations not freed; a launch looks at all of them.
std::vector<const Allocation *> &alive() {
  static auto *all = new std::vector<const Allocation *>;
  return *all;
}
std::map<int, size_t> inUse;
uint64_t number;

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

void fill(char *p, size_t bytes) {
  size_t i = 0;
  for (; i + 4 <= bytes; i += 4) memcpy(p + i, &poison, 4);
  memcpy(p + i, &poison, bytes - i);
}

struct Slack { unsigned char *at; size_t bytes; };
std::pair<Slack, Slack> slacks(const Allocation &a) {
  char *const left = a.map + moat, *const right = (char *)a.at + a.bytes;
  return {{(unsigned char *)left, size_t((char *)a.at - left)},
          {(unsigned char *)right, size_t(a.map + a.mapped - moat - right)}};
}

} // namespace

const Allocation *allocate(Context *c, size_t bytes) {
  size_t &total = inUse[c->device];
  if (bytes > settings().memory - std::min(settings().memory, total)) return nullptr;
  // The end is as close to the trapping page as alignment lets it be.
  const size_t body = up(up(bytes, alignment), page), mapped = body + 2 * moat;
  char *const map = (char *)mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  if (mprotect(map + moat, body, PROT_READ | PROT_WRITE)) {
    munmap(map, mapped);
    return nullptr;
  }
  Allocation a{};
  a.at = uintptr_t(map + mapped - moat - up(bytes, alignment));
  a.bytes = bytes, a.context = c, a.number = ++number, a.map = map, a.mapped = mapped;
  const auto [left, right] = slacks(a);
  memset(left.at, guard, left.bytes);
  memset(right.at, guard, right.bytes);
  char *const p = (char *)a.at;
  if (bytes <= poisonAll) fill(p, bytes);
  else fill(p, poisonEnds), fill(p + (bytes - poisonEnds) / 4 * 4, bytes - (bytes - poisonEnds) / 4 * 4);
  total += bytes;
  const Allocation *kept = &(table()[a.at] = a);
  alive().push_back(kept);
  return kept;
}

CUresult release(Context *, uintptr_t at, const char *call) {
  if (at == 0) return CUDA_SUCCESS;
  const auto it = table().find(at);
  if (it == table().end())
    return finding(CUDA_ERROR_INVALID_VALUE, "%s(0x%zx): %s", call, size_t(at), nearest(at).c_str());
  Allocation &a = it->second;
  if (a.freed) return finding(CUDA_ERROR_INVALID_VALUE, "%s(0x%zx): freed before", call, size_t(at));
  const CUresult guards = checkGuards(call);
  // The pages go back, their addresses stay taken: whoever uses them later traps.
  mmap(a.map, a.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  a.freed = true;
  alive().erase(std::find(alive().begin(), alive().end(), &a));
  inUse[a.context->device] -= a.bytes;
  return guards;
}

const Allocation *allocationAt(uintptr_t p) {
  auto it = table().upper_bound(p);
  if (it == table().begin()) return nullptr;
  const Allocation &a = (--it)->second;
  return p < a.at + a.bytes || (p == a.at && !a.bytes) ? &a : nullptr;
}

std::string nearest(uintptr_t p) {
  auto it = table().upper_bound(p);
  const Allocation *best = nullptr;
  if (it != table().end() && p + (1 << 20) >= it->second.at) best = &it->second;
  if (it != table().begin()) {
    const Allocation &a = std::prev(it)->second;
    if (p < uintptr_t(a.map) + a.mapped + (1 << 20) && (!best || p - a.at - a.bytes < best->at - p || p < a.at + a.bytes)) best = &a;
  }
  if (!best) return "not device memory";
  const char *state = best->freed ? "freed " : "";
  const unsigned long long n = best->number;
  if (p < best->at)
    return format("%zu bytes before %sallocation %llu of %zu bytes", size_t(best->at - p), state, n, best->bytes);
  if (p < best->at + best->bytes)
    return format("byte %zu of %sallocation %llu of %zu bytes", size_t(p - best->at), state, n, best->bytes);
  return format("%zu bytes past the end of %sallocation %llu of %zu bytes", size_t(p - best->at - best->bytes), state, n, best->bytes);
}

CUresult checkDevice(uintptr_t p, const Context *c, const char *what, CUresult code) {
  const Allocation *a = allocationAt(p);
  if (!a || a->context->device == c->device) return CUDA_SUCCESS;
  return finding(code, "%s: memory of device %d on device %d: %s", what, a->context->device, c->device, nearest(p).c_str());
}

CUresult checkSpan(uintptr_t p, size_t bytes, const char *what, CUresult code) {
  if (!bytes) return CUDA_SUCCESS;
  const Allocation *a = allocationAt(p);
  if (!a) return finding(code, "%s: 0x%zx is %s", what, size_t(p), nearest(p).c_str());
  if (a->freed) return finding(code, "%s: use after free: 0x%zx is %s", what, size_t(p), nearest(p).c_str());
  if (bytes > a->at + a->bytes - p)
    return finding(code, "%s: %zu bytes from %s run past its end", what, bytes, nearest(p).c_str());
  return CUDA_SUCCESS;
}

CUresult checkGuards(const char *work) {
  CUresult result = CUDA_SUCCESS;
  for (const Allocation *a : alive()) {
    auto [left, right] = slacks(*a);
    if (alive().size() > many && left.bytes > alignment) left.at += left.bytes - alignment, left.bytes = alignment;
    for (const Slack &s : {left, right}) {
      static const std::vector<unsigned char> clean(page + alignment, guard);
      if (!s.bytes || memcmp(s.at, clean.data(), s.bytes) == 0) continue;
      size_t i = 0;
      while (s.at[i] == guard) i++;
      result = finding(CUDA_ERROR_ILLEGAL_ADDRESS, "%s wrote outside its memory: at %s", work, nearest(uintptr_t(s.at + i)).c_str());
      memset(s.at, guard, s.bytes);
    }
  }
  return result;
}

std::vector<const Allocation *> allocationsOf(const Context *c) {
  std::vector<const Allocation *> all;
  for (const Allocation *a : alive())
    if (a->context == c) all.push_back(a);
  return all;
}

size_t poisonedWords(const void *p, size_t bytes, size_t *first) {
  size_t n = 0;
  for (size_t i = 0; i + 4 <= bytes; i += 4) {
    uint32_t w;
    memcpy(&w, (const char *)p + i, 4);
    if ((w & 0x7FBFFFFF) != (poison & 0x7FBFFFFF)) continue;
    if (!n++ && first) *first = i;
  }
  return n;
}

size_t used(int device) { return inUse[device]; }

} // namespace cudadouble
