package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower/towertest"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// Tokens, their lengths and the gradients that they bring cross the border of the process bit by bit.
func TestTokensThroughThePluginProcess(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "transformer")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	there, _, err := session.StartEncoder(t.Context(), binary, process.StartOptions{Label: "text", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	here := text()
	defer here.Close()
	compute := towertest.CPU
	compute.Device = "host" // whatever this test was built with
	var norms []float64
	var outputs []clip.TokenOutput
	for _, e := range []clip.Encoder{there, here} {
		info, err := e.Configure(t.Context(), clip.EncoderConfig{With: json.RawMessage(`{` + small + `, "tokenizer": "byte"}`), EmbedDim: 6, Seed: 1,
			Optimizer: clip.Optimizer{Name: "sgd"}, Compute: compute})
		if err != nil {
			t.Fatal(err)
		}
		out, ticket, err := e.(clip.TokenEncoder).ForwardTokens(t.Context(), clip.ForwardRequest{Texts: []string{"cat", "a dog"}, Mode: clip.Train})
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, out)
		grad, tokens := tensor.New(tensor.F32, 2, 6), tensor.New(tensor.F32, 2, info.TokenCount, 6)
		for i := range tokens.F32() {
			tokens.F32()[i] = float32(towertest.Uniform("tokens", i))
		}
		if err := e.(clip.TokenEncoder).BackwardTokens(t.Context(), ticket, grad, tokens); err != nil {
			t.Fatal(err)
		}
		norm, err := e.GradNorm(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		norms = append(norms, norm)
	}
	a, b := outputs[0], outputs[1]
	if !slices.Equal(a.Lengths.I32(), []int32{5, 7}) || !a.Tokens.Shape.Equal(tensor.Shape{2, 32, 6}) {
		t.Errorf("tokens %v with lengths %v", a.Tokens.Shape, a.Lengths.I32())
	}
	if !slices.Equal(a.Embedding.F32(), b.Embedding.F32()) || !slices.Equal(a.Tokens.F32(), b.Tokens.F32()) || !slices.Equal(a.Lengths.I32(), b.Lengths.I32()) {
		t.Error("the process gives other bits")
	}
	if norms[0] != norms[1] || norms[0] == 0 {
		t.Errorf("squared gradient norms %g and %g", norms[0], norms[1])
	}
}
