package towertest

import (
	"encoding/json"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
)

// A Rate tells how a parameter is stepped when the learning rate is 1.
type Rate struct {
	LR          float64 `json:"lr"`
	WeightDecay float64 `json:"weight_decay"`
}

// rates measures the rate of every parameter under an optimiser's groups by steps of Lion: without decay each moves
// by its learning rate exactly, and without a gradient by its decay alone.
func (c Case) rates(t *testing.T, o clip.Optimizer) map[string]Rate {
	t.Helper()
	o.Name, o.Beta1, o.Beta2 = "lion", .9, .99
	decayed := o
	o.WeightDecay, o.Groups = 0, slices.Clone(o.Groups)
	for i := range o.Groups {
		o.Groups[i].WeightDecay = nil
	}
	s := c.open(t, c.config(o))
	before := Rewrite(t, s, Value)
	_, ticket := s.forward(s.request(0, 4, clip.Train))
	s.backward(ticket, 0, 4)
	s.step(1, 1, 1)
	rates := map[string]Rate{}
	after := Values(t, s)
	for name := range s.moments() {
		moved := 0.
		for _, d := range minus(after[name], before[name]) {
			moved = max(moved, math.Abs(float64(d)))
		}
		rates[name] = Rate{LR: moved}
	}
	s = c.open(t, c.config(decayed))
	Rewrite(t, s, func(string, []int, int) float32 { return 1 })
	s.step(1, .5, 1)
	after = Values(t, s)
	for name, r := range rates {
		r.WeightDecay = (1 - float64(after[name][0])) / (.5 * r.LR)
		rates[name] = r
	}
	return rates
}

// moments returns the names of the trained arrays, which are those with a moment of Lion or AdamW.
func (s *session) moments() map[string]bool {
	names := map[string]bool{}
	for name := range Values(s.T, s) {
		if p, ok := strings.CutPrefix(name, "optim.m."); ok {
			names[p] = true
		}
	}
	return names
}

// near reports whether two rates agree but for the rounding of the parameters that they are measured by.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-5*(1+math.Abs(b)) }

// goldenRates holds a file that tools/goldens/openclip/optimizers.py wrote.
type goldenRates struct {
	With        json.RawMessage `json:"with"`
	EmbedDim    int             `json:"embed_dim"`
	WeightDecay float64         `json:"weight_decay"`
	OpenCLIP    map[string]Rate `json:"open_clip"`
	LayerDecay  struct {
		Factor float64            `json:"factor"`
		Rates  map[string]float64 `json:"rates"`
	} `json:"layer_decay"`
}

// GoldenRates holds the learning rate and the weight decay of every parameter of an encoder against those of
// open_clip's trainer, and where the file has them its layer decay against timm's.
func GoldenRates(t *testing.T, file string, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	data, err := os.ReadFile(file)
	var g goldenRates
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil || g.EmbedDim != embedDim || len(g.OpenCLIP) == 0 {
		t.Fatalf("%s: %v, embed_dim %d, %d parameters", file, err, g.EmbedDim, len(g.OpenCLIP))
	}
	c := Case{New: open, With: string(g.With)}
	got := c.rates(t, clip.Optimizer{WeightDecay: g.WeightDecay, DecayEmbeddings: true})
	if len(got) != len(g.OpenCLIP) {
		t.Errorf("%d parameters, want %d", len(got), len(g.OpenCLIP))
	}
	for name, want := range g.OpenCLIP {
		if r := got[name]; !near(r.LR, want.LR) || !near(r.WeightDecay, want.WeightDecay) {
			t.Errorf("%s has %+v, want %+v as in open_clip", name, r, want)
		}
	}
	if g.LayerDecay.Rates == nil {
		return
	}
	got = c.rates(t, clip.Optimizer{WeightDecay: g.WeightDecay, DecayEmbeddings: true, LayerDecay: g.LayerDecay.Factor})
	for name, want := range g.LayerDecay.Rates {
		if r := got[name]; !near(r.LR, want) {
			t.Errorf("%s has a learning rate of %g with layer decay, want %g as in timm", name, r.LR, want)
		}
	}
}

// checkGroups gives parameters rates of their own, by name and by layer.
func (c Case) checkGroups(t *testing.T) {
	half, none, some := .5, 0., .3
	const of = "*1.*weight" // every network has such parameters, and others
	o := clip.Optimizer{WeightDecay: .1, LayerDecay: .5, Groups: []clip.ParamGroup{
		{Params: []string{of}, LRScale: &half, WeightDecay: &some},
		{Params: []string{"*weight"}, WeightDecay: &none},
	}}
	got, plain := c.rates(t, o), c.rates(t, clip.Optimizer{WeightDecay: .1, LayerDecay: .5})
	for name, want := range plain {
		member, _ := path.Match(of, name)
		switch {
		case member:
			want.LR, want.WeightDecay = want.LR*half, some
		case strings.HasSuffix(name, "weight"):
			want.WeightDecay = none
		}
		if r := got[name]; !near(r.LR, want.LR) || !near(r.WeightDecay, want.WeightDecay) {
			t.Errorf("%s has %+v, want %+v", name, r, want)
		}
	}
	layers := map[float64]int{}
	for _, r := range plain {
		layers[math.Round(-math.Log2(r.LR))]++
	}
	if layers[0] == 0 || layers[1] == 0 || len(layers) < 4 {
		t.Errorf("parameters at rates of .5^n: %v, want a head, blocks and a stem", layers)
	}
	bad := 0.
	for at, o := range map[string]clip.Optimizer{
		"optimizer.groups[1].params":       {Groups: []clip.ParamGroup{{Params: []string{"*"}}, {Params: []string{"*", "no.such"}}}},
		"optimizer.groups[0].params":       {Groups: []clip.ParamGroup{{Params: []string{"[x"}}}},
		"optimizer.groups[0].lr_scale":     {Groups: []clip.ParamGroup{{Params: []string{"*"}, LRScale: &bad}}},
		"optimizer.groups[0].weight_decay": {Groups: []clip.ParamGroup{{Params: []string{"*"}, WeightDecay: ptr(-1.)}}},
		"optimizer.layer_decay":            {LayerDecay: 1.5},
		"optimizer.ema_decay":              {EMADecay: 1},
	} {
		o.Name = "sgd"
		e := c.New()
		_, err := e.Configure(t.Context(), c.config(o))
		if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Invalid || f.Path != at {
			t.Errorf("got %v, want a fault at %s", err, at)
		}
		e.Close()
	}
}

func ptr[T any](v T) *T { return &v }
