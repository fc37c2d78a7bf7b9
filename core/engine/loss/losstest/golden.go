// Package losstest holds losses against results of OpenCLIP's own modules and against finite
// differences.
package losstest

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/loss"
	"tandem/core/tensor"
)

// golden holds one batch of tools/goldens/openclip.
type golden struct {
	Image  [][]float64 `json:"image"`
	Text   [][]float64 `json:"text"`
	Scale  float64     `json:"logit_scale"` // its logarithm
	Bias   float64     `json:"logit_bias"`
	Value  float64     `json:"value"`
	DImage [][]float64 `json:"d_image"`
	DText  [][]float64 `json:"d_text"`
	DScale float64     `json:"d_logit_scale"`
	DBias  float64     `json:"d_logit_bias"`
}

// Double computes in double precision, on the pure Go backend.
var Double = loss.WithBackend(func(o clip.Compute) (device.Backend, error) { return reference.New[float64](o.Threads), nil })

// OpenCLIP holds a loss against a golden file, in double precision and in single precision on every
// backend that this build and machine have: the value and the gradients of embeddings and parameters.
// with makes the with block that starts at the given parameters.
func OpenCLIP(t *testing.T, file string, open func(...loss.Option) *loss.Loss, with func(scale, bias float64) map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 3 {
		t.Fatalf("%d cases (%v)", len(cases), err)
	}
	for _, g := range cases {
		t.Run("double", func(t *testing.T) { g.check(t, open(Double), "host", with, 1e-7) })
		for _, d := range devices.List() {
			if d.Available && (d.Name == "cuda:0" || !strings.HasPrefix(d.Name, "cuda:")) {
				t.Run(d.Name, func(t *testing.T) { g.check(t, open(), d.Name, with, 1e-5) })
			}
		}
	}
}

// check compares with a tolerance that is relative to the norm of what is compared.
func (g golden) check(t *testing.T, l *loss.Loss, device string, with func(scale, bias float64) map[string]any, tolerance float64) {
	defer l.Close()
	ctx := context.Background()
	block, err := json.Marshal(with(g.Scale, g.Bias))
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Configure(ctx, clip.LossConfig{With: block, EmbedDim: len(g.Image[0]), BatchSize: len(g.Image),
		Optimizer: clip.Optimizer{Name: "sgd"}, Compute: clip.Compute{Device: device, Threads: 2}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Compute(ctx, clip.LossRequest{Image: rows(g.Image), Text: rows(g.Text), Train: true})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "value", []float64{r.Value}, []float64{g.Value}, tolerance)
	compare(t, "d_image", wide(r.DImage), flat(g.DImage), tolerance)
	compare(t, "d_text", wide(r.DText), flat(g.DText), tolerance)
	// d_logit_scale is the sum of ⟨d_image_i, image_i⟩, whose terms cancel: an error is held against what they are made of, or
	// a rounding that one processor does and another does not decides.
	if apart, most := math.Abs(l.Gradient(loss.LogitScale)-g.DScale), tolerance/5*g.scaleTerms(); !(apart <= most) {
		t.Errorf("d_logit_scale: %.3g from OpenCLIP's, want at most %.2g", apart, most)
	}
	if _, ok := r.Scalars[loss.LogitBias]; ok {
		compare(t, "d_logit_bias", []float64{l.Gradient(loss.LogitBias)}, []float64{g.DBias}, 5*tolerance)
	}
}

// scaleTerms adds up ‖d_image_i‖·‖image_i‖.
func (g golden) scaleTerms() (sum float64) {
	for i := range g.Image {
		sum += math.Sqrt(dot(g.DImage[i], g.DImage[i]) * dot(g.Image[i], g.Image[i]))
	}
	return sum
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// compare holds ‖got − want‖ to a share of ‖want‖.
func compare(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	var apart, norm float64
	for i := range want {
		apart += (got[i] - want[i]) * (got[i] - want[i])
		norm += want[i] * want[i]
	}
	if !(math.Sqrt(apart) <= tolerance*math.Sqrt(norm)) {
		t.Errorf("%s: relative error %.2g, want at most %.2g", what, math.Sqrt(apart/norm), tolerance)
	}
}

func flat(x [][]float64) (out []float64) {
	for _, row := range x {
		out = append(out, row...)
	}
	return out
}

func wide(x *tensor.Tensor) (out []float64) {
	for _, v := range x.F32() {
		out = append(out, float64(v))
	}
	return out
}

func rows(x [][]float64) *tensor.Tensor {
	out := tensor.New(tensor.F32, len(x), len(x[0]))
	for i, v := range flat(x) {
		out.F32()[i] = float32(v)
	}
	return out
}
