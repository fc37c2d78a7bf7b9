//go:build amd64

#include "blur.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

int td_blur_available(void) { return __builtin_cpu_supports("avx2") != 0; }

static int64_t mirror(int64_t i, int64_t n) {
  if (n == 1) return 0;
  while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
  return i;
}

AVX2 static inline __m256 widen(const uint8_t *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

// Multiplication and addition round one after the other, as in Go; a fused one would differ.
AVX2 void td_blur(uint8_t *dst, const uint8_t *src, int64_t w, int64_t h, const float *taps, int64_t size, float *work) {
  int64_t half = size / 2, n = 3 * w;
  float *line = work, *mid = work + 3 * half, *out = work + n + 6 * half;
  const uint8_t *rows[256];
  for (int64_t y = 0; y < h; y++) {
    for (int64_t k = 0; k < size; k++) rows[k] = src + mirror(y + k - half, h) * n;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
      __m256 a0 = _mm256_setzero_ps(), a1 = a0, a2 = a0, a3 = a0;
      for (int64_t k = 0; k < size; k++) {
        __m256 t = _mm256_set1_ps(taps[k]);
        const uint8_t *s = rows[k] + i;
        a0 = _mm256_add_ps(a0, _mm256_mul_ps(t, widen(s)));
        a1 = _mm256_add_ps(a1, _mm256_mul_ps(t, widen(s + 8)));
        a2 = _mm256_add_ps(a2, _mm256_mul_ps(t, widen(s + 16)));
        a3 = _mm256_add_ps(a3, _mm256_mul_ps(t, widen(s + 24)));
      }
      _mm256_storeu_ps(mid + i, a0), _mm256_storeu_ps(mid + i + 8, a1), _mm256_storeu_ps(mid + i + 16, a2), _mm256_storeu_ps(mid + i + 24, a3);
    }
    for (; i < n; i++) {
      float a = 0;
      for (int64_t k = 0; k < size; k++) a += taps[k] * (float)rows[k][i];
      mid[i] = a;
    }
    for (int64_t x = 1; x <= half; x++) {
      memcpy(line + 3 * (half - x), mid + 3 * mirror(-x, w), 3 * sizeof(float));
      memcpy(line + 3 * (half + w - 1 + x), mid + 3 * mirror(w - 1 + x, w), 3 * sizeof(float));
    }
    for (i = 0; i + 32 <= n; i += 32) {
      __m256 a0 = _mm256_setzero_ps(), a1 = a0, a2 = a0, a3 = a0;
      for (int64_t k = 0; k < size; k++) {
        __m256 t = _mm256_set1_ps(taps[k]);
        const float *s = line + 3 * k + i;
        a0 = _mm256_add_ps(a0, _mm256_mul_ps(t, _mm256_loadu_ps(s)));
        a1 = _mm256_add_ps(a1, _mm256_mul_ps(t, _mm256_loadu_ps(s + 8)));
        a2 = _mm256_add_ps(a2, _mm256_mul_ps(t, _mm256_loadu_ps(s + 16)));
        a3 = _mm256_add_ps(a3, _mm256_mul_ps(t, _mm256_loadu_ps(s + 24)));
      }
      _mm256_storeu_ps(out + i, a0), _mm256_storeu_ps(out + i + 8, a1), _mm256_storeu_ps(out + i + 16, a2), _mm256_storeu_ps(out + i + 24, a3);
    }
    for (; i < n; i++) {
      float a = 0;
      for (int64_t k = 0; k < size; k++) a += taps[k] * line[3 * k + i];
      out[i] = a;
    }
    uint8_t *to = dst + y * n;
    for (i = 0; i + 8 <= n; i += 8) { // the default rounding is half to even
      __m256i v = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_loadu_ps(out + i), _mm256_set1_ps(255)));
      __m128i s = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
      _mm_storel_epi64((__m128i *)(to + i), _mm_packus_epi16(s, s));
    }
    for (; i < n; i++) to[i] = _mm_cvtss_si32(_mm_set_ss(out[i] > 255 ? 255 : out[i]));
  }
}
