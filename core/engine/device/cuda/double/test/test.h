// What the double's tests share. A test is a function; main runs those named on the command line.
#pragma once
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" unsigned long long double_findings();

struct Test {
  const char *name;
  void (*run)();
  Test *next;
  static Test *&first() {
    static Test *f;
    return f;
  }
  Test(const char *n, void (*r)()) : name(n), run(r), next(first()) { first() = this; }
};

#define TEST(name)                                                                                     \
  static void name();                                                                                  \
  static Test test_##name(#name, name);                                                                \
  static void name()

inline void require(bool ok, const char *what, const char *file, int line) {
  if (ok) return;
  fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  exit(1);
}
#define REQUIRE(x) require((x), #x, __FILE__, __LINE__)
#define OK(x) require((x) == 0, #x " is success", __FILE__, __LINE__)
// FAILS says that x gives the error, and that something was found.
#define FAILS(error, x)                                                                                \
  do {                                                                                                 \
    const auto before_ = double_findings();                                                            \
    const auto got_ = (x);                                                                             \
    if (got_ != (error)) fprintf(stderr, "%s gives %d\n", #x, int(got_));                              \
    require(got_ == (error), #x " gives " #error, __FILE__, __LINE__);                                 \
    require(double_findings() > before_, #x " is a finding", __FILE__, __LINE__);                      \
  } while (0)

// Device is a context with the tests' module.
struct Device {
  CUcontext context;
  CUmodule module;
  CUstream stream;
  explicit Device(unsigned flags = CU_STREAM_NON_BLOCKING);
  CUfunction function(const char *name) const;
  CUdeviceptr upload(const std::vector<float> &) const;
  std::vector<float> download(CUdeviceptr, size_t n) const;
  CUdeviceptr fresh(size_t floats) const;
  // launch gives the parameters eight bytes each.
  CUresult launch(const char *name, unsigned grid, unsigned block, unsigned shared, CUstream, std::vector<unsigned long long>) const;
};

unsigned long long bits(double);
extern const char *const ptx; // of kernels.cu, the parts that count
