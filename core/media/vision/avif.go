package vision

import "tandem/core/fault"

// avif holds libavif's decoder. A file that the build tag libavif adds sets it; without the tag it is nil.
var avif func(data []byte, o Options) (Picture, error)

// AVIFVersion names what decodes AVIF in this binary, "libavif 0.11.1"; "" where nothing does.
func AVIFVersion() string { return avifVersion }

var avifVersion string

func decodeAVIF(data []byte, o Options) (Picture, error) {
	if avif == nil {
		return Picture{}, fault.New(fault.Unavailable, "avif: not read, as this was built without libavif").
			WithHint("install libavif (Debian: apt-get install libavif-dev), then run make again; or %s", toPNG)
	}
	return avif(data, o)
}
