// Package resample runs the two passes of core/media/vision's resampling with AVX2, through cgo: the same
// integer arithmetic as the portable code, several times as fast. On other processors and without cgo
// Available returns false.
package resample
