// Package conformance checks that a plugin keeps the promises of core/clip. A plugin's test is
//
//	func TestPromises(t *testing.T) {
//		conformance.TestEncoder(t, newEncoder, conformance.EncoderOptions{With: `{"width": 16, "layers": 1}`})
//	}
//
// Every rule has a name and runs as a subtest. CheckEncoder, CheckLoss and CheckDataset return the same as
// values, for plugins that are processes (core/plugin/trial). Configure the smallest network that has every part.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var ctx = context.Background()

// canceledContext returns a context that has ended.
func canceledContext() context.Context {
	c, cancel := context.WithCancel(ctx)
	cancel()
	return c
}

// wantKind checks the kind of an error. what says what returned it.
func wantKind(what string, err error, kind fault.Kind) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s: no error, want fault.%s", what, kind)
	case fault.KindOf(err) != kind:
		return fmt.Errorf("%s: %q is of kind %s, want %s", what, err, fault.KindOf(err), kind)
	}
	return nil
}

// normal returns a [rows, cols] tensor of standard normal values.
func normal(seed uint64, rows, cols int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 77))
	t := tensor.New(tensor.F32, rows, cols)
	for i := range t.F32() {
		t.F32()[i] = float32(r.NormFloat64())
	}
	return t
}

// unitRows returns what normal returns, with rows scaled to norm 1.
func unitRows(seed uint64, rows, cols int) *tensor.Tensor {
	t := normal(seed, rows, cols)
	for i := range rows {
		row := t.F32()[i*cols : (i+1)*cols]
		norm := math.Sqrt(dot(row, row))
		for j := range row {
			row[j] = float32(float64(row[j]) / norm)
		}
	}
	return t
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// permuteRows returns a tensor with row order[i] of t at i. It has as many rows as order; rows are t's outermost
// axis.
func permuteRows(t *tensor.Tensor, order []int) *tensor.Tensor {
	n := len(t.Data) / max(1, t.Shape[0])
	out := tensor.New(t.DType, append([]int{len(order)}, t.Shape[1:]...)...)
	for i, from := range order {
		copy(out.Data[i*n:(i+1)*n], t.Data[from*n:(from+1)*n])
	}
	return out
}

// rotation returns an order that moves every row and gives every row but one its old neighbours.
func rotation(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + 1) % n
	}
	return order
}

// checkNear checks that a and b differ by no more than tolerance anywhere.
func checkNear(what string, a, b *tensor.Tensor, tolerance float64) error {
	if !a.Shape.Equal(b.Shape) {
		return fmt.Errorf("%s: shapes %v and %v", what, a.Shape, b.Shape)
	}
	for i, x := range a.F32() {
		y := b.F32()[i]
		if d := math.Abs(float64(x) - float64(y)); !(d <= tolerance) {
			return fmt.Errorf("%s: element %d is %v and %v", what, i, x, y)
		}
	}
	return nil
}

// checkSame checks that a and b have the same bits.
func checkSame(what string, a, b *tensor.Tensor) error {
	if a.DType != b.DType || !a.Shape.Equal(b.Shape) {
		return fmt.Errorf("%s: %v %v and %v %v", what, a.DType, a.Shape, b.DType, b.Shape)
	}
	if !bytes.Equal(a.Data, b.Data) {
		return fmt.Errorf("%s: the bits differ", what)
	}
	return nil
}

// slopes compares the derivative of f at 0 (f(s) is a value after a move of length s) with want, by
// one-sided differences of second order at several lengths: long ones suffer from curvature, short
// ones from rounding. It fails when none comes within the relative tolerance.
func slopes(f func(s float64) (float64, error), want, scale, tolerance float64) error {
	f0, err := f(0)
	if err != nil {
		return err
	}
	best, at := math.Inf(1), 0.0
	for _, s := range []float64{.1, .03, .01, .003, .001} {
		f1, err1 := f(s * scale)
		f2, err2 := f(2 * s * scale)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		got := (4*f1 - f2 - 3*f0) / (2 * s * scale)
		if d := math.Abs(got - want); d < best {
			best, at = d, got
		}
	}
	if !(best <= tolerance*math.Abs(want)) {
		return fmt.Errorf("the gradient says that the value changes by %.5g per unit of length, finite differences say %.5g", want, at)
	}
	return nil
}

// trainable has the methods that the checks of parameters need of an encoder or a loss.
type trainable interface {
	clip.Trainable
	Close() error
}

// sgd configures the plain optimiser, with which parameters move exactly along the gradient.
var sgd = clip.Optimizer{Name: "sgd"}

// adamw has state and decay, for checks of saving.
var adamw = clip.Optimizer{Name: "adamw", WeightDecay: .1, Beta1: .9, Beta2: .98, Eps: 1e-6}

// savedIn calls f with a path for a checkpoint in a folder of its own.
func savedIn(f func(path string) error) error {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(filepath.Join(dir, "state.safetensors"))
}

// checkpointFile checks that Save writes a safetensors file with at least as many numbers as there are parameters.
func checkpointFile(a clip.Trainable, parameters int64) error {
	return savedIn(func(path string) error {
		if err := a.Save(ctx, path); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		f, err := weights.Open(path)
		if err != nil {
			return fmt.Errorf("save wrote no safetensors file: %w", err)
		}
		defer f.Close()
		held := int64(0)
		for _, name := range f.Names() {
			if info, ok := f.Info(name); ok && info.DType.Size() > 0 {
				held += int64(info.Bytes() / info.DType.Size())
			}
		}
		if held < parameters {
			return fmt.Errorf("the file holds %d numbers, and Configure said that there are %d parameters", held, parameters)
		}
		return nil
	})
}

// saveLoad checks the rule of Save and Load for an encoder or a loss. open makes a configured instance, learn
// takes a training step and probe returns what the instance gives.
func saveLoad[T trainable](open func() (T, error), learn func(T, int) error, probe func(T) (*tensor.Tensor, error)) error {
	return savedIn(func(path string) error {
		a, err := open()
		if err != nil {
			return err
		}
		defer a.Close()
		b, err := open()
		if err != nil {
			return err
		}
		defer b.Close()
		if err := errors.Join(learn(a, 1), learn(a, 2), a.Save(ctx, path)); err != nil {
			return err
		}
		if err := b.Load(ctx, path); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if err := probeBoth("after Load", a, b, probe); err != nil {
			return err
		}
		if err := errors.Join(learn(a, 3), learn(b, 3)); err != nil {
			return err
		}
		return probeBoth("one step after Load", a, b, probe)
	})
}

func probeBoth[T any](what string, a, b T, probe func(T) (*tensor.Tensor, error)) error {
	x, err1 := probe(a)
	y, err2 := probe(b)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return checkSame(what, x, y)
}

// loadRefuses checks that a bad file is refused and changes nothing.
func loadRefuses[T trainable](a T, probe func(T) (*tensor.Tensor, error)) error {
	return savedIn(func(path string) error {
		before, err := probe(a)
		if err != nil {
			return err
		}
		if err := a.Save(ctx, path); err != nil {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("save left no file: %w", err)
		}
		if err := os.WriteFile(path, whole[:len(whole)/2], 0o644); err != nil {
			return err
		}
		if err := wantKind("half a file", a.Load(ctx, path), fault.Corrupt); err != nil {
			return err
		}
		if err := a.Load(ctx, path+".missing"); err == nil {
			return errors.New("loading a file that is not there: no error")
		}
		after, err := probe(a)
		if err != nil {
			return err
		}
		return checkSame("after a refused Load", before, after)
	})
}
