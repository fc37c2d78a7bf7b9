// Package towertest checks towers: against results of OpenCLIP's own modules (tools/goldens/openclip),
// and for the promises that every tower makes whatever its network.
package towertest

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/tower"
	"tandem/core/engine/weights"
	"tandem/core/tensor"
)

// golden holds a file that tools/goldens/openclip/towers.py wrote. Its arrays are eval and train, the embeddings
// [batch, dim] in both modes; grad.<parameter> of Σ 100·cotangent·train; stat.<statistic> after that pass; and
// after.<array>, all parameters and statistics after steps of AdamW on Σ cotangent·train/100, in files that have
// steps.
type golden struct {
	With       json.RawMessage `json:"with"`
	EmbedDim   int             `json:"embed_dim"`
	Batch      int             `json:"batch"`
	Parameters int64           `json:"parameters"`
	Captions   []string        `json:"captions"`
	Lengths    []int32         `json:"lengths"` // of token outputs

	// Autocast gives ‖a − b‖/‖b‖ of OpenCLIP itself under torch.autocast to bfloat16.
	Autocast struct{ Eval, Train, Grads float64 } `json:"autocast"`

	Steps       int     `json:"steps"`
	LR          float64 `json:"lr"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	WeightDecay float64 `json:"weight_decay"`

	arrays map[string][]float64
	text   string // the JSON of all this
}

// more reads what a golden file has beside what all of them have.
func (g golden) more(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.text), v); err != nil {
		t.Fatal(err)
	}
}

// step takes step n, counted from 1, on the golden batch with a gradient of scale times the cotangent, and gives the
// embeddings.
func (g golden) step(t *testing.T, e clip.Encoder, req clip.ForwardRequest, n int, scale float64) []float32 {
	t.Helper()
	ctx := context.Background()
	req.Mode, req.Step = clip.Train, n-1
	out, ticket, err := e.Forward(ctx, req)
	if err == nil {
		err = e.Backward(ctx, ticket, g.cotangent(scale))
	}
	if err == nil {
		err = e.Step(ctx, n, g.LR, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.F32()
}

// bounds limits ‖a − b‖/‖b‖, b being OpenCLIP's results in double precision, for embeddings and running statistics,
// for the gradient of each parameter, and for each array after ten steps of AdamW.
type bounds struct{ forward, gradient, steps float64 }

var (
	double = bounds{1e-6, 1e-6, 1e-6} // embeddings, gradients and arrays are float32 outside the backend
	single = bounds{1e-5, 1e-4, 1e-4}
)

// Golden holds an encoder against a golden file: in double precision on the reference backend, and on
// every backend in single precision and with products in bfloat16.
func Golden(t *testing.T, file string, open func(...tower.Option) clip.Encoder) {
	t.Helper()
	g := load(t, file)
	t.Run("double", func(t *testing.T) { g.check(t, open(Double), open(Double), "host", double) })
	for _, device := range Devices() {
		t.Run(device, func(t *testing.T) { g.check(t, open(), open(), device, single) })
	}
	t.Run("bfloat16", func(t *testing.T) { g.half(t, open) })
}

// Devices lists the backends that this build and machine have, by their names in a spec: of several GPUs the first.
func Devices() (names []string) {
	for _, d := range devices.List() {
		gpu := strings.HasPrefix(d.Name, "cuda:")
		if d.Available && (d.Name == "host" || strings.HasPrefix(d.Detail, "oneDNN") || gpu) { // else cpu is host
			names = append(names, d.Name)
			if gpu {
				break
			}
		}
	}
	return names
}

func load(t *testing.T, file string) (g golden) {
	t.Helper()
	f, err := weights.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g.text = f.Metadata()["golden"]
	g.more(t, &g)
	g.arrays = map[string][]float64{}
	for _, name := range f.Names() {
		v, err := f.F32(name)
		if err != nil {
			t.Fatal(err)
		}
		g.arrays[name] = widen(v)
	}
	return g
}

// Double computes in double precision, on the pure Go backend.
var Double = tower.WithBackend(func(o clip.Compute) (device.Backend, error) { return reference.New[float64](o.Threads), nil })

// CPU asks for two threads of what the tests were built with: oneDNN under the build tag onednn, else the pure Go
// backend.
var CPU = clip.Compute{Device: "cpu", Threads: 2, Precision: "f32"}

// PlainSGD subtracts the gradient and nothing else.
var PlainSGD = clip.Optimizer{Name: "sgd"}

// keeping configures AdamW so that its first moment, optim.m.<parameter>, is the gradient to the bit.
var keeping = clip.Optimizer{Name: "adamw", Beta2: .9, Eps: 1}

// check holds one encoder's passes and another's steps.
func (g golden) check(t *testing.T, passes, steps clip.Encoder, device string, bound bounds) {
	defer steps.Close()
	compute := clip.Compute{Device: device, Threads: 2, Precision: "f32"}
	g.held(t, g.pass(t, passes, compute), bound)
	if g.Steps > 0 {
		g.learn(t, steps, compute, bound)
	}
}

// held compares a pass with the file.
func (g golden) held(t *testing.T, p pass, bound bounds) {
	t.Helper()
	eval := held(t, "evaluation embeddings", p.eval, g.arrays["eval"], bound.forward)
	train := held(t, "training embeddings", p.train, g.arrays["train"], bound.forward)
	for name, want := range g.arrays {
		if stat, ok := strings.CutPrefix(name, "stat."); ok {
			held(t, stat, p.stats[stat], want, bound.forward)
		}
	}
	worst := g.heldGradients(t, p, bound)
	t.Logf("‖a−b‖/‖b‖: evaluation %.1e, training %.1e, a gradient at most %.1e", eval, train, worst)
}

// heldGradients compares the gradient of each parameter with the file, and gives how far the worst is apart.
func (g golden) heldGradients(t *testing.T, p pass, bound bounds) (worst float64) {
	t.Helper()
	all := norm(g.all())
	for name, want := range g.arrays {
		parameter, ok := strings.CutPrefix(name, "grad.")
		switch got := p.grads[parameter]; {
		case !ok:
		case norm(want) < 1e-12*all: // a bias of attention keys, which moves no softmax
			if len(got) != len(want) || !(norm(got) <= bound.forward*all) {
				t.Errorf("the gradient of %s is %g of all gradients' norm, want none", parameter, norm(got)/all)
			}
		default:
			worst = max(worst, held(t, "the gradient of "+parameter, got, want, bound.gradient))
		}
	}
	return worst
}

// learn takes the file's steps of AdamW and compares all arrays.
func (g golden) learn(t *testing.T, e clip.Encoder, compute clip.Compute, bound bounds) {
	t.Helper()
	req := g.configure(t, e, compute, clip.Optimizer{Name: "adamw", Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps,
		WeightDecay: g.WeightDecay, DecayEmbeddings: true})
	for step := 1; step <= g.Steps; step++ {
		g.step(t, e, req, step, .01)
	}
	after, worst, seen := Values(t, e), 0., 0
	for name, want := range g.arrays {
		if array, ok := strings.CutPrefix(name, "after."); ok {
			seen++
			worst = max(worst, held(t, array+" after ten steps", widen(after[array]), want, bound.steps))
		}
	}
	if g.Steps != 10 || seen < 10 {
		t.Errorf("%d arrays after %d steps", seen, g.Steps)
	}
	t.Logf("‖a−b‖/‖b‖ after ten steps: %.1e", worst)
}

// configure gives an encoder the golden weights; the request is for the golden batch.
func (g golden) configure(t *testing.T, e clip.Encoder, compute clip.Compute, o clip.Optimizer) clip.ForwardRequest {
	t.Helper()
	info, err := e.Configure(context.Background(), clip.EncoderConfig{With: g.With, EmbedDim: g.EmbedDim, Seed: 1, Optimizer: o, Compute: compute})
	if err != nil {
		t.Fatal(err)
	}
	if info.Parameters != g.Parameters {
		t.Errorf("%d parameters, want %d", info.Parameters, g.Parameters)
	}
	Rewrite(t, e, Value)
	if info.Modality == clip.Image {
		return clip.ForwardRequest{Images: pictures(g.Batch, info.ImageSize)}
	}
	return clip.ForwardRequest{Texts: g.Captions}
}

// cotangent returns the gradient of the embeddings.
func (g golden) cotangent(scale float64) *tensor.Tensor {
	grad := tensor.New(tensor.F32, g.Batch, g.EmbedDim)
	for i := range grad.F32() {
		grad.F32()[i] = float32(scale * Uniform("cotangent", i))
	}
	return grad
}

// held holds ‖got − want‖/‖want‖ to a bound and gives it.
func held(t *testing.T, what string, got, want []float64, bound float64) float64 {
	t.Helper()
	d := distance(got, want)
	if !(d <= bound) {
		t.Errorf("%s: ‖a−b‖/‖b‖ is %.2g, allowed %.2g", what, d, bound)
	}
	return d
}

// distance computes ‖a − b‖/‖b‖; infinity when the lengths differ.
func distance(a, b []float64) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return math.Inf(1)
	}
	d := make([]float64, len(b))
	for i, v := range b {
		d[i] = a[i] - v
	}
	return norm(d) / norm(b)
}

func norm(x []float64) (n float64) {
	for _, v := range x {
		n += v * v
	}
	return math.Sqrt(n)
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
