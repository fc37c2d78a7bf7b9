package tower

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// gpu adds to the host backend what hardware of its own has: a limit of memory, host memory that it knows, and copies
// that come to pass late, when they are waited for.
type gpu struct {
	device.Backend
	limit  int64
	shared [][]byte
	late   []func()
	writes int // of u8
}

func (g *gpu) Alloc(d device.DType, n int) (device.Buffer, error) {
	if need := int64(n * d.Size()); g.used()+need > g.limit {
		return nil, fault.New(fault.Exhausted, "%d bytes do not fit", need)
	}
	return g.Backend.Alloc(d, n)
}

func (g *gpu) used() int64 { return g.Backend.(interface{ Allocated() int64 }).Allocated() }

func (g *gpu) DeviceMemory() device.Memory {
	return device.Memory{Used: g.used(), Limit: g.limit, Free: g.limit - g.used(), Total: g.limit}
}

func (g *gpu) ShareHost(m []byte) error { g.shared = append(g.shared, m); return nil }

func (g *gpu) Write(dst device.Buffer, values any) {
	if _, ok := values.([]uint8); ok {
		g.writes++
	}
	g.Backend.Write(dst, values)
}

func (g *gpu) Prefetch(dst device.Buffer, values any) bool {
	g.Backend.Write(dst, make([]uint8, dst.Len())) // is undefined until Join
	g.late = append(g.late, func() { g.Backend.Write(dst, values) })
	return true
}

func (g *gpu) Join() {
	for _, f := range g.late {
		f()
	}
	g.late = nil
}

// onGPU makes an encoder on a gpu, and its configuration.
func onGPU(limit int64) (*encoder, *gpu, clip.EncoderConfig) {
	g := &gpu{Backend: reference.New[float32](1), limit: limit}
	e := Image(newMean, WithBackend(func(clip.Compute) (device.Backend, error) { return g, nil })).(*encoder)
	return e, g, clip.EncoderConfig{EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .9, Eps: 1},
		Compute: clip.Compute{Device: "host", Threads: 1}}
}

// pages makes pictures in memory that hardware may read by itself.
func pages(batch int, v byte) *tensor.Tensor {
	x := tensor.New(tensor.U8, batch, 2, 2, 3)
	for i := range x.Data {
		x.Data[i] = v + byte(i)
	}
	x.Pages = x.Data
	return x
}

func TestNextPicturesAreFetchedOnceAndInTime(t *testing.T) {
	ctx := context.Background()
	plain := configured(t)
	e, g, c := onGPU(1 << 20)
	c.Optimizer = clip.Optimizer{Name: "sgd"}
	info, err := e.Configure(ctx, c)
	if err != nil || !info.Pins {
		t.Fatalf("%+v, %v", info, err)
	}
	defer e.Close()
	batches := []*tensor.Tensor{pages(3, 10), pages(3, 20), pages(2, 30), pages(2, 40), pages(3, 50)}
	for k, images := range batches {
		req := clip.ForwardRequest{Images: images, ID: uint64(k + 1), Mode: clip.Train, Into: tensor.New(tensor.F32, images.Shape[0], 3)}
		if k+1 < len(batches) {
			req.Next, req.NextID = batches[k+1], uint64(k+2)
		}
		if k == 2 { // of what was fetched, nothing is asked for
			req.NextID = 99
		}
		want, _, err := plain.Forward(ctx, clip.ForwardRequest{Images: images, Mode: clip.Train})
		if err != nil {
			t.Fatal(err)
		}
		if k == 1 { // an evaluation in between leaves it as it is
			if _, _, err := e.Forward(ctx, clip.ForwardRequest{Images: pages(4, 1)}); err != nil {
				t.Fatal(err)
			}
		}
		got, ticket, err := e.Forward(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if got != req.Into || !slices.Equal(got.F32(), want.F32()) {
			t.Errorf("batch %d gives %v, want %v where it was asked for", k+1, got.F32(), want.F32())
		}
		if err := e.Discard(ctx, ticket); err != nil {
			t.Fatal(err)
		}
	}
	if g.writes != 3 { // the first, that of the evaluation, and that after number 99
		t.Errorf("%d batches of pictures were not fetched ahead, want 3", g.writes)
	}
	if len(g.shared) != len(batches)+1 {
		t.Errorf("%d pieces of memory were shown to the hardware, want each of %d once", len(g.shared), len(batches)+1)
	}
}

// meanTokens gives the pixels beside their mean.
type meanTokens struct{ *mean }

func (meanTokens) TokenCount() int { return 4 }

func (m meanTokens) BuildTokens(g *nn.Graph, x *graph.Node) (embedding, tokens *graph.Node) {
	x = graph.Reshape(graph.Normalize(x, CLIPMean, CLIPStd), x.Dim(0), 4, 3)
	x = m.layer.Apply(g, x, nn.Identity)
	return graph.MeanTokens(x, nil), x
}

// What starts late needs its memory in the end.
func TestPlanCountsWhatStartsLate(t *testing.T) {
	plan := func(start int) clip.Plan {
		e, _, c := onGPU(1 << 20)
		c.Optimizer.Groups = []clip.ParamGroup{{Params: []string{"*"}, Start: start}}
		f, err := e.Plan(context.Background(), clip.PlanRequest{Encoder: &c, Batch: 20})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if at, late := plan(0), plan(7); at.Least != late.Least || at.Needed() != late.Needed() {
		t.Errorf("%+v, %+v with a late start", at, late)
	}
}

func TestPlanIsWhatTrainingTakes(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		t.Run(fmt.Sprint("tokens ", tokens), func(t *testing.T) {
			ctx := context.Background()
			const batch = 200
			e, g, c := onGPU(1 << 20)
			e.build = func(c clip.EncoderConfig) (front, error) {
				m, err := newMean(c)
				return &imageFront{ImageModel: meanTokens{m.(*mean)}}, err
			}
			f, err := e.Plan(ctx, clip.PlanRequest{Encoder: &c, Batch: batch, EvalBatch: 10, Tokens: tokens})
			if err != nil {
				t.Fatal(err)
			}
			const next = batch * 2 * 2 * 3 // pictures, which nobody announces here
			if f.Total != 1<<20 || f.Free != 1<<20 || f.Needed() != f.Least+next {
				t.Errorf("%+v: pictures take as much in any case", f)
			}
			if _, err := e.Configure(ctx, c); err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			var ticket clip.Ticket
			grad := tensor.New(tensor.F32, batch, 3)
			if tokens {
				if _, ticket, err = e.ForwardTokens(ctx, request(batch, clip.Train)); err == nil {
					err = e.BackwardTokens(ctx, ticket, grad, tensor.New(tensor.F32, batch, 4, 3))
				}
			} else if _, ticket, err = e.Forward(ctx, request(batch, clip.Train)); err == nil {
				err = e.Backward(ctx, ticket, grad)
			}
			if err != nil {
				t.Fatal(err)
			}
			taken := int64(0)
			for _, p := range e.Memory() {
				if p.Name != "other" {
					taken += p.Bytes
				}
			}
			if f.Least != taken || g.used()-taken > 4096 {
				t.Errorf("planned %d bytes, taken %d of %d", f.Least, taken, g.used())
			}
		})
	}
}

func TestTooLittleMemorySaysWhatTookHowMuch(t *testing.T) {
	ctx := context.Background()
	const limit = 16 << 10
	e, _, c := onGPU(limit)
	if _, err := e.Configure(ctx, c); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, _, err := e.Forward(ctx, request(1000, clip.Train))
	text := fault.Format(err)
	if fault.KindOf(err) != fault.Exhausted {
		t.Fatalf("got %v, want exhausted", err)
	}
	for _, want := range []string{"do not fit", "train.micro_batch_size", "image.device", "16.0 KiB", "taken:", "parameters", "optimizer", "wanted:", "activations"} {
		if !strings.Contains(text, want) {
			t.Errorf("the fault does not say %q:\n%s", want, text)
		}
	}
	if _, _, err := e.Forward(ctx, request(2, clip.Eval)); err != nil {
		t.Errorf("a smaller batch afterwards: %v", err)
	}
	small, _, c := onGPU(100)
	if _, err := small.Configure(ctx, c); fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Format(err), "wanted:\n      parameters") {
		t.Errorf("parameters that do not fit: %s", fault.Format(err))
	}
}

// TestWhatIsKeptForLaterMakesRoom fills the memory with activations of other batch sizes.
func TestWhatIsKeptForLaterMakesRoom(t *testing.T) {
	ctx := context.Background()
	e, g, c := onGPU(1 << 20)
	if _, err := e.Configure(ctx, c); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for batch := 50; batch < 60; batch++ {
		if _, _, err := e.Forward(ctx, request(batch, clip.Eval)); err != nil {
			t.Fatal(err)
		}
	}
	before := g.used()
	g.limit = before + 1000
	if _, _, err := e.Forward(ctx, request(80, clip.Eval)); err != nil {
		t.Errorf("with room enough once idle activations are given up: %v", err)
	}
	if g.used() >= before {
		t.Errorf("%d bytes are in use, before %d", g.used(), before)
	}
}
