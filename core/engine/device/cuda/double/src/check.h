// Checks every load and store of a kernel's checked build: bounds to the byte, alignment, memory never
// written, and races between threads that no barrier separates.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>

#include "block.h"

namespace cudadouble {

class Check {
public:
  // launch begins one.
  void launch(const Kernel *);
  // block begins one, number n of the launch; its dynamic shared memory is [shared, shared+bytes).
  void block(uint64_t n, const char *shared, size_t bytes);
  void barrier() { barriers_++; }
  void syncwarp(int warp) { warps_[warp]++; }
  // access gives the fault of one, or nothing; code is the error then.
  std::string access(const Thread &, const Access &, CUresult *code);

private:
  // Cell notes what this launch did to a byte last.
  struct Cell {
    uint64_t epoch;            // launch, or launch and block for shared memory; others' cells count as fresh
    uint32_t writer, reader;   // 1 + block * 1024 + thread; 0 for nobody
    uint32_t written[2];       // barriers and warp synchronisations before
    uint32_t readAt[2];
    bool many, manyBlocks;     // other readers too
  };
  struct Page { Cell cells[4096]; };
  Cell &cell(uintptr_t at);
  bool apart(uint32_t other, const uint32_t (&when)[2], const Thread &) const;
  std::string race(const Thread &, const Access &, bool shared);

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t recent_[256] = {};
  Page *recentPage_[256] = {};
  uint64_t launch_ = 0, block_ = 0;
  uint32_t barriers_ = 0, warps_[32] = {};
  bool acquired_ = false; // the block has met others through an atomic
  const char *shared_ = nullptr, *fixed_ = nullptr;
  size_t sharedBytes_ = 0, fixedBytes_ = 0;
  uintptr_t data_[2] = {}; // libkernels' own constants
};

// sourceLine returns file:line of an address of code, when addr2line knows.
std::string sourceLine(const void *pc);

} // namespace cudadouble
