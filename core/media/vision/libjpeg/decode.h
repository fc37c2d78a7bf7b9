#pragma once
#include <stddef.h>
#include <stdint.h>

enum { TD_JPEG_OK, TD_JPEG_CORRUPT, TD_JPEG_TRUNCATED, TD_JPEG_MEMORY, TD_JPEG_UNREAD };
enum { TD_JPEG_TEXT = 256 }; // size of text, which tells what is wrong

// Width and height by the header.
int td_jpeg_size(const uint8_t *data, size_t n, int *w, int *h, char *text);

// Decodes to w × h packed RGB. The size must be the header's.
int td_jpeg_decode(const uint8_t *data, size_t n, uint8_t *rgb, int w, int h, char *text);
