// Package objective adds losses up: the weighted sum of several clip.Loss, each with parameters of its own, as one.
//
//	value      = Σ_m w_m · value_m
//	gradients  = Σ_m w_m · gradients_m      of image, text and every further input
//
// The parameters of a member, such as a temperature, are its own, and their gradient is w_m times the one that the
// member computes: two members that both learn a temperature learn two.
package objective

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// Member is a configured loss of a sum.
type Member struct {
	Name   string
	Weight float64 // ≥ 0; of 0 the loss is computed and trains nothing
	Loss   clip.Loss
	Inputs []string // what it takes beside image and text
}

// Sum is the sum of several losses as one loss. Parts and scalars have the name of their member in front
// ("slip/image_to_text"); the part named as a member ("slip") is the member's value without its weight.
type Sum struct {
	members  []Member
	parallel bool
}

var (
	_ clip.Loss          = (*Sum)(nil)
	_ clip.ComputeNormer = (*Sum)(nil)
	_ clip.LaterStepper  = (*Sum)(nil)
)

// Add makes one loss of several, which are configured already. With parallel they compute at the same time; the results
// are the same bits.
func Add(members []Member, parallel bool) *Sum { return &Sum{members, parallel} }

// Members returns the losses that l is the sum of, in order; one that is no Sum is its own only member.
func Members(l clip.Loss) []Member {
	if s, ok := l.(*Sum); ok {
		return s.members
	}
	return []Member{{Weight: 1, Loss: l}}
}

// Configure implements clip.Loss.
func (s *Sum) Configure(context.Context, clip.LossConfig) (clip.LossInfo, error) {
	return clip.LossInfo{}, oneByOne("configured")
}

// Save implements clip.Trainable.
func (s *Sum) Save(context.Context, string) error { return oneByOne("saved") }

// Load implements clip.Trainable.
func (s *Sum) Load(context.Context, string) error { return oneByOne("loaded") }

func oneByOne(what string) error {
	return fault.New(fault.Conflict, "the losses of a sum are %s one by one", what)
}

// each calls f for every member, at the same time where the sum is parallel. The first error cancels the others.
func (s *Sum) each(ctx context.Context, f func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	if !s.parallel {
		g.SetLimit(1)
	}
	for i := range s.members {
		g.Go(fault.Safely(func() error {
			if err := ctx.Err(); err != nil {
				return fault.New(fault.Canceled, "%w", err)
			}
			return f(ctx, i)
		}))
	}
	return g.Wait()
}

// Compute implements clip.Loss. It does not use the request's places for gradients.
func (s *Sum) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, _, err := s.compute(ctx, q, func(ctx context.Context, l clip.Loss, q clip.LossRequest) (r *clip.LossResult, _ float64, err error) {
		r, err = l.Compute(ctx, q)
		return r, 0, err
	})
	return r, err
}

// ComputeNorm implements clip.ComputeNormer.
func (s *Sum) ComputeNorm(ctx context.Context, q clip.LossRequest) (*clip.LossResult, float64, error) {
	return s.compute(ctx, q, ComputeNorm)
}

// ComputeNorm computes a loss and the sum of squares of its own gradient, in one call where the loss can do so.
func ComputeNorm(ctx context.Context, l clip.Loss, q clip.LossRequest) (*clip.LossResult, float64, error) {
	if n, ok := l.(clip.ComputeNormer); ok {
		return n.ComputeNorm(ctx, q)
	}
	r, err := l.Compute(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	sum, err := l.GradNorm(ctx)
	if err != nil {
		r.Free()
		return nil, 0, err
	}
	return r, sum, nil
}

type computing func(context.Context, clip.Loss, clip.LossRequest) (*clip.LossResult, float64, error)

// compute asks every member and adds up the answers in the order of the members.
func (s *Sum) compute(ctx context.Context, q clip.LossRequest, of computing) (*clip.LossResult, float64, error) {
	answers, squares := make([]*clip.LossResult, len(s.members)), make([]float64, len(s.members))
	defer func() {
		for _, r := range answers {
			if r != nil {
				r.Free() // what is left of it
			}
		}
	}()
	if err := s.each(ctx, func(ctx context.Context, i int) (err error) {
		own := s.members[i].request(q)
		answers[i], squares[i], err = of(ctx, s.members[i].Loss, own)
		if err == nil && q.Train {
			err = s.members[i].check(own, answers[i])
		}
		return err
	}); err != nil {
		return nil, 0, err
	}
	total, sum := &clip.LossResult{Parts: map[string]float64{}, Scalars: map[string]float64{}}, 0.0
	for i, m := range s.members {
		r := answers[i]
		total.Value += m.Weight * r.Value
		sum += m.Weight * m.Weight * squares[i]
		total.Parts[m.Name] = r.Value
		for name, v := range r.Parts {
			total.Parts[m.Name+"/"+name] = v
		}
		for name, v := range r.Scalars {
			total.Scalars[m.Name+"/"+name] = v
		}
		for name, rows := range r.PerSample {
			if total.PerSample == nil {
				total.PerSample = map[string][]float32{}
			}
			total.PerSample[m.Name+"/"+name] = rows
		}
		if q.Train {
			addGradients(total, r, m.Weight)
		}
	}
	return total, sum, nil
}

// request returns what the member is asked: with those of the inputs that it takes.
func (m Member) request(q clip.LossRequest) clip.LossRequest {
	q.IntoImage, q.IntoText = nil, nil
	all := q.Inputs
	q.Inputs = nil
	for name, in := range all {
		if slices.Contains(m.Inputs, name) {
			if q.Inputs == nil {
				q.Inputs = map[string]clip.LossInput{}
			}
			in.Into = nil
			q.Inputs[name] = in
		}
	}
	return q
}

// check reports gradients that an answer lacks.
func (m Member) check(q clip.LossRequest, r *clip.LossResult) error {
	has := func(name string, g, of *tensor.Tensor) error {
		if g == nil || g.DType != tensor.F32 || !g.Shape.Equal(of.Shape) {
			return fault.New(fault.Internal, "the loss %s gives no gradient of its input %s, f32 %v", m.Name, name, of.Shape)
		}
		return nil
	}
	if err := has("image", r.DImage, q.Image); err != nil {
		return err
	}
	if err := has("text", r.DText, q.Text); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(q.Inputs)) {
		if clip.DifferentiableInput(name) {
			if err := has(name, r.Gradients[name], q.Inputs[name].Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// addGradients adds weight times the gradients of r to those of total, which takes over the tensors that it has none of.
func addGradients(total, r *clip.LossResult, weight float64) {
	total.DImage, r.DImage = plus(total.DImage, r.DImage, weight), spent(total.DImage, r.DImage)
	total.DText, r.DText = plus(total.DText, r.DText, weight), spent(total.DText, r.DText)
	for name, g := range r.Gradients {
		if total.Gradients == nil {
			total.Gradients = map[string]*tensor.Tensor{}
		}
		left := spent(total.Gradients[name], g)
		total.Gradients[name] = plus(total.Gradients[name], g, weight)
		r.Gradients[name] = left
	}
}

// spent returns what is left of a tensor that is added to a sum: nil when it becomes the sum.
func spent(sum, t *tensor.Tensor) *tensor.Tensor {
	if sum == nil {
		return nil
	}
	return t
}

// plus returns sum + weight·t: in the place of sum, or of t where there is no sum yet.
func plus(sum, t *tensor.Tensor, weight float64) *tensor.Tensor {
	w, values := float32(weight), t.F32()
	switch {
	case sum == nil && weight == 0:
		clear(values)
	case sum == nil && weight != 1:
		for i := range values {
			values[i] *= w
		}
	case sum != nil && weight != 0:
		to := sum.F32()
		for i, v := range values {
			to[i] += w * v
		}
	}
	if sum == nil {
		return t
	}
	return sum
}

// GradNorm implements clip.Trainable.
func (s *Sum) GradNorm(ctx context.Context) (sum float64, err error) {
	for _, m := range s.members {
		own, err := m.Loss.GradNorm(ctx)
		if err != nil {
			return 0, err
		}
		sum += m.Weight * m.Weight * own
	}
	return sum, nil
}

// Step implements clip.Trainable: each member's gradient counts with its weight.
func (s *Sum) Step(ctx context.Context, step int, lr, scale float64) error {
	return s.each(ctx, func(ctx context.Context, i int) error {
		return s.members[i].Loss.Step(ctx, step, lr, scale*s.members[i].Weight)
	})
}

// StepLater implements clip.LaterStepper: each member steps later that can.
func (s *Sum) StepLater(ctx context.Context, step int, lr, scale float64) error {
	return s.each(ctx, func(ctx context.Context, i int) error {
		m := s.members[i]
		if later, ok := m.Loss.(clip.LaterStepper); ok {
			return later.StepLater(ctx, step, lr, scale*m.Weight)
		}
		return m.Loss.Step(ctx, step, lr, scale*m.Weight)
	})
}

// Close implements clip.Loss.
func (s *Sum) Close() (err error) {
	for _, m := range s.members {
		if e := m.Loss.Close(); err == nil {
			err = e
		}
	}
	return err
}
