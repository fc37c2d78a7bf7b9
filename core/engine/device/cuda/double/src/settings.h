// What the environment says about the machine that the double plays.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace cudadouble {

struct Settings {
  std::string kernels;     // TANDEM_CUDA_DOUBLE: libkernels.so; beside this library when unset
  int devices;             // TANDEM_CUDA_DOUBLE_DEVICES: 1
  int capability;          // TANDEM_CUDA_DOUBLE_CAPABILITY: 9.0, as 90
  size_t memory;           // TANDEM_CUDA_DOUBLE_MEMORY: bytes a device, with K, M or G: 8G
  int init;                // TANDEM_CUDA_DOUBLE_INIT: what cuInit returns: 0
  int driver;              // TANDEM_CUDA_DOUBLE_DRIVER: what cuDriverGetVersion says: 13000
  int threads;             // TANDEM_CUDA_DOUBLE_THREADS: OS threads that run blocks: all cores
  uint64_t seed;           // TANDEM_CUDA_DOUBLE_SEED: 0 keeps the order of issue; else streams, blocks and
                           // threads take an order of its own
  bool trace;              // TANDEM_CUDA_DOUBLE_TRACE: a line per call that does something
};

const Settings &settings();

} // namespace cudadouble
