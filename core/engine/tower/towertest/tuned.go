package towertest

import (
	"math"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
)

// GoldenTuned takes twenty steps of AdamW with layer decay, groups of which one starts late, and averages, and holds
// parameters and averages against torch with timm's layer decay and ModelEmaV3: each array to 1e-6 in double precision,
// all together to 1e-5 on every backend in single precision. There the bias of attention keys, whose gradient is nothing but
// rounding, moves by that.
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
	if g.more(t, &more); g.Steps != 20 || len(more.Groups) != 2 {
		t.Fatalf("%d steps, groups %v", g.Steps, more.Groups)
	}
	o := clip.Optimizer{Name: "adamw", Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, WeightDecay: g.WeightDecay, DecayEmbeddings: true,
		Groups: more.Groups, LayerDecay: more.LayerDecay, EMADecay: more.EMADecay}
	run := func(t *testing.T, e clip.Encoder, device string, each bool, bound float64) {
		defer e.Close()
		req := g.configure(t, e, clip.Compute{Device: device, Threads: 2, Precision: "f32"}, o)
		before := Values(t, e)
		for step := 1; step <= g.Steps; step++ {
			g.step(t, e, req, step, .01)
		}
		values, apart := Values(t, e), math.Pow(more.EMADecay, float64(g.Steps))
		seen := 0
		var got, wanted []float64
		for name, want := range g.arrays {
			kind, parameter, _ := strings.Cut(name, ".")
			of := parameter
			switch kind {
			case "after":
			case "timm":
				of = averaged + parameter
				ours := make([]float64, len(want))
				for i, first := range g.arrays["first."+parameter] {
					ours[i] = want[i] - apart*(float64(before[parameter][i])-first)
				}
				want = ours
			default:
				continue
			}
			seen++
			if array := widen(values[of]); each {
				held(t, name, array, want, bound)
			} else {
				got, wanted = append(got, array...), append(wanted, want...)
			}
		}
		if seen < 50 {
			t.Errorf("%d arrays", seen)
		}
		if !each {
			t.Logf("‖a−b‖/‖b‖ of parameters and averages: %.1e", held(t, "parameters and averages", got, wanted, bound))
		}
	}
	t.Run("double", func(t *testing.T) { run(t, open(Double), "host", true, 1e-6) })
	for _, device := range Devices() {
		t.Run(device, func(t *testing.T) { run(t, open(), device, false, 1e-5) })
	}
}
