package towertest

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// blocks freezes the stem and the first n blocks.
func blocks(n int) clip.Freeze { return clip.Freeze{Blocks: &n} }

func (c Case) openFrozen(t *testing.T, o clip.Optimizer, f clip.Freeze) *session {
	t.Helper()
	cfg := c.config(o)
	cfg.Freeze = f
	return c.open(t, cfg)
}

// checkFrozenBlocks freezes the stem and the first block.
func (c Case) checkFrozenBlocks(t *testing.T) {
	free, part := c.open(t, c.config(adamw)), c.openFrozen(t, adamw, blocks(1))
	before := Values(t, part)
	for n := 1; n <= 2; n++ {
		free.train(n, 0, 4)
		part.train(n, 0, 4)
	}
	after, trained := Values(t, part), 0
	for name := range before {
		if strings.HasPrefix(name, "optim.") {
			continue
		}
		gain := statistics.Replace(name) // running statistics move with the norm that they belong to
		_, state := after["optim.m."+gain]
		moved := !slices.Equal(before[name], after[name])
		if moved != state {
			t.Errorf("%s moved: %v; %s has a state of the optimiser: %v", name, moved, gain, state)
		}
		if state && gain == name {
			trained += len(after[name])
		}
	}
	if got := part.info.Parameters - part.info.Frozen; got != int64(trained) || trained == 0 || part.info.Frozen == 0 {
		t.Errorf("%d parameters, %d frozen; %d are trained", part.info.Parameters, part.info.Frozen, trained)
	}
	whole, less := parts(free), parts(part)
	for _, name := range []string{"gradients", "optimizer", "activations"} {
		if less[name] >= whole[name] {
			t.Errorf("%s: %d bytes, %d when nothing is frozen", name, less[name], whole[name])
		}
	}
	if a, b := part.Encoder.(clip.Meter).Work(), free.Encoder.(clip.Meter).Work(); a >= b {
		t.Errorf("%g operations, %g when nothing is frozen", a, b)
	}
}

var statistics = strings.NewReplacer(".running_mean", ".weight", ".running_var", ".weight")

func parts(s *session) map[string]int64 {
	m := map[string]int64{}
	for _, p := range s.Encoder.(clip.MemoryReporter).Memory() {
		m[p.Name] = p.Bytes
	}
	return m
}

// checkFrozenGradients holds the gradients of what is trained against those of the whole network.
func (c Case) checkFrozenGradients(t *testing.T) {
	free, part := c.open(t, c.config(PlainSGD)), c.openFrozen(t, PlainSGD, blocks(1))
	var gradients []map[string][]float32
	for _, s := range []*session{free, part} {
		_, ticket := s.forward(s.request(0, 6, clip.Train))
		s.backward(ticket, 0, 6)
		gradients = append(gradients, s.gradient())
	}
	for name := range part.parameters() {
		norm, d := 0.0, 0.0
		for i, g := range gradients[0][name] {
			norm += float64(g) * float64(g)
			d += math.Pow(float64(g-gradients[1][name][i]), 2)
		}
		if math.Sqrt(d) > 2e-6*(math.Sqrt(norm)+1) {
			t.Errorf("%s: the gradient is off by %g of %g", name, math.Sqrt(d), math.Sqrt(norm))
		}
	}
}

// checkAllFrozen freezes everything: no tickets, no gradients, and embeddings that depend on the sample alone.
func (c Case) checkAllFrozen(t *testing.T) {
	s := c.openFrozen(t, adamw, clip.Freeze{All: true})
	if s.info.Frozen != s.info.Parameters || parts(s)["gradients"]+parts(s)["optimizer"] != 0 {
		t.Errorf("%d of %d parameters are frozen; memory %v", s.info.Frozen, s.info.Parameters, parts(s))
	}
	before := Values(t, s)
	req := s.request(0, 6, clip.Train)
	out, ticket, err := s.Forward(s.ctx, req)
	if err != nil || ticket != 0 {
		t.Fatalf("ticket %d (%v)", ticket, err)
	}
	wants(t, fault.Conflict, s.Backward(s.ctx, ticket, cotangent(0, 6)))
	if n, err := s.GradNorm(s.ctx); n != 0 || err != nil {
		t.Errorf("squared gradient norm %g (%v)", n, err)
	}
	s.step(1, 1, 1)
	same(t, "a step changed", before, Values(t, s))
	if s.info.Fixed {
		eval, _ := s.forward(s.request(0, 6, clip.Eval))
		if !slices.Equal(out.F32(), eval) {
			t.Error("modes Train and Eval differ")
		}
		later := req
		later.Step++
		if again, _, err := s.Forward(s.ctx, later); err != nil || !slices.Equal(again.F32(), eval) {
			t.Errorf("another step gives other embeddings (%v)", err)
		}
	}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := s.Save(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	cfg := c.config(adamw)
	cfg.Freeze, cfg.Seed, cfg.Captions = clip.Freeze{All: true}, 99, nil
	b := c.open(t, cfg)
	if err := b.Load(b.ctx, path); err != nil {
		t.Fatal(err)
	}
	same(t, "loaded values differ:", before, Values(t, b))
}

// checkBadFreezes asks for freezes that fit no network.
func (c Case) checkBadFreezes(t *testing.T) {
	for path, f := range map[string]clip.Freeze{
		"freeze.blocks": blocks(1000), "freeze.params": {Params: []string{"no.such.*"}},
	} {
		cfg := c.config(adamw)
		cfg.Freeze = f
		e := c.New()
		_, err := e.Configure(t.Context(), cfg)
		if got, ok := err.(*fault.Error); !ok || got.Kind != fault.Invalid || got.Path != path || got.Hint == "" {
			t.Errorf("%+v: got %v, want fault.Invalid at %s with a hint", f, err, path)
		}
		e.Close()
	}
}
