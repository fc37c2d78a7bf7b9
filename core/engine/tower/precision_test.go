package tower

import (
	"context"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// native marks a backend that has products of bfloat16.
type native struct{ device.Backend }

func (native) EmulatesBF16() bool { return false }

func TestBF16WithoutProductsOfItsOwnIsSaid(t *testing.T) {
	plain := device.Backend(reference.New[float32](1))
	for _, c := range []struct {
		backend   device.Backend
		precision string
		said      bool
	}{{plain, "bf16", true}, {plain, "f32", false}, {native{plain}, "bf16", false}} {
		e := Image(newMean, WithBackend(func(clip.Compute) (device.Backend, error) { return c.backend, nil }))
		info, err := e.Configure(context.Background(), clip.EncoderConfig{EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "sgd"},
			Compute: clip.Compute{Device: "host", Threads: 1, Precision: c.precision}})
		if err != nil {
			t.Fatal(err)
		}
		if said := slices.ContainsFunc(info.Remarks, func(r string) bool { return strings.Contains(r, "bfloat16") }); said != c.said {
			t.Errorf("%s on %T: remarks %q", c.precision, c.backend, info.Remarks)
		}
	}
}
