#include "objects.h"

#include <functional>

namespace cudadouble {

uint32_t alignmentOf(const void *p) {
  uint32_t n = 256;
  while (uintptr_t(p) % n) n /= 2;
  return n;
}

std::string Problem::text() const {
  std::string s;
  for (const int64_t x : {int64_t(A.trans), int64_t(B.trans), m, n, k, A.ld, B.ld, C.ld, D.ld, count, int64_t(A.type), int64_t(D.type), int64_t(compute), int64_t(epilogue)})
    s += std::to_string(x) + ' ';
  return s;
}

uint64_t Problem::shape() const { return std::hash<std::string>{}(text()); }

static Matrix matrix(const Layout &l, bool trans) {
  return {nullptr, int(l.type), l.ld, l.stride, trans, int64_t(l.rows), int64_t(l.cols)};
}

Status describe(const Operation *o, const Layout *a, const Layout *b, const Layout *c, const Layout *d, Problem &p, std::string &why) {
  const auto refuse = [&](Status s, const char *text) {
    why = text;
    return s;
  };
  if (!all<Operation>().has(o)) return refuse(InvalidValue, "no such descriptor of a product");
  for (const Layout *l : {a, b, c, d}) {
    if (!all<Layout>().has(l)) return refuse(InvalidValue, "no such layout");
    if (l->count < 1) return refuse(InvalidValue, "a batch of nothing");
    if (l->count != d->count) return refuse(InvalidValue, "batches differ");
    if (l->order != 0) return refuse(NotSupported, "the double has matrices by columns only");
    if (!l->rows || !l->cols) return refuse(InvalidValue, "a matrix without elements");
    if (l->ld < int64_t(l->rows)) return refuse(InvalidValue, "a leading dimension is shorter than its matrix");
  }
  p.A = matrix(*a, o->transA), p.B = matrix(*b, o->transB), p.C = matrix(*c, false), p.D = matrix(*d, false);
  p.m = p.D.rows, p.n = p.D.cols, p.k = p.A.trans ? p.A.rows : p.A.cols, p.count = d->count;
  p.epilogue = o->epilogue, p.compute = o->compute;
  if ((p.A.trans ? p.A.cols : p.A.rows) != p.m || (p.B.trans ? p.B.rows : p.B.cols) != p.n || (p.B.trans ? p.B.cols : p.B.rows) != p.k)
    return refuse(InvalidValue, "shapes do not fit each other");
  if (p.C.rows != p.m || p.C.cols != p.n || p.C.type != p.D.type) return refuse(InvalidValue, "C and D differ in shape or type");
  if (p.count > 1 && p.D.stride < (p.n - 1) * p.D.ld + p.m) return refuse(InvalidValue, "results of the batch overlap");
  // Combinations that are documented, of float32 and bfloat16. A bias has the type of D.
  const bool low = p.A.type == R16BF && (p.D.type == R16BF || p.D.type == R32F), full = p.A.type == R32F && p.D.type == R32F;
  if (p.A.type != p.B.type || !(low || full)) return refuse(NotSupported, "types of A, B and D do not go together");
  if (o->scale != R32F) return refuse(NotSupported, "alpha and beta have another type than float32");
  if (o->compute != Compute32F && !(full && o->compute == Compute32FFastTF32)) return refuse(NotSupported, "the compute type does not go with these operands");
  if (o->pointers) return refuse(NotSupported, "alpha and beta in device memory are not supported by the double");
  if (o->epilogue != Plain && o->epilogue != Bias && o->epilogue != GradientA && o->epilogue != GradientB) return refuse(NotSupported, "the double has no such epilogue");
  if (p.count > 1 && (o->epilogue == GradientA || o->epilogue == GradientB)) return refuse(NotSupported, "the double has no gradient of a bias in a batch");
  return Success;
}

} // namespace cudadouble
