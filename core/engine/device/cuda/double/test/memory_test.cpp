// Planted faults of memory, copies, streams and contexts: each is found.
#include <sys/mman.h>

#include <cstring>
#include <thread>

#include "test.h"

TEST(copy_past_the_end) {
  Device d;
  std::vector<float> x(101);
  const CUdeviceptr p = d.fresh(100);
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(p, x.data(), 404));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(x.data(), p + 4, 400));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoD(p, p + 4, 400));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(p, 0, 101));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(p + 2, 0, 1));
}

TEST(copy_with_host_and_device_confused) {
  Device d;
  std::vector<float> x(100);
  const CUdeviceptr p = d.fresh(100);
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(CUdeviceptr(x.data()), (void *)p, 400));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(p, (void *)p, 400));
}

TEST(copy_of_freed_memory) {
  Device d;
  std::vector<float> x(100);
  const CUdeviceptr p = d.fresh(100);
  OK(cuMemFree(p));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(x.data(), p, 4));
}

TEST(download_of_memory_never_written) {
  Device d;
  std::vector<float> x(100);
  const CUdeviceptr p = d.fresh(100);
  OK(cuMemsetD32(p, 0, 99));
  OK(cuMemcpyDtoH(x.data(), p, 396));
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyDtoH(x.data(), p, 400));
}

TEST(result_of_memory_never_written) {
  Device d;
  std::vector<float> x(100);
  const CUdeviceptr p = d.fresh(100), y = d.fresh(100);
  OK(d.launch("twice", 1, 128, 0, d.stream, {p, y, 100}));
  OK(cuStreamSynchronize(d.stream));
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyDtoH(x.data(), y, 400)); // NaNs that carry the pattern
}

// Work runs when something waits for it: who does not wait reads what was there before.
TEST(read_before_the_copy_ran) {
  Device d;
  const CUdeviceptr p = d.upload(std::vector<float>(100, 1)), q = d.upload(std::vector<float>(100, 2));
  void *host;
  OK(cuMemHostAlloc(&host, 400, 0));
  memset(host, 0, 400);
  OK(cuMemcpyDtoDAsync(q, p, 400, d.stream));
  OK(cuMemcpyDtoHAsync(host, q, 400, d.stream));
  REQUIRE(((float *)host)[99] == 0);
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(((float *)host)[99] == 1);
}

TEST(missing_wait_between_streams) {
  Device d;
  CUstream copies;
  OK(cuStreamCreate(&copies, CU_STREAM_NON_BLOCKING));
  const CUdeviceptr x = d.upload(std::vector<float>(100, 1)), y = d.fresh(100);
  void *host;
  OK(cuMemHostAlloc(&host, 400, 0));
  for (int i = 0; i < 100; i++) ((float *)host)[i] = 3;
  OK(cuMemcpyHtoDAsync(x, host, 400, copies));
  OK(d.launch("twice", 1, 128, 0, d.stream, {x, y, 100})); // waits for no event of the copy
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(y, 100)[0] == 2); // stale
  OK(cuStreamSynchronize(copies));
}

TEST(event_orders_streams) {
  for (const char *seed : {"0", "1", "2"}) {
    setenv("TANDEM_CUDA_DOUBLE_SEED", seed, 1);
    Device d;
    CUstream copies;
    CUevent copied;
    OK(cuStreamCreate(&copies, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&copied, CU_EVENT_DISABLE_TIMING));
    const CUdeviceptr x = d.upload(std::vector<float>(100, 1)), y = d.fresh(100);
    void *host;
    OK(cuMemHostAlloc(&host, 400, 0));
    for (int i = 0; i < 100; i++) ((float *)host)[i] = 3;
    OK(cuMemcpyHtoDAsync(x, host, 400, copies));
    OK(cuEventRecord(copied, copies));
    OK(cuStreamWaitEvent(d.stream, copied, 0));
    OK(d.launch("twice", 1, 128, 0, d.stream, {x, y, 100}));
    OK(cuStreamSynchronize(d.stream));
    REQUIRE(d.download(y, 100)[99] == 6);
  }
  REQUIRE(double_findings() == 0);
}

TEST(default_stream_waits_for_blocking_streams_only) {
  Device d(CU_STREAM_DEFAULT);
  const CUdeviceptr x = d.upload(std::vector<float>(100, 1));
  OK(cuMemsetD32Async(x, 0, 100, d.stream));
  REQUIRE(d.download(x, 100)[0] == 0); // cuMemcpyDtoH waited for d.stream
  CUstream apart;
  OK(cuStreamCreate(&apart, CU_STREAM_NON_BLOCKING));
  OK(cuMemsetD32Async(x, 0x3F800000, 100, apart));
  REQUIRE(d.download(x, 100)[0] == 0); // but not for this one
  OK(cuCtxSynchronize());
  REQUIRE(d.download(x, 100)[0] == 1);
}

TEST(pageable_source_is_staged_at_once) {
  Device d;
  std::vector<float> host(100, 1);
  const CUdeviceptr x = d.fresh(100);
  OK(cuMemcpyHtoDAsync(x, host.data(), 400, d.stream));
  host.assign(100, 2);
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(x, 100)[0] == 1);
}

TEST(pinned_source_is_read_when_the_copy_runs) {
  Device d;
  std::vector<float> host(100, 1);
  const CUdeviceptr x = d.fresh(100);
  OK(cuMemHostRegister(host.data(), 400, 0));
  FAILS(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(host.data() + 1, 4, 0));
  OK(cuMemcpyHtoDAsync(x, host.data(), 400, d.stream));
  host.assign(100, 2); // overwritten too early
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(x, 100)[0] == 2);
  OK(cuMemHostUnregister(host.data()));
  FAILS(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(host.data()));
}

TEST(call_without_a_context) {
  Device d;
  std::thread([] {
    CUdeviceptr p;
    FAILS(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc(&p, 4)); // current to the other OS thread only
  }).join();
}

TEST(handles_of_things_destroyed) {
  Device d;
  CUevent e;
  OK(cuEventCreate(&e, 0));
  OK(cuEventDestroy(e));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(e, d.stream));
  OK(cuStreamDestroy(d.stream));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(d.stream));
  OK(cuModuleUnload(d.module));
  CUfunction f;
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuModuleGetFunction(&f, d.module, "twice"));
}

TEST(host_memory_gone_before_the_copy_ran) {
  Device d;
  const CUdeviceptr x = d.fresh(1024);
  void *host = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  OK(cuMemHostRegister(host, 4096, 0));
  OK(cuMemcpyHtoDAsync(x, host, 4096, d.stream));
  munmap(host, 4096);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(d.stream));
}

TEST(memory_of_another_device) {
  setenv("TANDEM_CUDA_DOUBLE_DEVICES", "2", 1);
  Device d;
  CUcontext other;
  const CUdeviceptr x = d.upload(std::vector<float>(256));
  OK(cuDevicePrimaryCtxRetain(&other, 1));
  OK(cuCtxSetCurrent(other));
  CUdeviceptr y;
  OK(cuMemAlloc(&y, 1024));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(d.stream)); // the first device's
  OK(cuCtxSetCurrent(d.context));
  FAILS(CUDA_ERROR_INVALID_VALUE, d.launch("twice", 1, 256, 0, d.stream, {x, y, 256}));
}

TEST(out_of_memory) {
  setenv("TANDEM_CUDA_DOUBLE_MEMORY", "1M", 1);
  Device d;
  CUdeviceptr a, b;
  size_t free, total;
  OK(cuMemAlloc(&a, 768 << 10));
  OK(cuMemGetInfo(&free, &total));
  REQUIRE(total == 1 << 20 && free == 256 << 10);
  REQUIRE(cuMemAlloc(&b, 512 << 10) == CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuMemFree(a));
  OK(cuMemAlloc(&b, 512 << 10));
}

TEST(allocation_in_stream_order) {
  Device d;
  CUdeviceptr p;
  OK(cuMemAllocAsync(&p, 400, d.stream));
  OK(cuMemsetD32Async(p, 0, 100, d.stream));
  OK(cuMemFreeAsync(p, d.stream));
  OK(cuMemsetD32Async(p, 0, 100, d.stream)); // issued before the free has run
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(d.stream));
}

TEST(machines) {
  setenv("TANDEM_CUDA_DOUBLE_DEVICES", "2", 1);
  setenv("TANDEM_CUDA_DOUBLE_CAPABILITY", "8.6", 1);
  OK(cuInit(0));
  int n, v;
  OK(cuDeviceGetCount(&n));
  REQUIRE(n == 2);
  CUdevice dev;
  OK(cuDeviceGet(&dev, 1));
  REQUIRE(cuDeviceGet(&dev, 2) == CUDA_ERROR_INVALID_DEVICE);
  OK(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 1));
  REQUIRE(v == 6);
  OK(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 1));
  REQUIRE(v == 99 << 10);
}

TEST(machine_without_a_device) {
  setenv("TANDEM_CUDA_DOUBLE_DEVICES", "0", 1);
  REQUIRE(cuInit(0) == CUDA_ERROR_NO_DEVICE);
  int n;
  REQUIRE(cuDeviceGetCount(&n) == CUDA_ERROR_NOT_INITIALIZED);
}

TEST(driver_that_does_not_start) {
  setenv("TANDEM_CUDA_DOUBLE_INIT", "803", 1);
  REQUIRE(cuInit(0) == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
}
