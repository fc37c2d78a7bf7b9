package towertest

import (
	"testing"

	"tandem/core/clip"
)

// checkCheckpointing demands that activations which are computed again change no bit of three steps, running
// statistics and random choices included, and that fewer of them are kept.
func (c Case) checkCheckpointing(t *testing.T) {
	train := func(checkpointing bool) (values map[string][]float32, kept int64, work float64) {
		cfg := c.config(adamw)
		cfg.Compute.Checkpointing = checkpointing
		s := c.open(t, cfg)
		for step := 1; step <= 3; step++ {
			_, ticket := s.forward(s.request(0, 4, clip.Train)) // its gradient is added to that of train
			s.backward(ticket, 0, 4)
			s.train(step, 2, 6)
		}
		for _, p := range s.Encoder.(clip.MemoryReporter).Memory() {
			if p.Name == "activations" {
				kept = p.Bytes
			}
		}
		return Values(t, s), kept, s.Encoder.(clip.Meter).Work()
	}
	want, all, once := train(false)
	got, kept, again := train(true)
	same(t, "with checkpointing, values differ:", want, got)
	if kept >= all {
		t.Errorf("%d bytes of activations are kept, %d without checkpointing", kept, all)
	}
	if again <= once {
		t.Errorf("%g operations are counted, %g without checkpointing", again, once)
	}
}
