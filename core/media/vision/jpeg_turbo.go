//go:build libjpeg && cgo

package vision

import "tandem/core/media/vision/libjpeg"

func init() {
	turbo.size, turbo.decode = libjpeg.Size, libjpeg.Decode
	turbo.version = "libjpeg-turbo " + libjpeg.Version()
}
