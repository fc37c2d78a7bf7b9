package sample

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	edit "tandem/core/media/vision/augment"
	"tandem/core/random"
	"tandem/core/tensor"
)

// plain makes a set of n flat pictures of 8 × 8 pixels whose red is their index; those in bad cannot be opened.
func plain(n int, bad ...int) *Set {
	s := &Set{Targets: []clip.Target{{Name: "label", Classes: []string{"even", "odd"}}}, Pixels: "plain"}
	for i := range n {
		s.Samples = append(s.Samples, Sample{Key: fmt.Sprint("k", i), Group: int64(i / 2),
			Captions: []string{fmt.Sprint("number ", i), fmt.Sprint(i), "thing"}, Labels: []int32{int32(i % 2)}})
	}
	s.Open = func(i int) (vision.Picture, error) {
		if slices.Contains(bad, i) {
			return vision.Picture{}, fault.New(fault.Corrupt, "broken %d", i)
		}
		p := vision.NewPicture(8, 8)
		for k := 0; k < len(p.Pix); k += 3 {
			p.Pix[k] = byte(i)
			p.Pix[k+1] = byte(k / 24 * 30)
			p.Pix[k+2] = byte(k % 24 * 10)
		}
		return p, nil
	}
	return s
}

func configured(t *testing.T, s *Set, c clip.DatasetConfig) clip.Dataset {
	t.Helper()
	d := New(func(context.Context, clip.DatasetConfig) (*Set, error) { return s, nil })
	if c.ImageSize == 0 {
		c.ImageSize = 4
	}
	if _, err := d.Configure(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func batch(t *testing.T, d clip.Dataset, r clip.BatchRequest) *clip.Batch {
	t.Helper()
	b, err := d.Batch(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var augment = &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{.3, 1}, Ratio: [2]float64{.75, 4. / 3}, HFlip: .5}

func TestContentIsAFunctionOfEpochAndIndex(t *testing.T) {
	one := configured(t, plain(20), clip.DatasetConfig{Threads: 1, Augment: augment})
	two := configured(t, plain(20), clip.DatasetConfig{Threads: 4, Augment: augment})
	a := batch(t, one, clip.BatchRequest{Indices: []int{3, 7, 11}, Epoch: 5, Train: true})
	batch(t, two, clip.BatchRequest{Indices: []int{1, 2, 3}, Epoch: 4, Train: true}) // other history
	b := batch(t, two, clip.BatchRequest{Indices: []int{11, 3, 7}, Epoch: 5, Train: true})
	for i, j := range []int{1, 2, 0} {
		if a.Captions[i] != b.Captions[j] || !bytes.Equal(a.Images.U8()[i*48:][:48], b.Images.U8()[j*48:][:48]) {
			t.Errorf("sample %s depends on more than epoch and index", a.Keys[i])
		}
	}
	c := batch(t, one, clip.BatchRequest{Indices: []int{3, 7, 11}, Epoch: 6, Train: true})
	if bytes.Equal(a.Images.U8(), c.Images.U8()) {
		t.Error("two epochs crop alike")
	}
	other := configured(t, plain(20), clip.DatasetConfig{Augment: augment, Seed: 1})
	if d := batch(t, other, clip.BatchRequest{Indices: []int{3, 7, 11}, Epoch: 5, Train: true}); bytes.Equal(a.Images.U8(), d.Images.U8()) {
		t.Error("two seeds crop alike")
	}
}

// TestEditsFollowTheCropAndAlter holds a batch against the parts made one after the other.
func TestEditsFollowTheCropAndAlter(t *testing.T) {
	a := *augment
	a.ColorJitter, a.ColorJitterProb, a.Grayscale, a.RandAugmentOps, a.RandAugmentMagnitude = [4]float64{.4, .4, .4, .1}, .8, .2, 2, 9
	a.Blur, a.BlurSigma = .5, [2]float64{.5, 2}
	const size = 24
	altered := func() *Set {
		set := plain(20)
		set.Alter = func(pix []byte, _ int, s *random.Stream) { pix[0] = byte(s.Uint64()) }
		return set
	}
	q := clip.BatchRequest{Indices: []int{3, 7, 11, 15}, Epoch: 5, Train: true, View2: true}
	want := batch(t, configured(t, altered(), clip.DatasetConfig{Augment: augment, Seed: 9, ImageSize: size}), q)
	got := batch(t, configured(t, altered(), clip.DatasetConfig{Augment: &a, Seed: 9, ImageSize: size, Threads: 3}), q)
	var e edit.Editor
	for at, i := range q.Indices {
		for view, pair := range [][2]*tensor.Tensor{{want.Images, got.Images}, {want.Images2, got.Images2}} {
			suffix := []string{"", " 2"}[view]
			pix := pair[0].U8()[at*3*size*size:][:3*size*size]
			e.Augment(pix, size, size, edits(&a), func(name string) *random.Stream { return random.New(9, name+suffix, 5, i) })
			if !bytes.Equal(pix, pair[1].U8()[at*3*size*size:][:3*size*size]) {
				t.Errorf("sample %d, view %d", i, view+1)
			}
		}
	}
}

func TestAugmentationsThatCannotBeAreRefused(t *testing.T) {
	for path, a := range map[string]clip.Augment{
		"name": {Name: "flip"}, "grayscale": {Name: "none", Grayscale: -1}, "blur": {Name: "none", Blur: math.NaN()},
		"blur_sigma": {Name: "none", Blur: 1}, "color_jitter": {Name: "none", ColorJitter: [4]float64{0, 0, 0, .6}}, "color_jitter_prob": {Name: "none", ColorJitterProb: 2},
		"randaugment_magnitude": {Name: "none", RandAugmentMagnitude: 31}, "randaugment_ops": {Name: "none", RandAugmentOps: -1}, "hflip": {Name: "none", HFlip: 2},
	} {
		d := New(func(context.Context, clip.DatasetConfig) (*Set, error) { return plain(2), nil })
		_, err := d.Configure(context.Background(), clip.DatasetConfig{ImageSize: 4, Augment: &a})
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != fault.Invalid || e.Path != "augment."+path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestEvaluationGivesAllCaptionsAndNoAugmentation(t *testing.T) {
	d := configured(t, plain(6), clip.DatasetConfig{Augment: augment})
	a := batch(t, d, clip.BatchRequest{Indices: []int{4, 1}})
	b := batch(t, d, clip.BatchRequest{Indices: []int{4, 1}, Epoch: 3})
	if !bytes.Equal(a.Images.U8(), b.Images.U8()) {
		t.Error("evaluation depends on the epoch")
	}
	if want := []string{"number 4", "4", "thing"}; !slices.Equal(a.All[0], want) || a.Captions[0] != want[0] {
		t.Errorf("captions %q and %q", a.Captions[0], a.All[0])
	}
	if a.Labels["label"][0] != 0 || a.Labels["label"][1] != 1 || a.Groups[0] != 2 || a.Keys[1] != "k1" {
		t.Errorf("labels %v, groups %v, keys %v", a.Labels, a.Groups, a.Keys)
	}
	if train := batch(t, d, clip.BatchRequest{Indices: []int{4}, Train: true}); train.All != nil {
		t.Error("training lists all captions")
	}
}

func TestUnreadableSamplesAreReportedAndTheirPlaceIsBlack(t *testing.T) {
	opened := 0
	set := plain(5, 1, 4, 0)
	inner := set.Open
	set.Open = func(i int) (vision.Picture, error) { opened++; return inner(i) }
	d := configured(t, set, clip.DatasetConfig{Threads: 1})
	for range 2 { // the second time from memory
		b := batch(t, d, clip.BatchRequest{Indices: []int{2, 4, 1}})
		if want := []string{"k2", "k4", "k1"}; !slices.Equal(b.Keys, want) || b.Captions[1] != "number 4" {
			t.Errorf("keys %v, captions %v", b.Keys, b.Captions)
		}
		if want := []clip.SampleFault{{Index: 4, Key: "k4", Msg: "broken 4", Reason: "corrupt"}, {Index: 1, Key: "k1", Msg: "broken 1", Reason: "corrupt"}}; !slices.Equal(b.Faults, want) {
			t.Errorf("faults %+v", b.Faults)
		}
		if pix := b.Images.U8(); pix[0] != 2 || !bytes.Equal(pix[48:], make([]byte, 96)) {
			t.Error("what stands in the place of a broken sample is another's")
		}
	}
	if opened != 3 {
		t.Errorf("three pictures were opened %d times: what is broken is to be remembered", opened)
	}
}

func TestFailRefusesTheFirstUnreadableSample(t *testing.T) {
	s := plain(9, 2, 6)
	s.Fail = true
	d := configured(t, s, clip.DatasetConfig{Threads: 3})
	_, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{6}})
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Corrupt || e.Hint == "" {
		t.Errorf("%v", err)
	}
	if b := batch(t, d, clip.BatchRequest{Indices: []int{5}}); len(b.Faults) != 0 {
		t.Error("a failed batch left something behind")
	}
}

func TestPicturesGoIntoTheGivenTensor(t *testing.T) {
	d := configured(t, plain(5), clip.DatasetConfig{})
	into := tensor.New(tensor.U8, 2, 4, 4, 3)
	b := batch(t, d, clip.BatchRequest{Indices: []int{1, 2}, Into: into})
	own := batch(t, d, clip.BatchRequest{Indices: []int{1, 2}})
	if b.Images != into || !bytes.Equal(into.U8(), own.Images.U8()) {
		t.Error("not written where asked")
	}
	for _, bad := range []*tensor.Tensor{tensor.New(tensor.U8, 3, 4, 4, 3), tensor.New(tensor.F32, 2, 4, 4, 3)} {
		if _, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{1, 2}, Into: bad}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("into %v: %v", bad.Shape, err)
		}
	}
}

func TestMisuseGivesTypedErrors(t *testing.T) {
	ctx := context.Background()
	open := func(context.Context, clip.DatasetConfig) (*Set, error) { return plain(3), nil }
	d := New(open)
	if _, err := d.Batch(ctx, clip.BatchRequest{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("unconfigured: %v", err)
	}
	for _, c := range []clip.DatasetConfig{{}, {ImageSize: 4, Augment: &clip.Augment{Name: "mixup"}},
		{ImageSize: 4, Augment: &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{0, 1}, Ratio: [2]float64{1, 1}}}} {
		if _, err := New(open).Configure(ctx, c); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := d.Configure(ctx, clip.DatasetConfig{ImageSize: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Configure(ctx, clip.DatasetConfig{ImageSize: 4}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("configured twice: %v", err)
	}
	for _, i := range []int{-1, 3} {
		if _, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{i}}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("index %d: %v", i, err)
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.Batch(canceled, clip.BatchRequest{Indices: []int{0}}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
	if _, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{0}}); err != nil {
		t.Errorf("after a cancellation: %v", err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := d.Captions(ctx, 0); fault.KindOf(err) != fault.Conflict {
		t.Errorf("closed: %v", err)
	}
}

func TestBatchesRunConcurrentlyWithinTheThreadLimit(t *testing.T) {
	s := plain(64)
	s.Direct = true
	var now, peak atomic.Int32
	inner := s.Open
	s.Open = func(i int) (vision.Picture, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		return inner(i)
	}
	d := configured(t, s, clip.DatasetConfig{Threads: 3})
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for k := range 20 {
				i := (g*20 + k) % 64
				b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{i, (i + 1) % 64}})
				if err != nil || b.Images.U8()[0] != byte(i) {
					t.Errorf("sample %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if p := peak.Load(); p > 3 {
		t.Errorf("%d decoders at a time, want 3 at most", p)
	}
}

func TestDigestChangesWithTheSamples(t *testing.T) {
	base := plain(4).digest()
	if base != plain(4).digest() {
		t.Fatal("not deterministic")
	}
	for name, change := range map[string]func(*Set){
		"key":     func(s *Set) { s.Samples[1].Key = "x" },
		"caption": func(s *Set) { s.Samples[1].Captions[0] = "x" },
		"label":   func(s *Set) { s.Samples[1].Labels[0] = 0 },
		"group":   func(s *Set) { s.Samples[1].Group = 9 },
		"class":   func(s *Set) { s.Targets[0].Classes[0] = "x" },
		"pixels":  func(s *Set) { s.Pixels = "x" },
		"order":   func(s *Set) { slices.Reverse(s.Samples) },
		"fewer":   func(s *Set) { s.Samples = s.Samples[:3] },
	} {
		s := plain(4)
		change(s)
		if s.digest() == base {
			t.Errorf("%s leaves the digest as it was", name)
		}
	}
}

func TestCaptionsAreDistinctAndOrdered(t *testing.T) {
	s := plain(3)
	s.Texts = []string{"thing", "extra"}
	d := configured(t, s, clip.DatasetConfig{})
	want := []string{"number 0", "0", "thing", "number 1", "1", "number 2", "2", "extra"}
	for _, limit := range []int{0, 4, 100} {
		n := len(want)
		if limit > 0 {
			n = min(n, limit)
		}
		if got, err := d.Captions(context.Background(), limit); err != nil || !slices.Equal(got, want[:n]) {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	}
}

func TestOwnCaptionsAndAlterationsArePositional(t *testing.T) {
	s := plain(4)
	s.Caption = func(i int, r *random.Stream) string { return fmt.Sprint(i, " ", r.IntN(1000)) }
	s.Alter = func(pix []byte, size int, r *random.Stream) { pix[0] = byte(r.Uint64()) }
	d := configured(t, s, clip.DatasetConfig{})
	a := batch(t, d, clip.BatchRequest{Indices: []int{2, 3}, Epoch: 1, Train: true})
	b := batch(t, d, clip.BatchRequest{Indices: []int{3, 2}, Epoch: 1, Train: true})
	if a.Captions[0] != b.Captions[1] || a.Images.U8()[0] != b.Images.U8()[48] {
		t.Error("depends on the place in the batch")
	}
}

func TestSplitsAreDisjointAndTogetherEverything(t *testing.T) {
	train, test := DefaultOptions, DefaultOptions
	train.Split, train.TestFraction = "train", .2
	test.Split, test.TestFraction = "test", .2
	held := 0
	for i := range 2000 {
		key := fmt.Sprint("file", i)
		if train.Has(key) == test.Has(key) || !DefaultOptions.Has(key) {
			t.Fatalf("%s is in both splits or in none", key)
		}
		if test.Has(key) {
			held++
		}
	}
	if held < 340 || held > 460 {
		t.Errorf("%d of 2000 in the test split of one fifth", held)
	}
	train.TestFraction = 0
	if train.Check() == nil {
		t.Error("a split without a fraction passes")
	}
}

// Without pictures nothing is opened, and everything else is as it was.
func TestWithoutImagesNothingIsOpened(t *testing.T) {
	opened := 0
	d := New(func(context.Context, clip.DatasetConfig) (*Set, error) {
		return &Set{Samples: []Sample{{Key: "a", Captions: []string{"x", "y"}}}, Direct: true,
			Open: func(int) (vision.Picture, error) { opened++; return vision.NewPicture(1, 1), nil }}, nil
	})
	info, err := d.Configure(t.Context(), clip.DatasetConfig{ImageSize: 2, Threads: 1})
	if err != nil || !info.Fixed {
		t.Fatalf("fixed: %v (%v)", info.Fixed, err)
	}
	for epoch := range 5 {
		q := clip.BatchRequest{Indices: []int{0}, Epoch: epoch, Train: true}
		with, err := d.Batch(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		n := opened
		q.NoImages = true
		without, err := d.Batch(t.Context(), q)
		if err != nil || without.Images != nil || opened != n || without.Captions[0] != with.Captions[0] || without.Keys[0] != "a" {
			t.Errorf("epoch %d: %+v, %d pictures opened (%v)", epoch, without, opened-n, err)
		}
	}
}

func TestABuildWithoutLibjpegRemarksOnJPEGFiles(t *testing.T) {
	s := &Set{Samples: []Sample{{Key: "a.JPG"}, {Key: "b/c.jpeg"}, {Key: "d.png"}}}
	if got := s.jpegRemark(false); len(got) != 1 || !strings.HasPrefix(got[0], "2 pictures are JPEG") {
		t.Errorf("got %q", got)
	}
	if got := s.jpegRemark(true); got != nil {
		t.Errorf("with libjpeg-turbo: %q", got)
	}
	if got := (&Set{Samples: s.Samples[2:]}).jpegRemark(false); got != nil {
		t.Errorf("without JPEG: %q", got)
	}
}
