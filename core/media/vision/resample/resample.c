//go:build amd64

#include "resample.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum { BITS = 22, HALF = 1 << (BITS - 1) };

int td_resample_available(void) { return __builtin_cpu_supports("avx2") != 0; }

// Two neighbouring pixels of RGB are six of eight lanes: r g b r g b and two that nobody reads.
AVX2 static inline __m256i widen(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }

// The sums of even and odd taps, lanes 0–2 and 3–5, joined and shifted.
AVX2 static inline __m128i join(__m256i a) {
  __m256i odd = _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(3, 4, 5, 6, 6, 6, 6, 6));
  return _mm_srai_epi32(_mm_add_epi32(_mm256_castsi256_si128(a), _mm256_castsi256_si128(odd)), BITS);
}

AVX2 void td_resample_rows(const uint8_t *src, int64_t stride, int64_t rows, uint8_t *dst, int64_t width,
                           const int32_t *taps, int64_t size, const int64_t *first, const int64_t *count) {
  const __m256i spread = _mm256_setr_epi32(0, 0, 0, 1, 1, 1, 1, 1);
  const __m256i half = _mm256_setr_epi32(HALF, HALF, HALF, 0, 0, 0, 0, 0);
  for (int64_t y = 0; y < rows; y += 4) {
    // Past the last row the last is taken again.
    const uint8_t *s[4];
    uint8_t *d[4];
    for (int r = 0; r < 4; r++) {
      int64_t at = y + r < rows ? y + r : rows - 1;
      s[r] = src + at * stride, d[r] = dst + at * 3 * width;
    }
    for (int64_t i = 0; i < width; i++) {
      const int32_t *k = taps + i * size;
      int64_t at = 3 * first[i];
      __m256i a0 = half, a1 = half, a2 = half, a3 = half;
      for (int64_t j = 0; j < count[i]; j += 2, at += 6) {
        __m256i c = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(k + j))), spread);
        a0 = _mm256_add_epi32(a0, _mm256_mullo_epi32(c, widen(s[0] + at)));
        a1 = _mm256_add_epi32(a1, _mm256_mullo_epi32(c, widen(s[1] + at)));
        a2 = _mm256_add_epi32(a2, _mm256_mullo_epi32(c, widen(s[2] + at)));
        a3 = _mm256_add_epi32(a3, _mm256_mullo_epi32(c, widen(s[3] + at)));
      }
      __m128i p = _mm_packus_epi16(_mm_packs_epi32(join(a0), join(a1)), _mm_packs_epi32(join(a2), join(a3)));
      uint32_t v[4];
      _mm_storeu_si128((__m128i *)v, p);
      if (i + 1 < width) // four bytes for three: the fourth is the next pixel's, which comes later
        for (int r = 0; r < 4; r++) memcpy(d[r] + 3 * i, &v[r], 4);
      else
        for (int r = 0; r < 4; r++) memcpy(d[r] + 3 * i, &v[r], 3);
    }
  }
}

AVX2 void td_resample_columns(const uint8_t *src, int64_t stride, uint8_t *dst, int64_t n, int64_t height,
                              const int32_t *taps, int64_t size, const int64_t *first, const int64_t *count) {
  const __m256i half = _mm256_set1_epi32(HALF), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int64_t i = 0; i < height; i++) {
    const int32_t *k = taps + i * size;
    const uint8_t *from = src + first[i] * stride;
    uint8_t *to = dst + i * n;
    int64_t q = 0;
    for (; q + 32 <= n; q += 32) {
      __m256i a0 = half, a1 = half, a2 = half, a3 = half;
      const uint8_t *s = from + q;
      for (int64_t j = 0; j < count[i]; j++, s += stride) {
        __m256i c = _mm256_set1_epi32(k[j]);
        a0 = _mm256_add_epi32(a0, _mm256_mullo_epi32(c, widen(s)));
        a1 = _mm256_add_epi32(a1, _mm256_mullo_epi32(c, widen(s + 8)));
        a2 = _mm256_add_epi32(a2, _mm256_mullo_epi32(c, widen(s + 16)));
        a3 = _mm256_add_epi32(a3, _mm256_mullo_epi32(c, widen(s + 24)));
      }
      __m256i low = _mm256_packs_epi32(_mm256_srai_epi32(a0, BITS), _mm256_srai_epi32(a1, BITS));
      __m256i high = _mm256_packs_epi32(_mm256_srai_epi32(a2, BITS), _mm256_srai_epi32(a3, BITS));
      __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
      _mm256_storeu_si256((__m256i *)(to + q), bytes);
    }
    for (; q < n; q++) {
      int32_t a = HALF;
      for (int64_t j = 0; j < count[i]; j++) a += from[j * stride + q] * k[j];
      a >>= BITS;
      to[q] = a < 0 ? 0 : a > 255 ? 255 : a;
    }
  }
}
