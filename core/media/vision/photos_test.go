package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/fault"
)

// photoGoldens holds what tools/goldens/vision/photos.py makes with OpenCLIP's transforms and Pillow.
type photoGoldens struct {
	Pixels     map[string]string // file → SHA-256 of Pillow's RGB
	Transforms []struct {
		Src, Want string
		Box       []int // x, y, w, h; nil is the evaluation transform
		Size      int
	}
}

func loadPhotos(t *testing.T) (g photoGoldens) {
	t.Helper()
	if err := json.Unmarshal(read(t, "photos/photos.json"), &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Pixels) < 16 || len(g.Transforms) < 14 {
		t.Fatal("too few goldens")
	}
	return g
}

// needTurbo skips what only libjpeg-turbo can do.
func needTurbo(t *testing.T) {
	if turbo.decode == nil {
		t.Skip("built without libjpeg-turbo: JPEG pixels are not Pillow's")
	}
}

func TestPhotographsDecodeToPillowsPixels(t *testing.T) {
	for name, want := range loadPhotos(t).Pixels {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(name, ".jpg") {
				needTurbo(t)
			}
			p, err := Decode(read(t, "photos/"+name), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(p.Pix); hex.EncodeToString(sum[:]) != want {
				t.Error("not Pillow's pixels")
			}
		})
	}
}

// TestPreprocessingIsOpenCLIPs holds the two transforms to OpenCLIP's, from the file's bytes to the
// pixels that are normalised: bit for bit but for JPEG decoded by Go, where only the bound given here
// holds.
func TestPreprocessingIsOpenCLIPs(t *testing.T) {
	var r Resizer
	for _, c := range loadPhotos(t).Transforms {
		p, err := Decode(read(t, "photos/"+c.Src), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.Src, err)
			continue
		}
		got := make([]byte, 3*c.Size*c.Size)
		if c.Box == nil {
			r.Evaluate(got, p, c.Size)
		} else {
			r.Resize(got, p.Crop(c.Box[0], c.Box[1], c.Box[2], c.Box[3]), c.Size, c.Size)
		}
		whole, err := Decode(read(t, "photos/"+c.Want), Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := whole.Pix
		most, mean := difference(got, want)
		mostAllowed, meanAllowed := 0, 0.0
		if strings.HasSuffix(c.Src, ".jpg") && turbo.decode == nil {
			mostAllowed, meanAllowed = 32, .7 // measured: 27 and .56
		}
		if most > mostAllowed || mean > meanAllowed {
			t.Errorf("%s: differs from OpenCLIP by up to %d, %.3f in the mean; %d and %.3f are allowed", c.Want, most, mean, mostAllowed, meanAllowed)
		}
		t.Logf("%s: at most %d, mean %.3f", c.Want, most, mean)
	}
}

// difference returns the largest and the mean absolute difference.
func difference(a, b []byte) (most int, mean float64) {
	if len(a) != len(b) {
		return 255, 255
	}
	sum := 0
	for i := range a {
		d := int(max(a[i], b[i]) - min(a[i], b[i]))
		most, sum = max(most, d), sum+d
	}
	return most, float64(sum) / float64(len(a))
}

func TestJPEGWithoutItsEndIsTruncated(t *testing.T) {
	for name := range loadPhotos(t).Pixels {
		if !strings.HasSuffix(name, ".jpg") {
			continue
		}
		whole := read(t, filepath.Join("photos", name))
		for _, keep := range []int{3, 100, len(whole) / 2, len(whole) - 60, len(whole) - 2} {
			if _, err := Decode(whole[:keep], Options{}); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("%s cut to %d of %d bytes: %v", name, keep, len(whole), err)
			}
		}
		if strings.Contains(name, "progressive") {
			continue // may end after any scan
		}
		// An end of image in the middle: Pillow paints the rest grey.
		cut := append(slices.Clone(whole[:len(whole)-len(whole)/20-2]), 0xff, 0xd9)
		if _, err := Decode(cut, Options{}); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s with an early end: %v", name, err)
		}
	}
}

func TestConcurrentDecodersDoNotShare(t *testing.T) {
	needTurbo(t)
	g := loadPhotos(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for name, want := range g.Pixels {
				data := read(t, "photos/"+name)
				Decode(data[:len(data)/2], Options{}) // a failure beside it must not show
				p, err := Decode(data, Options{})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if sum := sha256.Sum256(p.Pix); hex.EncodeToString(sum[:]) != want {
					t.Errorf("%s: not Pillow's pixels", name)
				}
			}
		})
	}
	group.Wait()
}
