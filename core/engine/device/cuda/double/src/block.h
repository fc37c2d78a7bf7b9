// Runs the threads of one block: fibers that meet at barriers and warp operations.
#pragma once
#include <cuda.h>
#include <setjmp.h>

#include <memory>
#include <string>
#include <vector>

#include "../include/double_abi.h"

namespace cudadouble {

enum class State : unsigned char { Fresh, Running, Barrier, Warp, Done };

// Lane holds a thread of the block.
struct Lane {
  Thread self;
  State state;
  bool bound; // it has met something, so the fiber it runs on is its own
  void *sp;
  // its meeting
  unsigned mask;
  Meeting meeting;
  const uint64_t *values;
  unsigned present;
  int predicate;
};

// Warp holds the values of 32 lanes in meetings: those of the last one are still read while the next one's come.
struct Warp {
  unsigned exist, waiting, ready; // lanes: of the block, in a meeting, able to go on
  int turn;
  uint64_t values[2][32];
};

// Fault tells why a block ended early.
struct Fault {
  enum Kind { None, Divergence, Memory, Trap, Checked } kind = None;
  std::string text;
  Dim thread{}, block{};
  bool known = false;     // thread is
  uintptr_t address = 0;  // of Memory
  bool write = false;
  const void *pc = nullptr;          // the code that did it, when known
  CUresult code = CUDA_SUCCESS;      // of Checked
};

class Check;

// Runner lets an OS thread run blocks, one at a time.
class Runner {
public:
  Runner();
  ~Runner();
  // prepare makes it ready for blocks of this launch.
  void prepare(const Kernel *, Thread **current, void *const *parameters, Dim grid, Dim block, size_t shared, bool checked);
  // run runs block at; false when it ended in fault().
  bool run(Dim at, uint64_t order);
  const Fault &fault() const { return fault_; }

  // Called from within the block.
  int barrier(int predicate);
  const uint64_t *meet(unsigned mask, Meeting, uint64_t value, unsigned *present);
  [[noreturn]] void trap(const char *why);
  void access(const Thread &, const Access &);
  // Both leave the block from a signal handler.
  [[noreturn]] void divided(const void *pc);
  [[noreturn]] void segfault(uintptr_t address, bool write, const void *pc);

private:
  static void loop(Runner *);
  void schedule();
  bool advance(int warp);
  bool release(int warp);
  bool releaseBarrier();
  bool whole(int warp);
  void yield();
  int ready(int warp, int after);
  void resume(Lane &);
  void start();
  void enter(int i);
  bool ours(uintptr_t at) const;
  uint64_t number() const { return (uint64_t(at_.z) * grid_.y + at_.y) * grid_.x + at_.x; }
  [[noreturn]] void leave(Fault::Kind, const std::string &text, int lane);
  char *stack();

  const Kernel *kernel_ = nullptr;
  Thread **current_ = nullptr;
  void *const *parameters_ = nullptr;
  Dim grid_{}, block_{}, at_{};
  int count_ = 0, next_ = 0, running_ = -1, predicates_ = 0;
  uint64_t order_ = 0;
  std::vector<Lane> lanes_;
  std::vector<Warp> warps_;
  std::vector<int> sequence_; // the order in which threads start
  std::vector<char> shared_;
  char *dynamic_ = nullptr;
  size_t sharedBytes_ = 0;
  std::vector<char *> stacks_; // made so far; the first used_ belong to fibers of this block
  size_t used_ = 0;
  char *loopStack_ = nullptr; // of the fiber that start begins
  std::unique_ptr<Check> check_;
  bool checked_ = false;
  void *scheduler_ = nullptr;
  uint64_t snapshots_[64][32];
  unsigned snapshot_ = 0;
  Fault fault_;
  sigjmp_buf escape_;
};

// runner returns the Runner of this OS thread.
Runner &runner();

// running returns the Runner whose block runs on this OS thread now; null when none does. A signal handler may ask.
Runner *running();

} // namespace cudadouble
