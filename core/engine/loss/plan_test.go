package loss

import (
	"context"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// gpu limits the memory of the host backend.
type gpu struct {
	device.Backend
	limit int64
}

func (g *gpu) used() int64 { return g.Backend.(interface{ Allocated() int64 }).Allocated() }

func (g *gpu) Alloc(d device.DType, n int) (device.Buffer, error) {
	if g.used()+int64(n*d.Size()) > g.limit {
		return nil, fault.New(fault.Exhausted, "%d bytes do not fit", n*d.Size())
	}
	return g.Backend.Alloc(d, n)
}

func (g *gpu) DeviceMemory() device.Memory {
	return device.Memory{Used: g.used(), Limit: g.limit, Free: g.limit - g.used(), Total: g.limit}
}

// distance defines a loss: the mean squared distance of the pairs, scaled.
func distance(clip.LossConfig) (Definition, error) {
	return Definition{Scalars: []Scalar{{Name: LogitScale, Init: 1, Max: 9}}, Learn: true,
		Build: func(b Batch) []Part {
			d := graph.ScaleBy(graph.Sub(b.Image, b.Text), b.Scalars[LogitScale])
			return []Part{{Name: "distance", Losses: graph.SumCols(graph.Mul(d, d)), Weight: 1}}
		},
		Report: func(func(string) float64) map[string]float64 { return nil }}, nil
}

func onGPU(limit int64) (*Loss, *gpu, clip.LossConfig) {
	g := &gpu{Backend: reference.New[float32](1), limit: limit}
	l := New(distance, WithBackend(func(clip.Compute) (device.Backend, error) { return g, nil }))
	return l, g, clip.LossConfig{EmbedDim: 8, BatchSize: 50, Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .9, Eps: 1}}
}

func TestPlanOfALossIsWhatItTakes(t *testing.T) {
	ctx := context.Background()
	l, g, c := onGPU(1 << 20)
	f, err := l.Plan(ctx, clip.PlanRequest{Loss: &c})
	if err != nil || f.Total != 1<<20 || f.Least != f.Needed() {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := l.Configure(ctx, c); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x := tensor.New(tensor.F32, c.BatchSize, 8)
	place := tensor.New(tensor.F32, c.BatchSize, 8)
	r, err := l.Compute(ctx, clip.LossRequest{Image: x, Text: x, Train: true, IntoImage: place})
	if err != nil {
		t.Fatal(err)
	}
	if r.DImage != place {
		t.Error("the gradient is not where it was asked for")
	}
	if got := f.Needed() - g.used(); got < -1024 || got > 1024 {
		t.Errorf("planned %d bytes, taken %d", f.Needed(), g.used())
	}
}

func TestALossWithTooLittleMemorySaysWhatTookHowMuch(t *testing.T) {
	ctx := context.Background()
	l, _, c := onGPU(4 << 10)
	if _, err := l.Configure(ctx, c); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x := tensor.New(tensor.F32, c.BatchSize, 8)
	_, err := l.Compute(ctx, clip.LossRequest{Image: x, Text: x, Train: true})
	if text := fault.Format(err); fault.KindOf(err) != fault.Exhausted || !strings.Contains(text, "loss.device") || !strings.Contains(text, "taken:") {
		t.Errorf("got %s", text)
	}
}
