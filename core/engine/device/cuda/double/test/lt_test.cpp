// cublasLt: results of its epilogues, captures and planted faults.
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <thread>

#include "test.h"

extern "C" {
int cublasLtCreate(void **);
int cublasLtDestroy(void *);
int cublasLtMatmulDescCreate(void **, int, int);
int cublasLtMatmulDescDestroy(void *);
int cublasLtMatmulDescSetAttribute(void *, int, const void *, size_t);
int cublasLtMatrixLayoutCreate(void **, int, uint64_t, uint64_t, int64_t);
int cublasLtMatrixLayoutDestroy(void *);
int cublasLtMatrixLayoutSetAttribute(void *, int, const void *, size_t);
int cublasLtMatmulPreferenceCreate(void **);
int cublasLtMatmulPreferenceDestroy(void *);
int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t);
int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int, void *, int *);
int cublasLtMatmul(void *, void *, const float *, const void *, void *, const void *, void *, const float *, const void *, void *, void *, void *, const void *, void *, size_t, CUstream);
}

enum { f32 = 0, bf16 = 14, compute32 = 68, plain = 1, bias = 4, bgradA = 256, bgradB = 512 };
enum { m = 4, n = 8, k = 16 };

struct Result {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

// Product holds a product of all ones, but for what a test changes: A is [k, m] transposed, B [k, n], D [m, n] float32.
struct Product {
  Device d;
  void *handle, *op, *la, *lb, *lc, *preference;
  CUdeviceptr a, b, c, to, more, workspace;
  Result results[4];
  int found = 0;
  explicit Product(uint32_t epilogue = plain, int type = f32, int result = f32) {
    OK(cublasLtCreate(&handle));
    OK(cublasLtMatmulDescCreate(&op, compute32, f32));
    OK(cublasLtMatrixLayoutCreate(&la, type, k, m, k));
    OK(cublasLtMatrixLayoutCreate(&lb, type, k, n, k));
    OK(cublasLtMatrixLayoutCreate(&lc, result, m, n, m));
    OK(cublasLtMatmulPreferenceCreate(&preference));
    a = d.upload(std::vector<float>(k * m, 1));
    b = d.upload(std::vector<float>(k * n, 1));
    c = d.upload(std::vector<float>(m * n, 3)), to = d.fresh(m * n), more = d.upload(std::vector<float>(n, 5)), workspace = d.fresh(1024);
    if (type == bf16) a = pairs(k * m), b = pairs(k * n);
    if (result == bf16) c = pairs(m * n), more = pairs(n);
    const int32_t yes = 1;
    const uint64_t bytes = 4096;
    const uint32_t reductions = 2;
    OK(cublasLtMatmulDescSetAttribute(op, 3, &yes, 4));
    OK(cublasLtMatmulDescSetAttribute(op, 7, &epilogue, 4));
    if (epilogue != plain) OK(cublasLtMatmulDescSetAttribute(op, 8, &more, 8));
    OK(cublasLtMatmulPreferenceSetAttribute(preference, 1, &bytes, 8));
    OK(cublasLtMatmulPreferenceSetAttribute(preference, 3, &reductions, 4));
  }
  // pairs uploads n ones of bfloat16.
  CUdeviceptr pairs(size_t count) {
    float both;
    const unsigned short halves[2] = {0x3F80, 0x3F80};
    memcpy(&both, halves, 4);
    return d.upload(std::vector<float>(count / 2, both));
  }
  int ask() { return cublasLtMatmulAlgoGetHeuristic(handle, op, la, lb, lc, lc, preference, 4, results, &found); }
  int run(float beta = 0, int which = 0) {
    const float one = 1;
    return cublasLtMatmul(handle, op, &one, (void *)a, la, (void *)b, lb, &beta, (void *)c, lc, (void *)to, lc, results[which].algorithm, (void *)workspace, 4096, d.stream);
  }
  std::vector<float> got(CUdeviceptr p, size_t count) {
    OK(cuStreamSynchronize(d.stream));
    return d.download(p, count);
  }
};

TEST(lt_products_with_their_epilogues) {
  struct {
    uint32_t epilogue;
    float beta, want, sums;
  } cases[] = {{plain, 0, 16, 0}, {plain, 1, 19, 0}, {bias, 0, 21, 5}, {bias, 2, 27, 5}, {bgradA, 0, 16, 16}, {bgradB, 1, 19, 16}};
  for (auto &x : cases) {
    Product p(x.epilogue);
    OK(p.ask());
    for (int which = 0; which < p.found; which++) {
      if (p.results[which].state) continue;
      OK(p.run(x.beta, which));
      for (float v : p.got(p.to, m * n)) REQUIRE(v == x.want);
      if (x.sums) REQUIRE(p.got(p.more, m)[m - 1] == x.sums);
    }
  }
  REQUIRE(double_findings() == 0);
}

TEST(lt_results_in_bfloat16) {
  Product p(bias, bf16, bf16);
  OK(p.ask());
  OK(p.run(1)); // 16 + 1 + 1
  unsigned u;
  const float pair = p.got(p.to, m * n / 2)[3];
  memcpy(&u, &pair, 4);
  REQUIRE(u == 0x41904190u);
  REQUIRE(double_findings() == 0);
}

TEST(lt_offers_what_is_asked_for) {
  Product p;
  OK(p.ask());
  REQUIRE(p.found == 3 && p.results[0].state == 0 && p.results[1].workspace == 8 * m * n && p.results[2].state == 15);
  const uint64_t none = 0;
  OK(cublasLtMatmulPreferenceSetAttribute(p.preference, 1, &none, 8));
  OK(p.ask());
  REQUIRE(p.found == 2); // what needs a workspace is not offered
}

TEST(lt_sums_in_place_differ_from_run_to_run) {
  Product p;
  const uint32_t all = 7;
  OK(cublasLtMatmulPreferenceSetAttribute(p.preference, 3, &all, 4));
  OK(p.ask());
  REQUIRE(p.found == 4); // the first sums in place
  std::vector<float> x(k * m);
  for (size_t i = 0; i < x.size(); i++) x[i] = std::sin(float(i)) * (i % 3 ? 1e4f : 1);
  p.a = p.d.upload(x);
  OK(p.run());
  const auto first = p.got(p.to, m * n);
  OK(p.run());
  REQUIRE(p.got(p.to, m * n) != first);
}

TEST(lt_refuses_what_is_documented) {
  {
    Product p(plain, f32, bf16); // float32 into bfloat16
    FAILS(15, p.ask());
  }
  {
    Product p(bias);
    const void *null = nullptr;
    OK(cublasLtMatmulDescSetAttribute(p.op, 8, &null, 8));
    FAILS(7, p.ask()); // without a bias its alignment is unknown
  }
  {
    Product p(bgradB);
    const int32_t two = 2;
    for (void *l : {p.la, p.lb, p.lc}) OK(cublasLtMatrixLayoutSetAttribute(l, 5, &two, 4));
    const int64_t far = m * n;
    OK(cublasLtMatrixLayoutSetAttribute(p.lc, 6, &far, 8));
    FAILS(15, p.ask()); // in a batch
  }
  {
    Product p;
    const int64_t row = 1;
    FAILS(7, cublasLtMatmulDescSetAttribute(p.op, 7, &row, 8)); // has four bytes
    const int32_t order = 1;
    OK(cublasLtMatrixLayoutSetAttribute(p.lc, 1, &order, 4));
    FAILS(15, p.ask()); // rows
    FAILS(7, cublasLtMatrixLayoutDestroy(p.op));
    OK(cublasLtMatrixLayoutDestroy(p.lb));
    FAILS(7, p.ask()); // the layout is gone
  }
}

TEST(lt_faults_of_places) {
  struct {
    const char *what;
    int error;
    std::function<void(Product &)> change;
  } cases[] = {
      {"A begins elsewhere", 7, [](Product &p) { p.a = p.d.fresh(k * m + 64) + 4; }},
      {"D begins elsewhere", 7, [](Product &p) { p.to = p.d.fresh(m * n + 64) + 4; }},
      {"the bias begins elsewhere", 7, [](Product &p) { p.more += 4, cublasLtMatmulDescSetAttribute(p.op, 8, &p.more, 8); }},
      {"the workspace begins elsewhere", 7, [](Product &p) { p.workspace += 16; }},
      {"D is short", 7, [](Product &p) { p.to = p.d.fresh(m * n - 1); }},
      {"the bias is short", 7, [](Product &p) { p.more = p.d.fresh(m - 1), cublasLtMatmulDescSetAttribute(p.op, 8, &p.more, 8); }},
      {"D is A", 7, [](Product &p) { p.to = p.a; }},
      {"D reaches into C", 7, [](Product &p) { p.to = p.d.fresh(m * n + 64), p.c = p.to + 64; }},
      {"an algorithm of nothing", 7, [](Product &p) { memset(p.results, 0, sizeof p.results); }},
      {"an algorithm for other sizes", 7, [](Product &p) { OK(cublasLtMatrixLayoutCreate(&p.lc, f32, m, n, m + 4)); p.to = p.d.fresh(8 * m * n); }},
  };
  for (auto &x : cases) {
    Product p(bias);
    const uint32_t align = 16;
    for (int which = 5; which < 9; which++) OK(cublasLtMatmulPreferenceSetAttribute(p.preference, which, &align, 4));
    OK(p.ask());
    x.change(p);
    fprintf(stderr, "%s\n", x.what);
    FAILS(x.error, p.run());
  }
}

TEST(lt_workspace_that_is_too_small) {
  Product p;
  OK(p.ask());
  const float one = 1, zero = 0;
  FAILS(7, cublasLtMatmul(p.handle, p.op, &one, (void *)p.a, p.la, (void *)p.b, p.lb, &zero, (void *)p.to, p.lc, (void *)p.to, p.lc, p.results[1].algorithm, (void *)p.workspace, 8, p.d.stream));
}

TEST(lt_a_bias_that_was_never_written) {
  Product p(bias);
  OK(p.ask());
  p.more = p.d.fresh(n);
  OK(cublasLtMatmulDescSetAttribute(p.op, 8, &p.more, 8));
  OK(p.run());
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(p.d.stream));
}

TEST(lt_the_first_product_of_a_shape_is_not_for_captures) {
  Product p(bias);
  OK(p.ask());
  CUgraph g;
  CUgraphExec x;
  OK(cuStreamBeginCapture(p.d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FAILS(13, p.run());
  OK(cuStreamEndCapture(p.d.stream, &g));
  OK(p.run());
  OK(cuStreamBeginCapture(p.d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(p.run(1));
  OK(cuStreamEndCapture(p.d.stream, &g));
  OK(cuGraphInstantiateWithFlags(&x, g, 0));
  OK(cuGraphLaunch(x, p.d.stream));
  for (float v : p.got(p.to, m * n)) REQUIRE(v == 24);
}

// Towers that share a process plan their products at the same time.
TEST(lt_threads_make_and_destroy_objects_at_once) {
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&failed] {
      for (int i = 0; i < 5000; i++) {
        void *layout = nullptr, *op = nullptr;
        const int32_t yes = 1;
        failed += cublasLtMatrixLayoutCreate(&layout, f32, m, n, m) || cublasLtMatmulDescCreate(&op, compute32, f32);
        failed += cublasLtMatmulDescSetAttribute(op, 3, &yes, 4) || cublasLtMatrixLayoutDestroy(layout) || cublasLtMatmulDescDestroy(op);
      }
    });
  for (std::thread &t : threads) t.join();
  REQUIRE(failed == 0);
}
