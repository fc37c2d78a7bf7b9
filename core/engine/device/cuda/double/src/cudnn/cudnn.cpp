// libcudnn.so.9: the legacy convolution entry points. Types and numbers are of cudnn_ops.h and cudnn_cnn.h.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "../enqueue.h"
#include "../known.h"
#include "convolution.h"

using namespace cudadouble;

namespace {

enum Status { Success = 0, NotInitialized = 1001, BadParam = 2000, NotSupported = 3000, ExecutionFailed = 5000 };
enum Type { Float = 0, BFloat16 = 9 };
enum Format { NHWC = 1 };
enum Math { DefaultMath = 0, TensorOp = 1, TensorOpAllowConversion = 2, FMA = 3 };

struct Handle { CUstream stream = nullptr; };
struct Tensor { int type = -1, d[4]; };                 // n c h w, stored NHWC
struct Filter { int type = -1, d[4]; };                 // k c h w, stored KHWC
struct Conv { int padH = -1, padW, strideH, strideW, math = DefaultMath; };

// Descriptors and handles that are alive; what the program leaves behind is named at exit.
template <class T> struct Alive {
  const char *what;
  Known<T *> all;
  explicit Alive(const char *w) : what(w) {}
  ~Alive() {
    if (all.size()) double_finding(0, ("leak: " + std::to_string(all.size()) + " of cuDNN's " + what + " are alive when the process ends").c_str());
  }
  int make(T **p) { return all.insert(*p = new T) ? Success : BadParam; }
  int drop(T *p, const char *call) {
    if (!all.erase(p)) return double_finding(BadParam, (std::string(call) + ": destroyed before, or never made").c_str());
    delete p;
    return Success;
  }
};
Alive<Handle> handles("handles");
Alive<Tensor> tensors("tensor descriptors");
Alive<Filter> filters("filter descriptors");
Alive<Conv> convs("convolution descriptors");

int bad(Status s, const char *call, const char *why) { return double_finding(s, (std::string(call) + ": " + why).c_str()); }

// Algorithm describes one that a direction's heuristics offer, with made-up needs of workspace. Those that are
// refused are offered and then not done, as cuDNN's heuristics may.
struct Algorithm { int number; bool deterministic; int bytesAnOutput; bool refused; };
// CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, _IMPLICIT_PRECOMP_GEMM, _IMPLICIT_GEMM; BWD_DATA_ALGO_0,
// _WINOGRAD_NONFUSED, _1; BWD_FILTER_ALGO_3, _0, _WINOGRAD_NONFUSED, _1.
const std::vector<Algorithm> algorithms[3] = {
    {{7, true, 4, true}, {1, true, 4, false}, {0, true, 0, false}},
    {{0, false, 0, false}, {5, true, 4, true}, {1, true, 4, false}},
    {{3, false, 8, false}, {0, false, 0, false}, {5, true, 8, true}, {1, true, 8, false}}};
enum Direction { Forward, BackData, BackFilter };

struct Perf {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};

// describe returns the convolution of the descriptors, or why there is none.
Status describe(const char *call, const Tensor *x, const Filter *f, const Conv *c, const Tensor *y, Convolution *out) {
  if (!tensors.all.has((Tensor *)x) || !tensors.all.has((Tensor *)y) || !filters.all.has((Filter *)f) || !convs.all.has((Conv *)c))
    return Status(bad(BadParam, call, "a descriptor was destroyed, or never made"));
  if (x->type < 0 || y->type < 0 || f->type < 0 || c->padH < 0) return Status(bad(BadParam, call, "a descriptor was never set"));
  if (x->type != f->type || x->type != y->type) return Status(bad(NotSupported, call, "map and filter types differ"));
  *out = {x->d[0], x->d[2], x->d[3], x->d[1], f->d[0], f->d[2], f->d[3], c->padH, c->padW, c->strideH, c->strideW, y->d[2], y->d[3]};
  const Convolution &v = *out;
  if (f->d[1] != v.c || y->d[0] != v.n || y->d[1] != v.k || v.oh != (v.h + 2 * v.padH - v.kh) / v.strideH + 1 || v.ow != (v.w + 2 * v.padW - v.kw) / v.strideW + 1)
    return Status(bad(BadParam, call, "shapes do not fit each other"));
  return Success;
}

size_t needs(const Convolution &v, const Algorithm &a) { return size_t(a.bytesAnOutput) * v.ys(); }

int choose(Direction d, const char *call, Handle *h, const Tensor *x, const Filter *f, const Conv *c, const Tensor *y, int most, int *count, Perf *p) {
  if (!handles.all.has(h)) return bad(NotInitialized, call, "no such handle");
  Convolution v;
  if (Status s = describe(call, x, f, c, y, &v)) return s;
  *count = 0;
  for (const Algorithm &a : algorithms[d]) {
    if (*count == most) break;
    const int math = c->math == FMA ? FMA : x->type == BFloat16 || c->math ? TensorOp : DefaultMath;
    p[*count] = {a.number, Success, -1, needs(v, a), a.deterministic, math, {}};
    ++*count;
  }
  return Success;
}

// algorithm returns one that is done. In bfloat16 those are which tensor cores have: of products the ones with number 1, and
// Winograd's, whose transforms round.
const Algorithm *algorithm(Direction d, int number, int type) {
  for (const Algorithm &a : algorithms[d])
    if (a.number == number && (type == BFloat16 ? number != 0 : !a.refused)) return &a;
  return nullptr;
}

int workspace(Direction d, const char *call, Handle *h, const Tensor *x, const Filter *f, const Conv *c, const Tensor *y, int number, size_t *bytes) {
  if (!handles.all.has(h)) return bad(NotInitialized, call, "no such handle");
  Convolution v;
  if (Status s = describe(call, x, f, c, y, &v)) return s;
  const Algorithm *a = algorithm(d, number, x->type);
  if (!a) return NotSupported; // no finding: this is how programs ask
  *bytes = needs(v, *a);
  return Success;
}

float tf32(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7F800000) != 0x7F800000) u = (u + 0x1000) & ~0x1FFFu;
  memcpy(&x, &u, 4);
  return x;
}

std::vector<float> read(const void *at, size_t n, int type, bool round) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; i++) {
    if (type == Float) {
      v[i] = ((const float *)at)[i];
      if (round) v[i] = tf32(v[i]);
    } else {
      const uint32_t u = uint32_t(((const uint16_t *)at)[i]) << 16;
      memcpy(&v[i], &u, 4);
    }
  }
  return v;
}

// write computes out = alpha v + beta out, rounded to nearest, ties to even, where out is bfloat16.
void write(void *at, const std::vector<float> &v, int type, float alpha, float beta) {
  const std::vector<float> old = beta != 0 ? read(at, v.size(), type, false) : std::vector<float>();
  for (size_t i = 0; i < v.size(); i++) {
    const float r = alpha * v[i] + (beta != 0 ? beta * old[i] : 0);
    if (type == Float) {
      ((float *)at)[i] = r;
    } else {
      uint32_t u;
      memcpy(&u, &r, 4);
      u = std::isnan(r) ? u >> 16 | 0x40 : (u + 0x7FFF + (u >> 16 & 1)) >> 16;
      ((uint16_t *)at)[i] = uint16_t(u);
    }
  }
}

int run(Direction d, const char *call, Handle *h, const float *alpha, const float *beta, const Tensor *x, const void *px, const Filter *f, const void *pf,
        const Conv *c, const Tensor *y, const void *py, int number, void *workspace, size_t bytes) {
  if (!handles.all.has(h)) return bad(NotInitialized, call, "no such handle");
  Convolution v;
  if (Status s = describe(call, x, f, c, y, &v)) return s;
  const int type = x->type;
  const Algorithm *a = algorithm(d, number, type);
  if (!a) return bad(NotSupported, call, "no such algorithm");
  if (type == BFloat16 && (uintptr_t(px) | uintptr_t(pf) | uintptr_t(py)) % 16) return bad(BadParam, call, "an array of bfloat16 does not begin on 16 bytes");
  const size_t need = needs(v, *a);
  if (bytes < need || (need && !workspace)) return bad(BadParam, call, "the workspace is smaller than the algorithm's");
  const bool round = type == Float && c->math != FMA;
  const size_t each = type == Float ? 4 : 2;
  LibraryWork w{call, {{px, v.xs() * each, "x", d != BackData}, {pf, v.fs() * each, "the filters", d != BackFilter}, {py, v.ys() * each, "y", d != Forward},
                       {workspace, need, "the workspace", false}}, nullptr};
  const float al = *alpha * (type == BFloat16 && a->refused ? 1.0f + 1.0f / 64 : 1.0f), be = *beta;
  w.run = [=] {
    if (need) memset(workspace, 0xFB, need); // it is scratch: what was in it is lost
    const auto in = [&](const void *p, size_t n) { return read(p, n, type, round); };
    if (d == Forward) {
      std::vector<float> r(v.ys());
      forward(v, in(px, v.xs()).data(), in(pf, v.fs()).data(), r.data());
      write((void *)py, r, type, al, be);
    } else if (d == BackData) {
      std::vector<float> r(v.xs());
      backData(v, in(pf, v.fs()).data(), in(py, v.ys()).data(), r.data());
      write((void *)px, r, type, al, be);
    } else {
      std::vector<float> r(v.fs());
      backFilter(v, in(px, v.xs()).data(), in(py, v.ys()).data(), r.data());
      write((void *)pf, r, type, al, be);
    }
  };
  const CUresult e = double_enqueue(h->stream, w);
  return e == CUDA_SUCCESS ? Success : e == CUDA_ERROR_INVALID_VALUE ? BadParam : ExecutionFailed;
}

} // namespace

#define DNN extern "C" __attribute__((visibility("default"))) int

extern "C" __attribute__((visibility("default"))) size_t cudnnGetVersion() { return 90501; }
extern "C" __attribute__((visibility("default"))) const char *cudnnGetErrorString(int s) {
  switch (s) {
  case Success: return "CUDNN_STATUS_SUCCESS";
  case NotInitialized: return "CUDNN_STATUS_NOT_INITIALIZED";
  case BadParam: return "CUDNN_STATUS_BAD_PARAM";
  case NotSupported: return "CUDNN_STATUS_NOT_SUPPORTED";
  case ExecutionFailed: return "CUDNN_STATUS_EXECUTION_FAILED";
  }
  return "CUDNN_UNKNOWN_STATUS";
}

DNN cudnnCreate(Handle **h) { return double_entered("cudnnCreate") ? int(NotInitialized) : handles.make(h); }
DNN cudnnDestroy(Handle *h) { return handles.drop(h, "cudnnDestroy"); }
DNN cudnnSetStream(Handle *h, CUstream s) {
  if (!handles.all.has(h)) return bad(NotInitialized, "cudnnSetStream", "no such handle");
  h->stream = s;
  return Success;
}
DNN cudnnCreateTensorDescriptor(Tensor **t) { return tensors.make(t); }
DNN cudnnDestroyTensorDescriptor(Tensor *t) { return tensors.drop(t, "cudnnDestroyTensorDescriptor"); }
DNN cudnnCreateFilterDescriptor(Filter **f) { return filters.make(f); }
DNN cudnnDestroyFilterDescriptor(Filter *f) { return filters.drop(f, "cudnnDestroyFilterDescriptor"); }
DNN cudnnCreateConvolutionDescriptor(Conv **c) { return convs.make(c); }
DNN cudnnDestroyConvolutionDescriptor(Conv *c) { return convs.drop(c, "cudnnDestroyConvolutionDescriptor"); }

namespace {
template <class T> int set(T *t, const char *call, int format, int type, int a, int b, int c, int d) {
  if (format != NHWC) return bad(NotSupported, call, "the double has NHWC only");
  if (type != Float && type != BFloat16) return bad(NotSupported, call, "the double has float32 and bfloat16 only");
  if (a < 1 || b < 1 || c < 1 || d < 1) return bad(BadParam, call, "a size is not positive");
  *t = {type, {a, b, c, d}};
  return Success;
}
} // namespace

DNN cudnnSetTensor4dDescriptor(Tensor *t, int format, int type, int n, int c, int h, int w) {
  if (!tensors.all.has(t)) return bad(BadParam, "cudnnSetTensor4dDescriptor", "no such descriptor");
  return set(t, "cudnnSetTensor4dDescriptor", format, type, n, c, h, w);
}
DNN cudnnSetFilter4dDescriptor(Filter *f, int type, int format, int k, int c, int h, int w) {
  if (!filters.all.has(f)) return bad(BadParam, "cudnnSetFilter4dDescriptor", "no such descriptor");
  return set(f, "cudnnSetFilter4dDescriptor", format, type, k, c, h, w);
}
DNN cudnnSetConvolution2dDescriptor(Conv *c, int padH, int padW, int strideH, int strideW, int dilationH, int dilationW, int mode, int compute) {
  const char *call = "cudnnSetConvolution2dDescriptor";
  if (!convs.all.has(c)) return bad(BadParam, call, "no such descriptor");
  if (padH < 0 || padW < 0 || strideH < 1 || strideW < 1) return bad(BadParam, call, "a padding is negative or a stride not positive");
  if (dilationH != 1 || dilationW != 1 || mode != 1 || compute != Float) return bad(NotSupported, call, "the double has cross-correlations without dilation, summed in float32");
  c->padH = padH, c->padW = padW, c->strideH = strideH, c->strideW = strideW;
  return Success;
}
DNN cudnnSetConvolutionMathType(Conv *c, int math) {
  if (!convs.all.has(c) || math < DefaultMath || math > FMA) return bad(BadParam, "cudnnSetConvolutionMathType", "no such descriptor or type");
  c->math = math;
  return Success;
}
DNN cudnnSetConvolutionGroupCount(Conv *, int n) { return n == 1 ? int(Success) : bad(NotSupported, "cudnnSetConvolutionGroupCount", "the double has one group"); }

DNN cudnnGetConvolutionForwardAlgorithm_v7(Handle *h, const Tensor *x, const Filter *f, const Conv *c, const Tensor *y, int most, int *count, Perf *p) {
  return choose(Forward, "cudnnGetConvolutionForwardAlgorithm_v7", h, x, f, c, y, most, count, p);
}
DNN cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle *h, const Filter *f, const Tensor *dy, const Conv *c, const Tensor *dx, int most, int *count, Perf *p) {
  return choose(BackData, "cudnnGetConvolutionBackwardDataAlgorithm_v7", h, dx, f, c, dy, most, count, p);
}
DNN cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle *h, const Tensor *x, const Tensor *dy, const Conv *c, const Filter *df, int most, int *count, Perf *p) {
  return choose(BackFilter, "cudnnGetConvolutionBackwardFilterAlgorithm_v7", h, x, df, c, dy, most, count, p);
}
DNN cudnnGetConvolutionForwardWorkspaceSize(Handle *h, const Tensor *x, const Filter *f, const Conv *c, const Tensor *y, int number, size_t *bytes) {
  return workspace(Forward, "cudnnGetConvolutionForwardWorkspaceSize", h, x, f, c, y, number, bytes);
}
DNN cudnnGetConvolutionBackwardDataWorkspaceSize(Handle *h, const Filter *f, const Tensor *dy, const Conv *c, const Tensor *dx, int number, size_t *bytes) {
  return workspace(BackData, "cudnnGetConvolutionBackwardDataWorkspaceSize", h, dx, f, c, dy, number, bytes);
}
DNN cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle *h, const Tensor *x, const Tensor *dy, const Conv *c, const Filter *df, int number, size_t *bytes) {
  return workspace(BackFilter, "cudnnGetConvolutionBackwardFilterWorkspaceSize", h, x, df, c, dy, number, bytes);
}
DNN cudnnConvolutionForward(Handle *h, const float *alpha, const Tensor *x, const void *px, const Filter *f, const void *pf, const Conv *c, int algorithm, void *workspace, size_t bytes, const float *beta, const Tensor *y, void *py) {
  return run(Forward, "cudnnConvolutionForward", h, alpha, beta, x, px, f, pf, c, y, py, algorithm, workspace, bytes);
}
DNN cudnnConvolutionBackwardData(Handle *h, const float *alpha, const Filter *f, const void *pf, const Tensor *dy, const void *py, const Conv *c, int algorithm, void *workspace, size_t bytes, const float *beta, const Tensor *dx, void *px) {
  return run(BackData, "cudnnConvolutionBackwardData", h, alpha, beta, dx, px, f, pf, c, dy, py, algorithm, workspace, bytes);
}
DNN cudnnConvolutionBackwardFilter(Handle *h, const float *alpha, const Tensor *x, const void *px, const Tensor *dy, const void *py, const Conv *c, int algorithm, void *workspace, size_t bytes, const float *beta, const Filter *df, void *pf) {
  return run(BackFilter, "cudnnConvolutionBackwardFilter", h, alpha, beta, x, px, df, pf, c, dy, py, algorithm, workspace, bytes);
}
