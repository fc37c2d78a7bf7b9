//go:build clipcuda

package graph

import (
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda"
)

// gpu opens cuda:0: a GPU, or the test double of the driver.
func gpu(t *testing.T) device.Backend {
	t.Helper()
	b, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		t.Skip(err)
	}
	return b
}

func TestCUDAAgreesWithTheReference(t *testing.T) { agrees(t, gpu(t)) }

func TestAutocastOnCUDA(t *testing.T) {
	b := gpu(t)
	for _, name := range []string{"vit", "transformer", "residual network"} {
		t.Run(name, func(t *testing.T) { autocasts(t, b, name) })
	}
	if err := device.Err(b); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// unrecorded hides that a backend can record.
type unrecorded struct{ device.Backend }

func TestRecordedPassesOnCUDAGiveTheSameBits(t *testing.T) {
	var results [2][][]float32
	for k, backend := range []device.Backend{gpu(t), unrecorded{gpu(t)}} {
		tr := newTrainer[float32](t, backend)
		for range 4 {
			results[k] = append(results[k], tr.train())
		}
		if err := device.Err(backend); err != nil {
			t.Error(err)
		}
		tr.run.Close()
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	}
	for step := range results[0] {
		if !slices.Equal(results[0][step], results[1][step]) {
			t.Errorf("step %d differs from the one that was not recorded", step+1)
		}
	}
}
