// Convolutions of NHWC maps on the CPU, by patches and products.
#pragma once
#include <cstddef>
#include <vector>

namespace cudadouble {

// Convolution describes x [n, h, w, c], filters [k, kh, kw, c], y [n, oh, ow, k].
struct Convolution {
  int n, h, w, c, k, kh, kw, padH, padW, strideH, strideW, oh, ow;
  size_t xs() const { return size_t(n) * h * w * c; }
  size_t fs() const { return size_t(k) * kh * kw * c; }
  size_t ys() const { return size_t(n) * oh * ow * k; }
};

void forward(const Convolution &, const float *x, const float *f, float *y);
void backData(const Convolution &, const float *f, const float *dy, float *dx);
void backFilter(const Convolution &, const float *x, const float *dy, float *df);

} // namespace cudadouble
