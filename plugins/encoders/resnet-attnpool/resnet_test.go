package main

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/engine/tower/towertest"
	"tandem/core/plugin/conformance"
)

func resnet(options ...tower.Option) clip.Encoder { return tower.Image(build, options...) }

const small = `"image_size": 32, "layers": [1, 1, 2, 1], "width": 4, "heads": 2`

func TestKeepsThePromisesOfATower(t *testing.T) {
	towertest.Case{
		New: resnet, PerBatch: true, Rough: true,
		With: `{` + small + `}`, Other: `{` + small + `, "stem": "plain"}`,
	}.Check(t)
}

func TestRanksNormaliseTogether(t *testing.T) {
	towertest.Case{New: resnet, With: `{` + small + `}`}.Ranks(t)
}

func BenchmarkRN50(b *testing.B) { towertest.Benchmark(b, resnet, `{}`, 1024, 8) }

func TestKeepsThePromisesOfAnEncoder(t *testing.T) {
	conformance.TestEncoder(t, Plugin.New, conformance.EncoderOptions{Capabilities: Plugin.Capabilities,
		With: `{` + small + `}`, Compute: towertest.CPU, Skip: []string{"gradient"},
	})
}
