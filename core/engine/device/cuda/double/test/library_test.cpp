// cuBLAS and cuDNN: results, streams, captures and planted faults.
#include <cmath>
#include <cstring>

#include "test.h"

extern "C" {
int cublasCreate_v2(void **);
int cublasDestroy_v2(void *);
int cublasSetStream_v2(void *, CUstream);
int cublasGemmEx(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int, const void *, void *, int, int, int, int);
int cublasGemmStridedBatchedEx(void *, int, int, int, int, int, const void *, const void *, int, int, long long, const void *, int, int, long long,
                               const void *, void *, int, int, long long, int, int, int);
int cudnnCreate(void **);
int cudnnDestroy(void *);
int cudnnSetStream(void *, CUstream);
int cudnnCreateTensorDescriptor(void **);
int cudnnCreateFilterDescriptor(void **);
int cudnnCreateConvolutionDescriptor(void **);
int cudnnSetTensor4dDescriptor(void *, int, int, int, int, int, int);
int cudnnSetFilter4dDescriptor(void *, int, int, int, int, int, int);
int cudnnSetConvolution2dDescriptor(void *, int, int, int, int, int, int, int, int);
int cudnnSetConvolutionMathType(void *, int);
int cudnnGetConvolutionForwardWorkspaceSize(void *, void *, void *, void *, void *, int, size_t *);
int cudnnConvolutionForward(void *, const float *, void *, const void *, void *, const void *, void *, int, void *, size_t, const float *, void *, void *);
int cudnnConvolutionBackwardData(void *, const float *, void *, const void *, void *, const void *, void *, int, void *, size_t, const float *, void *, void *);
int cudnnConvolutionBackwardFilter(void *, const float *, void *, const void *, void *, const void *, void *, int, void *, size_t, const float *, void *, void *);
}

static const float one = 1, zero = 0;
enum { f32 = 0, bf16 = 14, compute32 = 68, tf32 = 77 };

static std::vector<float> numbers(size_t n, int seed) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; i++) x[i] = float(int((i * 37 + size_t(seed) * 11) % 23) - 11) / 8;
  return x;
}

// product checks a batched one of m, n, k against sums in double; column-major.
static void product(bool ta, bool tb, int m, int n, int k) {
  Device d;
  void *h;
  OK(cublasCreate_v2(&h));
  OK(cublasSetStream_v2(h, d.stream));
  const int batch = 3, lda = ta ? k : m, ldb = tb ? n : k;
  const auto a = numbers(size_t(batch * m * k), 1), b = numbers(size_t(batch * k * n), 2);
  const CUdeviceptr pa = d.upload(a), pb = d.upload(b), pc = d.fresh(size_t(batch * m * n));
  OK(cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, &one, (void *)pa, f32, lda, m * k, (void *)pb, f32, ldb, k * n, &zero, (void *)pc, f32, m, m * n, batch, compute32, -1));
  OK(cuStreamSynchronize(d.stream));
  const auto c = d.download(pc, size_t(batch * m * n));
  for (int x = 0; x < batch; x++)
    for (int i = 0; i < m; i++)
      for (int j = 0; j < n; j++) {
        double want = 0;
        for (int p = 0; p < k; p++)
          want += double(a[size_t(x * m * k + (ta ? i * lda + p : p * lda + i))]) * b[size_t(x * k * n + (tb ? p * ldb + j : j * ldb + p))];
        REQUIRE(std::abs(want - c[size_t(x * m * n + j * m + i)]) < 1e-3);
      }
  OK(cublasDestroy_v2(h));
}

TEST(products) {
  for (int t = 0; t < 4; t++) product(t & 1, t & 2, 33, 71, 150);
  REQUIRE(double_findings() == 0);
}

TEST(products_without_a_library) {
  setenv("TANDEM_CUDA_DOUBLE_GEMM", "own", 1);
  for (int t = 0; t < 4; t++) product(t & 1, t & 2, 33, 271, 150);
}

TEST(product_of_bfloat16_and_of_tf32) {
  Device d;
  void *h;
  OK(cublasCreate_v2(&h));
  OK(cublasSetStream_v2(h, d.stream));
  float pair; // two bfloat16, 1.5 and 2
  const unsigned short halves[2] = {0x3FC0, 0x4000};
  memcpy(&pair, halves, 4);
  const CUdeviceptr x = d.upload({pair}), y = d.fresh(1), z = d.upload({1 + 1.0f / 4096});
  OK(cublasGemmEx(h, 1, 0, 1, 1, 2, &one, (void *)x, bf16, 2, (void *)x, bf16, 2, &zero, (void *)y, f32, 1, compute32, -1));
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(y, 1)[0] == 6.25f);
  OK(cublasGemmEx(h, 0, 0, 1, 1, 1, &one, (void *)z, f32, 1, (void *)z, f32, 1, &zero, (void *)y, f32, 1, tf32, -1));
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(y, 1)[0] == 1); // 2^-12 is below TF32's mantissa
  OK(cublasDestroy_v2(h));
}

TEST(faults_of_products) {
  Device d;
  void *h;
  OK(cublasCreate_v2(&h));
  OK(cublasSetStream_v2(h, d.stream));
  const CUdeviceptr a = d.upload(numbers(64, 1)), c = d.fresh(64), fresh = d.fresh(64), small = d.fresh(63);
  const auto multiply = [&](CUdeviceptr to, CUdeviceptr from, int lda, int type) {
    return cublasGemmEx(h, 0, 0, 8, 8, 8, &one, (void *)from, type, lda, (void *)a, type, 8, &zero, (void *)to, f32, 8, compute32, -1);
  };
  OK(multiply(c, a, 8, f32));
  FAILS(7, multiply(small, a, 8, f32)); // C is one element short
  FAILS(7, multiply(c, a, 7, f32));     // lda
  FAILS(7, multiply(c, a, 9, f32));     // A is shorter than lda says
  FAILS(15, multiply(c, a, 8, 2));      // float16
  FAILS(15, cublasGemmEx(h, 0, 0, 8, 8, 8, &one, (void *)a, f32, 8, (void *)a, f32, 8, &zero, (void *)c, bf16, 8, compute32, -1)); // float32 into bfloat16
  FAILS(7, multiply(a, a, 8, f32));     // in place
  OK(multiply(c, fresh, 8, f32));
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(d.stream)); // A was never written
}

TEST(product_runs_in_its_stream_and_in_captures) {
  Device d;
  void *h;
  OK(cublasCreate_v2(&h));
  OK(cublasSetStream_v2(h, d.stream));
  const CUdeviceptr a = d.upload({2}), c = d.upload({1}); // c += a a
  const auto multiply = [&] { OK(cublasGemmEx(h, 0, 0, 1, 1, 1, &one, (void *)a, f32, 1, (void *)a, f32, 1, &one, (void *)c, f32, 1, compute32, -1)); };
  multiply();
  REQUIRE(d.download(c, 1)[0] == 1); // nobody waited for the stream
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(c, 1)[0] == 5);
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  multiply();
  CUgraph g;
  CUgraphExec x;
  OK(cuStreamEndCapture(d.stream, &g));
  OK(cuGraphInstantiateWithFlags(&x, g, 0));
  for (int i = 0; i < 3; i++) OK(cuGraphLaunch(x, d.stream));
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(c, 1)[0] == 17);
  OK(cublasDestroy_v2(h));
  FAILS(1, cublasSetStream_v2(h, d.stream));
}

TEST(the_first_product_of_a_shape_is_not_for_captures) {
  Device d;
  void *h;
  OK(cublasCreate_v2(&h));
  OK(cublasSetStream_v2(h, d.stream));
  const CUdeviceptr a = d.upload({2}), c = d.upload({1});
  CUgraph g;
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FAILS(13, cublasGemmEx(h, 0, 0, 1, 1, 1, &one, (void *)a, f32, 1, (void *)a, f32, 1, &zero, (void *)c, f32, 1, compute32, -1));
  OK(cuStreamEndCapture(d.stream, &g));
  OK(cublasDestroy_v2(h));
}

TEST(convolutions) {
  Device d;
  const int n = 2, h = 5, w = 6, c = 3, k = 4, kh = 3, kw = 2, pad = 1, stride = 2, oh = (h + 2 * pad - kh) / stride + 1, ow = (w + 2 * pad - kw) / stride + 1;
  const auto x = numbers(size_t(n * h * w * c), 1), f = numbers(size_t(k * kh * kw * c), 2), dy = numbers(size_t(n * oh * ow * k), 3);
  void *dnn, *tx, *ty, *tf, *conv;
  OK(cudnnCreate(&dnn));
  OK(cudnnSetStream(dnn, d.stream));
  OK(cudnnCreateTensorDescriptor(&tx));
  OK(cudnnCreateTensorDescriptor(&ty));
  OK(cudnnCreateFilterDescriptor(&tf));
  OK(cudnnCreateConvolutionDescriptor(&conv));
  OK(cudnnSetTensor4dDescriptor(tx, 1, 0, n, c, h, w));
  OK(cudnnSetTensor4dDescriptor(ty, 1, 0, n, k, oh, ow));
  OK(cudnnSetFilter4dDescriptor(tf, 0, 1, k, c, kh, kw));
  OK(cudnnSetConvolution2dDescriptor(conv, pad, pad, stride, stride, 1, 1, 1, 0));
  OK(cudnnSetConvolutionMathType(conv, 3));
  const CUdeviceptr px = d.upload(x), pf = d.upload(f), pdy = d.upload(dy), py = d.fresh(dy.size()), pdx = d.fresh(x.size()), pdf = d.fresh(f.size()), ws = d.fresh(10000);
  OK(cudnnConvolutionForward(dnn, &one, tx, (void *)px, tf, (void *)pf, conv, 1, (void *)ws, 40000, &zero, ty, (void *)py));
  OK(cudnnConvolutionBackwardData(dnn, &one, tf, (void *)pf, ty, (void *)pdy, conv, 1, (void *)ws, 40000, &zero, tx, (void *)pdx));
  OK(cudnnConvolutionBackwardFilter(dnn, &one, tx, (void *)px, ty, (void *)pdy, conv, 1, (void *)ws, 40000, &zero, tf, (void *)pdf));
  OK(cuStreamSynchronize(d.stream));
  std::vector<double> y(dy.size()), dx(x.size()), df(f.size());
  for (int i = 0; i < n; i++)
    for (int oy = 0; oy < oh; oy++)
      for (int ox = 0; ox < ow; ox++)
        for (int o = 0; o < k; o++)
          for (int a = 0; a < kh; a++)
            for (int b = 0; b < kw; b++) {
              const int yy = oy * stride - pad + a, xx = ox * stride - pad + b;
              if (yy < 0 || yy >= h || xx < 0 || xx >= w) continue;
              for (int e = 0; e < c; e++) {
                const size_t iy = size_t(((i * oh + oy) * ow + ox) * k + o), ix = size_t(((i * h + yy) * w + xx) * c + e), jf = size_t(((o * kh + a) * kw + b) * c + e);
                y[iy] += double(x[ix]) * f[jf], dx[ix] += double(dy[iy]) * f[jf], df[jf] += double(dy[iy]) * x[ix];
              }
            }
  const auto gy = d.download(py, y.size()), gdx = d.download(pdx, dx.size()), gdf = d.download(pdf, df.size());
  for (size_t i = 0; i < y.size(); i++) REQUIRE(std::abs(gy[i] - y[i]) < 1e-4);
  for (size_t i = 0; i < dx.size(); i++) REQUIRE(std::abs(gdx[i] - dx[i]) < 1e-4);
  for (size_t i = 0; i < df.size(); i++) REQUIRE(std::abs(gdf[i] - df[i]) < 1e-4);
  REQUIRE(double_findings() == 0);
  FAILS(2000, cudnnConvolutionForward(dnn, &one, tx, (void *)px, tf, (void *)pf, conv, 1, nullptr, 0, &zero, ty, (void *)py)); // no workspace
  size_t bytes;
  REQUIRE(cudnnGetConvolutionForwardWorkspaceSize(dnn, tx, tf, conv, ty, 7, &bytes) == 3000); // offered, not done
  OK(cudnnGetConvolutionForwardWorkspaceSize(dnn, tx, tf, conv, ty, 1, &bytes));
  REQUIRE(bytes == 4 * y.size());
  FAILS(2000, cudnnConvolutionForward(dnn, &one, ty, (void *)px, tf, (void *)pf, conv, 0, nullptr, 0, &zero, ty, (void *)py)); // shapes
  OK(cudnnDestroy(dnn));
}
