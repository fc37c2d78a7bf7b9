package towertest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/tower"
	"tandem/core/tensor"
)

// Shapes notes the kernels of one training step of a tower in f32 and in bf16, without computing them, as
// NAME.f32.json and NAME.bf16.json in the folder that TANDEM_SHAPES names (tools/cuda/roofline reads them).
// Texts are as long as the context. TANDEM_SHAPES_BATCH names another batch. Without TANDEM_SHAPES it uses a batch of
// 2 and writes nothing. In any case it demands that the kernels do the work that the tower counts.
func Shapes(t *testing.T, name string, open func(...tower.Option) clip.Encoder, with string, embedDim, batch int) {
	for _, precision := range []string{"f32", "bf16"} {
		t.Run(precision, func(t *testing.T) { shapesIn(t, precision, name+"."+precision, open, with, embedDim, batch) })
	}
}

func shapesIn(t *testing.T, precision, name string, open func(...tower.Option) clip.Encoder, with string, embedDim, batch int) {
	folder := os.Getenv("TANDEM_SHAPES")
	if folder == "" {
		batch = 2
	} else if other := os.Getenv("TANDEM_SHAPES_BATCH"); other != "" {
		var err error
		if batch, err = strconv.Atoi(other); err != nil || batch < 2 {
			t.Fatalf("TANDEM_SHAPES_BATCH=%s: want a number of pairs from 2", other)
		}
	}
	ctx := context.Background()
	shapes := &devicetest.Shapes{}
	e := open(tower.WithBackend(func(clip.Compute) (device.Backend, error) { return shapes, nil }))
	defer e.Close()
	info, err := e.Configure(ctx, clip.EncoderConfig{
		With: json.RawMessage(with), EmbedDim: embedDim, Seed: 1, Optimizer: adamw,
		Compute: clip.Compute{Device: "cpu", Threads: 2, Precision: precision},
	})
	if err != nil {
		t.Fatal(err)
	}
	req := clip.ForwardRequest{Mode: clip.Train}
	if info.Modality == clip.Image {
		req.Images = tensor.New(tensor.U8, batch, info.ImageSize, info.ImageSize, 3)
	} else {
		for range batch {
			req.Texts = append(req.Texts, strings.Repeat("word ", info.ContextLength))
		}
	}
	var before float64
	for step := 1; step <= 2; step++ { // what only the first does is no part of a step
		before = e.(clip.Meter).Work()
		shapes.Calls, shapes.Phase = nil, "forward"
		out, ticket, err := e.Forward(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		shapes.Phase = "backward"
		if err := e.Backward(ctx, ticket, out); err != nil {
			t.Fatal(err)
		}
		if _, err := e.GradNorm(ctx); err != nil {
			t.Fatal(err)
		}
		shapes.Phase = "optimizer"
		if err := e.Step(ctx, step, 1e-4, 1); err != nil {
			t.Fatal(err)
		}
	}
	step := devicetest.Step{Batch: batch, Parameters: info.Parameters, Memory: map[string]int64{},
		Work: e.(clip.Meter).Work() - before, Calls: shapes.Calls}
	for _, p := range e.(clip.MemoryReporter).Memory() {
		step.Memory[p.Name] += p.Bytes
	}
	products := 0.0
	for _, c := range step.Calls {
		if c.Kind == "MatMul" {
			var k device.MatMul
			if err := json.Unmarshal(c.Kernel, &k); err != nil {
				t.Fatal(err)
			}
			if k.BF16 != (precision == "bf16") {
				t.Errorf("a product in another precision: %+v", k)
			}
			products += 2 * float64(k.Batch*k.M) * float64(k.N) * float64(k.K)
		}
	}
	if products > step.Work || products < .01*step.Work {
		t.Errorf("products of %g operations were run, the tower counts %g of all", products, step.Work)
	}
	if folder != "" {
		if err := step.Write(filepath.Join(folder, name+".json")); err != nil {
			t.Fatal(err)
		}
	}
}
