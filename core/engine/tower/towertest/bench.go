package towertest

import (
	"context"
	"encoding/json"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/tensor"
)

// Benchmark times training steps (forward, backward, gradient norm, update) of a tower on batches of
// n samples, and reports samples and floating-point operations per second, taking the backward pass
// as twice the forward.
func Benchmark(b *testing.B, open func(...tower.Option) clip.Encoder, with string, embedDim, n int) {
	ctx := context.Background()
	e := open()
	defer e.Close()
	info, err := e.Configure(ctx, clip.EncoderConfig{
		With: json.RawMessage(with), EmbedDim: embedDim, Seed: 1, Optimizer: adamw, Compute: CPU, Captions: captions,
	})
	if err != nil {
		b.Fatal(err)
	}
	req := clip.ForwardRequest{Mode: clip.Train}
	if info.Modality == clip.Image {
		req.Images = pictures(n, info.ImageSize)
	} else {
		for i := range n {
			req.Texts = append(req.Texts, captions[i%len(captions)])
		}
	}
	grad := tensor.New(tensor.F32, n, embedDim)
	for i := range grad.F32() {
		grad.F32()[i] = float32(Uniform("cotangent", i)) / float32(n)
	}
	step := 0
	once := func() {
		out, ticket, err := e.Forward(ctx, req)
		if err != nil {
			b.Fatal(err)
		}
		out.Free()
		if err := e.Backward(ctx, ticket, grad); err != nil {
			b.Fatal(err)
		}
		if _, err := e.GradNorm(ctx); err != nil {
			b.Fatal(err)
		}
		step++
		if err := e.Step(ctx, step, 1e-4, 1); err != nil {
			b.Fatal(err)
		}
	}
	once() // compiles, allocates and packs
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
	samples := float64(n) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(samples, "samples/s")
	b.ReportMetric(3*samples*info.FLOPs/1e9, "GFLOP/s")
}
