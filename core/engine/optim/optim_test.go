package optim

import (
	"math"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

// fixture holds three parameters at places 0, 1 and 16 of a flat buffer, the last without decay.
type fixture struct {
	backend *reference.Backend[float64]
	p, g    device.Buffer
	opt     *Optimizer
}

var segments = []Segment{{Off: 16, N: 1, LRScale: 1}, {Off: 0, N: 2, LRScale: 1, Decay: .2}}

func newFixture(t *testing.T, cfg Config) *fixture {
	t.Helper()
	f := &fixture{backend: reference.New[float64](1)}
	for _, b := range []*device.Buffer{&f.p, &f.g} {
		var err error
		if *b, err = f.backend.Alloc(device.Real, 17); err != nil {
			t.Fatal(err)
		}
	}
	f.set(f.p, 0.5, -0.25, 2)
	var err error
	if f.opt, err = New(cfg, f.backend, f.p, f.g, segments); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) set(b device.Buffer, x, y, z float64) {
	v := make([]float64, 17)
	v[0], v[1], v[16] = x, y, z
	f.backend.Write(b, v)
}

func (f *fixture) get(b device.Buffer) []float64 {
	v := make([]float64, b.Len())
	f.backend.Read(v, b)
	return v
}

// The expected values come from a direct transcription of the papers' update rules into Python
// (double precision): three steps with learning rates .01, .02, .005 on gradients halved by the scale.
func TestStepsFollowTheUpdateRules(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want [3]float64
	}{
		{Config{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-6},
			[3]float64{0.49945178037595434, -0.24587784686260758, 1.9729265572603467}},
		{Config{Name: "sgd", Momentum: .9}, [3]float64{0.497027044, -0.248350044, 1.9914425}},
		{Config{Name: "lion", Beta1: .9, Beta2: .98}, [3]float64{0.5115369559999999, -0.253283458, 1.965}},
	} {
		t.Run(c.cfg.Name, func(t *testing.T) {
			f := newFixture(t, c.cfg)
			for i, g := range [][3]float64{{.1, -.2, .3}, {-.4, .5, 0}, {.05, -.6, 1.5}} {
				f.set(f.g, g[0], g[1], g[2])
				f.opt.Step(i+1, []float64{.01, .02, .005}[i], .5)
			}
			p := f.get(f.p)
			for i, at := range []int{0, 1, 16} {
				if math.Abs(p[at]-c.want[i]) > 1e-12 {
					t.Errorf("parameter %d is %.15g, want %.15g", at, p[at], c.want[i])
				}
			}
			for i := 2; i < 16; i++ {
				if p[i] != 0 {
					t.Errorf("padding %d became %v", i, p[i])
				}
			}
		})
	}
}

// A segment's scale multiplies the learning rate, so that AdamW's decay is scaled with it, as in torch's groups.
func TestSegmentsHaveRatesOfTheirOwn(t *testing.T) {
	cfg := Config{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-6}
	f, alone := newFixture(t, cfg), newFixture(t, cfg)
	scaled, err := New(cfg, f.backend, f.p, f.g, []Segment{{Off: 0, N: 1, LRScale: 1, Decay: .2}, {Off: 1, N: 1, LRScale: .25, Decay: .2}, {Off: 16, N: 1, LRScale: 4}})
	if err != nil {
		t.Fatal(err)
	}
	f.set(f.g, .1, -.2, .3)
	scaled.Step(1, .01, 1)
	for at, lr := range map[int]float64{0: .01, 1: .0025, 16: .04} {
		alone.set(alone.p, 0.5, -0.25, 2)
		alone.set(alone.g, .1, -.2, .3)
		alone.opt.Close()
		if alone.opt, err = New(cfg, alone.backend, alone.p, alone.g, segments); err != nil {
			t.Fatal(err)
		}
		alone.opt.Step(1, lr, 1)
		if got, want := f.get(f.p)[at], alone.get(alone.p)[at]; got != want {
			t.Errorf("parameter %d is %v, want %v", at, got, want)
		}
	}
}

func TestAdjacentSegmentsOfEqualRatesAreOnePass(t *testing.T) {
	merged, err := merge([]Segment{{Off: 0, N: 10, LRScale: 1, Decay: .1}, {Off: 16, N: 5, LRScale: 1, Decay: .1}, {Off: 32, N: 16, LRScale: 1, Decay: 0}, {Off: 48, N: 1, LRScale: 1, Decay: 0}, {Off: 64, N: 2, LRScale: .5, Decay: 0}, {Off: 80, N: 4, LRScale: .5, Decay: .1}, {Off: 112, N: 4, LRScale: .5, Decay: .1}}, 128)
	if err != nil {
		t.Fatal(err)
	}
	want := []Segment{{Off: 0, N: 21, LRScale: 1, Decay: .1}, {Off: 32, N: 17, LRScale: 1, Decay: 0}, {Off: 64, N: 2, LRScale: .5, Decay: 0}, {Off: 80, N: 4, LRScale: .5, Decay: .1}, {Off: 112, N: 4, LRScale: .5, Decay: .1}}
	if len(merged) != len(want) {
		t.Fatalf("merged to %v, want %v", merged, want)
	}
	for i := range want {
		if merged[i] != want[i] {
			t.Errorf("segment %d is %v, want %v", i, merged[i], want[i])
		}
	}
}

func TestBadSegmentsAreInvalid(t *testing.T) {
	for _, bad := range [][]Segment{{{Off: 0, N: 4, LRScale: 1, Decay: 0}, {Off: 2, N: 4, LRScale: 1, Decay: 0}}, {{Off: 14, N: 4, LRScale: 1, Decay: 0}}, {{Off: 0, N: 0, LRScale: 1, Decay: 0}}, {{Off: 0, N: 4, LRScale: 0, Decay: 0}}, {{Off: 0, N: 4, LRScale: 1, Decay: -1}}, {{Off: 0, N: 4, LRScale: math.NaN()}}} {
		if _, err := merge(bad, 16); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v, want an invalid fault", bad, err)
		}
	}
}

func TestStateRestoresTheBits(t *testing.T) {
	cfg := Config{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-8}
	a, b := newFixture(t, cfg), newFixture(t, cfg)
	a.set(a.g, 1, 2, 3)
	a.opt.Step(1, .1, 1)
	b.backend.Write(b.p, a.get(a.p))
	for i, s := range a.opt.States() {
		b.backend.Write(b.opt.States()[i].Buffer, a.get(s.Buffer))
	}
	for _, f := range []*fixture{a, b} {
		f.set(f.g, -1, 0.5, 2)
		f.opt.Step(2, .1, 1)
	}
	pa, pb := a.get(a.p), b.get(b.p)
	for i := range pa {
		if pa[i] != pb[i] {
			t.Errorf("parameter %d: %v after resume, %v without", i, pb[i], pa[i])
		}
	}
}

func TestGradNormAndZero(t *testing.T) {
	f := newFixture(t, Config{Name: "sgd"})
	f.set(f.g, 3, 4, 12)
	if n := f.opt.GradNormSquared(); n != 169 {
		t.Errorf("squared norm %v, want 169", n)
	}
	f.opt.ZeroGrad()
	if n := f.opt.GradNormSquared(); n != 0 {
		t.Errorf("squared norm %v after ZeroGrad", n)
	}
}

func TestConfigNamesTheBadField(t *testing.T) {
	for path, c := range map[string]Config{
		"name":     {Name: "adam"},
		"beta2":    {Name: "lion", Beta2: 1},
		"eps":      {Name: "adamw"},
		"momentum": {Name: "sgd", Momentum: math.NaN()},
	} {
		err, ok := c.Check().(*fault.Error)
		if !ok || err.Path != path || err.Kind != fault.Invalid {
			t.Errorf("%+v: %v, want a fault at %s", c, err, path)
		}
	}
}
