package vision

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
	"tandem/core/random"
)

func TestSizeIsCheckedBeforeMemoryIsTaken(t *testing.T) {
	// A valid header of 60000 × 60000 pixels and no data: 10 GB if it were believed.
	bomb := slices.Clone(read(t, "rgb.png"))
	binary.BigEndian.PutUint32(bomb[16:], 60000)
	binary.BigEndian.PutUint32(bomb[20:], 60000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Decode(bomb, Options{})
	runtime.ReadMemStats(&after)
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(err.Error(), "60000 × 60000") {
		t.Errorf("error %v", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("took %d bytes", grown)
	}
	if _, err := Decode(read(t, "wide.png"), Options{MaxPixels: 61*37 - 1}); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("own limit: %v", err)
	}
	if _, err := Decode(read(t, "wide.png"), Options{MaxPixels: 61 * 37}); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
}

func TestTruncatedAndBrokenFilesAreCorrupt(t *testing.T) {
	for _, name := range []string{"rgb.png", "rgb.jpg", "l.gif", "rgb.bmp", "rgb.tif", "lzw.tif", "lossless.webp", "cmyk.jpg", "rgba.png"} {
		whole := read(t, name)
		if _, err := Decode(whole, Options{}); err != nil {
			t.Errorf("%s whole: %v", name, err)
		}
		for _, keep := range []int{0, 1, 5, 20, len(whole) / 2, len(whole) * 3 / 4} {
			if keep >= len(whole) {
				continue
			}
			if _, err := Decode(whole[:keep], Options{}); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("%s cut to %d of %d bytes: %v", name, keep, len(whole), err)
			}
		}
	}
	bad := slices.Clone(read(t, "rgb.png"))
	bad[len(bad)/2] ^= 0xff
	if _, err := Decode(bad, Options{}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("flipped byte: %v", err)
	}
	if _, err := Decode([]byte("<html>not found</html>"), Options{}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "<html>") {
		t.Errorf("html: %v", err)
	}
}

func TestDecodeNeverPanics(t *testing.T) {
	s := random.New(1, "fuzz")
	for _, name := range []string{"rgb.png", "rgb.jpg", "palette-alpha.gif", "rgb.bmp", "lzw.tif", "deflate.tif", "lossless.webp", "cmyk.jpg"} {
		whole := read(t, name)
		for range 60 {
			bad := slices.Clone(whole)
			for range 1 + s.IntN(4) {
				bad[s.IntN(len(bad))] = byte(s.Uint64())
			}
			Decode(bad, Options{MaxPixels: 1 << 16}) // only that it returns
		}
	}
}

func TestGIFFrameIsPlacedOnItsCanvas(t *testing.T) {
	colours := color.Palette{color.RGBA{9, 8, 7, 255}, color.RGBA{255, 0, 0, 255}}
	frame := image.NewPaletted(image.Rect(2, 1, 4, 3), colours)
	for i := range frame.Pix {
		frame.Pix[i] = 1
	}
	var b bytes.Buffer
	err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}, Config: image.Config{Width: 6, Height: 5, ColorModel: colours}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Decode(b.Bytes(), Options{Background: &RGB{1, 2, 3}})
	if err != nil || p.W != 6 || p.H != 5 {
		t.Fatalf("%d × %d, %v", p.W, p.H, err)
	}
	for y := range 5 {
		for x := range 6 {
			want := RGB{9, 8, 7} // colour 0, as Pillow has it
			if x >= 2 && x < 4 && y >= 1 && y < 3 {
				want = RGB{255, 0, 0}
			}
			if got := RGB(p.Row(y)[3*x:]); got != want {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestSixteenBitColourKeepsTheUpperByte(t *testing.T) {
	m := image.NewNRGBA64(image.Rect(0, 0, 2, 1))
	m.SetNRGBA64(0, 0, color.NRGBA64{0x12ff, 0x8000, 0xff00, 0xffff})
	m.SetNRGBA64(1, 0, color.NRGBA64{0x1200, 0x8000, 0xff00, 0})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	p, err := Decode(b.Bytes(), Options{})
	if err != nil || !bytes.Equal(p.Pix, []byte{0x12, 0x80, 0xff, 255, 255, 255}) {
		t.Errorf("%v, %v", p.Pix, err)
	}
}

func TestDrawCropStaysInsideAndKeepsItsRanges(t *testing.T) {
	p := CropParams{Scale: [2]float64{.3, .8}, Ratio: [2]float64{.75, 4. / 3}}
	for i := range 2000 {
		x, y, w, h := DrawCrop(random.New(3, "crop", i), 100, 80, p)
		if x < 0 || y < 0 || x+w > 100 || y+h > 80 {
			t.Fatalf("crop %d: %d,%d %d×%d leaves 100×80", i, x, y, w, h)
		}
		area, ratio := float64(w*h)/8000, float64(w)/float64(h)
		if area < .28 || area > .82 || ratio < .72 || ratio > 1.4 { // a pixel's rounding allowed
			t.Fatalf("crop %d: area %.3f, ratio %.3f", i, area, ratio)
		}
	}
}

func TestDrawCropFallsBackToTheCentre(t *testing.T) {
	p := CropParams{Scale: [2]float64{.9, 1}, Ratio: [2]float64{.75, 4. / 3}}
	if x, y, w, h := DrawCrop(random.New(0, "c"), 400, 10, p); y != 0 || h != 10 || w != 13 || x != (400-13)/2 {
		t.Errorf("wide: %d,%d %d×%d", x, y, w, h)
	}
	if x, y, w, h := DrawCrop(random.New(0, "c"), 10, 400, p); x != 0 || w != 10 || h != 13 || y != (400-13)/2 {
		t.Errorf("tall: %d,%d %d×%d", x, y, w, h)
	}
}

func TestAugmentFlipsWithItsProbability(t *testing.T) {
	src, _ := Decode(read(t, "wide.png"), Options{})
	whole := CropParams{Scale: [2]float64{1, 1}, Ratio: [2]float64{61. / 37, 61. / 37}}
	var r Resizer
	plain, mirrored, got := make([]byte, 3*16*16), make([]byte, 3*16*16), make([]byte, 3*16*16)
	r.Resize(plain, src, 16, 16)
	copy(mirrored, plain)
	FlipH(mirrored, 16, 16)
	flips := 0
	for i := range 400 {
		r.Augment(got, src, 16, random.New(9, "aug", i), whole, .25)
		switch {
		case bytes.Equal(got, mirrored):
			flips++
		case !bytes.Equal(got, plain):
			t.Fatal("neither the picture nor its mirror image")
		}
	}
	if flips < 70 || flips > 130 {
		t.Errorf("%d flips of 400 at probability 1/4", flips)
	}
}

func BenchmarkEvaluate64To32(b *testing.B) {
	src := NewPicture(64, 64)
	var r Resizer
	dst := make([]byte, 3*32*32)
	for b.Loop() {
		r.Evaluate(dst, src, 32)
	}
}

func BenchmarkEvaluate256To224(b *testing.B) {
	src := NewPicture(256, 256)
	var r Resizer
	dst := make([]byte, 3*224*224)
	for b.Loop() {
		r.Evaluate(dst, src, 224)
	}
}

func TestVectorisedResamplingIsThePortableOne(t *testing.T) {
	if !vectorised {
		t.Skip("no AVX2 here")
	}
	defer func() { vectorised = true }()
	s := random.New(4, "sizes")
	var fast, portable Resizer
	for range 300 {
		w, h, tw, th := 1+s.IntN(150), 1+s.IntN(70), 1+s.IntN(120), 1+s.IntN(90)
		whole := NewPicture(w, h)
		for i := range whole.Pix {
			whole.Pix[i] = byte(s.Uint64()) | -byte(s.Uint64()&1) // noise, half of it white
		}
		cw, ch := 1+s.IntN(w), 1+s.IntN(h)
		src := whole.Crop(w-cw, h-ch, cw, ch) // to the last byte
		got, want := make([]byte, 3*tw*th), make([]byte, 3*tw*th)
		vectorised = true
		fast.Resize(got, src, tw, th)
		vectorised = false
		portable.Resize(want, src, tw, th)
		if !bytes.Equal(got, want) {
			t.Fatalf("%d × %d to %d × %d differs", src.W, src.H, tw, th)
		}
	}
}

// TestAFlippedCropIsTheMirrorImage holds the flip within the scaling against one afterwards, with and without a pass along
// the rows, for both orders of the passes and both kinds of code.
func TestAFlippedCropIsTheMirrorImage(t *testing.T) {
	src, err := Decode(read(t, "photos/cup-422.jpg"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func(v bool) { vectorised = v }(vectorised)
	for _, v := range []bool{false, vectorised} {
		vectorised = v
		var r Resizer
		for _, c := range [][4]int{{40, 40, 24, 24}, {24, 70, 24, 24}, {24, 24, 24, 24}, {25, 120, 24, 24}, {10, 10, 31, 17}, {90, 24, 7, 24}} {
			part := src.Crop(3, 2, c[0], c[1])
			want, got := make([]byte, 3*c[2]*c[3]), make([]byte, 3*c[2]*c[3])
			r.Resize(want, part, c[2], c[3])
			FlipH(want, c[2], c[3])
			r.window(got, part, c[2], c[3], 0, 0, c[2], c[3], true)
			if !bytes.Equal(got, want) {
				t.Errorf("%v, AVX2 %v", c, v)
			}
		}
	}
}

func TestRecycledMemoryShowsInNoPicture(t *testing.T) {
	names := []string{"rgb.png", "rgb.jpg", "cmyk.jpg", "grey.jpg", "palette.png", "rgba.png", "square.png"}
	var want [][]byte
	for _, name := range names {
		p, err := Decode(read(t, name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, bytes.Clone(p.Pix))
		for i := range p.Pix {
			p.Pix[i] = 99
		}
		Recycle(p)
	}
	for range 3 {
		for i, name := range names {
			p, err := Decode(read(t, name), Options{})
			if err != nil || !bytes.Equal(p.Pix, want[i]) {
				t.Fatalf("%s: other pixels in memory that was used before (%v)", name, err)
			}
			Decode(read(t, name)[:len(read(t, name))/2], Options{})
			Recycle(p)
		}
	}
}
