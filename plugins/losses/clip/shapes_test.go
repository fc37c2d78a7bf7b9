package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/loss"
	"tandem/core/tensor"
)

// Of a step of batch 1024 (TANDEM_SHAPES_BATCH names another) the kernels are noted without computing them, and written to the folder that TANDEM_SHAPES
// names (tools/cuda/roofline reads it). All pairs are compared by a product of [batch, D] and [D, batch], and two more
// give the gradients.
func TestStepOfThreeProducts(t *testing.T) {
	const dim = 512
	batch := 1024
	if other, err := strconv.Atoi(os.Getenv("TANDEM_SHAPES_BATCH")); err == nil {
		batch = other
	}
	shapes := &devicetest.Shapes{}
	l := newLoss(loss.WithBackend(func(clip.Compute) (device.Backend, error) { return shapes, nil }))
	defer l.Close()
	cfg := config(`{}`, dim)
	cfg.BatchSize = batch
	if _, err := l.Configure(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	var before float64
	for n := 1; n <= 2; n++ {
		before = l.Work()
		shapes.Calls, shapes.Phase = nil, "loss"
		if _, err := l.Compute(ctx, clip.LossRequest{Image: tensor.New(tensor.F32, batch, dim), Text: tensor.New(tensor.F32, batch, dim),
			Train: true}); err != nil {
			t.Fatal(err)
		}
		if err := l.Step(ctx, n, 1e-4, 1); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string]int{}
	for _, c := range shapes.Calls {
		kinds[c.Kind]++
	}
	if kinds["MatMul"] != 3 || !slices.Contains([]int{1, 2}, kinds["CrossEntropy"]) || l.Work()-before != float64(3*2*batch*batch*dim) {
		t.Errorf("kernels %v, %g operations", kinds, l.Work()-before)
	}
	if folder := os.Getenv("TANDEM_SHAPES"); folder != "" {
		step := devicetest.Step{Batch: batch, Memory: map[string]int64{}, Work: l.Work() - before, Calls: shapes.Calls}
		for _, p := range l.Memory() {
			step.Memory[p.Name] += p.Bytes
		}
		if err := step.Write(filepath.Join(folder, "loss.json")); err != nil {
			t.Fatal(err)
		}
	}
}
