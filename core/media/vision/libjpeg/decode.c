//go:build libjpeg

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "decode.h"

#ifndef LIBJPEG_TURBO_VERSION
#error "jpeglib.h is not libjpeg-turbo's"
#endif

// A progressive file may have any number of scans over the whole picture: a small file would take
// minutes. Encoders write a dozen.
enum { MAX_SCANS = 500, ROWS = 16 };
#define MAX_SCANNED ((uint64_t)1 << 30) // pixels, over all scans

// One call's decoder. It is on the heap since what setjmp's function holds on its stack is lost.
typedef struct {
  struct jpeg_decompress_struct c;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf out;
  char *text;
} decoder;

static void give_up(j_common_ptr c) {
  decoder *d = c->client_data;
  char text[JMSG_LENGTH_MAX];
  c->err->format_message(c, text);
  snprintf(d->text, TD_JPEG_TEXT, "%s", text);
  switch (c->err->msg_code) {
  case JWRN_JPEG_EOF: longjmp(d->out, TD_JPEG_TRUNCATED);
  case JERR_BAD_PRECISION:
  case JERR_SOF_UNSUPPORTED:
  case JERR_ARITH_NOTIMPL: longjmp(d->out, TD_JPEG_UNREAD);
  }
  longjmp(d->out, TD_JPEG_CORRUPT);
}

// libjpeg only warns when data is missing and paints grey; such pictures are refused. Warnings that
// leave the pixels whole (odd headers, stray bytes between segments) are passed over.
static void warned(j_common_ptr c, int level) {
  if (level >= 0) return;
  switch (c->err->msg_code) {
  case JWRN_JPEG_EOF:
  case JWRN_HIT_MARKER:
  case JWRN_HUFF_BAD_CODE:
  case JWRN_ARITH_BAD_CODE:
  case JWRN_MUST_RESYNC:
    give_up(c);
  }
  c->err->num_warnings++;
}

static void silent(j_common_ptr c) { (void)c; }

static void count_scans(j_common_ptr c) {
  decoder *d = c->client_data;
  if (d->c.input_scan_number > MAX_SCANS) {
    snprintf(d->text, TD_JPEG_TEXT, "more than %d scans", MAX_SCANS);
    longjmp(d->out, TD_JPEG_CORRUPT);
  }
  if ((uint64_t)d->c.input_scan_number * d->c.image_width * d->c.image_height > MAX_SCANNED) {
    snprintf(d->text, TD_JPEG_TEXT, "%d scans and more over %u x %u pixels; %u million pixels are the limit over all scans",
             d->c.input_scan_number, d->c.image_width, d->c.image_height, (unsigned)(MAX_SCANNED >> 20));
    longjmp(d->out, TD_JPEG_CORRUPT);
  }
}

static void read_header(decoder *d, const uint8_t *data, size_t n) {
  jpeg_create_decompress(&d->c);
  d->c.client_data = d;
  d->progress.progress_monitor = count_scans;
  d->c.progress = &d->progress;
  jpeg_mem_src(&d->c, data, n);
  jpeg_read_header(&d->c, TRUE);
}

// Pillow's conversion, for inverted samples as Adobe's programs write them: (1−k)·(1−c).
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, int n) {
  for (int i = 0; i < n; i++, in += 4, out += 3) {
    unsigned white = in[3];
    for (int c = 0; c < 3; c++) {
      unsigned t = (255 - in[c]) * white + 128;
      out[c] = white - ((t + (t >> 8)) >> 8);
    }
  }
}

static void read_pixels(decoder *d, uint8_t *rgb, int w, int h) {
  j_decompress_ptr c = &d->c;
  if ((int)c->image_width != w || (int)c->image_height != h) {
    snprintf(d->text, TD_JPEG_TEXT, "the size changed");
    longjmp(d->out, TD_JPEG_CORRUPT);
  }
  int cmyk = c->num_components == 4;
  if (!cmyk && c->num_components != 3 && c->num_components != 1) {
    snprintf(d->text, TD_JPEG_TEXT, "%d components", c->num_components);
    longjmp(d->out, TD_JPEG_UNREAD);
  }
  c->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(c);
  JSAMPARRAY line = NULL;
  if (cmyk) line = c->mem->alloc_sarray((j_common_ptr)c, JPOOL_IMAGE, 4 * w, 1);
  while (c->output_scanline < c->output_height) {
    int y = c->output_scanline, n = h - y < ROWS ? h - y : ROWS;
    if (cmyk) {
      jpeg_read_scanlines(c, line, 1);
      cmyk_to_rgb(line[0], rgb + (size_t)y * 3 * w, w);
      continue;
    }
    JSAMPROW rows[ROWS];
    for (int i = 0; i < n; i++) rows[i] = rgb + (size_t)(y + i) * 3 * w;
    jpeg_read_scanlines(c, rows, n);
  }
  jpeg_finish_decompress(c);
}

static decoder *new_decoder(char *text) {
  decoder *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->text = text;
  d->c.err = jpeg_std_error(&d->errors);
  d->c.client_data = d;
  d->errors.error_exit = give_up;
  d->errors.emit_message = warned;
  d->errors.output_message = silent;
  return d;
}

static int end(decoder *d, int result) {
  jpeg_destroy_decompress(&d->c);
  free(d);
  return result;
}

int td_jpeg_size(const uint8_t *data, size_t n, int *w, int *h, char *text) {
  decoder *d = new_decoder(text);
  if (!d) return TD_JPEG_MEMORY;
  int failed = setjmp(d->out);
  if (failed) return end(d, failed);
  read_header(d, data, n);
  *w = d->c.image_width, *h = d->c.image_height;
  return end(d, TD_JPEG_OK);
}

int td_jpeg_decode(const uint8_t *data, size_t n, uint8_t *rgb, int w, int h, char *text) {
  decoder *d = new_decoder(text);
  if (!d) return TD_JPEG_MEMORY;
  int failed = setjmp(d->out);
  if (failed) return end(d, failed);
  read_header(d, data, n);
  read_pixels(d, rgb, w, h);
  return end(d, TD_JPEG_OK);
}
