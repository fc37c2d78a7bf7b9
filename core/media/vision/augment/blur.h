#pragma once
#include <stdint.h>

int td_blur_available(void);

// The blur of blur.go, with the same sums in the same order. size is odd, work has 3·w·2 + 6·(size/2) floats.
void td_blur(uint8_t *dst, const uint8_t *src, int64_t w, int64_t h, const float *taps, int64_t size, float *work);
