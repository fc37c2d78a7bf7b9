package sample

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/media/vision"
	"tandem/core/random"
)

// smooth makes a set of n soft pictures of different shapes, which counts how often one is opened.
func smooth(n int, opened *atomic.Int64) *Set {
	s := plain(n)
	s.Open = func(i int) (vision.Picture, error) {
		opened.Add(1)
		p := vision.NewPicture(40+3*(i%5), 50-4*(i%4))
		r := random.New(uint64(i), "soft")
		a, b := r.IntN(5)+1, r.IntN(5)+1
		for y := range p.H {
			for x := range p.W {
				p.Row(y)[3*x], p.Row(y)[3*x+1], p.Row(y)[3*x+2] = byte(a*x+b*y), byte(200-b*x), byte(i*20+y)
			}
		}
		return p, nil
	}
	s.Content = func(i int) string { return fmt.Sprint("soft ", i) }
	return s
}

const keptSize = 16

// keptBatches returns the pictures of training in two epochs and of evaluation.
func keptBatches(t *testing.T, s *Set, a *clip.Augment, cache *clip.PictureCache, dir string) []byte {
	t.Helper()
	d := New(func(context.Context, clip.DatasetConfig) (*Set, error) { return s, nil })
	if _, err := d.Configure(context.Background(), clip.DatasetConfig{ImageSize: keptSize, Threads: 3, Seed: 3, Augment: a, Cache: cache, CacheDir: dir}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	indices := make([]int, s.Len())
	for i := range indices {
		indices[i] = i
	}
	var out []byte
	for _, q := range []clip.BatchRequest{{Epoch: 0, Train: true, View2: true}, {Epoch: 1, Train: true}, {}} {
		q.Indices = indices
		b := batch(t, d, q)
		out = append(out, b.Images.U8()...)
		if b.Images2 != nil {
			out = append(out, b.Images2.U8()...)
		}
	}
	return out
}

// noMemory keeps decoded pictures out of memory for a test.
func noMemory(t *testing.T) {
	before := cacheBytes
	cacheBytes = 0
	t.Cleanup(func() { cacheBytes = before })
}

func TestKeptPicturesAreTheSame(t *testing.T) {
	for _, memory := range []bool{true, false} {
		if !memory {
			noMemory(t)
		}
		for name, a := range map[string]*clip.Augment{"squares": nil, "jitter": {Name: "none", ColorJitter: [4]float64{.4, .4, .4, .1}, ColorJitterProb: 1}, "crops": augment} {
			for _, format := range []string{"raw", "jpeg"} {
				dir, cache := t.TempDir(), &clip.PictureCache{Format: format, MaxBytes: 64 << 20}
				var opened atomic.Int64
				without := keptBatches(t, smooth(30, &opened), a, nil, dir)
				cold := keptBatches(t, smooth(30, &opened), a, cache, dir)
				opened.Store(0)
				warm := keptBatches(t, smooth(30, &opened), a, cache, dir)
				if n := opened.Load(); n > 0 {
					t.Errorf("%s %s: %d pictures are decoded that were kept", name, format, n)
				}
				nowhere := keptBatches(t, smooth(30, &opened), a, cache, "") // there is no folder to keep them in
				if !bytes.Equal(cold, warm) || !bytes.Equal(cold, nowhere) {
					t.Errorf("%s %s: pictures that were kept are others than those that are decoded", name, format)
				}
				if format == "raw" && !bytes.Equal(cold, without) {
					t.Errorf("%s: pictures are others than without a cache", name)
				}
				if d := meanDifference(cold, without); format == "jpeg" && (d == 0 || d > 6) {
					t.Errorf("%s: packed pictures differ by %.2f levels", name, d)
				}
			}
		}
	}
}

func meanDifference(a, b []byte) float64 {
	sum := 0
	for i := range a {
		d := int(a[i]) - int(b[i])
		sum += max(d, -d)
	}
	return float64(sum) / float64(len(a))
}

func TestAKeptPictureIsNeverStale(t *testing.T) {
	noMemory(t)
	dir, cache := t.TempDir(), &clip.PictureCache{Format: "raw", MaxBytes: 64 << 20}
	var opened atomic.Int64
	keptBatches(t, smooth(30, &opened), augment, cache, dir)
	changed := smooth(30, &opened)
	inner := changed.Open
	changed.Open = func(i int) (vision.Picture, error) { return inner(29 - i) }
	changed.Content = func(i int) string { return fmt.Sprint("soft ", 29-i) }
	want := keptBatches(t, changed, augment, nil, dir)
	opened.Store(0)
	if !bytes.Equal(keptBatches(t, changed, augment, cache, dir), want) {
		t.Error("a picture of another content")
	}
	if opened.Load() != 0 {
		t.Error("the same content under another number is decoded again")
	}
	changed.Content = func(i int) string { return fmt.Sprint("soft, written again ", i) }
	if keptBatches(t, changed, augment, cache, dir); opened.Load() != 30 {
		t.Errorf("%d of 30 new contents are decoded", opened.Load())
	}
}

func TestAFullStoreChangesNothing(t *testing.T) {
	noMemory(t)
	dir, cache := t.TempDir(), &clip.PictureCache{Format: "raw", MaxBytes: 1 << 20}
	var opened atomic.Int64
	want := keptBatches(t, smooth(300, &opened), augment, nil, "")
	opened.Store(0)
	if !bytes.Equal(keptBatches(t, smooth(300, &opened), augment, cache, dir), want) {
		t.Error("other pictures")
	}
	if n := opened.Load(); n <= 300 || n >= 900 {
		t.Errorf("%d pictures decoded in 900 readings", n)
	}
}

func TestWhatIsKeptIsSaid(t *testing.T) {
	var opened atomic.Int64
	remarks := func(cache string, change func(s *Set)) (string, string) {
		s := smooth(5, &opened)
		change(s)
		d := New(func(context.Context, clip.DatasetConfig) (*Set, error) { return s, nil })
		defer d.Close()
		c := clip.DatasetConfig{ImageSize: keptSize, Augment: augment, CacheDir: t.TempDir()}
		if cache != "" {
			c.Cache = &clip.PictureCache{Format: cache, MaxBytes: 1 << 20}
		}
		info, err := d.Configure(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(info.Remarks, "\n"), info.Digest
	}
	nothing := func(*Set) {}
	none, digest := remarks("", nothing)
	if raw, same := remarks("raw", nothing); raw != none || same != digest {
		t.Errorf("raw: %q, digest changed %v", raw, same != digest)
	}
	if packed, other := remarks("jpeg", nothing); !strings.Contains(packed, "shorter side of at most 30 pixels") || other == digest {
		t.Errorf("jpeg: %q, digest changed %v", packed, other != digest)
	}
	if nameless, _ := remarks("raw", func(s *Set) { s.Content = nil }); !strings.Contains(nameless, "not kept") {
		t.Errorf("without contents: %q", nameless)
	}
	if direct, same := remarks("jpeg", func(s *Set) { s.Direct = true }); direct != none || same != digest {
		t.Errorf("direct: %q, digest changed %v", direct, same != digest)
	}
}
