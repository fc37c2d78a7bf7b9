#include "test.h"

#include <cstring>

// As NVRTC writes it; bodies left out.
const char *const ptx = R"(
.version 7.8
.target sm_70
.address_size 64
.extern .shared .align 16 .b8 all[];
.visible .entry twice(.param .u64 a, .param .u64 b, .param .u64 c)
.maxntid 256, 1, 1
{ ret; }
.visible .entry sum(.param .u64 a, .param .u64 b, .param .u64 c)
.maxntid 1024, 1, 1
{ .shared .align 4 .b8 warps[128]; ret; }
.visible .entry product(.param .u64 a, .param .u64 b, .param .u64 c) .maxntid 32, 1, 1 { ret; }
.visible .entry beyond(.param .u64 a, .param .u64 b, .param .u64 c) { ret; }
.visible .entry divergent(.param .u64 a) { ret; }
.visible .entry divergentWarp(.param .u64 a) { ret; }
.visible .entry racing(.param .u64 a) { ret; }
.visible .entry scaled(.param .u64 a, .param .u64 b, .param .u64 c, .param .f64 d) { ret; }
.visible .entry peek(.param .u64 a, .param .u64 b, .param .u64 c) { ret; }
.visible .entry wide(.param .u64 a, .param .u64 b, .param .u64 c) { ret; }
.visible .entry sharedUnwritten(.param .u64 a) { ret; }
.visible .entry sharedBeyond(.param .u64 a) { ret; }
.visible .entry colliding(.param .u64 a) { ret; }
.visible .entry shifting(.param .u64 a, .param .u64 b) { ret; }
.visible .entry total(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d, .param .u64 e) { ret; }
.visible .entry divide(.param .u64 a, .param .u64 b) { ret; }
.visible .entry absent(.param .u64 a) { ret; }
)";

Device::Device(unsigned flags) {
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuModuleLoadData(&module, ptx));
  OK(cuStreamCreate(&stream, flags));
}

CUfunction Device::function(const char *name) const {
  CUfunction f;
  OK(cuModuleGetFunction(&f, module, name));
  return f;
}

CUdeviceptr Device::fresh(size_t n) const {
  CUdeviceptr p;
  OK(cuMemAlloc(&p, 4 * n));
  return p;
}

CUdeviceptr Device::upload(const std::vector<float> &x) const {
  const CUdeviceptr p = fresh(x.size());
  OK(cuMemcpyHtoD(p, x.data(), 4 * x.size()));
  return p;
}

std::vector<float> Device::download(CUdeviceptr p, size_t n) const {
  std::vector<float> x(n);
  OK(cuMemcpyDtoH(x.data(), p, 4 * n));
  return x;
}

CUresult Device::launch(const char *name, unsigned grid, unsigned block, unsigned shared, CUstream s, std::vector<unsigned long long> values) const {
  std::vector<void *> p;
  for (auto &v : values) p.push_back(&v);
  return cuLaunchKernel(function(name), grid, 1, 1, block, 1, 1, shared, s, p.data(), nullptr);
}

unsigned long long bits(double x) {
  unsigned long long u;
  memcpy(&u, &x, 8);
  return u;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    for (Test *t = Test::first(); t; t = t->next) puts(t->name);
    return 0;
  }
  for (Test *t = Test::first(); t; t = t->next)
    if (!strcmp(t->name, argv[1])) return t->run(), 0;
  fprintf(stderr, "no test %s\n", argv[1]);
  return 2;
}
