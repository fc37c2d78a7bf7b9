#include "convolution.h"

#include <algorithm>
#include <cstring>

#include "../cublas/gemm.h"

namespace cudadouble {
namespace {

// patches calls f(patch element, map element or -1 in the padding, count) for each of image i's patches'
// runs of channels.
template <class F> void patches(const Convolution &c, int i, F f) {
  size_t to = 0;
  for (int oy = 0; oy < c.oh; oy++)
    for (int ox = 0; ox < c.ow; ox++)
      for (int ky = 0; ky < c.kh; ky++)
        for (int kx = 0; kx < c.kw; kx++, to += size_t(c.c)) {
          const int y = oy * c.strideH - c.padH + ky, x = ox * c.strideW - c.padW + kx;
          const bool in = y >= 0 && y < c.h && x >= 0 && x < c.w;
          f(to, in ? ((long(i) * c.h + y) * c.w + x) * c.c : -1);
        }
}

struct Sizes {
  long places, depth; // of one image's patches [places, depth]
  explicit Sizes(const Convolution &c) : places(long(c.oh) * c.ow), depth(long(c.kh) * c.kw * c.c) {}
};

void gather(const Convolution &c, int i, const float *x, std::vector<float> &cols) {
  const size_t bytes = size_t(c.c) * sizeof(float);
  patches(c, i, [&](size_t to, long from) {
    if (from < 0) memset(&cols[to], 0, bytes);
    else memcpy(&cols[to], x + from, bytes);
  });
}

} // namespace

void forward(const Convolution &c, const float *x, const float *f, float *y) {
  const Sizes s(c);
  std::vector<float> cols(size_t(s.places * s.depth));
  for (int i = 0; i < c.n; i++) {
    gather(c, i, x, cols);
    gemm(true, false, c.k, s.places, s.depth, 1, f, s.depth, cols.data(), s.depth, 0, y + i * s.places * c.k, c.k);
  }
}

void backData(const Convolution &c, const float *f, const float *dy, float *dx) {
  const Sizes s(c);
  std::vector<float> cols(size_t(s.places * s.depth));
  std::fill(dx, dx + c.xs(), 0.0f);
  for (int i = 0; i < c.n; i++) {
    gemm(false, false, s.depth, s.places, c.k, 1, f, s.depth, dy + i * s.places * c.k, c.k, 0, cols.data(), s.depth);
    patches(c, i, [&](size_t from, long to) {
      if (to < 0) return;
      for (int j = 0; j < c.c; j++) dx[to + j] += cols[from + size_t(j)];
    });
  }
}

void backFilter(const Convolution &c, const float *x, const float *dy, float *df) {
  const Sizes s(c);
  std::vector<float> cols(size_t(s.places * s.depth));
  std::fill(df, df + c.fs(), 0.0f);
  for (int i = 0; i < c.n; i++) {
    gather(c, i, x, cols);
    gemm(false, true, s.depth, c.k, s.places, 1, cols.data(), s.depth, dy + i * s.places * c.k, c.k, 1, df, s.depth);
  }
}

} // namespace cudadouble
