// What the host build of the kernels (libkernels.so) and the driver double (libcuda.so.1) share.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cudadouble {

constexpr size_t stackBytes = 128 << 10; // of a CUDA thread

struct Dim { unsigned x, y, z; };

// Thread holds what a CUDA thread knows of itself.
struct Thread {
  Dim thread, block, blockDim, gridDim;
  unsigned linear; // index in the block
  char *shared;    // the block's dynamic shared memory
  void *runner;    // who runs it
  char *stack;     // end of the stack it runs on
};

// Meeting names what lanes of one warp agree on when they meet.
enum class Meeting : int { Shuffle, Vote, Sync, Matrix };

// Access describes a load or store, in the checked build of the kernels only.
struct Access {
  uintptr_t at;
  unsigned bytes;
  bool write, atomic, aligned; // aligned: the compiler took it for granted
  const void *pc;
};

// Runtime offers what a running thread may ask of the driver double.
struct Runtime {
  // barrier waits for all threads of the block and returns how many of them had a true predicate.
  int (*barrier)(Thread *, int predicate);
  // meet waits for the lanes in mask; the result has each lane's value, present says whose are there.
  // It is valid until the lane's next meeting or barrier.
  const uint64_t *(*meet)(Thread *, unsigned mask, Meeting, uint64_t value, unsigned *present);
  // trap ends the launch with a finding.
  void (*trap)(Thread *, const char *why);
  void (*access)(Thread *, const Access &);
};

enum class Parameter : char { Pointer, ConstPointer, Integer, Real };

// Kernel describes one entry of a .cu file.
struct Kernel {
  const char *name;
  void (*run)(void *const *parameters);
  int count;
  const Parameter *parameters;
  const int *elements; // bytes of what a pointer points to
  const Kernel *next;
};

// Kernels holds what libkernels.so exports as `double_kernels`.
struct Kernels {
  const Kernel *first;
  void (*bind)(const Runtime *);
  Thread **(*current)(); // this OS thread's running CUDA thread
  bool checked;          // it calls access
};

} // namespace cudadouble
