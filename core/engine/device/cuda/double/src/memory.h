// Device memory: host pages between pages that trap, filled with a pattern that shows when it is used
// before it was written.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cudadouble {

struct Context;

struct Allocation {
  uintptr_t at;
  size_t bytes;
  Context *context;
  uint64_t number;      // the how-manieth allocation of the process
  char *map;            // whole mapping: moat, left slack, bytes, right slack, moat
  size_t mapped;
  bool freed;
};

// poison fills fresh device memory: a signalling NaN as a float32 and, in each half, as a bfloat16; an
// index far outside as an integer.
constexpr uint32_t poison = 0x7FB97FB9;

// allocate takes memory of the context's device; null when the device's total does not suffice.
const Allocation *allocate(Context *, size_t bytes);
// release frees what allocate gave; the address is never given again. It returns the error to report.
CUresult release(Context *, uintptr_t at, const char *call);

// allocationAt returns the allocation that holds address p, freed ones too; null when there is none.
const Allocation *allocationAt(uintptr_t p);
// nearest says what lies at and around p, for findings.
std::string nearest(uintptr_t p);

// checkDevice reports memory of another device than the context's, which a kernel cannot reach.
CUresult checkDevice(uintptr_t p, const Context *, const char *what, CUresult code);

// checkSpan reports when [p, p+bytes) is not within one live allocation; what names it.
CUresult checkSpan(uintptr_t p, size_t bytes, const char *what, CUresult code);

// checkGuards reports every allocation whose slack was written, naming the work that did it, and mends it.
CUresult checkGuards(const char *work);

// allocationsOf returns those alive in a context.
std::vector<const Allocation *> allocationsOf(const Context *);

// poisonedWords counts words of [p, p+bytes) that hold the fresh pattern, or its quiet NaN after arithmetic.
size_t poisonedWords(const void *p, size_t bytes, size_t *first);

// used returns the bytes alive on a device.
size_t used(int device);

} // namespace cudadouble
