package towertest

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
)

// An encoder that is loaded goes on with the same bits, and so does one that took no break.
func (c Case) checkSaveAndLoad(t *testing.T, precision string) {
	cfg := c.config(adamw)
	cfg.Compute.Precision = precision
	a := c.open(t, cfg)
	a.train(1, 0, 3)
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := a.Save(a.ctx, path); err != nil {
		t.Fatal(err)
	}
	other := cfg
	other.Seed, other.Captions = 99, nil // all that matters is in the file
	b := c.open(t, other)
	if err := b.Load(b.ctx, path); err != nil {
		t.Fatal(err)
	}
	same(t, "loaded values differ:", Values(t, a), Values(t, b))
	a.train(2, 3, 6)
	b.train(2, 3, 6)
	same(t, "one step after loading, values differ:", Values(t, a), Values(t, b))
	x, _ := a.forward(a.request(0, 6, clip.Eval))
	y, _ := b.forward(b.request(0, 6, clip.Eval))
	if !slices.Equal(x, y) {
		t.Error("embeddings differ after loading")
	}
}

// A seed gives the same bits again, on each backend and in each precision, under the profiler too; another
// seed gives others.
func (c Case) checkRepeatability(t *testing.T) {
	for _, device := range Devices() {
		for _, precision := range []string{"f32", "bf16-emulated"} {
			learn := func(seed uint64, profile bool) map[string][]float32 {
				cfg := c.config(adamw)
				cfg.Seed, cfg.Compute.Device, cfg.Compute.Precision = seed, device, precision
				s := c.open(t, cfg)
				s.Encoder.(clip.Profiler).SetProfile(profile)
				s.train(1, 0, 3)
				s.train(2, 3, 6)
				return Values(t, s)
			}
			first := learn(3, false)
			same(t, device+", "+precision+": another run differs:", first, learn(3, false))
			same(t, device+", "+precision+": under the profiler, values differ:", first, learn(3, true))
			if maps.EqualFunc(first, learn(4, false), slices.Equal) {
				t.Errorf("%s, %s: the seed makes no difference", device, precision)
			}
		}
	}
}

func same(t *testing.T, what string, a, b map[string][]float32) {
	t.Helper()
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			t.Errorf("%s %s", what, name)
		}
	}
	if len(a) != len(b) || len(a) == 0 {
		t.Errorf("%s %d arrays and %d", what, len(a), len(b))
	}
}
