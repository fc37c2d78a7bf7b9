// Runs a kernel's grid: blocks spread over the cores.
#pragma once
#include "block.h"

namespace cudadouble {

struct Grid {
  const Kernel *kernel;
  Thread **(*current)();
  void *const *parameters;
  Dim grid, block;
  size_t shared;
  bool checked;
  uint64_t order; // 0: blocks and threads in order
};

// runGrid returns the first fault, or one of kind None.
Fault runGrid(const Grid &);

// catchFaults installs the handler that turns a wild access of a kernel into its fault; other ones go on
// to whoever handled them before.
void catchFaults();

} // namespace cudadouble
