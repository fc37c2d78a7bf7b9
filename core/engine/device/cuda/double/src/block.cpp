#include "block.h"

#include "check.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace cudadouble {

// double_switch saves the callee-saved registers on this stack, its pointer in *save, and goes on with
// the stack `load`.
extern "C" void double_switch(void **save, void *load);
asm(R"(
.text
.hidden double_switch
.type double_switch,@function
double_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size double_switch,.-double_switch
)");

namespace {
// In the block of thread-local memory that every thread has from its start: its first use allocates nothing.
__attribute__((tls_model("initial-exec"))) thread_local Runner *inside;

constexpr size_t page = 4096;
constexpr unsigned char garbage = 0xFB; // in shared memory before a block starts: floats of it are no sums
} // namespace

Runner &runner() {
  static thread_local auto r = std::make_unique<Runner>(); // the block of `inside` has little room
  return *r;
}

Runner *running() { return inside; }

Runner::Runner() = default;

Runner::~Runner() {
  for (char *s : stacks_) munmap(s - page, stackBytes + page);
}

// stack makes the stack of a fresh fiber, with a page below it that traps.
char *Runner::stack() {
  if (used_ == stacks_.size()) {
    void *m = mmap(nullptr, stackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) throw std::bad_alloc();
    mprotect(m, page, PROT_NONE);
    stacks_.push_back((char *)m + page);
  }
  return stacks_[used_++];
}

void Runner::prepare(const Kernel *k, Thread **current, void *const *parameters, Dim grid, Dim block, size_t shared, bool checked) {
  kernel_ = k, current_ = current, parameters_ = parameters, grid_ = grid, block_ = block;
  count_ = int(block.x * block.y * block.z);
  lanes_.resize(size_t(count_));
  sequence_.resize(size_t(count_));
  shared_.resize(shared + 256);
  dynamic_ = (char *)((uintptr_t(shared_.data()) + 127) & ~uintptr_t(127));
  sharedBytes_ = shared;
  checked_ = checked;
  if (checked && !check_) check_ = std::make_unique<Check>();
  if (checked) check_->launch(k);
  for (int i = 0; i < count_; i++) {
    Thread &t = lanes_[size_t(i)].self;
    const unsigned u = unsigned(i);
    t.thread = {u % block.x, u / block.x % block.y, u / (block.x * block.y)};
    t.blockDim = block, t.gridDim = grid, t.linear = u, t.shared = dynamic_, t.runner = this;
    sequence_[size_t(i)] = i;
  }
  warps_.resize(size_t(count_ + 31) / 32);
  for (size_t w = 0; w < warps_.size(); w++) {
    const int n = count_ - int(w) * 32;
    warps_[w].exist = n >= 32 ? ~0u : (1u << n) - 1;
  }
}

bool Runner::run(Dim at, uint64_t order) {
  at_ = at, order_ = order, fault_ = {}, next_ = 0, used_ = 0, running_ = -1, snapshot_ = 0;
  memset(dynamic_, garbage, sharedBytes_);
  for (Lane &l : lanes_) l.self.block = at, l.state = State::Fresh, l.bound = false;
  for (Warp &w : warps_) w.waiting = w.ready = 0, w.turn = 0;
  if (order) // every other block runs backwards, from a thread of its own
    for (int i = 0; i < count_; i++) {
      const int j = int((uint64_t(i) + (order >> 1)) % uint64_t(count_));
      sequence_[size_t(i)] = order & 1 ? count_ - 1 - j : j;
    }
  Thread *const outer = *current_;
  if (checked_) check_->block(number(), dynamic_, sharedBytes_);
  if (sigsetjmp(escape_, 0) == 0) {
    inside = this;
    schedule();
  }
  inside = nullptr;
  *current_ = outer;
  return fault_.kind == Fault::None;
}

// schedule runs threads until all are done: everyone as far as they go, then the barrier.
void Runner::schedule() {
  for (;;) {
    while (next_ < count_) { // fresh threads, in plain loops as long as they meet nothing
      start();
    }
    const int last = (count_ - 1) & ~31;
    for (int w = 0; w < count_; w += 32)
      while (advance(order_ & 1 ? last - w : w)) {}
    if (!releaseBarrier()) return;
  }
}

// start begins a fiber that runs fresh threads one after the other until one of them meets something.
void Runner::start() {
  char *const base = loopStack_ = stack();
  // Tops at different places of their pages, or all fibers' frames compete for the same lines of the cache.
  void **sp = (void **)(base + stackBytes - 64 - used_ * 7 % 32 * 128);
  *--sp = nullptr;                 // where loop would return to
  *--sp = (void *)+[] { loop(&runner()); };
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  double_switch(&scheduler_, sp);
}

void Runner::loop(Runner *r) {
  char *const end = r->loopStack_ + stackBytes;
  while (r->next_ < r->count_) {
    const int i = r->sequence_[size_t(r->next_++)];
    Lane &l = r->lanes_[size_t(i)];
    l.self.stack = end;
    r->enter(i);
    r->kernel_->run(r->parameters_);
    l.state = State::Done;
    if (l.bound) break; // others go on with the loop
  }
  void *never;
  if (!r->lanes_[size_t(r->running_)].bound) r->used_--; // the stack is free again
  r->running_ = -1;
  double_switch(&never, r->scheduler_);
  abort();
}

void Runner::enter(int i) {
  running_ = i;
  lanes_[size_t(i)].state = State::Running;
  *current_ = &lanes_[size_t(i)].self;
}

// yield goes on with the next lane of the warp that can run, or with the scheduler. Lanes that switch to
// each other at the same place return where the processor expects them to.
void Runner::yield() {
  Lane &l = lanes_[size_t(running_)];
  l.bound = true;
  const int next = ready(running_ >> 5, running_ & 31);
  if (next < 0) return double_switch(&l.sp, scheduler_);
  enter(next);
  double_switch(&l.sp, lanes_[size_t(next)].sp);
}

// ready returns the thread of a warp that goes on after lane `after`, which is then no longer ready; -1 for none.
int Runner::ready(int warp, int after) {
  Warp &w = warps_[size_t(warp)];
  if (!w.ready) return -1;
  int lane;
  if (order_ & 1) {
    const unsigned below = w.ready & ((1u << after) - 1);
    lane = 31 - __builtin_clz(below ? below : w.ready);
  } else {
    const unsigned above = w.ready & ~(((1u << after) << 1) - 1);
    lane = __builtin_ctz(above ? above : w.ready);
  }
  w.ready &= ~(1u << lane);
  return warp * 32 + lane;
}

void Runner::resume(Lane &l) {
  enter(int(&l - lanes_.data()));
  double_switch(&scheduler_, l.sp);
}

// advance runs the lanes of a warp that can run; then it lets meetings happen. False when neither did.
bool Runner::advance(int warp) {
  bool ran = false;
  for (int next; (next = ready(warp >> 5, order_ & 1 ? 0 : 31)) >= 0; ran = true) resume(lanes_[size_t(next)]);
  return release(warp) || ran;
}

// whole ends the meeting of a warp whose lanes are all there for it.
bool Runner::whole(int warp) {
  Warp &w = warps_[size_t(warp >> 5)];
  if (w.waiting != w.exist) return false;
  const int n = std::min(32, count_ - warp);
  Lane *const l = &lanes_[size_t(warp)];
  for (int i = 0; i < n; i++)
    if ((l[i].mask & w.exist) != w.exist || l[i].meeting != l[0].meeting) return false;
  for (int i = 0; i < n; i++) l[i].state = State::Running, l[i].values = w.values[w.turn], l[i].present = w.exist;
  w.turn ^= 1, w.waiting = 0, w.ready = w.exist & ~(1u << (running_ & 31)); // who came last goes on at once
  if (checked_ && l[0].meeting == Meeting::Sync) check_->syncwarp(warp >> 5);
  return true;
}

// release lets every group of lanes go on whose mask is complete.
bool Runner::release(int warp) {
  Warp &w = warps_[size_t(warp >> 5)];
  if (!w.waiting) return false;
  const int n = std::min(32, count_ - warp);
  Lane *const l = &lanes_[size_t(warp)];
  bool any = false;
  for (int i = 0; i < n; i++) {
    if (l[i].state != State::Warp) continue;
    const unsigned mask = l[i].mask;
    unsigned here = 0, gone = 0;
    for (int j = 0; j < n; j++) {
      if (!(mask >> j & 1)) continue;
      if (l[j].state == State::Done) gone |= 1u << j;
      if (l[j].state != State::Warp) continue;
      if (l[j].mask != mask || l[j].meeting != l[i].meeting)
        leave(Fault::Divergence, "lanes of a warp meet in different operations or with different masks", warp + j);
      here |= 1u << j;
    }
    if ((here | gone) != (mask & w.exist)) continue;
    if (gone)
      leave(Fault::Divergence, "a warp operation waits for lanes of its mask that have returned", warp + i);
    uint64_t *const values = snapshots_[snapshot_++ % 64];
    memcpy(values, w.values[w.turn], sizeof w.values[0]);
    for (int j = 0; j < n; j++)
      if (here >> j & 1) l[j].state = State::Running, l[j].values = values, l[j].present = here;
    w.waiting &= ~here, w.ready |= here;
    any = true;
  }
  return any;
}

// releaseBarrier lets the block pass its barrier; false when all threads are done.
bool Runner::releaseBarrier() {
  int waiting = 0, done = 0, stuck = -1, predicates = 0;
  for (int i = 0; i < count_; i++) {
    const Lane &l = lanes_[size_t(i)];
    if (l.state == State::Warp && stuck < 0) stuck = i;
    waiting += l.state == State::Barrier, done += l.state == State::Done;
    if (l.state == State::Barrier) predicates += l.predicate;
  }
  if (stuck >= 0)
    leave(Fault::Divergence, "a warp operation is reached by a part of the lanes in its mask only", stuck);
  if (!waiting) return false;
  if (done) {
    int first = 0;
    while (lanes_[size_t(first)].state != State::Barrier) first++;
    leave(Fault::Divergence, "__syncthreads is reached by " + std::to_string(waiting) + " of " + std::to_string(count_) + " threads", first);
  }
  predicates_ = predicates;
  if (checked_) check_->barrier();
  for (Lane &l : lanes_) l.state = State::Running;
  for (Warp &w : warps_) w.ready = w.exist;
  return true;
}

int Runner::barrier(int predicate) {
  Lane &l = lanes_[size_t(running_)];
  l.predicate = predicate, l.state = State::Barrier;
  yield();
  return predicates_;
}

const uint64_t *Runner::meet(unsigned mask, Meeting m, uint64_t value, unsigned *present) {
  Lane &l = lanes_[size_t(running_)];
  if (!(mask >> (running_ & 31) & 1)) trap("a warp operation by a lane outside its own mask");
  const int at = running_ & 31, warp = running_ & ~31;
  Warp &w = warps_[size_t(warp >> 5)];
  l.mask = mask, l.meeting = m, l.state = State::Warp;
  w.values[w.turn][at] = value, w.waiting |= 1u << at;
  if (!whole(warp)) yield();
  *present = l.present;
  return l.values;
}

// ours says that the double's own code in double.h reads there: parameters, and values of meetings.
bool Runner::ours(uintptr_t at) const {
  const auto in = [at](const void *p, size_t bytes) { return at - uintptr_t(p) < bytes; };
  if (in(warps_.data(), warps_.size() * sizeof(Warp)) || in(snapshots_, sizeof snapshots_)) return true;
  if (in(parameters_, size_t(kernel_->count) * 8)) return true;
  for (int i = 0; i < kernel_->count; i++)
    if (in(parameters_[i], 8)) return true;
  for (const char *s : stacks_)
    if (in(s, stackBytes)) return true;
  return false;
}

void Runner::access(const Thread &t, const Access &a) {
  CUresult code;
  const std::string why = check_->access(t, a, &code);
  if (why.empty() || (!a.write && ours(a.at))) return;
  fault_.code = code, fault_.pc = a.pc;
  leave(Fault::Checked, why, running_);
}

void Runner::trap(const char *why) { leave(Fault::Trap, why, running_); }

void Runner::leave(Fault::Kind kind, const std::string &text, int lane) {
  fault_.kind = kind, fault_.text = text, fault_.block = at_;
  fault_.known = lane >= 0;
  if (lane >= 0) fault_.thread = lanes_[size_t(lane)].self.thread;
  siglongjmp(escape_, 1);
}

void Runner::divided(const void *pc) {
  fault_.pc = pc;
  leave(Fault::Trap, "divides an integer by zero", running_);
}

void Runner::segfault(uintptr_t address, bool write, const void *pc) {
  fault_.address = address, fault_.write = write, fault_.pc = pc;
  leave(Fault::Memory, "", running_);
}

} // namespace cudadouble
