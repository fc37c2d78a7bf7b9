package towertest

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/engine/weights"
)

// GoldenTuned takes twenty steps of AdamW with layer decay, groups of which one starts late, and averages, and holds
// parameters and averages to 1e-5 against torch with timm's layer decay and ModelEmaV3, on every backend.
//
// timm's average begins at the parameters p₀ before the first step, torch's and this one at those after it, p₁. So
// after n steps of a decay d the two are apart by dⁿ·(p₀ − p₁).
func GoldenTuned(t *testing.T, file string, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	g := load(t, file)
	var more struct {
		Groups     []clip.ParamGroup `json:"groups"`
		LayerDecay float64           `json:"layer_decay"`
		EMADecay   float64           `json:"ema_decay"`
	}
	f, err := weights.Open(file)
	if err == nil {
		err = json.Unmarshal([]byte(f.Metadata()["golden"]), &more)
		f.Close()
	}
	if err != nil || g.Steps != 20 || len(more.Groups) != 2 {
		t.Fatalf("%v, %d steps, groups %v", err, g.Steps, more.Groups)
	}
	o := clip.Optimizer{Name: "adamw", Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, WeightDecay: g.WeightDecay, DecayEmbeddings: true,
		Groups: more.Groups, LayerDecay: more.LayerDecay, EMADecay: more.EMADecay}
	run := func(t *testing.T, e clip.Encoder, device string, bound float64) {
		defer e.Close()
		req := g.configure(t, e, clip.Compute{Device: device, Threads: 2, Precision: "f32"}, o)
		before := Values(t, e)
		req.Mode = clip.Train
		ctx := context.Background()
		for req.Step = 0; req.Step < g.Steps; req.Step++ {
			_, ticket, err := e.Forward(ctx, req)
			if err == nil {
				err = e.Backward(ctx, ticket, g.cotangent(.01))
			}
			if err == nil {
				err = e.Step(ctx, req.Step+1, g.LR, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		values, apart := Values(t, e), math.Pow(more.EMADecay, float64(g.Steps))
		seen, worst := 0, 0.
		for name, want := range g.arrays {
			kind, parameter, _ := strings.Cut(name, ".")
			switch kind {
			case "after":
				worst = max(worst, held(t, name, widen(values[parameter]), want, bound))
			case "timm":
				ours := make([]float64, len(want))
				for i, first := range g.arrays["first."+parameter] {
					ours[i] = want[i] - apart*(float64(before[parameter][i])-first)
				}
				worst = max(worst, held(t, name, widen(values[averaged+parameter]), ours, bound))
			default:
				continue
			}
			seen++
		}
		if seen < 50 {
			t.Errorf("%d arrays", seen)
		}
		t.Logf("‖a−b‖/‖b‖ of parameters and averages: at most %.1e", worst)
	}
	t.Run("double", func(t *testing.T) { run(t, open(Double), "host", 1e-6) })
	for _, device := range Devices() {
		t.Run(device, func(t *testing.T) { run(t, open(), device, 1e-5) })
	}
}
