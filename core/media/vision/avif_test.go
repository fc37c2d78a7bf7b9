package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"tandem/core/fault"
)

// avifGoldens loads what tools/goldens/vision/avif.py makes with Pillow 13.
func avifGoldens(t testing.TB) []kindGolden {
	t.Helper()
	var g struct{ Kinds []kindGolden }
	if err := json.Unmarshal(read(t, "avif.json"), &g); err != nil || len(g.Kinds) < 60 {
		t.Fatalf("%d goldens, %v", len(g.Kinds), err)
	}
	return g.Kinds
}

func TestAVIFHasPillowsPixelsOrIsRefused(t *testing.T) {
	for _, k := range avifGoldens(t) {
		for _, drop := range []bool{true, false} {
			want := k.White
			if drop {
				want = k.RGB
			}
			p, err := Decode(k.File, Options{DropAlpha: drop})
			if !k.Read || avif == nil {
				var e *fault.Error
				if fault.KindOf(err) != fault.Unavailable || !errors.As(err, &e) || e.Hint == "" || e.Reason != ReasonUnsupported {
					t.Errorf("%s: want a refusal that says what to do, got %v", k.Name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", k.Name, err)
				continue
			}
			sum := sha256.Sum256(p.Pix)
			if p.W != k.W || p.H != k.H || hex.EncodeToString(sum[:16]) != want {
				t.Errorf("%s (alpha dropped: %v): %d × %d pixels that are not Pillow's %d × %d", k.Name, drop, p.W, p.H, k.W, k.H)
			}
		}
	}
}

func TestBrokenAVIFIsRefusedWithAReason(t *testing.T) {
	if avif == nil {
		t.Skip("built without libavif")
	}
	whole := avifGoldens(t)[0].File
	for _, keep := range []int{20, 40, len(whole) / 2, len(whole) - 1} {
		_, err := Decode(whole[:keep], Options{})
		if r := fault.ReasonOf(err); fault.KindOf(err) != fault.Corrupt || r != ReasonTruncated && r != ReasonCorrupt {
			t.Errorf("cut to %d of %d bytes: %v (%s)", keep, len(whole), err, r)
		}
	}
	if _, err := Decode(whole[:len(whole)/2], Options{}); fault.ReasonOf(err) != ReasonTruncated {
		t.Errorf("half of it: %v", err)
	}
	if _, err := Decode(whole, Options{MaxPixels: 100}); fault.ReasonOf(err) != ReasonPixels {
		t.Errorf("over the limit: %v", err)
	}
}

// FuzzDecode holds that no bytes crash a decoder or make it take more memory than the limit of pixels allows.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"rgb.png", "rgb.jpg", "palette-alpha.gif", "rgb.bmp", "lzw.tif", "lossless.webp", "lossy.webp", "animated.webp", "cmyk.jpg"} {
		f.Add(read(f, name))
	}
	for _, k := range avifGoldens(f) {
		f.Add(k.File)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data, Options{MaxPixels: 1 << 16})
		if err == nil && (p.W < 1 || p.H < 1 || p.W*p.H > 1<<16 || len(p.Pix) < (p.H-1)*p.Stride+3*p.W) {
			t.Fatalf("%d × %d pixels in %d bytes", p.W, p.H, len(p.Pix))
		}
		if err != nil && fault.ReasonOf(err) == string(fault.KindOf(err)) {
			t.Fatalf("no reason: %v", err)
		}
	})
}
