package alike

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/media/vision"
	"tandem/core/random"
)

// photos returns the photographs of core/media/vision's tests.
func photos(t testing.TB) (out []vision.Picture) {
	names, _ := filepath.Glob("../../media/vision/testdata/photos/*.jpg")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := vision.Decode(data, vision.Options{}); err == nil && p.W > 32 && p.H > 32 {
			out = append(out, p)
		}
	}
	if len(out) < 3 {
		t.Fatalf("%d photographs", len(out))
	}
	return out
}

// recompressed returns a picture at half the size after a JPEG of a quality.
func recompressed(t testing.TB, p vision.Picture, quality int) vision.Picture {
	small := vision.NewPicture(p.W/2, p.H/2)
	new(vision.Resizer).Resize(small.Pix, p, small.W, small.H)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, small.Image(), &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	out, err := vision.Decode(file.Bytes(), vision.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEqualPixelsAreExactlyAlikeAndOthersAreNot(t *testing.T) {
	p := photos(t)[0]
	if Exact(p) != Exact(p.Crop(0, 0, p.W, p.H)) {
		t.Error("a view of all pixels differs")
	}
	wide := vision.Picture{W: 4, H: 2, Stride: 12, Pix: make([]byte, 24)}
	high := vision.Picture{W: 2, H: 4, Stride: 6, Pix: make([]byte, 24)}
	if Exact(wide) == Exact(high) || Exact(p) == Exact(p.Crop(0, 0, p.W, p.H-1)) {
		t.Error("pictures of other sizes are alike")
	}
}

func TestPicturesScaledAndRecompressedLookAlikeAndOthersDoNot(t *testing.T) {
	p := photos(t)[0]
	pictures := []vision.Picture{p, p.Crop(0, 0, p.W/2, p.H/2), p.Crop(p.W/2, 0, p.W/2, p.H/2), p.Crop(0, p.H/2, p.W/2, p.H/2),
		p.Crop(p.W/2, p.H/2, p.W/2, p.H/2)}
	for i, p := range pictures {
		for j, q := range pictures {
			d := Distance(Perceptual(p), Perceptual(recompressed(t, q, 60)))
			if i == j && d > 4 {
				t.Errorf("picture %d differs from itself at half the size in %d bits", i, d)
			}
			if i != j && d < 16 {
				t.Errorf("pictures %d and %d differ in %d bits only", i, j, d)
			}
		}
	}
}

func TestNearFindsWhatAScanFinds(t *testing.T) {
	s := random.New(1, "alike")
	var x Index
	var hashes []uint64
	for i := range 3000 {
		h := s.Uint64()
		if i%3 != 0 {
			h = hashes[i/2]
			for range s.IntN(14) {
				h ^= 1 << s.IntN(64)
			}
		}
		hashes = append(hashes, h)
		x.Add(h, 7*i)
	}
	for distance := range 20 {
		for _, h := range hashes[:300] {
			var want []int
			for i, other := range hashes {
				if Distance(h, other) <= distance {
					want = append(want, 7*i)
				}
			}
			if got := x.Near(h, distance); !slices.Equal(got, want) {
				t.Fatalf("distance %d: %v, want %v", distance, got, want)
			}
		}
	}
	if got := x.Near(hashes[0], -1); len(got) > 0 {
		t.Errorf("nearer than equal: %v", got)
	}
}

func BenchmarkNearInAMillion(b *testing.B) {
	s := random.New(1, "alike")
	var x Index
	for i := range 1_000_000 {
		x.Add(s.Uint64(), i)
	}
	for _, distance := range []int{4, 8} {
		b.Run(map[int]string{4: "4", 8: "8"}[distance], func(b *testing.B) {
			for b.Loop() {
				x.Near(s.Uint64(), distance)
			}
		})
	}
}
