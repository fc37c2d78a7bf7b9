package towertest

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
)

const averaged = "ema."

// ema embeds all samples with the averaged weights.
func (s *session) ema() []float32 {
	s.Helper()
	req := s.request(0, 6, clip.Eval)
	req.EMA = true
	out, _ := s.forward(req)
	return out
}

// averagesOf returns the averaged parameters among values, by the parameters' names.
func averagesOf(values map[string][]float32) map[string][]float32 {
	found := map[string][]float32{}
	for name, v := range values {
		if p, ok := strings.CutPrefix(name, averaged); ok {
			found[p] = v
			delete(values, name)
		}
	}
	return found
}

// checkAverage trains with averaged weights: the trained ones are those of a training without, the average is that of
// what Save shows after each step, and forward passes with it are those of an encoder that has it for parameters.
func (c Case) checkAverage(t *testing.T) {
	const decay, steps = .8, 12
	o := adamw
	o.EMADecay = decay
	s, plain := c.open(t, c.config(o)), c.open(t, c.config(adamw))
	eval, _ := s.forward(s.request(0, 6, clip.Eval))
	if !slices.Equal(s.ema(), eval) {
		t.Error("before the first step the average is not what the parameters are")
	}
	want := map[string][]float64{}
	for n := 1; n <= steps; n++ {
		s.train(n, 0, 4)
		plain.train(n, 0, 4)
		values := Values(t, s)
		average := averagesOf(values)
		for name := range average {
			for i, p := range values[name] {
				if n == 1 {
					want[name] = append(want[name], float64(p))
				} else {
					want[name][i] = decay*want[name][i] + (1-decay)*float64(p)
				}
			}
		}
		s.ema() // packed weights of before a step must not be used after it
	}
	live := Values(t, s)
	average := averagesOf(live)
	same(t, "the average changed", live, Values(t, plain))
	for name, want := range want {
		for i, w := range want {
			if math.Abs(w-float64(average[name][i])) > 1e-6 {
				t.Fatalf("the average of %s[%d] is %g, want %g", name, i, average[name][i], w)
			}
		}
	}
	if len(want) != len(s.moments()) {
		t.Errorf("%d averages of %d trained arrays", len(want), len(s.moments()))
	}
	Rewrite(t, plain, func(name string, _ []int, i int) float32 {
		if v, ok := average[name]; ok {
			return v[i]
		}
		return live[name][i]
	})
	if out, _ := plain.forward(plain.request(0, 6, clip.Eval)); !slices.Equal(out, s.ema()) {
		t.Error("embeddings by averaged weights are not those of an encoder with these parameters")
	}
	if parts(s)["ema"] == 0 || parts(plain)["ema"] != 0 {
		t.Errorf("memory: %v", parts(s))
	}
	c.checkAverageResumes(t, s, o, steps)
	c.checkAverageIsRefused(t, s, plain)
}

func (c Case) checkAverageResumes(t *testing.T, s *session, o clip.Optimizer, steps int) {
	path := filepath.Join(t.TempDir(), "averaged.safetensors")
	if err := s.Save(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	resumed := c.open(t, c.config(o))
	if err := resumed.Load(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*session{s, resumed} {
		x.train(steps+1, 0, 4)
	}
	same(t, "resumed:", Values(t, s), Values(t, resumed))
	plain := c.open(t, c.config(adamw))
	wants(t, fault.Invalid, plain.Load(s.ctx, path))
	// A checkpoint without an average begins one at what it has.
	if err := plain.Save(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	if err := resumed.Load(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	if out, _ := plain.forward(plain.request(0, 6, clip.Eval)); !slices.Equal(out, resumed.ema()) {
		t.Error("an average that begins anew is not what the parameters are")
	}
	resumed.train(1, 0, 4)
	values := Values(t, resumed)
	for name, v := range averagesOf(values) {
		if !slices.Equal(v, values[name]) {
			t.Errorf("the first step does not copy %s", name)
		}
	}
}

func (c Case) checkAverageIsRefused(t *testing.T, s, plain *session) {
	req := s.request(0, 2, clip.Train)
	req.EMA = true
	_, _, err := s.Forward(s.ctx, req)
	wants(t, fault.Invalid, err)
	req.Mode = clip.Eval
	_, _, err = plain.Forward(s.ctx, req)
	wants(t, fault.Invalid, err)
	// Of what does not change, the average is what it is.
	c.lora = nil
	frozen := c.config(adamw)
	frozen.Freeze, frozen.Optimizer.EMADecay = clip.Freeze{All: true}, .9
	f := c.open(t, frozen)
	out, _ := f.forward(f.request(0, 6, clip.Eval))
	if !slices.Equal(out, f.ema()) || parts(f)["ema"] != 0 {
		t.Error("the average of a frozen tower is not the tower, or takes memory")
	}
}

// GoldenAverage holds the averages of an encoder after a hundred steps of AdamW against those of torch.optim.swa_utils, in
// double precision: all of them together to 1e-6 of their norm, and each number to 1e-6 where the steps are computed in
// double precision too. In single precision the parameters themselves differ by up to 2e-6.
func GoldenAverage(t *testing.T, file string, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	g := load(t, file)
	var more struct {
		EMADecay float64 `json:"ema_decay"`
	}
	if g.more(t, &more); g.Steps != 100 {
		t.Fatalf("%d steps", g.Steps)
	}
	run := func(t *testing.T, e clip.Encoder, device string) (largest, relative float64) {
		defer e.Close()
		o := clip.Optimizer{Name: "adamw", Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, WeightDecay: g.WeightDecay,
			DecayEmbeddings: true, EMADecay: more.EMADecay}
		req := g.configure(t, e, clip.Compute{Device: device, Threads: 2, Precision: "f32"}, o)
		for step := 1; step <= g.Steps; step++ {
			g.step(t, e, req, step, .01)
		}
		values, parameters := Values(t, e), 0.
		var got, want []float64
		for name, w := range g.arrays {
			v := widen(values[strings.TrimPrefix(name, "after.")])
			if len(v) != len(w) {
				t.Fatalf("%s has %d values, want %d", name, len(v), len(w))
			}
			worst := &parameters
			if strings.HasPrefix(name, averaged) {
				worst = &largest
				got, want = append(got, v...), append(want, w...)
			}
			for i := range w {
				*worst = max(*worst, math.Abs(v[i]-w[i]))
			}
		}
		relative = distance(got, want)
		t.Logf("after %d steps parameters differ by up to %.1e, averages by up to %.1e; ‖a−b‖/‖b‖ %.1e", g.Steps, parameters, largest, relative)
		return largest, relative
	}
	t.Run("double", func(t *testing.T) {
		if largest, relative := run(t, open(Double), "host"); !(max(largest, relative) <= 1e-6) {
			t.Errorf("the averages differ by up to %g", largest)
		}
	})
	for _, device := range Devices() {
		t.Run(device, func(t *testing.T) {
			if _, relative := run(t, open(), device); !(relative <= 1e-6) {
				t.Errorf("‖a−b‖/‖b‖ of the averages is %g", relative)
			}
		})
	}
}
