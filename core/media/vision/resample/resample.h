#pragma once
#include <stdint.h>

int td_resample_available(void);

// Both passes: output i is the sum over j < count[i] of taps[i·size + j] times input first[i] + j, plus
// a half, without its 22 fraction bits, clipped to 0 … 255.

// rows × width pixels of RGB, packed, of rows with a stride in bytes. size is even and taps from count[i]
// on are 0. Eight bytes after each row of src must be there.
void td_resample_rows(const uint8_t *src, int64_t stride, int64_t rows, uint8_t *dst, int64_t width,
                      const int32_t *taps, int64_t size, const int64_t *first, const int64_t *count);

// height rows of n bytes, packed. first counts from the row that src points to.
void td_resample_columns(const uint8_t *src, int64_t stride, uint8_t *dst, int64_t n, int64_t height,
                         const int32_t *taps, int64_t size, const int64_t *first, const int64_t *count);
