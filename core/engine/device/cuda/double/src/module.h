// Modules and their functions.
#pragma once
#include <cuda.h>

#include <memory>
#include <string>

#include "../include/double_abi.h"
#include "ptx.h"

namespace cudadouble {

struct Context;

struct Module {
  Context *context;
  Ptx ptx;
};

struct Function {
  Module *module;
  std::string name;
  Entry entry;
  const Kernel *kernel;
  size_t dynamicLimit; // bytes of dynamic shared memory that a launch may ask for
};

// functionOf returns the function of a handle; null with a finding when there is none.
Function *functionOf(CUfunction, const char *call, CUresult *);
void endModules(Context *);

// hostKernels returns what libkernels.so has; null with a finding when it cannot be opened.
const Kernels *hostKernels();

} // namespace cudadouble
