package train_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/train"
	"tandem/core/tensor"
)

// shelf implements train.Features in memory.
type shelf struct {
	sync.Mutex
	rows map[string][]float32
	gets int
	// forgets makes every so many-th Get fail although Has said yes.
	forgets int
}

func newShelf() *shelf { return &shelf{rows: map[string][]float32{}} }

func (s *shelf) Dim() int { return 6 }

func (s *shelf) Has(name string) bool {
	s.Lock()
	defer s.Unlock()
	return s.rows[name] != nil
}

func (s *shelf) Get(name string, row []float32) bool {
	s.Lock()
	defer s.Unlock()
	s.gets++
	if s.forgets > 0 && s.gets%s.forgets == 0 {
		return false
	}
	return copy(row, s.rows[name]) > 0
}

func (s *shelf) Put(name string, row []float32) {
	s.Lock()
	defer s.Unlock()
	s.rows[name] = slices.Clone(row)
}

// gallery counts the pictures that patterns gives. Some cannot be read: the next one takes their place.
type gallery struct {
	patterns
	broken   int // every so many-th; 0: none
	mu       sync.Mutex
	pictures int
}

func (g *gallery) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	if r.NoImages {
		b, err := g.patterns.Batch(ctx, r)
		b.Images = nil
		return b, err
	}
	g.mu.Lock()
	g.pictures += len(r.Indices)
	g.mu.Unlock()
	var faults []clip.SampleFault
	r.Indices = slices.Clone(r.Indices)
	for i, index := range r.Indices {
		if g.broken > 0 && index%g.broken == 0 {
			faults = append(faults, clip.SampleFault{Index: index})
			r.Indices[i] = (index + 1) % g.n
		}
	}
	b, err := g.patterns.Batch(ctx, r)
	b.Faults = faults
	return b, err
}

// watched counts the samples that a frozen encoder embeds.
type watched struct {
	locked
	samples int
}

func (c *watched) Forward(ctx context.Context, r clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	c.samples += len(r.Texts)
	if r.Images != nil {
		c.samples += r.Images.Shape[0]
	}
	return c.locked.Forward(ctx, r)
}

// trial describes a run with one or two frozen towers.
type trial struct {
	data        *gallery
	image, text *watched // text is nil when it learns
	losses      map[int]float64
	faults      int
}

// frozenRun trains with a frozen image tower, and a frozen text tower when texts is set, over what is remembered.
func frozenRun(t *testing.T, cfg train.Config, broken int, texts bool, images, captions train.Features, resume string) trial {
	t.Helper()
	p, rec := parts(), newMemory()
	r := trial{data: &gallery{patterns: patterns{samples}, broken: broken}}
	r.image = &watched{locked: locked{p.Image.(*linear), t}}
	p.Data, p.Image, p.Frozen = r.data, r.image, [2]bool{true, texts}
	if texts {
		r.text = &watched{locked: locked{p.Text.(*linear), t}}
		p.Text = r.text
	}
	trainer, err := train.New(cfg, p, rec, train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if resume != "" {
		if err := trainer.Resume(t.Context(), resume); err != nil {
			t.Fatal(err)
		}
	}
	trainer.Remember(images, captions)
	if _, err := trainer.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	r.losses, r.faults = rec.metrics["train/loss"], len(rec.events)
	return r
}

// Over several epochs every picture is asked for and embedded once, and in a later run never; the losses
// have the bits of a run that remembers nothing, whatever is accumulated and unreadable.
func TestRememberedFeaturesChangeNothingButTheWork(t *testing.T) {
	for name, c := range map[string]struct {
		micro, broken int
		texts         bool
	}{
		"plain": {micro: 12}, "in parts": {micro: 4}, "both towers": {micro: 12, texts: true},
		"unreadable pictures": {micro: 6, broken: 7}, "both, unreadable": {micro: 12, broken: 7, texts: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config("")
			cfg.MicroBatchSize = c.micro
			want := frozenRun(t, cfg, c.broken, c.texts, nil, nil, "")
			images, captions := newShelf(), train.Features(nil)
			if c.texts {
				captions = newShelf()
			}
			first := frozenRun(t, cfg, c.broken, c.texts, images, captions, "")
			second := frozenRun(t, cfg, c.broken, c.texts, images, captions, "")
			for which, got := range map[string]trial{"first": first, "second": second} {
				if !maps.Equal(got.losses, want.losses) {
					t.Errorf("the losses of the %s run differ: %v, want %v", which, got.losses, want.losses)
				}
			}
			if c.broken > 0 {
				if first.faults == 0 || first.data.pictures >= want.data.pictures/2 {
					t.Errorf("%d broken samples were told, %d pictures asked for, %d without memory", first.faults, first.data.pictures, want.data.pictures)
				}
				return
			}
			// The epochs end in a few samples that are left out; those come later, padded to powers of two.
			if n := first.data.pictures; n < samples || n > samples+10 || first.image.samples != n {
				t.Errorf("%d pictures asked for and %d embedded, of %d samples", n, first.image.samples, samples)
			}
			if second.data.pictures != 0 || second.image.samples != 0 {
				t.Errorf("in the second run %d pictures asked for and %d embedded", second.data.pictures, second.image.samples)
			}
			if c.texts && (first.text.samples > 2*samples+20 || second.text.samples != 0) {
				t.Errorf("%d captions embedded, in the second run %d; there are %d", first.text.samples, second.text.samples, 2*samples)
			}
		})
	}
}

// What turns out to be missing after all is computed again.
func TestFeaturesThatAreForgottenAreComputedAgain(t *testing.T) {
	want := frozenRun(t, config(""), 0, true, nil, nil, "")
	images, captions := newShelf(), newShelf()
	images.forgets, captions.forgets = 5, 3
	if got := frozenRun(t, config(""), 0, true, images, captions, ""); !maps.Equal(got.losses, want.losses) {
		t.Errorf("losses %v, want %v", got.losses, want.losses)
	}
}

// A run that goes on with a part of the features has the bits of one that was not interrupted.
func TestARunResumesWithHalfTheFeatures(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Steps, cfg.KeepCheckpoints = 30, 0
	images := newShelf()
	want := frozenRun(t, cfg, 0, false, images, nil, "")
	for name := range images.rows {
		if name[len(name)-1]%2 == 0 {
			delete(images.rows, name)
		}
	}
	got := frozenRun(t, cfg, 0, false, images, nil, cfg.Dir+"/step-00000010")
	for step := 11; step <= 30; step++ {
		if got.losses[step] != want.losses[step] {
			t.Errorf("loss of step %d is %v, want %v", step, got.losses[step], want.losses[step])
		}
	}
	if got.data.pictures == 0 || got.data.pictures > samples/2+10 {
		t.Errorf("%d pictures asked for", got.data.pictures)
	}
}
