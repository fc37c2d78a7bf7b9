package vision

// turbo is set by the file that the build tag libjpeg adds.
var turbo struct {
	size    func(data []byte) (w, h int, err error)
	decode  func(data, rgb []byte, w, h int) error
	version string
}

// JPEGDecoder says what decodes JPEG in this binary: "libjpeg-turbo 2.1.5", whose pixels are Pillow's
// and thus OpenCLIP's, or "Go image/jpeg", whose pixels differ by a few levels.
func JPEGDecoder() string {
	if turbo.decode == nil {
		return "Go image/jpeg"
	}
	return turbo.version
}

func decodeTurbo(data []byte, o Options) (Picture, error) {
	w, h, err := turbo.size(data)
	if err != nil {
		return Picture{}, err
	}
	if err := o.check(w, h); err != nil {
		return Picture{}, err
	}
	p := NewPicture(w, h)
	if err := turbo.decode(data, p.Pix, w, h); err != nil {
		return Picture{}, err
	}
	return p, nil
}
