package vision

import (
	"bytes"
	"errors"
	"image/jpeg"
)

// turbo holds the functions of libjpeg-turbo. A file that the build tag libjpeg adds sets them; without the tag
// they are nil.
var turbo struct {
	size    func(data []byte) (w, h int, err error)
	decode  func(data, rgb []byte, w, h int) error
	version string
}

// JPEGDecoder names what decodes JPEG in this binary: "libjpeg-turbo 2.1.5", whose pixels are Pillow's and thus
// OpenCLIP's, or "Go image/jpeg", whose pixels differ by a few levels.
func JPEGDecoder() string {
	if turbo.decode == nil {
		return "Go image/jpeg"
	}
	return turbo.version
}

// JPEGIsExact reports whether the pixels of JPEG files are Pillow's.
func JPEGIsExact() bool { return turbo.decode != nil }

// decodeJPEG reads a JPEG file with libjpeg-turbo where it is built in, else with Go's decoder.
func decodeJPEG(data []byte, o Options) (Picture, error) {
	if turbo.decode != nil {
		return decodeTurbo(data, o)
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Picture{}, jpegError(err)
	}
	if err := o.check(c.Width, c.Height); err != nil {
		return Picture{}, err
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return Picture{}, jpegError(err)
	}
	return flatten(img), nil
}

// jpegError tells what Go's decoder does not read from what nobody reads.
func jpegError(err error) error {
	if unsupported := jpeg.UnsupportedError(""); errors.As(err, &unsupported) {
		return errNotRead("jpeg", "%s", string(unsupported))
	}
	return corrupt("jpeg", err)
}

func decodeTurbo(data []byte, o Options) (Picture, error) {
	w, h, err := turbo.size(data)
	if err != nil {
		return Picture{}, err
	}
	if err := o.check(w, h); err != nil {
		return Picture{}, err
	}
	p := take(w, h)
	if err := turbo.decode(data, p.Pix, w, h); err != nil {
		Recycle(p)
		return Picture{}, err
	}
	return p, nil
}
