package losstest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/loss"
	"tandem/core/tensor"
)

// batch is one case of a file that tools/goldens/losses has made: what a plain formula in PyTorch gives in double precision
// for one batch of pairs.
type batch struct {
	With      json.RawMessage    `json:"with"`
	Inputs    map[string]array   `json:"inputs"`    // image, text, and what the loss takes beside them
	Value     float64            `json:"value"`     // in nats
	Parts     map[string]float64 `json:"parts"`     // means over rows
	Gradients map[string]array   `json:"gradients"` // of every differentiable input
	Scalars   map[string]float64 `json:"scalars"`   // gradients of the parameters
}

// array holds numbers row by row. Lengths are those of tokens.
type array struct {
	Shape   []int     `json:"shape"`
	Values  []float64 `json:"values"`
	Lengths []int32   `json:"lengths"`
}

// Trial holds a loss against a file of tools/goldens/losses: values and gradients of everything, in double precision and in
// single precision on every backend that this build and machine have; finite differences; blocks; and that an error
// of a sign, planted anywhere, is found.
func Trial(t *testing.T, file string, define loss.Define) {
	t.Helper()
	cases := read(t, file)
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d double", i), func(t *testing.T) { c.agrees(t, c.open(t, define, "host", Double), 1e-7) })
		for _, d := range devices.List() {
			if d.Available && (d.Name == "cuda:0" || !strings.HasPrefix(d.Name, "cuda:")) {
				t.Run(fmt.Sprintf("%d %s", i, d.Name), func(t *testing.T) { c.agrees(t, c.open(t, define, d.Name), 1e-5) })
			}
		}
		t.Run(fmt.Sprintf("%d differences", i), func(t *testing.T) { c.differences(t, define) })
		t.Run(fmt.Sprintf("%d blocks", i), func(t *testing.T) {
			rows := c.Inputs["image"].Shape[0]
			c.agrees(t, c.open(t, define, "host", Double, loss.WithBlocks(3*rows)), 1e-6)
		})
	}
	t.Run("planted errors", func(t *testing.T) { planted(t, cases, define) })
}

// read reads the cases of a file.
func read(t *testing.T, file string) (cases []batch) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases (%v)", len(cases), err)
	}
	return cases
}

// open configures a loss for the batch.
func (c batch) open(t testing.TB, define loss.Define, device string, options ...loss.Option) *loss.Loss {
	t.Helper()
	l := loss.New(define, options...)
	rows, width := c.Inputs["image"].Shape[0], c.Inputs["image"].Shape[1]
	config := clip.LossConfig{With: c.With, EmbedDim: width, BatchSize: rows,
		Optimizer: clip.Optimizer{Name: "sgd"}, Compute: clip.Compute{Device: device, Threads: 2}}
	if x, ok := c.Inputs[clip.InputTextNegatives]; ok {
		config.Negatives = x.Shape[0] / rows
	}
	if x, ok := c.Inputs[clip.InputTeacherImage]; ok {
		config.TeacherImageDim = x.Shape[1]
	}
	if x, ok := c.Inputs[clip.InputTeacherText]; ok {
		config.TeacherTextDim = x.Shape[1]
	}
	if _, err := l.Configure(context.Background(), config); err != nil {
		t.Fatalf("%s: %v", c.With, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// request makes the batch's, for training.
func (c batch) request() clip.LossRequest {
	q := clip.LossRequest{Train: true, Inputs: map[string]clip.LossInput{}}
	for name, a := range c.Inputs {
		x := tensor.New(tensor.F32, a.Shape...)
		if name == clip.InputGroups {
			x = tensor.New(tensor.I32, a.Shape...)
		}
		for i, v := range a.Values {
			if name == clip.InputGroups {
				x.I32()[i] = int32(v)
			} else {
				x.F32()[i] = float32(v)
			}
		}
		switch name {
		case "image":
			q.Image = x
		case "text":
			q.Text = x
		default:
			in := clip.LossInput{Value: x}
			if a.Lengths != nil {
				in.Lengths = tensor.New(tensor.I32, len(a.Lengths))
				copy(in.Lengths.I32(), a.Lengths)
			}
			q.Inputs[name] = in
		}
	}
	return q
}

// gradientsOf returns the gradients of all inputs that have one.
func gradientsOf(r *clip.LossResult) map[string]*tensor.Tensor {
	out := map[string]*tensor.Tensor{"image": r.DImage, "text": r.DText}
	maps.Copy(out, r.Gradients)
	return out
}

// agrees holds a loss against the batch, with tolerances relative to norms.
func (c batch) agrees(t *testing.T, l *loss.Loss, tolerance float64) {
	t.Helper()
	for _, complaint := range c.complaints(t, l, tolerance) {
		t.Errorf("%s: %s", c.With, complaint)
	}
}

// complaints says where a loss differs from the batch.
func (c batch) complaints(t testing.TB, l *loss.Loss, tolerance float64) (list []string) {
	t.Helper()
	r, err := l.Compute(context.Background(), c.request())
	if err != nil {
		t.Fatalf("%s: %v", c.With, err)
	}
	hold := func(what string, apart, scale float64) {
		if !(apart <= tolerance*scale) {
			list = append(list, fmt.Sprintf("%s: an error of %.2g, want at most %.2g·%.3g", what, apart, tolerance, scale))
		}
	}
	// A value is the difference of terms that may be larger than it is.
	hold("value", math.Abs(r.Value-c.Value), 1+math.Abs(c.Value))
	if len(r.Parts) != len(c.Parts) {
		list = append(list, fmt.Sprintf("parts are %v, want %v", r.Parts, c.Parts))
	}
	for name, want := range c.Parts {
		got, ok := r.Parts[name]
		if !ok {
			got = math.NaN()
		}
		hold(name, math.Abs(got-want), 1+math.Abs(want))
	}
	gradients, terms := gradientsOf(r), 0.0
	for _, name := range slices.Sorted(maps.Keys(gradients)) {
		want, got := c.Gradients[name], wide(gradients[name])
		if len(want.Values) != len(got) {
			list = append(list, fmt.Sprintf("the gradient of %s has %d elements, want %d", name, len(got), len(want.Values)))
			continue
		}
		apart, norm := distance(got, want.Values)
		hold("the gradient of "+name, apart, norm)
		terms = max(terms, norm*math.Sqrt(dot(c.Inputs[name].Values, c.Inputs[name].Values)))
	}
	// The gradient of a scalar is a sum whose terms cancel: an error is held against what they are made of.
	for name, want := range c.Scalars {
		hold("the gradient of "+name, math.Abs(l.Gradient(name)-want), math.Abs(want)+terms)
	}
	return list
}

// distance returns ‖got − want‖ and ‖want‖.
func distance(got, want []float64) (apart, norm float64) {
	for i := range want {
		apart += (got[i] - want[i]) * (got[i] - want[i])
	}
	return math.Sqrt(apart), math.Sqrt(dot(want, want))
}

// differences compares the gradients with central differences of the value in double precision: of each input along a mix
// of its gradient and a random direction, and of each scalar.
func (c batch) differences(t *testing.T, define loss.Define) {
	l := c.open(t, define, "host", Double)
	value := func(l *loss.Loss, q clip.LossRequest) float64 {
		q.Train = false
		r, err := l.Compute(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		return r.Value
	}
	r, err := l.Compute(context.Background(), c.request())
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range gradientsOf(r) {
		norm := math.Sqrt(dot(wide(g), wide(g)))
		difference := func(h float64) float64 {
			values, along := [2]float64{}, 0.0
			for side, sign := range []float64{-1, 1} {
				q := c.request()
				x := map[string]*tensor.Tensor{"image": q.Image, "text": q.Text}[name]
				if x == nil {
					x = q.Inputs[name].Value
				}
				for i, v := range x.F32() {
					x.F32()[i] = v + float32(sign*h*(math.Sin(1+1.7*float64(i))/math.Sqrt(float64(len(x.F32())))+float64(g.F32()[i])/(norm+1e-9)))
					along += sign * float64(x.F32()[i]) * float64(g.F32()[i])
				}
				values[side] = value(l, q)
			}
			return values[1] - values[0] - along
		}
		const h = 1.0 / 256
		// Without the term of h³; values come in single precision.
		if d := (8*difference(h/2) - difference(h)) / (6 * h); !(math.Abs(d) < 2e-4*(1+norm+math.Abs(r.Value))) {
			t.Errorf("%s: the gradient of %s is apart from finite differences by %.2g of %.3g", c.With, name, d, norm)
		}
	}
	for name := range c.Scalars {
		at := func(h float64) float64 {
			return value(c.open(t, changed(define, func(d *loss.Definition) {
				for i := range d.Scalars {
					if d.Scalars[i].Name == name {
						d.Scalars[i].Init += h
					}
				}
			}), "host", Double), c.request())
		}
		const h = 1.0 / 64
		slope := (8*(at(h/2)-at(-h/2)) - (at(h) - at(-h))) / (6 * h)
		if d := slope - l.Gradient(name); !(math.Abs(d) < 2e-4*(1+math.Abs(slope)+math.Abs(r.Value))) {
			t.Errorf("%s: the gradient of %s is %.6g, by finite differences %.6g", c.With, name, l.Gradient(name), slope)
		}
	}
}

// changed makes a loss whose definition f has changed.
func changed(define loss.Define, f func(*loss.Definition)) loss.Define {
	return func(c clip.LossConfig) (loss.Definition, error) {
		d, err := define(c)
		d.Scalars = slices.Clone(d.Scalars)
		f(&d)
		return d, err
	}
}
