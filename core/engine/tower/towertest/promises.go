package towertest

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// A Case names a tower to check.
type Case struct {
	// New makes an unconfigured encoder: tower.Image(build, options...).
	New func(options ...tower.Option) clip.Encoder
	// With holds the with block; it should make a small network.
	With string
	// Other holds a with block whose checkpoints must be refused.
	Other string
	// PerBatch says that a sample's embedding in training depends on its batch or on its place in it:
	// batch normalisation, patch dropout.
	PerBatch bool
	// Rough says that the network has kinks (ReLU) everywhere, which finite differences cannot cross:
	// its gradient needs golden files.
	Rough bool

	lora *clip.LoRA // of what is checked
}

// embedDim sets the width of the shared space in checks.
const embedDim = 6

// captions holds the texts of a batch; they differ in length.
var captions = []string{"cat", "a photo of a dog", "two red birds on a wire", "sun", "rain over the sea", "x y"}

// Check runs every check of this package on a tower, beyond those that core/plugin/conformance makes of any
// encoder.
func (c Case) Check(t *testing.T) {
	if !c.Rough {
		t.Run("gradient", c.Gradient)
	}
	t.Run("several tickets outstanding", c.checkSeveralTickets)
	t.Run("micro-batches add up", c.checkAccumulation)
	t.Run("tokens", c.checkTokens)
	t.Run("checkpointing", c.checkCheckpointing)
	t.Run("save and load", func(t *testing.T) { c.checkSaveAndLoad(t, "f32") })
	t.Run("save and load in bfloat16", func(t *testing.T) { c.checkSaveAndLoad(t, "bf16-emulated") })
	t.Run("repeatable", c.checkRepeatability)
	t.Run("load refuses", c.checkLoadRefuses)
	t.Run("weight decay", c.checkWeightDecay)
	t.Run("frozen blocks", c.checkFrozenBlocks)
	if !c.Rough {
		t.Run("gradients beside frozen blocks", c.checkFrozenGradients)
	}
	t.Run("all frozen", c.checkAllFrozen)
	t.Run("bad freezes", c.checkBadFreezes)
	t.Run("adapters", c.checkAdapters)
	t.Run("start", c.checkStart)
	t.Run("groups", c.checkGroups)
	t.Run("average", c.checkAverage)
	t.Run("buckets", c.checkBuckets)
	t.Run("bad requests", c.checkBadRequests)
	t.Run("not finite", c.checkNotFinite)
	t.Run("lifecycle", c.checkLifecycle)
}

var adamw = clip.Optimizer{Name: "adamw", WeightDecay: .1, Beta1: .9, Beta2: .98, Eps: 1e-6}

// session wraps a configured encoder under test; its methods end the test on an error.
type session struct {
	*testing.T
	clip.Encoder
	info clip.EncoderInfo
	ctx  context.Context
}

func (c Case) config(o clip.Optimizer) clip.EncoderConfig {
	return clip.EncoderConfig{With: json.RawMessage(c.With), EmbedDim: embedDim, Seed: 3, Optimizer: o, Compute: CPU, Captions: captions, LoRA: c.lora}
}

func (c Case) open(t *testing.T, cfg clip.EncoderConfig, options ...tower.Option) *session {
	t.Helper()
	e := c.New(options...)
	t.Cleanup(func() { e.Close() })
	info, err := e.Configure(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &session{t, e, info, context.Background()}
}

// request asks for samples [from, to) of a fixed sequence of six.
func (s *session) request(from, to int, mode clip.Mode) clip.ForwardRequest {
	if s.info.Modality == clip.Text {
		return clip.ForwardRequest{Texts: captions[from:to], Mode: mode, Step: 5}
	}
	size := s.info.ImageSize
	x := pictures(len(captions), size)
	n := size * size * 3
	return clip.ForwardRequest{Mode: mode, Step: 5, Images: &tensor.Tensor{
		DType: tensor.U8, Shape: tensor.Shape{to - from, size, size, 3}, Data: x.Data[from*n : to*n],
	}}
}

func (s *session) forward(req clip.ForwardRequest) ([]float32, clip.Ticket) {
	s.Helper()
	out, ticket, err := s.Forward(s.ctx, req)
	if err != nil {
		s.Fatal(err)
	}
	if (ticket != 0) != (req.Mode == clip.Train) {
		s.Fatalf("ticket %d in mode %d", ticket, req.Mode)
	}
	return out.F32(), ticket
}

// cotangent returns the gradient of rows [from, to) of a batch.
func cotangent(from, to int) *tensor.Tensor {
	g := tensor.New(tensor.F32, to-from, embedDim)
	for i := range g.F32() {
		g.F32()[i] = float32(100 * Uniform("cotangent", from*embedDim+i))
	}
	return g
}

func (s *session) backward(ticket clip.Ticket, from, to int) {
	s.Helper()
	if err := s.Backward(s.ctx, ticket, cotangent(from, to)); err != nil {
		s.Fatal(err)
	}
}

func (s *session) step(n int, lr, scale float64) {
	s.Helper()
	if err := s.Step(s.ctx, n, lr, scale); err != nil {
		s.Fatal(err)
	}
}

// train takes one step on samples [from, to).
func (s *session) train(n, from, to int) {
	s.Helper()
	_, ticket := s.forward(s.request(from, to, clip.Train))
	s.backward(ticket, from, to)
	s.step(n, 1e-2, .5)
}

// gradient returns Σ over the batch of the gradients accumulated: what a step of plain descent subtracts.
func (s *session) gradient() map[string][]float32 {
	s.Helper()
	before := Values(s.T, s)
	s.step(1, 1, 1)
	after := Values(s.T, s)
	for name := range before {
		before[name] = minus(before[name], after[name])
	}
	return before
}

func minus(a, b []float32) []float32 {
	if a == nil || len(a) != len(b) {
		return nil
	}
	d := make([]float32, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// Two tickets, used in the other order, give the gradients of two passes one after another.
func (c Case) checkSeveralTickets(t *testing.T) {
	a, b := c.open(t, c.config(PlainSGD)), c.open(t, c.config(PlainSGD))
	_, t1 := a.forward(a.request(0, 3, clip.Train))
	_, t2 := a.forward(a.request(3, 6, clip.Train))
	a.forward(a.request(1, 4, clip.Eval))
	a.backward(t2, 3, 6)
	a.backward(t1, 0, 3)
	for _, from := range []int{3, 0} {
		_, ticket := b.forward(b.request(from, from+3, clip.Train))
		b.backward(ticket, from, from+3)
	}
	na, err := a.GradNorm(a.ctx)
	nb, _ := b.GradNorm(b.ctx)
	if na != nb || !(na > 0) || err != nil {
		t.Errorf("squared gradient norms are %g and %g (%v)", na, nb, err)
	}
	ga, gb := a.gradient(), b.gradient()
	trained := a.parameters() // statistics move in the order of the passes
	for name := range ga {
		if !trained[name] {
			delete(ga, name)
			delete(gb, name)
		}
	}
	same(t, "gradients depend on the order of tickets:", ga, gb)
	if n, _ := a.GradNorm(a.ctx); n != 0 {
		t.Errorf("gradient norm %g after a step", n)
	}
}

// parameters returns the names of the trained arrays, which are those with a state of SGD; see PlainSGD.
func (s *session) parameters() map[string]bool {
	names := map[string]bool{}
	for name := range Values(s.T, s) {
		if p, ok := strings.CutPrefix(name, "optim.v."); ok {
			names[p] = true
		}
	}
	return names
}

func (c Case) checkAccumulation(t *testing.T) {
	if c.PerBatch {
		t.Skip("micro-batches are not the batch")
	}
	whole, parts := c.open(t, c.config(PlainSGD)), c.open(t, c.config(PlainSGD))
	_, ticket := whole.forward(whole.request(0, 6, clip.Train))
	whole.backward(ticket, 0, 6)
	for _, from := range []int{0, 3} {
		_, ticket := parts.forward(parts.request(from, from+3, clip.Train))
		parts.backward(ticket, from, from+3)
	}
	a, b := whole.gradient(), parts.gradient()
	for name := range a {
		var norm, diff float64
		for i := range a[name] {
			norm += float64(a[name][i]) * float64(a[name][i])
			diff += math.Pow(float64(a[name][i]-b[name][i]), 2)
		}
		if math.Sqrt(diff) > 1e-5*(math.Sqrt(norm)+1) {
			t.Errorf("%s: gradients differ by %g of %g", name, math.Sqrt(diff), math.Sqrt(norm))
		}
	}
}

func (c Case) checkLoadRefuses(t *testing.T) {
	s := c.open(t, c.config(adamw))
	dir := t.TempDir()
	path := filepath.Join(dir, "other.safetensors")
	other := c
	other.With = c.Other
	o := other.open(t, c.configOf(c.Other))
	if err := o.Save(o.ctx, path); err != nil {
		t.Fatal(err)
	}
	before := Values(t, s)
	wants(t, fault.Invalid, s.Load(s.ctx, path))
	sgd := c.open(t, c.config(PlainSGD))
	if err := sgd.Save(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	wants(t, fault.Invalid, s.Load(s.ctx, path))
	wants(t, fault.NotFound, s.Load(s.ctx, filepath.Join(dir, "absent")))
	same(t, "a refused checkpoint changed", before, Values(t, s))
}

func (c Case) configOf(with string) clip.EncoderConfig {
	cfg := c.config(adamw)
	cfg.With = json.RawMessage(with)
	return cfg
}

// Without a gradient, a step of AdamW shrinks what is decayed by 1 − lr·decay and leaves the rest.
func (c Case) checkWeightDecay(t *testing.T) {
	for _, embeddings := range []bool{false, true} {
		o := adamw
		o.DecayEmbeddings = embeddings
		s := c.open(t, c.config(o))
		before := Rewrite(t, s, func(string, []int, int) float32 { return 1 })
		s.step(1, .5, 1)
		after := Values(t, s)
		shapes := s.shapes()
		for name := range before {
			want := float32(1)
			embedding := strings.HasSuffix(name, "positional_embedding") || strings.HasSuffix(name, "position_embeddings.weight") || strings.HasSuffix(name, "token_type_embeddings.weight")
			if len(shapes[name]) >= 2 && (!embedding || embeddings) {
				want = .95
			}
			if got := after[name][0]; math.Abs(float64(got-want)) > 1e-6 {
				t.Errorf("%s is %g after a step, want %g (embeddings decayed: %v)", name, got, want, embeddings)
			}
		}
	}
}

func (s *session) shapes() map[string][]int {
	tensors, _ := read(s.T, s)
	shapes := map[string][]int{}
	for _, w := range tensors {
		shapes[w.Name] = w.Shape
	}
	return shapes
}

func (c Case) checkBadRequests(t *testing.T) {
	s := c.open(t, c.config(adamw))
	size := max(s.info.ImageSize, 8)
	for what, req := range map[string]clip.ForwardRequest{
		"both":       {Images: tensor.New(tensor.U8, 2, size, size, 3), Texts: []string{"a", "b"}},
		"no sample":  {Images: tensor.New(tensor.U8, 0, size, size, 3)},
		"no caption": {Texts: []string{}},
	} {
		if _, _, err := s.Forward(s.ctx, req); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want fault.Invalid", what, err)
		}
	}
	s.forward(s.request(0, 2, clip.Eval))
}

func (c Case) checkNotFinite(t *testing.T) {
	s := c.open(t, c.config(adamw))
	Rewrite(t, s, func(name string, _ []int, _ int) float32 { return float32(math.NaN()) })
	_, _, err := s.Forward(s.ctx, s.request(0, 2, clip.Train))
	wants(t, fault.Numeric, err)
}

func (c Case) checkLifecycle(t *testing.T) {
	ctx := context.Background()
	e := c.New()
	_, _, err := e.Forward(ctx, clip.ForwardRequest{})
	wants(t, fault.Conflict, err)
	for what, change := range map[string]func(*clip.EncoderConfig){
		"unknown option":    func(c *clip.EncoderConfig) { c.With = json.RawMessage(`{"no_such_option": 1}`) },
		"no dimension":      func(c *clip.EncoderConfig) { c.EmbedDim = 0 },
		"no thread":         func(c *clip.EncoderConfig) { c.Compute.Threads = 0 },
		"unknown device":    func(c *clip.EncoderConfig) { c.Compute.Device = "abacus" },
		"unknown precision": func(c *clip.EncoderConfig) { c.Compute.Precision = "f7" },
		"unknown optimiser": func(c *clip.EncoderConfig) { c.Optimizer.Name = "newton" },
	} {
		cfg := c.config(adamw)
		change(&cfg)
		if _, err := e.Configure(ctx, cfg); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want fault.Invalid", what, err)
		}
	}
	if _, err := e.Configure(ctx, c.config(adamw)); err != nil {
		t.Fatal(err)
	}
	_, err = e.Configure(ctx, c.config(adamw))
	wants(t, fault.Conflict, err)
	s := &session{t, e, clip.EncoderInfo{}, ctx}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	wants(t, fault.Canceled, e.Step(canceled, 1, 1, 1))
	s.step(1, 1e-3, 1)
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	wants(t, fault.Conflict, e.Step(ctx, 1, 1, 1))
}

func wants(t *testing.T, kind fault.Kind, err error) {
	t.Helper()
	if fault.KindOf(err) != kind {
		t.Errorf("got %v, want fault.%s", err, kind)
	}
}
