// Package towertest checks towers: against results of OpenCLIP's own modules (golden.py), and for the
// promises that every tower makes whatever its network.
package towertest

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/device"
	"tandem/core/device/host"
	"tandem/core/tensor"
	"tandem/core/tower"
	"tandem/core/weights"
)

// golden is a file that golden.py wrote. Grads and Stats hold, for each array, its L2 norm and its
// product with uniform("probe <name>").
type golden struct {
	With       json.RawMessage       `json:"with"`
	EmbedDim   int                   `json:"embed_dim"`
	Parameters int64                 `json:"parameters"`
	Captions   []string              `json:"captions"`
	Eval       []float64             `json:"eval"`
	Train      []float64             `json:"train"`
	Grads      map[string][2]float64 `json:"grads"`
	Stats      map[string][2]float64 `json:"stats"`
}

// Golden holds an encoder against a golden file, in double and in single precision: embeddings in both
// modes, the gradient of every parameter and the running statistics after a training pass. In bfloat16
// it holds the embeddings against the file and the gradients against those of single precision.
func Golden(t *testing.T, file string, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	// Golden values are of double precision, but pass through float32 embeddings and updates here.
	t.Run("double", func(t *testing.T) { g.check(t, open(Double), 1e-6) })
	t.Run("single", func(t *testing.T) { g.check(t, open(), 2e-4) })
	t.Run("bfloat16", func(t *testing.T) { g.half(t, open) })
}

// Double computes in double precision, on the pure Go backend.
var Double = tower.WithBackend(func(o clip.Compute) (device.Backend, error) { return host.New[float64](o.Threads), nil })

// check compares with a tolerance that is absolute for embeddings, whose values are under 1, and
// relative to the norm for gradients.
func (g golden) check(t *testing.T, e clip.Encoder, tolerance float64) {
	ctx := context.Background()
	defer e.Close()
	info, err := e.Configure(ctx, clip.EncoderConfig{
		With: g.With, EmbedDim: g.EmbedDim, Seed: 1, Optimizer: PlainSGD, Compute: CPU,
	})
	if err != nil {
		t.Fatal(err)
	}
	if info.Parameters != g.Parameters {
		t.Errorf("%d parameters, want %d", info.Parameters, g.Parameters)
	}
	before := Rewrite(t, e, goldenValue)
	batch := len(g.Eval) / g.EmbedDim
	req := clip.ForwardRequest{Texts: g.Captions}
	if info.Modality == clip.Image {
		req.Images = pictures(batch, info.ImageSize)
	}
	closeTo(t, "evaluation", forward(t, e, req), g.Eval, tolerance)
	req.Mode = clip.Train
	out, ticket, err := e.Forward(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, "training", out, g.Train, tolerance)
	grad := tensor.New(tensor.F32, batch, g.EmbedDim)
	for i := range grad.F32() {
		grad.F32()[i] = float32(100 * uniform("cotangent", i))
	}
	if err := e.Backward(ctx, ticket, grad); err != nil {
		t.Fatal(err)
	}
	var squares float64
	for _, want := range g.Grads {
		squares += want[0] * want[0]
	}
	norm, err := e.GradNorm(ctx)
	if err != nil || math.Abs(norm/squares-1) > 2*tolerance {
		t.Errorf("squared gradient norm is %g, want %g (%v)", norm, squares, err)
	}
	if err := e.Step(ctx, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	after := Values(t, e)
	for name, want := range g.Grads {
		d := minus(before[name], after[name])
		if d == nil {
			t.Errorf("no parameter %s", name)
			continue
		}
		norm, dot := probe(name, d)
		// The gradient is seen through an update of float32 values near 1.
		if limit := tolerance*want[0] + 1e-6*math.Sqrt(float64(len(d))); math.Abs(norm-want[0]) > limit || math.Abs(dot-want[1]) > 2*limit {
			t.Errorf("gradient of %s has norm %.6g and probe %.6g, want %.6g and %.6g", name, norm, dot, want[0], want[1])
		}
	}
	for name, want := range g.Stats {
		norm, dot := probe(name, after[name])
		if math.Abs(norm-want[0]) > tolerance*want[0] || math.Abs(dot-want[1]) > tolerance*want[0] {
			t.Errorf("%s has norm %.7g and probe %.7g, want %.7g and %.7g", name, norm, dot, want[0], want[1])
		}
	}
}

// CPU is two threads of what the tests were built with: oneDNN under the build tag onednn, else the
// pure Go backend.
var CPU = clip.Compute{Device: "cpu", Threads: 2, Precision: "f32"}

// PlainSGD subtracts the gradient and nothing else.
var PlainSGD = clip.Optimizer{Name: "sgd"}

func forward(t *testing.T, e clip.Encoder, req clip.ForwardRequest) *tensor.Tensor {
	t.Helper()
	out, _, err := e.Forward(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func closeTo(t *testing.T, what string, got *tensor.Tensor, want []float64, tolerance float64) {
	t.Helper()
	values := got.F32()
	if len(values) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(values), len(want))
	}
	worst := 0.
	for i, v := range values {
		worst = max(worst, math.Abs(float64(v)-want[i]))
	}
	if !(worst <= tolerance) {
		t.Errorf("%s embeddings differ by up to %g", what, worst)
	}
}

// probe is the L2 norm of v and its product with uniform("probe <name>").
func probe(name string, v []float32) (norm, dot float64) {
	for i, x := range v {
		norm += float64(x) * float64(x)
		dot += float64(x) * uniform("probe "+name, i)
	}
	return math.Sqrt(norm), dot
}

func minus(a, b []float32) []float32 {
	if a == nil || len(a) != len(b) {
		return nil
	}
	d := make([]float32, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// pictures are u8 [b, s, s, 3] as golden.py makes them.
func pictures(b, s int) *tensor.Tensor {
	x := tensor.New(tensor.U8, b, s, s, 3)
	for i := range x.U8() {
		x.U8()[i] = byte((uniform("pictures", i) + 1) * 128)
	}
	return x
}

// goldenValue is the value that golden.py gives to element i of an array.
func goldenValue(name string, shape []int, i int) float32 {
	u := uniform(name, i)
	switch {
	case len(shape) > 1:
		return float32(u * math.Sqrt(3/float64(tensor.Shape(shape[1:]).Elements())))
	case strings.HasSuffix(name, "weight") || strings.HasSuffix(name, "running_var"):
		return float32(1 + .3*u)
	}
	return float32(.3 * u)
}

// uniform is number i of the stream of a name, in [-1, 1): splitmix64 of FNV-1a(name) and i.
func uniform(name string, i int) float64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	z := h.Sum64() + uint64(i)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return float64(z>>11)/(1<<52) - 1
}

// Rewrite gives every parameter and statistic of an encoder the values of a function, by saving and
// loading, and returns them by name.
func Rewrite(t *testing.T, e clip.Encoder, value func(name string, shape []int, i int) float32) map[string][]float32 {
	t.Helper()
	tensors, meta := read(t, e)
	return rewrite(t, e, tensors, meta, value)
}

// rewrite is Rewrite with the encoder's saved state at hand.
func rewrite(t *testing.T, e clip.Encoder, saved []weights.Tensor, meta map[string]string,
	value func(name string, shape []int, i int) float32) map[string][]float32 {
	t.Helper()
	tensors := slices.Clone(saved)
	values := map[string][]float32{}
	for i, w := range tensors {
		if w.DType != weights.F32 || strings.HasPrefix(w.Name, "optim.") {
			continue
		}
		v := make([]float32, tensor.Shape(w.Shape).Elements())
		for k := range v {
			v[k] = value(w.Name, w.Shape, k)
		}
		tensors[i] = weights.FromF32(w.Name, v, w.Shape...)
		values[w.Name] = v
	}
	path := filepath.Join(t.TempDir(), "rewritten.safetensors")
	if err := weights.Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	if err := e.Load(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	return values
}

// Values are the encoder's parameters, statistics and optimiser state by name.
func Values(t *testing.T, e clip.Encoder) map[string][]float32 {
	t.Helper()
	tensors, _ := read(t, e)
	values := map[string][]float32{}
	for _, w := range tensors {
		if v, err := w.F32(); err == nil {
			values[w.Name] = v
		}
	}
	return values
}

// read saves an encoder and reads the file.
func read(t *testing.T, e clip.Encoder) ([]weights.Tensor, map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved.safetensors")
	if err := e.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range f.Names() {
		w, err := f.Read(name)
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		tensors = append(tensors, w)
	}
	return tensors, f.Metadata()
}
