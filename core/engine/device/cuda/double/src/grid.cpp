#include "grid.h"

#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "settings.h"

namespace cudadouble {
namespace {

struct sigaction before[65];

void handle(int sig, siginfo_t *info, void *context) {
  const auto *u = (const ucontext_t *)context;
  const auto *pc = (const char *)u->uc_mcontext.gregs[REG_RIP] + 1;
  if (Runner *r = running()) {
    if (sig == SIGFPE) r->divided(pc);
    r->segfault(uintptr_t(info->si_addr), u->uc_mcontext.gregs[REG_ERR] & 2, pc);
  }
  const struct sigaction &old = before[sig];
  if (old.sa_flags & SA_SIGINFO) {
    old.sa_sigaction(sig, info, context);
  } else if (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN) {
    sigaction(sig, &old, nullptr); // the access happens again and ends the process as it would have
  } else {
    old.sa_handler(sig);
  }
}

// SignalStack lets this OS thread handle the overflow of a fiber's stack.
struct SignalStack {
  SignalStack() {
    stack_t now;
    if (sigaltstack(nullptr, &now) == 0 && !(now.ss_flags & SS_DISABLE)) return;
    memory.resize(64 << 10);
    stack_t s{};
    s.ss_sp = memory.data(), s.ss_size = memory.size();
    sigaltstack(&s, nullptr);
  }
  ~SignalStack() {
    if (memory.empty()) return;
    stack_t s{};
    s.ss_flags = SS_DISABLE;
    sigaltstack(&s, nullptr);
  }
  std::vector<char> memory;
};

// Job holds a grid that several OS threads work on.
struct Job {
  const Grid *grid;
  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mu;
  Fault fault;
  uint64_t blocks, chunk;
};

void work(Job &job) {
  static thread_local SignalStack signals;
  const Grid &g = *job.grid;
  Runner &r = runner();
  r.prepare(g.kernel, g.current(), g.parameters, g.grid, g.block, g.shared, g.checked);
  for (;;) {
    const uint64_t from = job.next.fetch_add(job.chunk), to = std::min(from + job.chunk, job.blocks);
    if (from >= job.blocks) return;
    for (uint64_t n = from; n < to; n++) {
      if (job.failed.load(std::memory_order_relaxed)) return;
      const uint64_t b = g.order ? job.blocks - 1 - n : n;
      const Dim at = {unsigned(b % g.grid.x), unsigned(b / g.grid.x % g.grid.y), unsigned(b / g.grid.x / g.grid.y)};
      if (r.run(at, g.order ? (g.order * 0x9E3779B97F4A7C15u ^ b * 0xD1B54A32D192ED03u) >> 11 | 2 : 0)) continue;
      std::lock_guard<std::mutex> lock(job.mu);
      if (!job.failed.exchange(true)) job.fault = r.fault();
      return;
    }
  }
}

// Crew holds the threads beside the caller's. They live as long as the process.
class Crew {
public:
  void run(Job &job) {
    std::unique_lock<std::mutex> lock(mu_);
    while (int(size_) < settings().threads - 1) {
      std::thread([this] { serve(); }).detach();
      size_++;
    }
    job_ = &job, turn_++, busy_ = size_;
    wake_.notify_all();
    lock.unlock();
    work(job);
    lock.lock();
    done_.wait(lock, [this] { return busy_ == 0; });
    job_ = nullptr;
  }

private:
  void serve() {
    sigset_t all; // signals are for the program's own threads
    sigfillset(&all);
    sigdelset(&all, SIGSEGV), sigdelset(&all, SIGBUS), sigdelset(&all, SIGFPE);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    std::unique_lock<std::mutex> lock(mu_);
    for (uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return turn_ != seen && job_; });
      seen = turn_;
      Job *job = job_;
      lock.unlock();
      work(*job);
      lock.lock();
      if (--busy_ == 0) done_.notify_all();
    }
  }

  std::mutex mu_;
  std::condition_variable wake_, done_;
  Job *job_ = nullptr;
  uint64_t turn_ = 0;
  unsigned size_ = 0, busy_ = 0;
};

} // namespace

Fault runGrid(const Grid &g) {
  Job job;
  job.grid = &g;
  job.blocks = uint64_t(g.grid.x) * g.grid.y * g.grid.z;
  const uint64_t threads = job.blocks * g.block.x * g.block.y * g.block.z;
  const unsigned crew = unsigned(settings().threads);
  job.chunk = std::max<uint64_t>(1, job.blocks / (crew * 8));
  if (crew < 2 || g.checked || job.blocks < 2 || threads < 4096) {
    job.chunk = job.blocks;
    work(job);
  } else {
    static Crew *const all = new Crew; // never destroyed: its threads may run while the process ends
    all->run(job);
  }
  return job.fault;
}

void catchFaults() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction a{};
    a.sa_sigaction = handle;
    a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int sig : {SIGSEGV, SIGBUS, SIGFPE}) sigaction(sig, &a, &before[sig]);
  });
}

} // namespace cudadouble
