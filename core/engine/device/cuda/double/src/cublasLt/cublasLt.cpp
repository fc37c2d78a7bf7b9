// libcublasLt.so.12: what the CUDA backend calls. What it refuses is what NVIDIA documents: combinations of types, pointers
// that are less aligned than was said when the algorithm was chosen, workspaces that are too small.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "objects.h"

using namespace cudadouble;

namespace {

constexpr uint64_t mark = 0x746C616C676F7269;

// limits says what this library lacks: "none" has no algorithm for anything, "plain" none for an epilogue.
const char *limits() {
  const char *v = getenv("TANDEM_CUDA_DOUBLE_LT");
  return v ? v : "";
}

template <class T> int drop(const T *object, const char *call) {
  if (!all<T>().erase(object)) return bad(InvalidValue, call, "no such object");
  delete object;
  return Success;
}

// Attribute tells where an attribute is kept.
struct Attribute {
  int number;
  void *at;
  size_t bytes;
};

int set(std::initializer_list<Attribute> known, int number, const void *from, size_t bytes, const char *call) {
  for (const Attribute &a : known) {
    if (a.number != number) continue;
    if (!from || bytes != a.bytes) return bad(InvalidValue, call, "attribute " + std::to_string(number) + " has " + std::to_string(a.bytes) + " bytes, not " + std::to_string(bytes));
    memcpy(a.at, from, bytes);
    return Success;
  }
  return bad(NotSupported, call, "attribute " + std::to_string(number) + " is not known to the double");
}

// gradient returns sums over k of op(A) or op(B) as BGRADA and BGRADB give them.
void gradient(const Matrix &x, int64_t k, int64_t n, bool left, void *to, int type) {
  for (int64_t j = 0; j < n; j++) {
    float sum = 0;
    for (int64_t p = 0; p < k; p++) {
      const bool down = left == x.trans; // the sum goes along a column of what is stored
      sum += number(x.at, x.type, down ? j * x.ld + p : p * x.ld + j);
    }
    setNumber(to, type, j, sum);
  }
}

} // namespace

#define LT extern "C" __attribute__((visibility("default"))) int

LT cublasLtCreate(Handle **h) {
  if (double_entered("cublasLtCreate")) return NotInitialized;
  all<Handle>().insert(*h = new Handle);
  return Success;
}

LT cublasLtDestroy(Handle *h) { return drop(h, "cublasLtDestroy"); }

extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion() { return 120804; }

LT cublasLtMatmulDescCreate(Operation **o, int compute, int scale) {
  auto *made = new Operation;
  made->compute = compute, made->scale = scale;
  all<Operation>().insert(*o = made);
  return Success;
}

LT cublasLtMatmulDescDestroy(Operation *o) { return drop(o, "cublasLtMatmulDescDestroy"); }

LT cublasLtMatmulDescSetAttribute(Operation *o, int number, const void *from, size_t bytes) {
  if (!all<Operation>().has(o)) return bad(InvalidValue, __func__, "no such descriptor");
  return set({{2, &o->pointers, 4}, {3, &o->transA, 4}, {4, &o->transB, 4}, {7, &o->epilogue, 4}, {8, &o->bias, sizeof o->bias}, {10, &o->biasStride, 8}},
             number, from, bytes, __func__);
}

LT cublasLtMatrixLayoutCreate(Layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  auto *made = new Layout;
  made->type = uint32_t(type), made->rows = rows, made->cols = cols, made->ld = ld;
  all<Layout>().insert(*l = made);
  return Success;
}

LT cublasLtMatrixLayoutDestroy(Layout *l) { return drop(l, "cublasLtMatrixLayoutDestroy"); }

LT cublasLtMatrixLayoutSetAttribute(Layout *l, int number, const void *from, size_t bytes) {
  if (!all<Layout>().has(l)) return bad(InvalidValue, __func__, "no such layout");
  return set({{0, &l->type, 4}, {1, &l->order, 4}, {2, &l->rows, 8}, {3, &l->cols, 8}, {4, &l->ld, 8}, {5, &l->count, 4}, {6, &l->stride, 8}}, number, from, bytes, __func__);
}

LT cublasLtMatmulPreferenceCreate(Preference **p) {
  all<Preference>().insert(*p = new Preference);
  return Success;
}

LT cublasLtMatmulPreferenceDestroy(Preference *p) { return drop(p, "cublasLtMatmulPreferenceDestroy"); }

LT cublasLtMatmulPreferenceSetAttribute(Preference *p, int number, const void *from, size_t bytes) {
  if (!all<Preference>().has(p)) return bad(InvalidValue, __func__, "no such preference");
  return set({{1, &p->workspace, 8}, {3, &p->reductions, 4}, {5, &p->alignment[0], 4}, {6, &p->alignment[1], 4}, {7, &p->alignment[2], 4}, {8, &p->alignment[3], 4}}, number, from, bytes, __func__);
}

LT cublasLtMatmulAlgoGetHeuristic(Handle *h, Operation *o, Layout *a, Layout *b, Layout *c, Layout *d, Preference *pref, int most, Heuristic *results, int *found) {
  Problem p;
  std::string why;
  if (!all<Handle>().has(h)) return bad(NotInitialized, __func__, "no such handle");
  if (!all<Preference>().has(pref)) return bad(InvalidValue, __func__, "no such preference");
  if (most < 1 || !results || !found) return bad(InvalidValue, __func__, "no room for results");
  *found = 0;
  if (const Status s = describe(o, a, b, c, d, p, why)) return bad(s, __func__, why);
  if (!strcmp(limits(), "none") || (!strcmp(limits(), "plain") && o->epilogue != Plain)) return NotSupported; // an answer, not a fault
  if (o->epilogue != Plain && !o->bias) return bad(InvalidValue, __func__, "the alignment of the bias is that of its pointer, which is null");
  const auto offer = [&](Reduction r, uint32_t split, uint64_t workspace, int state) {
    if ((r & pref->reductions) != uint32_t(r) || workspace > pref->workspace || *found == most) return;
    Heuristic &x = results[(*found)++];
    memset(&x, 0, sizeof x);
    x.algorithm.mark = mark, x.algorithm.shape = p.shape(), x.algorithm.reduction = r, x.algorithm.split = split, x.algorithm.workspace = workspace;
    std::copy(pref->alignment, pref->alignment + 4, x.algorithm.alignment);
    x.algorithm.biasAlignment = o->epilogue == Plain ? 1 : alignmentOf(o->bias);
    x.workspace = workspace, x.state = state, x.waves = 1;
  };
  const uint64_t parts = uint64_t(p.m * p.n * p.count) * 8;
  if (p.k > 1) offer(InPlace, 2, 256, Success);
  offer(None, 1, 0, Success);
  if (p.k > 1) offer(ComputeType, 2, parts, Success);
  offer(None, 1, 0, NotSupported); // a result that must not be used
  return Success;
}

LT cublasLtMatmul(Handle *h, Operation *o, const float *alpha, const void *a, Layout *la, const void *b, Layout *lb, const float *beta, const void *c, Layout *lc, void *d,
                  Layout *ld, const Algorithm *algo, void *workspace, size_t bytes, CUstream stream) {
  const auto refuse = [](Status s, const std::string &why) { return bad(s, "cublasLtMatmul", why); };
  Problem p;
  std::string why;
  if (!all<Handle>().has(h)) return refuse(NotInitialized, "no such handle");
  if (CUresult e = double_entered("cublasLtMatmul")) return status(e);
  if (const Status s = describe(o, la, lb, lc, ld, p, why)) return refuse(s, why);
  if (!alpha || !beta) return refuse(InvalidValue, "alpha or beta is null");
  if (!algo) return refuse(NotSupported, "the double wants an algorithm of its heuristic");
  if (algo->mark != mark || algo->shape != p.shape()) return refuse(InvalidValue, "the algorithm was chosen for another product");
  p.A.at = a, p.B.at = b, p.C.at = c, p.D.at = d;
  const char *names[] = {"A", "B", "C", "D"};
  const void *places[] = {a, b, c, d};
  for (int i = 0; i < 4; i++)
    if (alignmentOf(places[i]) < algo->alignment[i]) return refuse(InvalidValue, std::string(names[i]) + " is less aligned than was said when the algorithm was chosen");
  if (p.epilogue != Plain && !o->bias) return refuse(InvalidValue, "the epilogue has a bias, which is null");
  if (p.epilogue != Plain && alignmentOf(o->bias) < algo->biasAlignment) return refuse(InvalidValue, "the bias is less aligned than it was when the algorithm was chosen");
  if (uintptr_t(workspace) % 256) return refuse(InvalidValue, "the workspace is not aligned to 256 bytes");
  if (bytes < algo->workspace) return refuse(InvalidValue, "the workspace is smaller than the algorithm wants");
  if (c == d && p.C.ld != p.D.ld) return refuse(InvalidValue, "C is D, and their layouts differ");
  if (c != d && !p.D.apart(p.count, c, p.C.bytes(p.count))) return refuse(InvalidValue, "D overlaps C");
  if (!p.D.apart(p.count, a, p.A.bytes(p.count)) || !p.D.apart(p.count, b, p.B.bytes(p.count))) return refuse(InvalidValue, "D overlaps A or B");
  if (cold(stream, p.text())) return refuse(ExecutionFailed, "the first product of this shape is within a capture, and may have to load its code");
  LibraryWork w{"cublasLtMatmul", {}, nullptr};
  w.operands = {{a, p.A.bytes(p.count), "A", p.A.dense(p.count)}, {b, p.B.bytes(p.count), "B", p.B.dense(p.count)}, {d, p.D.bytes(p.count), "D", false}};
  if (*beta != 0) w.operands.push_back({c, p.C.bytes(p.count), "C", p.C.dense(p.count)});
  if (algo->workspace) w.operands.push_back({workspace, size_t(algo->workspace), "the workspace", false});
  const bool gradients = p.epilogue == GradientA || p.epilogue == GradientB;
  if (p.epilogue != Plain) {
    const size_t length = size_t((p.epilogue == GradientB ? p.n : p.m) * p.D.size());
    if (gradients && !p.D.apart(1, o->bias, length)) return refuse(InvalidValue, "D overlaps the gradient of the bias");
    w.operands.push_back({o->bias, length, "the bias", !gradients});
  }
  const bool tf32 = p.compute == Compute32FFastTF32, inPlace = algo->reduction == InPlace;
  const Sum s{p.A, p.B, p.C, p.D, p.m, p.n, p.k, p.count, *alpha, *beta, tf32, int(algo->split)};
  const void *bias = o->bias;
  const int64_t stride = o->biasStride;
  w.run = [s, p, bias, stride, gradients, inPlace] {
    static unsigned turn; // sums in place come in any order
    Sum now = s;
    if (inPlace) now.split = 1 + int(turn++ % 2);
    multiply(now, p.epilogue != Bias ? std::function<void(int64_t, float *)>() : [=](int64_t i, float *x) {
      for (int64_t col = 0; col < p.n; col++)
        for (int64_t row = 0; row < p.m; row++) x[col * p.m + row] += number(bias, p.D.type, i * stride + row);
    });
    if (gradients) gradient(p.epilogue == GradientA ? p.A : p.B, p.k, p.epilogue == GradientA ? p.m : p.n, p.epilogue == GradientA, (void *)bias, p.D.type);
  };
  return status(double_enqueue(stream, w));
}
