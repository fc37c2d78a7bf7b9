// Package libjpeg decodes JPEG with libjpeg-turbo, at Pillow's settings: the slow integer DCT and
// smooth ("fancy") upsampling of chroma. The pixels are Pillow's bit for bit.
//
// It is built with the tag libjpeg, which needs libjpeg-turbo's header and library (Debian:
// libjpeg62-turbo-dev). Without the tag the package is empty. The original library of the Independent
// JPEG Group does not do: its newer versions upsample otherwise.
package libjpeg
