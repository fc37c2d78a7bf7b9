package vision

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"tandem/core/fault"
)

func TestEveryRefusalHasAReason(t *testing.T) {
	flip := func(name string, at int) []byte {
		b := slices.Clone(read(t, name))
		b[(at+len(b))%len(b)] ^= 0xff
		return b
	}
	half := func(name string) []byte { b := read(t, name); return b[:len(b)/2] }
	huge := slices.Clone(read(t, "rgb.png"))
	binary.BigEndian.PutUint32(huge[16:], 10000)
	binary.BigEndian.PutUint32(huge[20:], 10000)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "empty picture"},
		{"a page of HTML", []byte("<html>not found</html>"), "corrupt picture"},
		{"a drawing", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "unsupported picture"},
		{"100 megapixels", huge, "too many pixels"},
		{"half a PNG", half("rgb.png"), "truncated picture"},
		{"half a JPEG", half("rgb.jpg"), "truncated picture"},
		{"half a CMYK JPEG", half("cmyk.jpg"), "truncated picture"},
		{"half a GIF", half("l.gif"), "truncated picture"},
		{"half a BMP", half("rgb.bmp"), "truncated picture"},
		{"half a TIFF", half("rgb.tif"), "truncated picture"},
		{"half a lossless WebP", half("lossless.webp"), "truncated picture"},
		{"half a lossy WebP", half("lossy.webp"), "truncated picture"},
		{"a JPEG of its first marker", []byte("\xff\xd8\xff"), "truncated picture"},
		{"a PNG with a flipped byte", flip("rgb.png", 60), "corrupt picture"},
		{"a PNG with a flipped checksum", flip("rgb.png", -1), "corrupt picture"},
		{"a plain PGM without pixels", []byte("P2 2 2 255\n1 2 3"), "truncated picture"},
		{"a PGM of too many levels", []byte("P5 1 1 65535\n\xff\xff"), "unsupported picture"},
		{"a BMP of 2 bits a pixel", append([]byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x02\x00"), make([]byte, 40)...), "unsupported picture"},
	} {
		_, err := Decode(c.file, Options{})
		if got := fault.ReasonOf(err); err == nil || got != c.want {
			t.Errorf("%s: reason %q, want %q (%v)", c.name, got, c.want, err)
		}
	}
}
