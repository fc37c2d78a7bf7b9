package objective

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// bilinear is a loss with one parameter s: s·(mean of image·text + of image·view), whose gradients are exact.
type bilinear struct {
	clip.Loss // the rest is not called
	s, g      float64
	view      bool
	lacks     string // a gradient that it keeps back
	fails     error
	open      *atomic.Int64 // tensors that nobody freed
	steps     []string
}

func (l *bilinear) tensor(t *tensor.Tensor) *tensor.Tensor {
	l.open.Add(1)
	t.Release = func() { l.open.Add(-1) }
	return t
}

func (l *bilinear) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	if l.fails != nil {
		return nil, l.fails
	}
	view := q.Inputs[clip.InputImageView2].Value
	if (view != nil) != l.view {
		return nil, fault.New(fault.Invalid, "inputs %v", slices.Collect(maps.Keys(q.Inputs)))
	}
	n := float64(q.Image.Shape[0])
	r := &clip.LossResult{DImage: l.tensor(tensor.New(tensor.F32, q.Image.Shape...)), DText: l.tensor(tensor.New(tensor.F32, q.Text.Shape...))}
	dot := func(part string, b, db *tensor.Tensor) (sum float64) {
		for i, x := range q.Image.F32() {
			y := b.F32()[i]
			sum += float64(x*y) / n
			r.DImage.F32()[i] += float32(l.s/n) * y
			db.F32()[i] += float32(l.s/n) * x
		}
		return sum
	}
	m := dot("text", q.Text, r.DText)
	r.Parts = map[string]float64{"text": l.s * m}
	if l.view {
		r.Gradients = map[string]*tensor.Tensor{clip.InputImageView2: l.tensor(tensor.New(tensor.F32, view.Shape...))}
		v := dot("view", view, r.Gradients[clip.InputImageView2])
		m += v
		r.Parts["view"] = l.s * v
	}
	r.Value, r.Scalars, l.g = l.s*m, map[string]float64{"s": l.s}, m
	if l.lacks != "" {
		l.open.Add(-1)
		delete(r.Gradients, l.lacks)
	}
	return r, nil
}

func (l *bilinear) GradNorm(context.Context) (float64, error) { return l.g * l.g, nil }

func (l *bilinear) Step(_ context.Context, step int, lr, scale float64) error {
	l.steps = append(l.steps, fmt.Sprintf("%d %g %g", step, lr, scale))
	return nil
}

const rows, dim = 3, 4

func asked() clip.LossRequest {
	filled := func(seed float64) *tensor.Tensor {
		t := tensor.New(tensor.F32, rows, dim)
		for i := range t.F32() {
			t.F32()[i] = float32(math.Sin(seed + float64(i)))
		}
		return t
	}
	return clip.LossRequest{Image: filled(1), Text: filled(20), Train: true,
		Inputs: map[string]clip.LossInput{clip.InputImageView2: {Value: filled(300)}}}
}

// sum returns 2·a + ½·b, of which b takes the second view.
func sum(parallel bool) (s *Sum, a, b *bilinear, open *atomic.Int64) {
	open = &atomic.Int64{}
	a, b = &bilinear{s: 1.5, open: open}, &bilinear{s: -3, view: true, open: open}
	return Add([]Member{{Name: "a", Weight: 2, Loss: a}, {Name: "b", Weight: .5, Loss: b, Inputs: []string{clip.InputImageView2}}}, parallel), a, b, open
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 2e-5*max(1, math.Abs(want)) {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// Every gradient of a sum is the derivative of its value, that of its members' parameters included.
func TestASumsGradientIsTheDerivativeOfItsValue(t *testing.T) {
	for _, parallel := range []bool{false, true} {
		s, a, b, open := sum(parallel)
		q := asked()
		r, norm, err := s.ComputeNorm(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		value := func() float64 {
			again, _, _, _ := sum(false)
			again.members[0].Loss.(*bilinear).s, again.members[1].Loss.(*bilinear).s = a.s, b.s
			r, err := again.Compute(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return r.Value
		}
		const h = 1. / 64
		for name, x := range map[string][2]*tensor.Tensor{"image": {q.Image, r.DImage}, "text": {q.Text, r.DText},
			"view": {q.Inputs[clip.InputImageView2].Value, r.Gradients[clip.InputImageView2]}} {
			for i := range x[0].F32() {
				at := &x[0].F32()[i]
				*at += h
				up := value()
				*at -= 2 * h
				near(t, fmt.Sprintf("gradient of %s[%d]", name, i), float64(x[1].F32()[i]), (up-value())/(2*h))
				*at += h
			}
		}
		square := 0.0
		for _, l := range []*bilinear{a, b} {
			l.s += h
			up := value()
			l.s -= 2 * h
			d := (up - value()) / (2 * h)
			l.s += h
			square += d * d
		}
		near(t, "norm", norm, square)
		if own, err := s.GradNorm(t.Context()); err != nil || own != norm {
			t.Errorf("GradNorm is %g, %v, with the gradients %g", own, err, norm)
		}
		near(t, "value", r.Value, 2*r.Parts["a"]+.5*r.Parts["b"])
		near(t, "part", r.Parts["b"], r.Parts["b/text"]+r.Parts["b/view"])
		if r.Scalars["a/s"] != 1.5 || r.Scalars["b/s"] != -3 || len(r.Scalars) != 2 || len(r.Parts) != 5 {
			t.Errorf("scalars %v, parts %v", r.Scalars, r.Parts)
		}
		if r.Free(); open.Load() != 0 {
			t.Errorf("%d tensors are left", open.Load())
		}
	}
}

func TestAStepTakesTheGradientOfTheSum(t *testing.T) {
	s, a, b, _ := sum(true)
	if err := s.Step(t.Context(), 7, .1, .25); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.steps, []string{"7 0.1 0.5"}) || !slices.Equal(b.steps, []string{"7 0.1 0.125"}) {
		t.Errorf("steps %v and %v", a.steps, b.steps)
	}
}

// A member of weight 0 changes no bit of the others' gradients, and what it takes alone has a gradient of 0.
func TestAMemberOfWeight0IsMeasuredOnly(t *testing.T) {
	s, a, _, open := sum(false)
	s.members[0].Weight, s.members[1].Weight = 1, 0
	q := asked()
	alone, err := a.Compute(t.Context(), s.members[0].request(q))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // in either order
		r, norm, err := s.ComputeNorm(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if r.Value != alone.Value || norm != a.g*a.g || !slices.Equal(r.DImage.F32(), alone.DImage.F32()) || !slices.Equal(r.DText.F32(), alone.DText.F32()) {
			t.Errorf("value %g, norm %g, gradients %v, alone %g, %g, %v", r.Value, norm, r.DImage.F32(), alone.Value, a.g*a.g, alone.DImage.F32())
		}
		if r.Parts["b"] == 0 || slices.ContainsFunc(r.Gradients[clip.InputImageView2].F32(), func(v float32) bool { return v != 0 }) {
			t.Errorf("parts %v, gradient of the view %v", r.Parts, r.Gradients[clip.InputImageView2].F32())
		}
		r.Free()
		slices.Reverse(s.members)
	}
	if open.Load() != 2 { // of alone
		t.Errorf("%d tensors are left", open.Load())
	}
}

func TestWhatGoesWrongInAMemberIsToldAndNothingIsLeft(t *testing.T) {
	for what, spoil := range map[string]func(a, b *bilinear){
		"no gradient of its input image_view2": func(_, b *bilinear) { b.lacks = clip.InputImageView2 },
		"out of order":                         func(_, b *bilinear) { b.fails = fault.New(fault.Numeric, "out of order") },
	} {
		for _, parallel := range []bool{false, true} {
			s, a, b, open := sum(parallel)
			spoil(a, b)
			if _, _, err := s.ComputeNorm(t.Context(), asked()); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", what, err)
			}
			if open.Load() != 0 {
				t.Errorf("%s: %d tensors are left", what, open.Load())
			}
		}
	}
}
