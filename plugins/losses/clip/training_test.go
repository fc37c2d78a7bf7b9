package main

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/loss"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

func TestGradientsAddUpUntilTheStep(t *testing.T) {
	l := configured(t, config(`{}`, 8), false)
	image, text := unit(11, 4, 8), unit(12, 4, 8)
	if norm, err := l.GradNorm(ctx); norm != 0 || err != nil {
		t.Errorf("before any batch: %v, %v", norm, err)
	}
	compute(t, l, image, text)
	once := l.Gradient(loss.LogitScale)
	compute(t, l, image, text)
	near(t, "two batches", l.Gradient(loss.LogitScale), 2*once, 1e-6)
	if err := l.Step(ctx, 1, 1e-3, 1); err != nil {
		t.Fatal(err)
	}
	if norm, err := l.GradNorm(ctx); norm != 0 || err != nil {
		t.Errorf("after the step: %v, %v", norm, err)
	}
	compute(t, l, image, text)
	if g := l.Gradient(loss.LogitScale); math.Abs(g) > 1.5*math.Abs(once) {
		t.Errorf("gradient %g after the step, %g before: the old one was kept", g, once)
	}
}

func TestStepFollowsTheGradientWithoutDecay(t *testing.T) {
	// AdamW's first step is lr·g/(|g| + ε) whatever the gradient's size. Weight decay would show.
	l := configured(t, config(`{}`, 8), false)
	compute(t, l, unit(13, 4, 8), unit(14, 4, 8))
	before, g := l.Value(loss.LogitScale), l.Gradient(loss.LogitScale)
	if err := l.Step(ctx, 1, 0.01, 1); err != nil {
		t.Fatal(err)
	}
	near(t, "logit scale", l.Value(loss.LogitScale), before-math.Copysign(.01, g), 1e-5)
}

func TestLogitScaleIsClampedAfterTheStep(t *testing.T) {
	// Pairs that match push the scale up, pairs that are mixed up push it down.
	match, mixed := unit(15, 4, 8), unit(16, 4, 8)
	for _, c := range []struct {
		with string
		text *tensor.Tensor
		want float64
	}{
		{`{}`, match, math.Log(100)},
		{`{"max_logit_scale": 3}`, match, 3},
		{`{}`, mixed, 0},
	} {
		l := configured(t, config(c.with, 8), false)
		compute(t, l, match, c.text)
		if err := l.Step(ctx, 1, 100, 1); err != nil {
			t.Fatal(err)
		}
		near(t, c.with+" logit scale", l.Value(loss.LogitScale), c.want, 1e-6)
	}
}

func TestFixedTemperatureHasNoParameters(t *testing.T) {
	l := newLoss()
	defer l.Close()
	info, err := l.Configure(ctx, config(`{"learnable": false, "init_temperature": 0.005}`, 8))
	if err != nil || info.Parameters != 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	r := compute(t, l, unit(17, 4, 8), unit(18, 4, 8))
	if norm, err := l.GradNorm(ctx); norm != 0 || err != nil {
		t.Errorf("gradient %v, %v", norm, err)
	}
	if err := l.Step(ctx, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	if again := compute(t, l, unit(17, 4, 8), unit(18, 4, 8)); again.Value != r.Value {
		t.Errorf("value %v, then %v", r.Value, again.Value)
	}
	near(t, "multiplier", r.Scalars["logit_scale"], 200, 1e-3)
}

func TestBadRequestsAreInvalidAndBadNumbersNumeric(t *testing.T) {
	l := configured(t, config(`{}`, 4), false)
	good := unit(19, 3, 4)
	nan, inf := unit(20, 3, 4), unit(21, 3, 4)
	nan.F32()[5], inf.F32()[11] = float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		image, text *tensor.Tensor
		want        fault.Kind
	}{
		"one pair":         {unit(1, 1, 4), unit(2, 1, 4), fault.Invalid},
		"no pair":          {tensor.New(tensor.F32, 0, 4), tensor.New(tensor.F32, 0, 4), fault.Invalid},
		"different batch":  {good, unit(1, 4, 4), fault.Invalid},
		"different width":  {good, unit(1, 3, 5), fault.Invalid},
		"unexpected width": {unit(1, 3, 5), unit(2, 3, 5), fault.Invalid},
		"wrong type":       {good, tensor.New(tensor.I32, 3, 4), fault.Invalid},
		"wrong axes":       {good, tensor.New(tensor.F32, 12), fault.Invalid},
		"no text":          {good, nil, fault.Invalid},
		"NaN":              {nan, good, fault.Numeric},
		"infinity":         {good, inf, fault.Numeric},
	} {
		_, err := l.Compute(ctx, clip.LossRequest{Image: c.image, Text: c.text, Train: true})
		if fault.KindOf(err) != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if norm, err := l.GradNorm(ctx); norm != 0 || err != nil {
		t.Errorf("refused batches left a gradient: %v, %v", norm, err)
	}
}

func TestBadConfigsNameTheOption(t *testing.T) {
	for with, path := range map[string]string{
		`{"temprature": 1}`:                                  "with.temprature",
		`{"init_temperature": 0}`:                            "with.init_temperature",
		`{"init_temperature": 0.001}`:                        "with.init_temperature",
		`{"init_temperature": 2}`:                            "with.init_temperature",
		`{"init_temperature": 0.1, "init_logit_scale": 2.3}`: "with.init_logit_scale",
		`{"init_logit_scale": -0.5}`:                         "with.init_logit_scale",
		`{"label_smoothing": 1}`:                             "with.label_smoothing",
		`{"direction": "up"}`:                                "with.direction",
		`{"hard_negatives": 0.1, "label_smoothing": 0.1}`:    "with.hard_negatives",
		`{"learnable": 1}`:                                   "with.learnable",
	} {
		l := newLoss()
		_, err := l.Configure(ctx, config(with, 4))
		var e *fault.Error
		var list fault.List
		if errors.As(err, &list) && len(list) > 0 {
			e = list[0]
		} else if !errors.As(err, &e) {
			t.Errorf("%s: got %v", with, err)
			continue
		}
		if e.Kind != fault.Invalid || e.Path != path {
			t.Errorf("%s: got %v, want fault.Invalid at %s", with, err, path)
		}
	}
}

func TestLifecycle(t *testing.T) {
	l := newLoss()
	if _, err := l.GradNorm(ctx); fault.KindOf(err) != fault.Conflict {
		t.Errorf("before Configure: %v", err)
	}
	if _, err := l.Configure(ctx, config(`{}`, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Configure(ctx, config(`{}`, 4)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("second Configure: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.Step(canceled, 1, 1, 1); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestLoadedStateContinuesWithTheSameBits(t *testing.T) {
	for _, name := range []string{"adamw", "sgd", "lion"} {
		c := config(`{}`, 8)
		c.Optimizer = clip.Optimizer{Name: name, Beta1: .9, Beta2: .98, Eps: 1e-6, Momentum: .9}
		path := filepath.Join(t.TempDir(), "loss.safetensors")
		train := func(l *loss.Loss, from, to int) (values []float64) {
			for step := from; step <= to; step++ {
				r := compute(t, l, unit(uint64(step), 4, 8), unit(uint64(100+step), 4, 8))
				values = append(values, r.Value, l.Gradient(loss.LogitScale), l.Value(loss.LogitScale))
				if err := l.Step(ctx, step, 0.02, 0.5); err != nil {
					t.Fatal(err)
				}
			}
			return values
		}
		first := configured(t, c, false)
		train(first, 1, 3)
		if err := first.Save(ctx, path); err != nil {
			t.Fatal(err)
		}
		want := train(first, 4, 7)
		second := configured(t, c, false)
		compute(t, second, unit(50, 4, 8), unit(51, 4, 8)) // a gradient that Load must forget
		if err := second.Load(ctx, path); err != nil {
			t.Fatal(err)
		}
		if got := train(second, 4, 7); !slices.Equal(got, want) {
			t.Errorf("%s: after loading\n%v, want\n%v", name, got, want)
		}
	}
}

func TestLoadOfAnotherFileLeavesTheLossAsItWas(t *testing.T) {
	dir := t.TempDir()
	l := configured(t, config(`{}`, 4), false)
	before := l.Value(loss.LogitScale)
	sgd := config(`{}`, 4)
	sgd.Optimizer = clip.Optimizer{Name: "sgd", Momentum: .9}
	other := configured(t, sgd, false)
	if err := other.Save(ctx, filepath.Join(dir, "sgd")); err != nil {
		t.Fatal(err)
	}
	fixed := configured(t, config(`{"learnable": false}`, 4), false)
	if err := fixed.Save(ctx, filepath.Join(dir, "fixed")); err != nil {
		t.Fatal(err)
	}
	write := func(name string, tensors ...weights.Tensor) {
		if err := weights.Write(filepath.Join(dir, name), tensors, nil); err != nil {
			t.Fatal(err)
		}
	}
	write("empty")
	write("shape", weights.FromF32("logit_scale", []float32{1, 2}, 2))
	write("nan", weights.FromF32("logit_scale", []float32{float32(math.NaN())}))
	for name, want := range map[string]fault.Kind{
		"sgd": fault.Invalid, "fixed": fault.Invalid, "empty": fault.Invalid, "shape": fault.Invalid,
		"nan": fault.Corrupt, "absent": fault.NotFound,
	} {
		if err := l.Load(ctx, filepath.Join(dir, name)); fault.KindOf(err) != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if l.Value(loss.LogitScale) != before {
		t.Errorf("logit scale %g, was %g", l.Value(loss.LogitScale), before)
	}
	write("published", weights.FromF32("logit_scale", []float32{4.6052}, 1))
	if err := l.Load(ctx, filepath.Join(dir, "published")); err != nil {
		t.Errorf("published weights: %v", err)
	}
	near(t, "logit scale", l.Value(loss.LogitScale), 4.6052, 1e-6)
}
