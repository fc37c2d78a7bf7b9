package main

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/cliptest"
	"tandem/core/tower"
	"tandem/core/tower/towertest"
)

func vit(options ...tower.Option) clip.Encoder { return tower.Image(build, options...) }

const small = `"image_size": 16, "patch_size": 4, "width": 16, "layers": 2, "head_width": 8`

func TestKeepsThePromisesOfATower(t *testing.T) {
	other := `{` + small + `, "act": "quick_gelu"}`
	towertest.Case{New: vit, With: `{` + small + `}`, Other: other}.Check(t)
	t.Run("with patch dropout", towertest.Case{
		New: vit, PerBatch: true, With: `{` + small + `, "patch_dropout": 0.3}`, Other: other,
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
	} {
		t.Run(name, towertest.Case{New: vit, With: `{` + small + `, ` + with + `}`}.Gradient)
	}
}

func BenchmarkViTB32(b *testing.B) { towertest.Benchmark(b, vit, `{}`, 512, 16) }

func BenchmarkSmall(b *testing.B) {
	towertest.Benchmark(b, vit, `{"image_size": 32, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32}`, 128, 128)
}

func TestKeepsThePromisesOfAnEncoder(t *testing.T) {
	cliptest.TestEncoder(t, Plugin.New, cliptest.EncoderOptions{
		With: `{` + small + `, "patch_dropout": 0.3}`, Compute: towertest.CPU,
	})
}
