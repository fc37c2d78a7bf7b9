// Package libavif decodes AVIF with libavif, at Pillow's settings. The pixels are Pillow's bit for bit.
//
// It is built with the tag libavif, which needs libavif's header and library (Debian: libavif-dev). Without the tag the
// package is empty.
package libavif
