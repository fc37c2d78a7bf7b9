//go:build libavif

#include "decode.h"

#include <avif/avif.h>
#include <stdio.h>
#include <string.h>

static int problem(avifResult r, avifDecoder *d, char *text) {
  const char *more = d && d->diag.error[0] ? d->diag.error : "";
  snprintf(text, TD_AVIF_TEXT, "%s%s%s", avifResultToString(r), *more ? ": " : "", more);
  switch (r) {
  case AVIF_RESULT_OUT_OF_MEMORY: return TD_AVIF_MEMORY;
  case AVIF_RESULT_TRUNCATED_DATA: return TD_AVIF_TRUNCATED;
  case AVIF_RESULT_NO_CODEC_AVAILABLE:
  case AVIF_RESULT_UNSUPPORTED_DEPTH:
  case AVIF_RESULT_NOT_IMPLEMENTED: return TD_AVIF_UNREAD;
  default: return TD_AVIF_CORRUPT;
  }
}

int td_avif_open(const uint8_t *data, size_t n, uint32_t most, void **out, td_avif_info *info, char *text) {
  avifDecoder *d = avifDecoderCreate();
  if (!d) return TD_AVIF_MEMORY;
  *out = d;
  d->maxThreads = 1;
  d->ignoreExif = d->ignoreXMP = AVIF_TRUE;
  d->strictFlags &= ~(avifStrictFlags)(AVIF_STRICT_CLAP_VALID | AVIF_STRICT_PIXI_REQUIRED); // as Pillow has it
  d->imageSizeLimit = most;
  d->imageCountLimit = 1 << 16;
  avifResult r = avifDecoderSetIOMemory(d, data, n);
  if (r == AVIF_RESULT_OK) r = avifDecoderParse(d);
  if (r != AVIF_RESULT_OK) return problem(r, d, text);
  info->width = d->image->width, info->height = d->image->height, info->depth = d->image->depth;
  info->alpha = d->alphaPresent;
  return TD_AVIF_OK;
}

int td_avif_read(void *decoder, uint8_t *out, char *text) {
  avifDecoder *d = decoder;
  avifResult r = avifDecoderNextImage(d);
  if (r != AVIF_RESULT_OK) return problem(r, d, text);
  avifRGBImage rgb;
  avifRGBImageSetDefaults(&rgb, d->image);
  rgb.depth = 8;
  rgb.format = d->alphaPresent ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
  rgb.pixels = out;
  rgb.rowBytes = d->image->width * (d->alphaPresent ? 4 : 3);
  r = avifImageYUVToRGB(d->image, &rgb);
  return r == AVIF_RESULT_OK ? TD_AVIF_OK : problem(r, d, text);
}

void td_avif_close(void *decoder) {
  if (decoder) avifDecoderDestroy(decoder);
}
