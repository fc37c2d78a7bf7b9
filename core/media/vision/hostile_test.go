package vision

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"os"
	"runtime"
	"strings"
	"testing"

	"tandem/core/fault"
)

// allocated returns how many bytes a call takes from the heap in total.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func pngChunk(b *bytes.Buffer, id string, body []byte) {
	binary.Write(b, binary.BigEndian, uint32(len(body)))
	start := b.Len()
	b.WriteString(id)
	b.Write(body)
	binary.Write(b, binary.BigEndian, crc32.ChecksumIEEE(b.Bytes()[start:]))
}

// flatPNG returns a picture of w × h zero pixels.
func flatPNG(w, h int, depth, kind byte, interlace byte) []byte {
	b := bytes.NewBufferString("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h))
	pngChunk(b, "IHDR", append(header, depth, kind, 0, 0, interlace))
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	row := make([]byte, 1+w*int(depth)*pngChannels[int(kind)]/8)
	for range h + h { // enough for the rows of all passes
		z.Write(row)
	}
	z.Close()
	pngChunk(b, "IDAT", packed.Bytes())
	pngChunk(b, "IEND", nil)
	return b.Bytes()
}

func TestAPictureTakesTheMemoryOfItsRGB(t *testing.T) {
	for name, file := range map[string][]byte{
		"RGBA of 16 bits":             flatPNG(1500, 1500, 16, 6, 0),
		"RGBA of 16 bits, interlaced": flatPNG(1500, 1500, 16, 6, 1),
		"grey":                        flatPNG(1500, 1500, 8, 0, 0),
	} {
		var err error
		took := allocated(func() { _, err = Decode(file, Options{}) })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if perPixel := float64(took) / (1500 * 1500); perPixel > 3.5 {
			t.Errorf("%s: %.1f bytes a pixel", name, perPixel)
		}
	}
}

// TestHeadersThatPromiseTooMuchCostNothing has files of a few bytes.
func TestHeadersThatPromiseTooMuchCostNothing(t *testing.T) {
	webp := []byte("RIFF\x16\x00\x00\x00WEBPVP8 \x0a\x00\x00\x00\x00\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f")
	tiff := func(entries ...uint32) []byte { // tag, type, count, value
		b := []byte{'I', 'I', 42, 0, 8, 0, 0, 0}
		b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)/4))
		for i := 0; i < len(entries); i += 4 {
			b = binary.LittleEndian.AppendUint16(b, uint16(entries[i]))
			b = binary.LittleEndian.AppendUint16(b, uint16(entries[i+1]))
			b = binary.LittleEndian.AppendUint32(b, entries[i+2])
			b = binary.LittleEndian.AppendUint32(b, entries[i+3])
		}
		return binary.LittleEndian.AppendUint32(b, 8) // the next directory is this one
	}
	header := func(w, h int) []byte { return flatPNG(w, h, 1, 0, 0)[:8+25] }
	for name, c := range map[string]struct {
		file []byte
		kind fault.Kind
	}{
		"png over the limit":      {header(8200, 8200), fault.Exhausted},
		"png without its pixels":  {append(header(8000, 8000), "\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e\x00\x00\x00\x00IEND\xae\x42\x60\x82"...), fault.Corrupt},
		"gif screen":              {[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02L\x01\x00;"), fault.Exhausted},
		"webp":                    {webp, fault.Exhausted},
		"bmp":                     {append([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\x00\x20\x00\x00\x00\x20\x00\x00\x01\x00\x18\x00"), make([]byte, 24)...), fault.Corrupt},
		"pnm":                     {[]byte("P6 8000 8000 255\n"), fault.Corrupt},
		"pnm of comments":         {[]byte("P6" + strings.Repeat("#\n", 200000)), fault.Corrupt},
		"tiff over the limit":     {tiff(256, 4, 1, 1<<31, 257, 4, 1, 1<<31), fault.Exhausted},
		"tiff with a huge tile":   {tiff(256, 3, 1, 8, 257, 3, 1, 8, 322, 4, 1, 1<<20, 323, 4, 1, 1<<20, 324, 4, 1, 8, 325, 4, 1, 8), fault.Exhausted},
		"tiff of endless strips":  {tiff(256, 3, 1, 8, 257, 3, 1, 8, 273, 4, 1<<31, 8), fault.Corrupt},
		"tiff without strips":     {tiff(256, 3, 1, 8000, 257, 3, 1, 8000, 258, 3, 1, 8, 262, 3, 1, 1, 273, 4, 1, 8, 279, 4, 1, 8), fault.Corrupt},
		"tiff of a strip a pixel": {tiff(256, 3, 1, 1, 257, 4, 1, 1<<25, 278, 3, 1, 1, 273, 4, 1, 8, 279, 4, 1, 8), fault.Corrupt},
	} {
		var err error
		took := allocated(func() { _, err = Decode(c.file, Options{}) })
		if fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		if took > 200<<20 || took > 1<<20 && name != "tiff without strips" {
			t.Errorf("%s: took %d bytes", name, took)
		}
	}
}

// manyScans returns a progressive JPEG of side × side grey pixels whose scans after the first take 30 bytes
// each.
func manyScans(side, scans int) []byte {
	b := bytes.NewBufferString("\xff\xd8\xff\xdb\x00\x43\x00" + strings.Repeat("\x01", 64))
	b.WriteString("\xff\xc2\x00\x0b\x08" + string([]byte{byte(side >> 8), byte(side), byte(side >> 8), byte(side)}) + "\x01\x01\x11\x00")
	b.WriteString("\xff\xc4\x00\x14\x00\x01" + strings.Repeat("\x00", 15) + "\x00") // DC: the code 0 is "no difference"
	b.WriteString("\xff\xc4\x00\x14\x10\x01" + strings.Repeat("\x00", 15) + "\xe0") // AC: the code 0 ends 16384 blocks and more
	blocks := side / 8 * side / 8
	b.WriteString("\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00")
	b.Write(make([]byte, blocks/8+1))
	for range scans {
		b.WriteString("\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00")
		b.Write(make([]byte, blocks/16384*15/8+2))
	}
	b.WriteString("\xff\xd9")
	return b.Bytes()
}

func TestJPEGOfManyScansIsRefusedByItsWork(t *testing.T) {
	needTurbo(t)
	if _, err := Decode(manyScans(2048, 20), Options{}); err != nil {
		t.Errorf("20 scans over 2048 × 2048: %v", err)
	}
	if _, err := Decode(manyScans(2048, 300), Options{}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "scans") {
		t.Errorf("300 scans over 2048 × 2048: %v", err)
	}
	if _, err := Decode(manyScans(64, 300), Options{}); err != nil {
		t.Errorf("300 scans over 64 × 64: %v", err)
	}
}

// TestAPictureOf100MegapixelsIsReadWhenTheLimitAllows decodes a PNG and a JPEG of 10,000 × 10,000.
func TestAPictureOf100MegapixelsIsReadWhenTheLimitAllows(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("takes 300 MB; TANDEM_LONG=1 runs it")
	}
	for name, file := range map[string][]byte{"png": flatPNG(10000, 10000, 1, 0, 0), "jpeg": manyScans(10000, 2)} {
		if _, err := Decode(file, Options{}); fault.ReasonOf(err) != ReasonPixels {
			t.Errorf("%s: %v", name, err)
		}
		p, err := Decode(file, Options{MaxPixels: 1e8})
		if err != nil || p.W != 10000 || p.H != 10000 {
			t.Errorf("%s: %d × %d, %v", name, p.W, p.H, err)
		}
	}
}
