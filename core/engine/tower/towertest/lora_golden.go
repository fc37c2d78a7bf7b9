package towertest

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/engine/weights"
)

// goldenLoRA holds what tools/goldens/openclip/lora.py wrote beside what golden files of towers have. Its arrays are
// losses [steps] and embeddings [batch, dim]; after.<parameter>, what is trained, after the steps; and delta.<matrix>,
// what the adapters add to their matrices.
type goldenLoRA struct {
	golden
	LoRA clip.LoRA
	Zero bool // B begins at zero
}

// GoldenLoRA trains the adapters of an encoder as peft does, on the files that pattern names: twenty steps of AdamW, in
// double precision on the reference backend and in single precision on every backend, held to 1e-5.
func GoldenLoRA(t *testing.T, pattern string, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	files, _ := filepath.Glob(pattern)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		g := goldenLoRA{golden: load(t, file)}
		g.more(t, &struct {
			LoRA *clip.LoRA `json:"lora"`
			Zero *bool      `json:"zero"`
		}{&g.LoRA, &g.Zero})
		if g.Steps != 20 || len(g.arrays["losses"]) != g.Steps {
			t.Fatalf("%s: %d steps", file, g.Steps)
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Run("double", func(t *testing.T) { g.train(t, open(Double), "host", 1e-6) })
			for _, device := range Devices() {
				t.Run(device, func(t *testing.T) { g.train(t, open(), device, 1e-5) })
			}
		})
	}
}

// train takes the file's steps and compares the loss of each, what is trained, what it adds, and embeddings.
func (g goldenLoRA) train(t *testing.T, e clip.Encoder, device string, bound float64) {
	defer e.Close()
	ctx := context.Background()
	o := clip.Optimizer{Name: "adamw", Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, WeightDecay: g.WeightDecay, DecayEmbeddings: true}
	info, err := e.Configure(ctx, clip.EncoderConfig{With: g.With, EmbedDim: g.EmbedDim, Seed: 1, Optimizer: o,
		Compute: clip.Compute{Device: device, Threads: 2, Precision: "f32"}, LoRA: &g.LoRA})
	if err != nil {
		t.Fatal(err)
	}
	begin := func(name string, shape []int, i int) float32 {
		if g.Zero && strings.HasSuffix(name, weights.SuffixB) {
			return 0
		}
		return Value(name, shape, i)
	}
	before := Rewrite(t, e, begin)
	req := clip.ForwardRequest{Texts: g.Captions}
	if info.Modality == clip.Image {
		req.Images = pictures(g.Batch, info.ImageSize)
	}
	var losses []float64
	for step := 1; step <= g.Steps; step++ {
		losses = append(losses, inner(g.step(t, e, req, step, 1), g.cotangent(1)))
	}
	for i, want := range g.arrays["losses"] {
		if d := math.Abs(losses[i] - want); !(d <= bound*(1+math.Abs(want))) {
			t.Errorf("the loss of step %d is %g, want %g", i+1, losses[i], want)
		}
	}
	req.Mode = clip.Eval
	out, _, err := e.Forward(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	held(t, "embeddings", widen(out.F32()), g.arrays["embeddings"], bound)
	g.compare(t, e, before, bound)
}

// compare holds the parameters against the file: what it has after the steps, and everything else as it was before.
func (g goldenLoRA) compare(t *testing.T, e clip.Encoder, before map[string][]float32, bound float64) {
	t.Helper()
	f, l := savedAdapters(t, e)
	var trained, wanted []float64
	for name, b := range before {
		v, err := f.F32(name)
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := g.arrays["after."+name]; ok {
			trained, wanted = append(trained, widen(v)...), append(wanted, want...)
		} else if !(held(t, name+", which is frozen,", widen(v), widen(b), 0) == 0) {
			return
		}
		if want, ok := g.arrays["delta."+name]; ok {
			merged, err := l.Merge(f, name, name+weights.SuffixA, name+weights.SuffixB)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := merged.F32()
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i] += float64(b[i])
			}
			held(t, name+" with what its adapter adds", widen(sum), want, bound)
			for i := range want {
				want[i] -= float64(b[i])
			}
		}
	}
	if len(wanted) == 0 || len(g.arrays) < 4 {
		t.Fatal("the file has nothing to compare with")
	}
	t.Logf("‖a−b‖/‖b‖ of what is trained after %d steps: %.1e", g.Steps, held(t, "what is trained", trained, wanted, bound))
}
