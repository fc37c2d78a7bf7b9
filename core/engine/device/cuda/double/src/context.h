// Devices' contexts and which of them is current to an OS thread.
#pragma once
#include <cuda.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api.h"

namespace cudadouble {

struct Stream;

struct Context {
  int device;
  bool primary;
  int retained = 0;                 // of a primary context
  bool alive = true;
  CUresult sticky = CUDA_SUCCESS;   // the error of asynchronous work that every later call returns
  Stream *legacy = nullptr;         // stream 0
  std::set<Stream *> streams;       // with the legacy one
};

// contextOf returns the context of a handle; null when there never was one.
Context *contextOf(CUcontext);
// current returns the context of this OS thread; null when there is none.
Context *current();
// die ends a context: pending work runs, what was not freed is named and freed.
void die(Context *);
// devices returns how many the machine has.
int devices();
bool initialised();

} // namespace cudadouble
