package tower

import (
	"context"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// mean builds the smallest network: the picture's mean colour through a linear layer.
type mean struct {
	set   nn.Set
	layer *nn.Linear
	dim   int
}

func newMean(c clip.EncoderConfig) (ImageModel, error) {
	m := &mean{dim: c.EmbedDim}
	m.layer = nn.NewLinear(&m.set, "visual.proj", 3, c.EmbedDim, nn.FanIn, nn.BiasOf(3))
	return m, nil
}

func (m *mean) Params() *nn.Set { return &m.set }
func (m *mean) Config() any     { return struct{}{} }
func (m *mean) ImageSize() int  { return 2 }
func (m *mean) Build(g *nn.Graph, x *graph.Node) *graph.Node {
	x = graph.Reshape(graph.Normalize(x, CLIPMean, CLIPStd), x.Dim(0), 4, 3)
	return m.layer.Apply(g, graph.MeanTokens(x, nil), nn.Identity)
}

func configured(t *testing.T) *encoder {
	t.Helper()
	e := Image(newMean).(*encoder)
	t.Cleanup(func() { e.Close() })
	_, err := e.Configure(context.Background(), clip.EncoderConfig{
		EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "sgd"}, Compute: clip.Compute{Device: "host", Threads: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func request(batch int, mode clip.Mode) clip.ForwardRequest {
	return clip.ForwardRequest{Images: tensor.New(tensor.U8, batch, 2, 2, 3), Mode: mode}
}

// racing says that the race detector is on, which allocates by itself.
var racing bool

// A training step in its stride allocates its result and little else.
func TestStepsDoNotAllocate(t *testing.T) {
	if racing {
		t.Skip("the race detector allocates too")
	}
	e, ctx := configured(t), context.Background()
	req, grad := request(8, clip.Train), tensor.New(tensor.F32, 8, 3)
	step := func() {
		_, ticket, err := e.Forward(ctx, req)
		if err == nil {
			err = e.Backward(ctx, ticket, grad)
		}
		if err == nil {
			err = e.Step(ctx, 1, 1e-3, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	step()
	// A collection may empty the pools during a round; the calmest of five is the steady state.
	const steps, rounds = 100, 5
	least := uint64(math.MaxUint64)
	for range rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range steps {
			step()
		}
		runtime.ReadMemStats(&after)
		least = min(least, (after.TotalAlloc-before.TotalAlloc)/steps)
	}
	if least > 4096 {
		t.Errorf("%d bytes a step", least)
	}
	p, err := e.programs.Get(programKey{training: true, batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	if activations, _, _ := e.programs.Memory(); activations != p.Memory().Activations {
		t.Errorf("steps one at a time hold %d bytes of activations, want one set of %d", activations, p.Memory().Activations)
	}
}

// Each fault of a checkpoint is named, and none changes the encoder.
func TestLoadNamesWhatDiffers(t *testing.T) {
	e, ctx := configured(t), context.Background()
	path := filepath.Join(t.TempDir(), "c.safetensors")
	if err := e.Save(ctx, path); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta := f.Metadata()
	var good []weights.Tensor
	for _, name := range f.Names() {
		w, err := f.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, w)
	}
	for want, change := range map[string]func(tensors []weights.Tensor, meta map[string]string) []weights.Tensor{
		`tensor "visual.proj.weight" is F32 [3 2], want F32 [3 3]`: func(w []weights.Tensor, _ map[string]string) []weights.Tensor {
			for i := range w {
				if w[i].Name == "visual.proj.weight" {
					w[i] = weights.FromF32(w[i].Name, make([]float32, 6), 3, 2)
				}
			}
			return w
		},
		`is missing`: func(w []weights.Tensor, _ map[string]string) []weights.Tensor { return w[1:] },
		`tensor "visual.more" is none of this encoder's`: func(w []weights.Tensor, _ map[string]string) []weights.Tensor {
			return append(w, weights.FromF32("visual.more", make([]float32, 1), 1))
		},
		`modality is "text", want "image"`: func(w []weights.Tensor, m map[string]string) []weights.Tensor {
			m["modality"] = "text"
			return w
		},
		`a network with act "gelu", this one has none`: func(w []weights.Tensor, m map[string]string) []weights.Tensor {
			m["config"] = `{"act": "gelu"}`
			return w
		},
	} {
		m := map[string]string{}
		for k, v := range meta {
			m[k] = v
		}
		tensors := change(append([]weights.Tensor{}, good...), m)
		if err := weights.Write(path, tensors, m); err != nil {
			t.Fatal(err)
		}
		err := e.Load(ctx, path)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want fault.Invalid with %q", err, want)
		}
	}
	if err := weights.Write(path, good, meta); err != nil {
		t.Fatal(err)
	}
	if err := e.Load(ctx, path); err != nil {
		t.Errorf("the file as it was: %v", err)
	}
}

// Work is that of the passes done.
func TestWorkIsWhatWasComputed(t *testing.T) {
	e, ctx := configured(t), context.Background()
	const batch = 4
	const forward = 2 * batch * 3 * 3 // multiply-adds of [4, 3]·[3, 3]
	if _, _, err := e.Forward(ctx, request(batch, clip.Eval)); err != nil {
		t.Fatal(err)
	}
	if w := e.Work(); w != forward {
		t.Errorf("after a forward pass %g operations, want %d", w, forward)
	}
	_, ticket, err := e.Forward(ctx, request(batch, clip.Train))
	if err == nil {
		err = e.Backward(ctx, ticket, tensor.New(tensor.F32, batch, 3))
	}
	if err != nil {
		t.Fatal(err)
	}
	// Pictures need no gradient, so that backward is one product, for the weights.
	if w := e.Work(); w != 3*forward {
		t.Errorf("after two forward passes and a backward one %g operations, want %d", w, 3*forward)
	}
}
