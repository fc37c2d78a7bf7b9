package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"tandem/core/fault"
)

type format struct {
	name   string
	magic  []string // '?' matches any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

var formats = []format{
	{"png", []string{"\x89PNG\r\n\x1a\n"}, png.DecodeConfig, png.Decode},
	{"jpeg", []string{"\xff\xd8"}, jpeg.DecodeConfig, jpeg.Decode},
	{"gif", []string{"GIF8?a"}, gif.DecodeConfig, gif.Decode},
	{"bmp", []string{"BM????\x00\x00\x00\x00"}, bmp.DecodeConfig, bmp.Decode},
	{"tiff", []string{"II\x2A\x00", "MM\x00\x2A"}, tiff.DecodeConfig, tiff.Decode},
	{"webp", []string{"RIFF????WEBPVP8"}, webp.DecodeConfig, webp.Decode},
}

func sniff(data []byte) *format {
	for i := range formats {
		for _, magic := range formats[i].magic {
			if len(data) < len(magic) {
				continue
			}
			match := true
			for j := range len(magic) {
				match = match && (magic[j] == '?' || magic[j] == data[j])
			}
			if match {
				return &formats[i]
			}
		}
	}
	return nil
}

// Decode reads a picture from a whole file's bytes, under the package's decoding rules. The size in
// the header is checked before memory is taken for the pixels.
//
// A broken or truncated file, or one of no known format, is fault.Corrupt; too many pixels are
// fault.Exhausted; a WebP that cannot be decoded rightly is fault.Unavailable. The file name is the
// caller's to add.
func Decode(data []byte, o Options) (p Picture, err error) {
	if len(data) == 0 {
		return p, fault.New(fault.Corrupt, "empty file")
	}
	f := sniff(data)
	if f == nil {
		return p, fault.New(fault.Corrupt, "not a picture of a known format (starts with %q)", data[:min(8, len(data))]).
			WithHint("PNG, JPEG, GIF, BMP, TIFF and lossless WebP can be read")
	}
	switch {
	case f.name == "jpeg" && turbo.decode != nil:
		return decodeTurbo(data, o)
	case f.name == "webp":
		if err := checkWebP(data); err != nil {
			return p, err
		}
	}
	// The decoders outside the standard library have panicked on crafted files before; a bad file must
	// cost one sample and not the process.
	defer func() {
		if r := recover(); r != nil {
			p, err = Picture{}, fault.New(fault.Corrupt, "%s: decoder failed: %v", f.name, r)
		}
	}()
	c, err := f.config(bytes.NewReader(data))
	if err != nil {
		return p, corrupt(f.name, err)
	}
	if err := o.check(c.Width, c.Height); err != nil {
		return p, err
	}
	img, err := f.decode(bytes.NewReader(data))
	if err != nil {
		return p, corrupt(f.name, err)
	}
	canvas := img.Bounds()
	if f.name == "gif" { // a frame may cover a part of its canvas only
		canvas = image.Rect(0, 0, c.Width, c.Height)
	}
	if err := o.check(canvas.Dx(), canvas.Dy()); err != nil {
		return p, err
	}
	return flatten(img, canvas, o.background()), nil
}

func corrupt(format string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fault.New(fault.Corrupt, "%s: truncated: %w", format, err)
	}
	return fault.New(fault.Corrupt, "%w", prefixed(format, err))
}

// prefixed names the format unless the decoder's own message does.
func prefixed(format string, err error) error {
	if bytes.HasPrefix([]byte(err.Error()), []byte(format+":")) {
		return err
	}
	return fmt.Errorf("%s: %w", format, err)
}

// checkWebP refuses what x/image/webp would decode wrongly, by walking the RIFF chunks.
func checkWebP(data []byte) error {
	for at := 12; at+8 <= len(data); {
		id, size := string(data[at:at+4]), int64(binary.LittleEndian.Uint32(data[at+4:]))
		switch id {
		case "VP8 ":
			return unreadableWebP("lossy")
		case "ANIM", "ANMF":
			return unreadableWebP("animated")
		case "VP8L":
			return nil
		}
		next := int64(at) + 8 + size + size&1
		if next > int64(len(data)) {
			break
		}
		at = int(next)
	}
	return fault.New(fault.Corrupt, "webp: no image chunk")
}

func unreadableWebP(sort string) error {
	return fault.New(fault.Unavailable, "webp: %s WebP is not supported", sort).
		WithHint("convert it to PNG first, for instance with dwebp; lossless WebP can be read")
}
