#pragma once
#include <stddef.h>
#include <stdint.h>

enum { TD_AVIF_OK, TD_AVIF_CORRUPT, TD_AVIF_TRUNCATED, TD_AVIF_MEMORY, TD_AVIF_UNREAD };
enum { TD_AVIF_TEXT = 256 }; // size of text, which tells what is wrong

typedef struct {
  int width, height, depth, alpha;
} td_avif_info;

// What the header says of the first frame. More than most pixels are not read.
int td_avif_open(const uint8_t *data, size_t n, uint32_t most, void **decoder, td_avif_info *info, char *text);

// Decodes the first frame to packed RGBA, or to RGB when the picture has no alpha.
int td_avif_read(void *decoder, uint8_t *out, char *text);

void td_avif_close(void *decoder);
