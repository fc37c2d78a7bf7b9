package train_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// seen notes the captions that a tower gets, batch by batch.
type seen struct {
	*linear
	batches [][]string
}

func (s *seen) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	s.batches = append(s.batches, slices.Clone(q.Texts))
	return s.linear.Forward(ctx, q)
}

// captionsOf returns the captions of samples in an epoch.
func captionsOf(t *testing.T, epoch int, indices ...int) []string {
	t.Helper()
	b, err := (&patterns{samples}).Batch(t.Context(), clip.BatchRequest{Indices: indices, Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	return b.Captions
}

// In the place of what cannot be read stand samples that the batch does not have, each once.
func TestUnreadableSamplesAreReplacedByOthersOfTheSet(t *testing.T) {
	cfg := config("")
	cfg.Steps = 12
	p, rec := parts(), newMemory()
	text := &seen{linear: p.Text.(*linear)}
	p.Data, p.Text = &gallery{patterns: patterns{samples}, broken: 3}, text
	res := run(t, cfg, p, rec, train.Hooks{}, nil, "")
	replaced := 0
	for step, captions := range text.batches {
		epoch := step / (samples / cfg.BatchSize)
		order := mixture.Order(samples, cfg.Seed, epoch, true)[step%(samples/cfg.BatchSize)*cfg.BatchSize:][:cfg.BatchSize]
		own := captionsOf(t, epoch, order...)
		for i, caption := range captions {
			if slices.Contains(captions[:i], caption) {
				t.Errorf("step %d has the sample %q twice", step+1, caption)
			}
			broken := order[i]%3 == 0
			if !broken && caption != own[i] {
				t.Errorf("step %d, place %d: %q, want its own %q", step+1, i, caption, own[i])
			}
			if broken {
				replaced++
				if slices.Contains(own, caption) {
					t.Errorf("step %d, place %d: another of the batch's own stands there", step+1, i)
				}
			}
		}
		for i := 0; i < samples; i += 3 {
			if slices.Contains(captions, captionsOf(t, epoch, i)[0]) {
				t.Errorf("step %d trains on sample %d, which cannot be read", step+1, i)
			}
		}
	}
	if replaced == 0 || res.Counts.Replaced != replaced || res.Counts.Samples != 12*12 {
		t.Errorf("%d replaced, counted %+v", replaced, res.Counts)
	}
	if got := rec.metrics["train/samples_replaced"][12]; got != float64(replaced) {
		t.Errorf("train/samples_replaced is %g, want %d", got, replaced)
	}
	if got, want := rec.metrics["train/samples_replaced_share"][12], float64(replaced)/144; got != want {
		t.Errorf("train/samples_replaced_share is %g, want %g", got, want)
	}
	if n := len(rec.events); n != 2 { // at the first and at the tenth
		t.Errorf("%d events for %d replaced samples: %v", n, replaced, rec.events)
	}
}

func TestReplacementsDependOnNothingButSeedAndStep(t *testing.T) {
	broken := func(dir string, micro int) (train.Config, train.Parts) {
		cfg, p := config(dir), parts()
		cfg.MicroBatchSize = micro
		p.Data = &gallery{patterns: patterns{samples}, broken: 4}
		return cfg, p
	}
	cfg, whole := broken(t.TempDir(), 12)
	rec := newMemory()
	run(t, cfg, whole, rec, train.Hooks{}, nil, "")

	dir, again := t.TempDir(), newMemory()
	cfg, first := broken(dir, 12)
	stop := make(chan struct{})
	res := run(t, cfg, first, again, train.Hooks{Step: func(r train.StepReport) {
		if r.Step == 7 {
			close(stop)
		}
	}}, stop, "")
	cfg, second := broken(dir, 12)
	end := run(t, cfg, second, again, train.Hooks{}, nil, res.CheckpointDir)
	if !slices.Equal(weightsOf(whole), weightsOf(second)) || !maps.Equal(rec.metrics["train/loss"], again.metrics["train/loss"]) {
		t.Error("a resumed run has other bits")
	}
	if !maps.Equal(rec.metrics["train/samples_replaced"], again.metrics["train/samples_replaced"]) || end.Counts.Samples != 30*12 {
		t.Errorf("a resumed run counts otherwise: %+v", end.Counts)
	}
	text := make([]*seen, 2)
	for i, micro := range []int{12, 4} {
		cfg, p := broken("", micro)
		text[i] = &seen{linear: p.Text.(*linear)}
		p.Text = text[i]
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
	}
	var parts []string // every micro-batch is forwarded twice
	for i := 0; i < len(text[1].batches); i += 6 {
		parts = append(parts, slices.Concat(text[1].batches[i:i+3]...)...)
	}
	if !slices.Equal(slices.Concat(text[0].batches...), parts) {
		t.Error("micro-batches get other replacements than the whole batch")
	}
}

func TestTooManyUnreadableSamplesEndTheRun(t *testing.T) {
	try := func(limit float64, broken int) (train.Result, error) {
		cfg, p := config(""), parts()
		cfg.MaxBadShare = limit
		p.Data = &gallery{patterns: patterns{samples}, broken: broken}
		trainer, err := train.New(cfg, p, newMemory(), train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		return trainer.Run(t.Context(), nil)
	}
	for _, c := range []struct {
		limit  float64
		broken int
		most   int // steps until it is found out
	}{{0.05, 2, 2}, {0.05, 10, 4}, {0, 50, 4}} {
		res, err := try(c.limit, c.broken)
		f := new(fault.Error)
		if !errors.As(err, &f) || f.Kind != fault.Corrupt || f.Path != "data.max_bad_share" || f.Hint == "" || res.Steps > c.most {
			t.Errorf("1 in %d with a limit of %g: %v after %d steps", c.broken, c.limit, err, res.Steps)
		}
	}
	if _, err := try(0.15, 10); err != nil {
		t.Errorf("10 %% with a limit of 15 %%: %v", err)
	}
	if _, err := try(1, 1); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "too few") {
		t.Errorf("nothing can be read: %v", err)
	}
}

// stuck implements a dataset that waits for its call to end from the third batch on.
type stuck struct {
	patterns
	mu      sync.Mutex
	batches int
	waiting chan struct{}
}

func (s *stuck) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	s.mu.Lock()
	s.batches++
	n := s.batches
	s.mu.Unlock()
	if n == 3 {
		close(s.waiting)
	}
	if n >= 3 {
		<-ctx.Done()
		return nil, fault.New(fault.Canceled, "waiting for a file")
	}
	return s.patterns.Batch(ctx, q)
}

func TestAStopIsObeyedWhileABatchIsWaitedFor(t *testing.T) {
	cfg, p := config(t.TempDir()), parts()
	data := &stuck{patterns: patterns{samples}, waiting: make(chan struct{})}
	p.Data = data
	res := run(t, cfg, p, newMemory(), train.Hooks{}, data.waiting, "")
	if !res.Stopped || res.Steps > 2 || res.CheckpointDir != filepath.Join(cfg.Dir, fmt.Sprintf("step-%08d", res.Steps)) && res.Steps > 0 {
		t.Errorf("%+v", res)
	}
}

// A stop breaks an evaluation off; the run that goes on does it first, and has the bits of one that was not stopped.
func TestAStopBreaksAnEvaluationOffAndResumeDoesItFirst(t *testing.T) {
	cfg, p := config(t.TempDir()), parts()
	cfg.EvalEvery = 8
	stop := make(chan struct{})
	res := run(t, cfg, p, newMemory(), train.Hooks{Evaluate: func(ctx context.Context, step int) error {
		if step == 16 {
			close(stop)
			<-ctx.Done()
			return fault.New(fault.Canceled, "in the middle")
		}
		return nil
	}}, stop, "")
	if !res.Stopped || res.Steps != 16 {
		t.Fatalf("%+v", res)
	}
	var evaluated []int
	second := parts()
	run(t, cfg, second, newMemory(), train.Hooks{Evaluate: func(_ context.Context, step int) error {
		evaluated = append(evaluated, step)
		return nil
	}}, nil, res.CheckpointDir)
	if want := []int{16, 24, 30}; !slices.Equal(evaluated, want) {
		t.Errorf("evaluated after %v, want %v", evaluated, want)
	}
	whole := parts()
	run(t, config(""), whole, newMemory(), train.Hooks{}, nil, "")
	if !slices.Equal(weightsOf(whole), weightsOf(second)) {
		t.Error("weights differ")
	}
}

// counting implements a text encoder whose tokens are bytes and that takes so many.
type counting struct {
	*linear
	limit, calls int
}

func (c *counting) CountTokens(_ context.Context, _ *clip.EncoderConfig, texts []string) ([]int, int, error) {
	c.calls++
	var out []int
	for _, t := range texts {
		out = append(out, len(t)+2)
	}
	return out, c.limit, nil
}

func TestCutCaptionsAreCountedAndToldOnce(t *testing.T) {
	for _, limit := range []int{4, 12, 100} {
		cfg, p, rec := config(""), parts(), newMemory()
		text := &counting{linear: p.Text.(*linear), limit: limit}
		p.Text = text
		res := run(t, cfg, p, rec, train.Hooks{}, nil, "")
		cut, longest := 0, 0
		for step := range cfg.Steps {
			epoch := step / (samples / cfg.BatchSize)
			order := mixture.Order(samples, cfg.Seed, epoch, true)[step%(samples/cfg.BatchSize)*cfg.BatchSize:][:cfg.BatchSize]
			for _, caption := range captionsOf(t, epoch, order...) {
				longest = max(longest, len(caption)+2)
				if len(caption)+2 > limit {
					cut++
				}
			}
		}
		c := res.Counts
		if c.Cut != cut || c.Captions != cfg.Steps*cfg.BatchSize || c.Longest != longest {
			t.Errorf("limit %d: counted %+v, want %d cut and a longest of %d", limit, c, cut, longest)
		}
		if got := rec.metrics["train/captions_cut"][cfg.Steps]; got != float64(cut) {
			t.Errorf("limit %d: train/captions_cut is %g, want %d", limit, got, cut)
		}
		told := 0
		for _, kind := range rec.events {
			if kind == "captions_cut" {
				told++
			}
		}
		if want := min(1, cut); told != want {
			t.Errorf("limit %d: told %d times, want %d", limit, told, want)
		}
		if text.calls > 12 { // two epochs have all captions there are
			t.Errorf("limit %d: the encoder was asked %d times for captions that come again", limit, text.calls)
		}
	}
}
