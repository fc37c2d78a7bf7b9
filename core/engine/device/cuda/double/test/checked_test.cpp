// The checked build of the kernels: faults that need a look at every load and store.
#include <string>

#include "test.h"

struct Checked : Device {
  static unsigned use() {
    std::string lib = getenv("TANDEM_CUDA_DOUBLE");
    lib.insert(lib.size() - 3, "-checked");
    setenv("TANDEM_CUDA_DOUBLE", lib.c_str(), 1);
    return CU_STREAM_NON_BLOCKING;
  }
  Checked() : Device(use()) {}
  CUresult run(const char *name, unsigned grid, unsigned block, unsigned shared, std::vector<unsigned long long> p) {
    const CUresult e = launch(name, grid, block, shared, stream, p);
    return e ? e : cuStreamSynchronize(stream);
  }
};

TEST(checked_kernels_without_faults) {
  Checked d;
  const size_t n = 1000;
  const CUdeviceptr x = d.upload(std::vector<float>(n, 1)), y = d.fresh(n), z = d.fresh(n), done = d.fresh(1);
  OK(cuMemsetD32(done, 0, 1));
  OK(d.run("twice", 4, 256, 0, {x, y, n}));
  OK(d.run("twice", 4, 256, 0, {y, y, n})); // in place
  OK(d.run("sum", 10, 96, 384, {y, z, 100}));
  OK(d.run("total", 20, 64, 0, {x, z, done, y, n}));
  REQUIRE(d.download(z, 1)[0] == 50);
  REQUIRE(d.download(y, 1)[0] == 1000);
  REQUIRE(double_findings() == 0);
}

TEST(checked_read_past_the_end) {
  Checked d;
  const CUdeviceptr x = d.upload(std::vector<float>(31, 1)), y = d.fresh(31);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, d.run("peek", 1, 31, 0, {x, y, 31}));
}

TEST(checked_read_of_memory_never_written) {
  Checked d;
  const CUdeviceptr x = d.fresh(256), y = d.fresh(256);
  OK(cuMemsetD32(x, 0, 255));
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, d.run("twice", 1, 256, 0, {x, y, 256}));
}

TEST(checked_misaligned_vector) {
  Checked d;
  const CUdeviceptr x = d.upload(std::vector<float>(64, 1)), y = d.fresh(64);
  OK(d.run("wide", 1, 1, 0, {x, y, 4}));
  REQUIRE(d.run("wide", 1, 1, 0, {x, y, 2}) != CUDA_SUCCESS);
  REQUIRE(double_findings() == 1);
}

TEST(checked_shared_memory_never_written) {
  Checked d;
  const CUdeviceptr y = d.fresh(64);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, d.run("sharedUnwritten", 1, 64, 256, {y}));
}

TEST(checked_shared_memory_past_the_end) {
  Checked d;
  const CUdeviceptr y = d.fresh(64);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, d.run("sharedBeyond", 1, 64, 256, {y}));
}

// The neighbour's element is read before it is written, whichever of the two the double runs first.
TEST(checked_missing_barrier) {
  Checked d;
  const CUdeviceptr y = d.fresh(64);
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, d.run("racing", 1, 64, 256, {y}));
}

TEST(checked_race_between_blocks) {
  Checked d;
  const CUdeviceptr y = d.fresh(64);
  FAILS(CUDA_ERROR_LAUNCH_FAILED, d.run("colliding", 2, 64, 0, {y}));
}

TEST(checked_race_of_a_write_with_reads) {
  Checked d;
  const CUdeviceptr y = d.upload(std::vector<float>(256, 1));
  FAILS(CUDA_ERROR_LAUNCH_FAILED, d.run("shifting", 1, 256, 0, {y, 256}));
}
