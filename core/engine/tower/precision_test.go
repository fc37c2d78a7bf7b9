package tower

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

// native marks a backend that has products of bfloat16.
type native struct{ device.Backend }

func (native) EmulatesBF16() bool { return false }

// bfloat16 that would be slower than float32 is refused with the remedy, and computed where it is asked for by name.
func TestBF16WithoutProductsOfItsOwnIsRefused(t *testing.T) {
	plain := device.Backend(reference.New[float32](1))
	for _, c := range []struct {
		backend       device.Backend
		precision     string
		refused, said bool
	}{
		{plain, "bf16", true, false}, {plain, "bf16-emulated", false, true}, {plain, "f32", false, false},
		{native{plain}, "bf16", false, false}, {native{plain}, "bf16-emulated", false, false},
	} {
		e := Image(newMean, WithBackend(func(clip.Compute) (device.Backend, error) { return c.backend, nil }))
		info, err := e.Configure(context.Background(), clip.EncoderConfig{EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "sgd"},
			Compute: clip.Compute{Device: "host", Threads: 1, Precision: c.precision}})
		var f *fault.Error
		if c.refused != errors.As(err, &f) || c.refused && (f.Kind != fault.Invalid || !strings.Contains(f.Hint, "bf16-emulated") || !strings.Contains(err.Error(), plain.Name())) {
			t.Errorf("%s on %T: %v", c.precision, c.backend, err)
		}
		if said := slices.ContainsFunc(info.Remarks, func(r string) bool { return strings.Contains(r, "no products of bfloat16") }); said != c.said {
			t.Errorf("%s on %T: remarks %q", c.precision, c.backend, info.Remarks)
		}
	}
}
