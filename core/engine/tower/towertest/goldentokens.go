package towertest

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/tensor"
)

// GoldenTokens holds the token output of an encoder against the files of tools/goldens/openclip/tokens.py in
// testdata/tokens: in double precision on the reference backend, and on every backend in single precision. Their arrays
// are embedding [batch, dim], tokens [batch, T, dim], and grad.<parameter> of Σ 100·cotangent·embedding + Σ
// 30·cotangent·tokens.
func GoldenTokens(t *testing.T, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	files, _ := filepath.Glob("testdata/tokens/*.safetensors")
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		g := load(t, file)
		t.Run(filepath.Base(file)+"/double", func(t *testing.T) { g.checkTokens(t, open(Double), "host", double) })
		for _, device := range Devices() {
			t.Run(filepath.Base(file)+"/"+device, func(t *testing.T) { g.checkTokens(t, open(), device, single) })
		}
	}
}

// checkTokens holds an unconfigured encoder against a file, and closes it.
func (g golden) checkTokens(t *testing.T, e clip.Encoder, device string, bound bounds) {
	ctx := context.Background()
	defer e.Close()
	req := g.configure(t, e, clip.Compute{Device: device, Threads: 2, Precision: "f32"}, keeping)
	req.Mode = clip.Train
	out, ticket, err := e.(clip.TokenEncoder).ForwardTokens(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	held(t, "embeddings", widen(out.Embedding.F32()), g.arrays["embedding"], bound.forward)
	held(t, "tokens", widen(out.Tokens.F32()), g.arrays["tokens"], bound.forward)
	if !slices.Equal(out.Lengths.I32(), g.Lengths) {
		t.Errorf("%v tokens, want %v", out.Lengths.I32(), g.Lengths)
	}
	grad := tensor.New(tensor.F32, out.Tokens.Shape...)
	for i := range grad.F32() {
		grad.F32()[i] = float32(30 * Uniform("token cotangent", i))
	}
	if err := e.(clip.TokenEncoder).BackwardTokens(ctx, ticket, g.cotangent(100), grad); err != nil {
		t.Fatal(err)
	}
	if err := e.Step(ctx, 1, 0, 1); err != nil {
		t.Fatal(err)
	}
	p := pass{grads: map[string][]float64{}}
	for name, v := range Values(t, e) {
		if parameter, ok := strings.CutPrefix(name, "optim.m."); ok {
			p.grads[parameter] = widen(v)
		}
	}
	g.heldGradients(t, p, bound)
}
