package conformance

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// The sizes of further inputs in checks. They differ, so that one in place of another shows, but for those of a teacher,
// which a spec gives one width.
const (
	negatives       = 2
	teacherImageDim = 5
	teacherTextDim  = teacherImageDim
	imageTokens     = 3
	textTokens      = 4
)

// FurtherConfig fills in what a loss is told of the inputs that its descriptor names.
func FurtherConfig(names []string, c *clip.LossConfig) {
	for _, name := range names {
		switch name {
		case clip.InputTextNegatives:
			c.Negatives = negatives
		case clip.InputTeacherImage:
			c.TeacherImageDim = teacherImageDim
		case clip.InputTeacherText:
			c.TeacherTextDim = teacherTextDim
		}
	}
}

// Further returns inputs that a loss names beside image and text, for n samples with embeddings of a width; nil when
// it names none.
func Further(names []string, n, dim int) map[string]clip.LossInput {
	if len(names) == 0 {
		return nil
	}
	all := map[string]clip.LossInput{}
	for k, name := range names {
		seed := uint64(60 + k)
		switch name {
		case clip.InputTextNegatives:
			all[name] = clip.LossInput{Value: unitRows(seed, n*negatives, dim)}
		case clip.InputTeacherImage:
			all[name] = clip.LossInput{Value: unitRows(seed, n, teacherImageDim)}
		case clip.InputTeacherText:
			all[name] = clip.LossInput{Value: unitRows(seed, n, teacherTextDim)}
		case clip.InputGroups: // the first two samples are of one group, and so are every other two
			groups := tensor.New(tensor.I32, n)
			for i := range groups.I32() {
				groups.I32()[i] = int32(i / 2)
			}
			all[name] = clip.LossInput{Value: groups}
		case clip.InputImageTokens:
			all[name] = tokenInput(seed, n, imageTokens, dim)
		case clip.InputTextTokens:
			all[name] = tokenInput(seed, n, textTokens, dim)
		default:
			all[name] = clip.LossInput{Value: unitRows(seed, n, dim)}
		}
	}
	return all
}

// tokenInput makes tokens of unit norm, from one a sample to count, and zeros after them.
func tokenInput(seed uint64, n, count, dim int) clip.LossInput {
	x := unitRows(seed, n*count, dim)
	x.Shape = tensor.Shape{n, count, dim}
	lengths := tensor.New(tensor.I32, n)
	for i := range lengths.I32() {
		lengths.I32()[i] = int32(1 + (i+count-1)%count)
	}
	clearAfter(x, lengths)
	return clip.LossInput{Value: x, Lengths: lengths}
}

// clearAfter sets the tokens after each sample's own to zero.
func clearAfter(x, lengths *tensor.Tensor) {
	count, dim := x.Shape[1], x.Shape[2]
	for i, n := range lengths.I32() {
		clear(x.F32()[(i*count+int(n))*dim : (i+1)*count*dim])
	}
}

// permuteInput returns an input of the samples in another order.
func permuteInput(name string, x clip.LossInput, order []int) clip.LossInput {
	switch name {
	case clip.InputTextNegatives:
		shape := x.Value.Shape
		byBatch := &tensor.Tensor{DType: tensor.F32, Shape: tensor.Shape{shape[0] / negatives, negatives * shape[1]}, Data: x.Value.Data}
		out := permuteRows(byBatch, order)
		out.Shape = shape
		return clip.LossInput{Value: out}
	case clip.InputGroups:
		out, numbers := permuteRows(x.Value, order), map[int32]int32{}
		for i, g := range out.I32() {
			if _, ok := numbers[g]; !ok {
				numbers[g] = int32(len(numbers))
			}
			out.I32()[i] = numbers[g]
		}
		return clip.LossInput{Value: out}
	}
	out := clip.LossInput{Value: permuteRows(x.Value, order)}
	if x.Lengths != nil {
		out.Lengths = permuteRows(x.Lengths, order)
	}
	return out
}

// cloneInputs copies the tensors of inputs.
func cloneInputs(inputs map[string]clip.LossInput) map[string]clip.LossInput {
	out := maps.Clone(inputs)
	for name, x := range out {
		x.Value = x.Value.Clone()
		if x.Lengths != nil {
			x.Lengths = x.Lengths.Clone()
		}
		out[name] = x
	}
	return out
}

// checkInputsSame checks that inputs have the bits that they had.
func checkInputsSame(before, after map[string]clip.LossInput) (err error) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		err = errors.Join(err, checkSame(name+" before and after", before[name].Value, after[name].Value))
		if before[name].Lengths != nil {
			err = errors.Join(err, checkSame("lengths of "+name+" before and after", before[name].Lengths, after[name].Lengths))
		}
	}
	return err
}

// takeGradients checks the gradients of further inputs and copies them to the heap.
func takeGradients(r *clip.LossResult, q clip.LossRequest) error {
	for _, name := range slices.Sorted(maps.Keys(q.Inputs)) {
		g, want := r.Gradients[name], q.Train && clip.DifferentiableInput(name)
		switch {
		case (g != nil) != want:
			return fmt.Errorf("there is a gradient of %s: %v, with Train %v", name, g != nil, q.Train)
		case g == nil:
			continue
		case g.DType != tensor.F32 || !g.Shape.Equal(q.Inputs[name].Value.Shape):
			return fmt.Errorf("the gradient of %s is %v %v, want f32 %v", name, g.DType, g.Shape, q.Inputs[name].Value.Shape)
		}
		r.Gradients[name] = g.Clone()
		g.Free()
	}
	return nil
}

// inputGradients checks the gradients of further inputs as embeddingGradients does those of the embeddings.
func (c lossCase) inputGradients() error {
	if !slices.ContainsFunc(c.o.Inputs, clip.DifferentiableInput) {
		return notChecked("it takes no further input that has a gradient")
	}
	return c.with(sgd, func(l *lossTrial) error {
		r, err := l.computeOf(c.request(true))
		if err != nil {
			return err
		}
		for k, name := range c.o.Inputs {
			if !clip.DifferentiableInput(name) {
				continue
			}
			x := c.request(true).Inputs[name]
			err := l.checkSlope(uint64(80+k), x, r.Gradients[name], func(moved *tensor.Tensor) clip.LossRequest {
				q := c.request(false)
				q.Inputs[name] = clip.LossInput{Value: moved, Lengths: x.Lengths}
				return q
			})
			if err != nil {
				return fmt.Errorf("by %s: %w", name, err)
			}
		}
		return nil
	})
}

// checkSlope checks the gradient g of an input x: it moves x along a direction with a part along the gradient, so that
// there is a slope to see, and a random one, so that a gradient that is too short is not enough. Tokens after a
// sample's own stay zero.
func (l *lossTrial) checkSlope(seed uint64, x clip.LossInput, g *tensor.Tensor, with func(moved *tensor.Tensor) clip.LossRequest) error {
	direction := normal(seed, 1, len(g.F32()))
	direction.Shape = g.Shape
	norm := math.Sqrt(dot(g.F32(), g.F32()))
	if norm == 0 {
		return errors.New("the gradient is 0")
	}
	for j := range direction.F32() {
		direction.F32()[j] = direction.F32()[j]/float32(math.Sqrt(float64(len(direction.F32())))) + g.F32()[j]/float32(norm)
	}
	if x.Lengths != nil {
		clearAfter(direction, x.Lengths)
	}
	return slopes(func(s float64) (float64, error) {
		moved := x.Value.Clone()
		for j := range moved.F32() {
			moved.F32()[j] += float32(s) * direction.F32()[j]
		}
		r, err := l.computeOf(with(moved))
		if err != nil {
			return 0, err
		}
		return r.Value, nil
	}, dot(g.F32(), direction.F32()), 1, l.o.Tolerance)
}

// badInputs leaves out each input in turn, and gives each of one sample too few.
func (c lossCase) badInputs() error {
	if len(c.o.Inputs) == 0 {
		return notChecked("it takes image and text alone")
	}
	return c.with(sgd, func(l *lossTrial) error {
		for _, name := range c.o.Inputs {
			q := c.request(true)
			delete(q.Inputs, name)
			_, err := l.Compute(ctx, q)
			if err := wantKind("a request without "+name, err, fault.Invalid); err != nil {
				return err
			}
			q = c.request(true)
			q.Inputs[name] = Further([]string{name}, c.o.Batch-1, c.o.EmbedDim)[name]
			_, err = l.Compute(ctx, q)
			if err := wantKind("a sample too few in "+name, err, fault.Invalid); err != nil {
				return err
			}
		}
		return nil
	})
}
