package towertest

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// checkAdapters gives every matrix of every layer an adapter.
func (c Case) checkAdapters(t *testing.T) {
	plain := c
	c.lora = &clip.LoRA{Rank: 2, Alpha: 1, Targets: []string{"*"}}
	if !c.Rough {
		t.Run("gradient", c.Gradient)
	}
	t.Run("micro-batches add up", c.checkAccumulation)
	t.Run("average", c.checkAverage)
	t.Run("save and load in bfloat16", func(t *testing.T) { c.checkSaveAndLoad(t, "bf16-emulated") })
	t.Run("merged", func(t *testing.T) { c.checkMerged(t, plain) })
	t.Run("refused", c.checkBadAdapters)
	c.lora.Dropout = .3
	c.PerBatch = true
	if !c.Rough {
		t.Run("gradient with dropout", c.Gradient)
	}
	t.Run("checkpointing with dropout", c.checkCheckpointing)
	t.Run("save and load with dropout", func(t *testing.T) { c.checkSaveAndLoad(t, "f32") })
	t.Run("dropout", c.checkDropout)
}

// checkMerged trains adapters: they begin as the network without them, nothing else moves, and the matrices with what
// they add make the same embeddings without them.
func (c Case) checkMerged(t *testing.T, plain Case) {
	s, without := c.open(t, c.config(adamw)), plain.open(t, plain.config(adamw))
	apart := func(what string) {
		t.Helper()
		x, _ := s.forward(s.request(0, 6, clip.Eval))
		y, _ := without.forward(without.request(0, 6, clip.Eval))
		held(t, what, widen(x), widen(y), 1e-6)
	}
	apart("embeddings with adapters that are new")
	begin := func(name string, shape []int, i int) float32 {
		if strings.HasSuffix(name, weights.SuffixB) {
			return 0
		}
		return Value(name, shape, i)
	}
	Rewrite(t, s, begin)
	Rewrite(t, without, begin)
	apart("embeddings with adapters that add nothing")
	before := Values(t, s)
	for n := 1; n <= 3; n++ {
		s.train(n, 0, 4)
	}
	f, l := savedAdapters(t, s)
	count := 0
	merged := map[string][]float32{}
	for name, was := range before {
		v, err := f.F32(name)
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.HasPrefix(name, weights.SlotPrefix):
		case weights.IsAdapter(name):
			count += len(v)
			if slices.Equal(v, was) {
				t.Errorf("%s is not trained", name)
			}
		case !slices.Equal(v, was):
			t.Errorf("%s is trained", name)
		default:
			merged[name] = v
			if _, adapted := f.Info(name + weights.SuffixA); adapted {
				sum, err := l.Merge(f, name, name+weights.SuffixA, name+weights.SuffixB)
				if err != nil {
					t.Fatal(err)
				}
				if merged[name], err = sum.F32(); err != nil || slices.Equal(merged[name], v) {
					t.Errorf("the adapter of %s adds nothing (%v)", name, err)
				}
			}
		}
	}
	if trained := s.info.Parameters - s.info.Frozen; trained != int64(count) || s.info.Parameters != without.info.Parameters+trained {
		t.Errorf("%d of %d parameters are trained, adapters have %d", trained, s.info.Parameters, count)
	}
	Rewrite(t, without, func(name string, _ []int, i int) float32 { return merged[name][i] })
	apart("embeddings of the merged network")
	wants(t, fault.Invalid, without.Load(s.ctx, f.Path()))
	other := c
	other.lora = &clip.LoRA{Rank: 2, Alpha: 7, Targets: []string{"*"}}
	wants(t, fault.Invalid, other.open(t, other.config(adamw)).Load(s.ctx, f.Path()))
}

// savedAdapters saves an encoder with adapters and opens the file.
func savedAdapters(t *testing.T, e clip.Encoder) (*weights.File, *weights.LoRA) {
	t.Helper()
	f := saved(t, e)
	l, err := f.LoRA()
	if err != nil || l == nil {
		t.Fatalf("a checkpoint without adapters: %v", err)
	}
	return f, l
}

// checkBadAdapters asks for adapters that no network can have.
func (c Case) checkBadAdapters(t *testing.T) {
	for path, change := range map[string]func(*clip.EncoderConfig){
		"lora.rank":    func(c *clip.EncoderConfig) { c.LoRA.Rank = 0 },
		"lora.rank ":   func(c *clip.EncoderConfig) { c.LoRA.Rank = 100000 },
		"lora.alpha":   func(c *clip.EncoderConfig) { c.LoRA.Alpha = 0 },
		"lora.dropout": func(c *clip.EncoderConfig) { c.LoRA.Dropout = 1 },
		"lora.targets": func(c *clip.EncoderConfig) { c.LoRA.Targets = []string{"*", "no.such"} },
		"lora.targets ": func(c *clip.EncoderConfig) {
			c.LoRA.Targets = []string{"*bias"} // vectors
		},
		"lora.train": func(c *clip.EncoderConfig) { c.LoRA.Train = []string{"no.such"} },
		"lora":       func(c *clip.EncoderConfig) { c.Freeze.All = true },
	} {
		cfg := c.config(adamw)
		l := *c.lora
		cfg.LoRA = &l
		change(&cfg)
		e := c.New()
		_, err := e.Configure(t.Context(), cfg)
		if got, ok := err.(*fault.Error); !ok || got.Kind != fault.Invalid || got.Path != strings.TrimSpace(path) {
			t.Errorf("got %v, want fault.Invalid at %s", err, path)
		}
		e.Close()
	}
}

// checkDropout demands that dropout is drawn by step and micro-batch, and takes no part in evaluation.
func (c Case) checkDropout(t *testing.T) {
	s := c.open(t, c.config(adamw))
	Rewrite(t, s, Value)
	embed := func(mode clip.Mode, step, micro int) []float32 {
		req := s.request(0, 4, mode)
		req.Step, req.Micro = step, micro
		out, _ := s.forward(req)
		return out
	}
	once := embed(clip.Embed, 1, 0)
	if slices.Equal(once, embed(clip.Embed, 2, 0)) || slices.Equal(once, embed(clip.Embed, 1, 1)) {
		t.Error("nothing is drawn anew")
	}
	if !slices.Equal(once, embed(clip.Embed, 1, 0)) {
		t.Error("the same step draws anew")
	}
	if slices.Equal(once, embed(clip.Eval, 1, 0)) || !slices.Equal(embed(clip.Eval, 1, 0), embed(clip.Eval, 2, 1)) {
		t.Error("evaluation draws")
	}
}
