// Planted faults of kernels and of their launches: each is found.
#include <cstring>

#include "test.h"

static CUresult run(const Device &d, CUresult launched) {
  return launched ? launched : cuStreamSynchronize(d.stream);
}

TEST(write_just_past_the_end) {
  Device d;
  const CUdeviceptr y = d.fresh(1000), other = d.fresh(1000); // 4000 bytes: 96 of slack
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, run(d, d.launch("beyond", 1, 32, 0, d.stream, {y, 1000, 0})));
  REQUIRE(cuMemFree(other) == CUDA_ERROR_ILLEGAL_ADDRESS); // sticky, as the driver's
  CUdeviceptr more;
  REQUIRE(cuMemAlloc(&more, 4) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST(write_just_before_the_start) {
  Device d;
  const CUdeviceptr y = d.fresh(1000);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, run(d, d.launch("beyond", 1, 32, 0, d.stream, {y, 0, (unsigned long long)-1})));
}

TEST(write_far_outside) {
  Device d;
  const CUdeviceptr y = d.fresh(1000);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, run(d, d.launch("beyond", 64, 256, 0, d.stream, {y, 1000, 5000})));
}

TEST(write_to_freed_memory) {
  Device d;
  const CUdeviceptr y = d.fresh(1000);
  OK(cuMemFree(y));
  FAILS(CUDA_ERROR_INVALID_VALUE, run(d, d.launch("beyond", 1, 32, 0, d.stream, {y, 1, 0})));
}

TEST(divergent_barrier) {
  Device d;
  const CUdeviceptr y = d.fresh(64);
  FAILS(CUDA_ERROR_LAUNCH_FAILED, run(d, d.launch("divergent", 1, 64, 0, d.stream, {y})));
  REQUIRE(cuCtxSynchronize() == CUDA_ERROR_LAUNCH_FAILED);
}

TEST(divergent_shuffle) {
  Device d;
  const CUdeviceptr y = d.fresh(64);
  FAILS(CUDA_ERROR_LAUNCH_FAILED, run(d, d.launch("divergentWarp", 1, 64, 0, d.stream, {y})));
}

// Without the barrier the result hangs on the order of threads, which a seed changes.
TEST(missing_barrier_shows_under_a_seed) {
  setenv("TANDEM_CUDA_DOUBLE_SEED", "5", 1);
  Device d;
  const CUdeviceptr y = d.fresh(64 * 256);
  OK(d.launch("racing", 1, 256, 1024, d.stream, {y}));
  OK(cuStreamSynchronize(d.stream));
  const auto x = d.download(y, 256);
  bool wrong = false;
  for (size_t i = 0; i < 256; i++) wrong |= !(x[i] == float((i + 1) % 256));
  REQUIRE(wrong);
}

// A GPU goes on with some number.
TEST(integer_division_by_zero) {
  Device d;
  const CUdeviceptr y = d.fresh(64);
  OK(run(d, d.launch("divide", 1, 64, 0, d.stream, {y, 2})));
  FAILS(CUDA_ERROR_LAUNCH_FAILED, run(d, d.launch("divide", 1, 64, 0, d.stream, {y, 0})));
}

TEST(wrong_launch_shapes) {
  Device d;
  const CUdeviceptr x = d.upload(std::vector<float>(256)), y = d.fresh(256);
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("twice", 0, 256, 0, d.stream, {x, y, 256}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("twice", 1, 0, 0, d.stream, {x, y, 256}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("sum", 1, 2048, 0, d.stream, {x, y, 256}));
  FAILS(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, d.launch("twice", 1, 512, 0, d.stream, {x, y, 256})); // .maxntid 256
  unsigned long long n = 256;
  void *p[] = {(void *)&x, (void *)&y, &n};
  FAILS(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(d.function("twice"), 1, 70000, 1, 256, 1, 1, 0, d.stream, p, nullptr));
}

TEST(shared_memory_over_the_limit) {
  Device d;
  const CUdeviceptr x = d.upload(std::vector<float>(256)), y = d.fresh(256);
  const CUfunction f = d.function("sum");
  int v;
  OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f));
  REQUIRE(v == 128);
  unsigned long long n = 256;
  void *p[] = {(void *)&x, (void *)&y, &n};
  FAILS(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 256, 1, 1, 48 << 10, d.stream, p, nullptr)); // 128 static ones beside
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10));
  OK(cuLaunchKernel(f, 1, 1, 1, 256, 1, 1, 64 << 10, d.stream, p, nullptr));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 << 10));
  OK(cuStreamSynchronize(d.stream));
}

TEST(arguments_in_the_wrong_order_or_of_the_wrong_type) {
  Device d;
  const CUdeviceptr x = d.upload(std::vector<float>(256)), y = d.fresh(256);
  OK(d.launch("scaled", 1, 256, 0, d.stream, {x, y, 256, bits(2.5)}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("scaled", 1, 256, 0, d.stream, {x, y, bits(2.5), 256}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("scaled", 1, 256, 0, d.stream, {x, 256, y, bits(2.5)}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("scaled", 1, 256, 0, d.stream, {x, y, 256, 2}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("scaled", 1, 256, 0, d.stream, {x, y, 256, y}));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("scaled", 1, 256, 0, d.stream, {0x1234560, y, 256, bits(1)}));
  FAILS(CUDA_ERROR_MISALIGNED_ADDRESS, d.launch("scaled", 1, 256, 0, d.stream, {x + 2, y, 255, bits(1)}));
  OK(cuStreamSynchronize(d.stream));
}

TEST(host_memory_as_a_kernel_argument) {
  Device d;
  std::vector<float> x(256);
  const CUdeviceptr y = d.fresh(256);
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("twice", 1, 256, 0, d.stream, {(unsigned long long)x.data(), y, 256}));
}

TEST(kernel_that_the_host_build_or_the_ptx_lacks) {
  Device d;
  CUfunction f;
  FAILS(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, d.module, "absent"));
  FAILS(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, d.module, "twofold"));
}

TEST(ptx_older_than_the_kernels) {
  Device d;
  CUmodule m;
  CUfunction f;
  OK(cuModuleLoadData(&m, ".version 7.8\n.target sm_70\n.entry twice(.param .u64 a, .param .u64 b) { ret; }"));
  FAILS(CUDA_ERROR_INVALID_IMAGE, cuModuleGetFunction(&f, m, "twice"));
  OK(cuModuleLoadData(&m, ".version 7.8\n.target sm_70\n.entry twice(.param .u64 a, .param .u64 b, .param .f64 c) { ret; }"));
  FAILS(CUDA_ERROR_INVALID_IMAGE, cuModuleGetFunction(&f, m, "twice"));
  FAILS(CUDA_ERROR_INVALID_PTX, cuModuleLoadData(&m, "this is not PTX. It has no version"));
}

TEST(ptx_for_a_newer_device) {
  setenv("TANDEM_CUDA_DOUBLE_CAPABILITY", "7.5", 1);
  Device d;
  CUmodule m;
  FAILS(CUDA_ERROR_NO_BINARY_FOR_GPU, cuModuleLoadData(&m, ".version 7.8\n.target sm_80\n.entry twice(.param .u64 a) { ret; }"));
}

TEST(memory_that_nobody_frees) {
  Device d;
  d.fresh(10);
  OK(cuStreamDestroy(d.stream));
  const auto before = double_findings();
  FAILS(CUDA_ERROR_ILLEGAL_STATE, cuDevicePrimaryCtxRelease(0));
  REQUIRE(double_findings() == before + 1);
}

TEST(everything_freed_is_no_leak) {
  Device d;
  const CUdeviceptr p = d.fresh(10);
  CUevent e;
  OK(cuEventCreate(&e, 0));
  OK(cuEventDestroy(e));
  OK(cuMemFree(p));
  OK(cuStreamDestroy(d.stream));
  OK(cuDevicePrimaryCtxRelease(0));
  REQUIRE(double_findings() == 0);
  FAILS(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(0));
}

TEST(freed_twice) {
  Device d;
  const CUdeviceptr p = d.fresh(10);
  OK(cuMemFree(p));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree(p));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree(p + 4));
}

TEST(entry_point_that_the_double_lacks) {
  Device d;
  CUarray a;
  FAILS(CUDA_ERROR_NOT_SUPPORTED, cuArrayCreate(&a, nullptr));
}
