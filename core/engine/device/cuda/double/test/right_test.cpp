// Programs without faults: results are right and nothing is found.
#include <cmath>
#include <cstring>

#include "test.h"

static std::vector<float> ramp(size_t n) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; i++) x[i] = float(i % 97) - 40;
  return x;
}

TEST(kernels_without_barriers) {
  Device d;
  const auto x = ramp(100000);
  const CUdeviceptr px = d.upload(x), py = d.fresh(x.size());
  OK(d.launch("twice", unsigned(x.size() + 255) / 256, 256, 0, d.stream, {px, py, x.size()}));
  OK(cuStreamSynchronize(d.stream));
  const auto y = d.download(py, x.size());
  for (size_t i = 0; i < x.size(); i++) REQUIRE(y[i] == 2 * x[i]);
  REQUIRE(double_findings() == 0);
}

TEST(shuffles_barriers_and_shared_memory) {
  Device d;
  const size_t rows = 300, n = 333;
  const auto x = ramp(rows * n);
  const CUdeviceptr px = d.upload(x), py = d.fresh(rows);
  for (unsigned block : {32u, 96u, 256u, 1024u}) {
    OK(cuMemsetD32Async(py, 0, rows, d.stream));
    OK(d.launch("sum", rows, block, block * 4, d.stream, {px, py, n}));
    OK(cuStreamSynchronize(d.stream));
    const auto y = d.download(py, rows);
    for (size_t r = 0; r < rows; r++) {
      float want = 0;
      for (size_t i = 0; i < n; i++) want += x[r * n + i];
      REQUIRE(y[r] == want); // small integers: exact in any order
    }
  }
  REQUIRE(double_findings() == 0);
}

TEST(tensor_core_fragments) {
  Device d;
  std::vector<float> a(16 * 16 / 2), b(16 * 8 / 2), c(16 * 8);
  auto *ha = (unsigned short *)a.data(), *hb = (unsigned short *)b.data();
  const auto bf16 = [](float f) {
    unsigned u;
    memcpy(&u, &f, 4);
    return (unsigned short)(u >> 16);
  };
  for (int i = 0; i < 256; i++) ha[i] = bf16(float(i % 7) - 3);
  for (int i = 0; i < 128; i++) hb[i] = bf16(float(i % 5) - 2); // [8 columns][16]
  for (int i = 0; i < 128; i++) c[size_t(i)] = float(i);
  const CUdeviceptr pa = d.upload(a), pb = d.upload(b), pc = d.upload(c);
  OK(d.launch("product", 1, 32, 0, d.stream, {pa, pb, pc}));
  OK(cuStreamSynchronize(d.stream));
  const auto y = d.download(pc, 128);
  for (int r = 0; r < 16; r++)
    for (int n = 0; n < 8; n++) {
      float want = float(r * 8 + n);
      for (int k = 0; k < 16; k++) want += float((r * 16 + k) % 7 - 3) * float((n * 16 + k) % 5 - 2);
      REQUIRE(y[size_t(r * 8 + n)] == want);
    }
  REQUIRE(double_findings() == 0);
}
