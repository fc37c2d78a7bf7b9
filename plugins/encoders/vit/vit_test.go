package main

import (
	"errors"
	"fmt"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/engine/tower/towertest"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
	"tandem/core/tensor"
)

func vit(options ...tower.Option) clip.Encoder { return tower.Image(build, options...) }

const small = `"image_size": 16, "patch_size": 4, "width": 16, "layers": 2, "head_width": 8`

func TestKeepsThePromisesOfATower(t *testing.T) {
	other := `{` + small + `, "act": "quick_gelu"}`
	towertest.Case{New: vit, With: `{` + small + `}`, Other: other}.Check(t)
	t.Run("with patch dropout", towertest.Case{
		New: vit, PerBatch: true, With: `{` + small + `, "patch_dropout": 0.3}`, Other: other,
	}.Check)
	t.Run("as SigLIP's", towertest.Case{
		New: vit, With: `{` + small + `, "pool_type": "map", "no_class_token": true, "no_ln_pre": true, "patch_bias": true, "act": "gelu_tanh"}`, Other: other,
	}.Check)
}

// Every switch has its own path through the graph; each has the right gradient.
func TestSwitches(t *testing.T) {
	for name, with := range map[string]string{
		"average pool":  `"pool_type": "avg"`,
		"quick gelu":    `"act": "quick_gelu", "mlp_ratio": 1.5`,
		"dropout":       `"patch_dropout": 0.5, "pool_type": "avg"`,
		"heads":         `"heads": 4`,
		"normalisation": `"mean": [0, 0, 0], "std": [1, 1, 1]`,
		"registers":     `"registers": 2, "patch_dropout": 0.5`,
		"siglip":        `"width": 6, "heads": 2, "pool_type": "map", "no_class_token": true, "no_ln_pre": true, "no_proj": true, "patch_bias": true, "norm_eps": 1e-6`,
		"siglip 2":      `"act": "gelu_tanh", "pool_type": "map", "registers": 1, "patch_dropout": 0.5`,
	} {
		t.Run(name, towertest.Case{New: vit, With: `{` + small + `, ` + with + `}`}.Gradient)
	}
}

func BenchmarkViTB32(b *testing.B) { towertest.Benchmark(b, vit, `{}`, 512, 16) }

func BenchmarkSmall(b *testing.B) {
	towertest.Benchmark(b, vit, `{"image_size": 32, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32}`, 128, 128)
}

func TestKeepsThePromisesOfAnEncoder(t *testing.T) {
	conformance.TestEncoder(t, Plugin.New, conformance.EncoderOptions{Outputs: Plugin.Outputs, Capabilities: Plugin.Capabilities,
		With: `{` + small + `, "patch_dropout": 0.3}`, Compute: towertest.CPU,
	})
}

// What lies before the first trained parameter keeps no activations and has no backward pass, however much it is.
func TestFrozenBlocksKeepNoActivations(t *testing.T) {
	for _, checkpointing := range []bool{false, true} {
		var activations []int64
		var backward []float64
		for _, layers := range []int{2, 6} {
			e, compute, last := vit(), towertest.CPU, -1
			compute.Checkpointing = checkpointing
			info, err := e.Configure(t.Context(), clip.EncoderConfig{
				With:     fmt.Appendf(nil, `{"image_size": 16, "patch_size": 4, "width": 16, "layers": %d, "head_width": 8}`, layers),
				EmbedDim: 8, Seed: 1, Optimizer: towertest.PlainSGD, Compute: compute, Freeze: clip.Freeze{Blocks: &last},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			_, ticket, err := e.Forward(t.Context(), clip.ForwardRequest{Images: tensor.New(tensor.U8, 4, 16, 16, 3), Mode: clip.Train})
			if err != nil {
				t.Fatal(err)
			}
			work := e.(clip.Meter).Work()
			if err := e.Backward(t.Context(), ticket, tensor.New(tensor.F32, 4, info.EmbedDim)); err != nil {
				t.Fatal(err)
			}
			backward = append(backward, e.(clip.Meter).Work()-work)
			for _, part := range e.(clip.MemoryReporter).Memory() {
				if part.Name == "activations" {
					activations = append(activations, part.Bytes)
				}
			}
		}
		if activations[0] != activations[1] || activations[0] == 0 || backward[0] != backward[1] || backward[0] == 0 {
			t.Errorf("checkpointing %v: 1 and 5 frozen blocks: %v bytes of activations, %v operations in the backward pass", checkpointing, activations, backward)
		}
	}
}

// What the schema cannot see is refused with the option's path.
func TestImpossibleOptions(t *testing.T) {
	for with, path := range map[string]string{
		`"no_class_token": true`: "with.pool_type",
		`"no_proj": true`:        "with.width",
		`"patch_size": 5`:        "with.image_size",
	} {
		_, err := vit().Configure(t.Context(), clip.EncoderConfig{With: []byte(`{` + small + `, ` + with + `}`), EmbedDim: 6,
			Optimizer: towertest.PlainSGD, Compute: towertest.CPU})
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Path != path {
			t.Errorf("%s: %v, want fault.Invalid at %s", with, err, path)
		}
	}
}
