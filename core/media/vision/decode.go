package vision

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"tandem/core/fault"
)

// format describes a kind of file that its first bytes identify. It is either read, or refused with advice on
// what to do instead.
type format struct {
	name    string
	magic   []string // '?' matches any byte
	decode  func([]byte, Options) (Picture, error)
	refused string // how to make it readable
}

const toPNG = "convert it to PNG or JPEG first, for instance with ImageMagick: convert FILE FILE.png"

var formats = []format{
	{name: "png", magic: []string{"\x89PNG\r\n\x1a\n"}, decode: decodePNG},
	{name: "jpeg", magic: []string{"\xff\xd8"}, decode: decodeJPEG},
	{name: "webp", magic: []string{"RIFF????WEBPVP8"}, decode: decodeWebP},
	{name: "gif", magic: []string{"GIF8?a"}, decode: decodeGIF},
	{name: "bmp", magic: []string{"BM????????????\x28\x00\x00\x00", "BM????????????\x0c\x00\x00\x00", "BM????????????\x6c\x00\x00\x00",
		"BM????????????\x7c\x00\x00\x00", "BM????????????\x34\x00\x00\x00", "BM????????????\x38\x00\x00\x00", "BM????????????\x40\x00\x00\x00",
		"BM????\x00\x00\x00\x00"}, decode: decodeBMP},
	{name: "tiff", magic: []string{"II\x2A\x00", "MM\x00\x2A", "II\x2B\x00", "MM\x00\x2B"}, decode: decodeTIFF},
	{name: "pnm", magic: []string{"P1", "P2", "P3", "P4", "P5", "P6"}, decode: decodePNM},
	{name: "avif", magic: []string{"????ftypavif", "????ftypavis"}, decode: decodeAVIF},
	{name: "HEIC", magic: []string{"????ftyphei", "????ftyphev", "????ftypmif1", "????ftypmsf1"}, refused: toPNG},
	{name: "JPEG XL", magic: []string{"\xff\x0a", "\x00\x00\x00\x0cJXL \r\n\x87\n"}, refused: toPNG},
	{name: "JPEG 2000", magic: []string{"\x00\x00\x00\x0cjP  \r\n\x87\n", "\xff\x4f\xff\x51"}, refused: toPNG},
	{name: "PAM", magic: []string{"P7\n"}, refused: toPNG},
	{name: "PFM", magic: []string{"PF\n", "Pf\n"}, refused: toPNG},
	{name: "PSD", magic: []string{"8BPS"}, refused: toPNG},
	{name: "ICO", magic: []string{"\x00\x00\x01\x00"}, refused: toPNG},
	{name: "SVG", magic: []string{"<svg"}, refused: toPNG},
	{name: "PDF", magic: []string{"%PDF"}, refused: toPNG},
	{name: "DDS", magic: []string{"DDS "}, refused: toPNG},
	{name: "OpenEXR", magic: []string{"\x76\x2f\x31\x01"}, refused: toPNG},
	{name: "QOI", magic: []string{"qoif"}, refused: toPNG},
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

// The reasons why a picture is refused (fault.Error.Reason). Every error of Decode has one of them, except when memory runs out.
const (
	ReasonEmpty       = "empty picture"
	ReasonTruncated   = "truncated picture"
	ReasonCorrupt     = "corrupt picture"
	ReasonUnsupported = "unsupported picture"
	ReasonPixels      = "too many pixels"
)

// withReason gives an error of a decoder the reason that its kind stands for, unless it has one.
func withReason(err error) error {
	var e *fault.Error
	if !errors.As(err, &e) || fault.ReasonOf(err) != string(e.Kind) {
		return err
	}
	switch e.Kind {
	case fault.Corrupt:
		e.Reason = ReasonCorrupt
	case fault.Unavailable:
		e.Reason = ReasonUnsupported
	}
	return err
}

// truncated reports a file that ends too soon.
func truncated(format string, args ...any) *fault.Error {
	return fault.New(fault.Corrupt, format, args...).WithReason(ReasonTruncated)
}

// Decode reads a picture from a whole file's bytes, under the package's decoding rules. It checks the size in
// the header before it takes memory for the pixels. A broken or truncated file, or one of no known format,
// yields fault.Corrupt; too many pixels yield fault.Exhausted; a kind that is not read yields
// fault.Unavailable. The caller adds the file name to errors.
func Decode(data []byte, o Options) (p Picture, err error) {
	if len(data) == 0 {
		return p, fault.New(fault.Corrupt, "empty file").WithReason(ReasonEmpty)
	}
	f := sniff(data)
	if f == nil {
		return p, fault.New(fault.Corrupt, "not a picture of a known format (starts with %q)", data[:min(8, len(data))]).
			WithHint("PNG, JPEG, WebP, GIF, BMP, TIFF, PNM and AVIF can be read").WithReason(ReasonCorrupt)
	}
	if f.decode == nil {
		return p, fault.New(fault.Unavailable, "%s is not read", f.name).WithHint("%s", f.refused).WithReason(ReasonUnsupported)
	}
	// Decoders have panicked on crafted files before; a bad file must cost one sample and not the process.
	defer func() {
		if r := recover(); r != nil {
			p, err = Picture{}, fault.New(fault.Corrupt, "%s: decoder failed: %v", f.name, r).WithReason(ReasonCorrupt)
		}
	}()
	if p, err = f.decode(data, o); err != nil {
		return Picture{}, withReason(err)
	}
	return p, nil
}

// MaxFileBytes limits the length of a picture file. It holds every uncompressed picture of as many pixels as are
// decoded, and keeps a file that is no picture from filling the memory.
const MaxFileBytes = 1 << 30

// DecodeFile decodes as Decode does what was read from a file; a fault names the file.
func DecodeFile(path string, data []byte, o Options) (Picture, error) {
	p, err := Decode(data, o)
	var e *fault.Error
	if errors.As(err, &e) {
		e.File = path
	}
	return p, err
}

// errNotRead refuses a kind of a format whose pixels would differ from Pillow's.
func errNotRead(format, what string, args ...any) error {
	return fault.New(fault.Unavailable, format+": "+what+" is not read", args...).WithHint(toPNG)
}

func corrupt(format string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return truncated("%s: truncated: %w", format, err)
	}
	return fault.New(fault.Corrupt, "%w", prefixFormat(format, err))
}

// prefixFormat names the format in an error unless the decoder's own message does.
func prefixFormat(format string, err error) error {
	if bytes.HasPrefix([]byte(err.Error()), []byte(format+":")) {
		return err
	}
	return fmt.Errorf("%s: %w", format, err)
}
