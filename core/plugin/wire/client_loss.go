package wire

import (
	"context"
	"maps"
	"slices"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// LossClient returns the loss at the other end of a connection.
func LossClient(c *Conn) clip.Loss {
	rpc := pb.NewLossClient(c.rpc)
	return &lossClient{trainableClient: trainableClient{conn: c, rpc: rpc}, rpc: rpc}
}

type lossClient struct {
	trainableClient
	rpc   pb.LossClient
	close sync.Once
}

func (l *lossClient) Configure(ctx context.Context, cfg clip.LossConfig) (clip.LossInfo, error) {
	if cfg.Negatives != 0 || cfg.TeacherImageDim != 0 || cfg.TeacherTextDim != 0 {
		if err := l.conn.needVersion2("further inputs of losses"); err != nil {
			return clip.LossInfo{}, err
		}
	}
	r, err := call(ctx, l.conn.lease(), "Configure", l.rpc.Configure, lossConfigOut(cfg))
	if err != nil {
		return clip.LossInfo{}, err
	}
	if err := l.conn.lossInfo(r); err != nil {
		return clip.LossInfo{}, err
	}
	l.conn.pin(r.Pins)
	l.conn.stepsAlong(r.StepsAlong)
	l.mu.Lock()
	l.parameters, l.buckets = r.Parameters, sizesIn(r.BucketSizes)
	l.mu.Unlock()
	return clip.LossInfo{Parameters: r.Parameters, Backend: r.Backend, Pins: r.Pins, BucketSizes: sizesIn(r.BucketSizes)}, nil
}

func (l *lossClient) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, _, err := l.compute(ctx, q, false)
	return r, err
}

// ComputeNorm implements clip.ComputeNormer.
func (l *lossClient) ComputeNorm(ctx context.Context, q clip.LossRequest) (*clip.LossResult, float64, error) {
	r, known, err := l.compute(ctx, q, true)
	if err != nil {
		return nil, 0, err
	}
	sum, err := l.norm(ctx, "Compute", known)
	if err != nil {
		r.Free()
		return nil, 0, err
	}
	return r, sum, nil
}

// compute also returns the sum of squares, when norm asks for it and the plugin's answer has it.
func (l *lossClient) compute(ctx context.Context, q clip.LossRequest, norm bool) (result *clip.LossResult, _ *float64, err error) {
	if q.Image == nil || q.Text == nil {
		return nil, nil, fault.New(fault.Invalid, "loss of a missing embedding").WithPlugin(l.conn.name)
	}
	if len(q.Inputs) > 0 || q.Rows != 0 {
		if err := l.conn.needVersion2("further inputs of losses, and no rows"); err != nil {
			return nil, nil, err
		}
	}
	use := l.conn.lease()
	request := &pb.LossRequest{Train: q.Train, PerSample: q.PerSample, GradNorm: norm, RowOffset: int64(q.RowOffset), Rows: int64(q.Rows)}
	var out clip.LossResult // the places for gradients
	defer func() {
		if err != nil {
			use.release() // nothing is left in it when the call was made
			out.Free()
		}
	}()
	if request.Image, err = use.in(q.Image); err != nil {
		return nil, nil, err
	}
	if request.Text, err = use.in(q.Text); err != nil {
		return nil, nil, err
	}
	if q.Train {
		if request.OutImage, out.DImage, err = use.out(tensor.F32, q.Image.Shape...); err != nil {
			return nil, nil, err
		}
		if request.OutText, out.DText, err = use.out(tensor.F32, q.Text.Shape...); err != nil {
			return nil, nil, err
		}
	}
	if request.Inputs, out.Gradients, err = use.lossInputs(q); err != nil {
		return nil, nil, err
	}
	r, err := call(ctx, use, "Compute", l.rpc.Compute, request)
	if err != nil {
		return nil, nil, err
	}
	if err = l.conn.checkLossResult(r, q); err != nil {
		return nil, nil, err
	}
	if q.Train {
		if err = l.conn.gradients(r, request, q, &out); err != nil {
			return nil, nil, err
		}
	}
	result = lossResultIn(r)
	result.DImage, result.DText, result.Gradients = out.DImage, out.DText, out.Gradients
	return result, r.SumOfSquares, nil
}

// lossInputs returns the inputs beside image and text as messages, in the order of their names, and the tensors that
// the caller will get for their gradients.
func (l *lease) lossInputs(q clip.LossRequest) (messages []*pb.LossInput, gradients map[string]*tensor.Tensor, err error) {
	for _, name := range slices.Sorted(maps.Keys(q.Inputs)) {
		input := q.Inputs[name]
		m := &pb.LossInput{Name: name}
		if m.Value, err = l.in(input.Value); err != nil {
			return nil, gradients, err
		}
		if m.Lengths, err = l.in(input.Lengths); err != nil {
			return nil, gradients, err
		}
		if q.Train && clip.DifferentiableInput(name) {
			var place *tensor.Tensor
			if m.Out, place, err = l.out(tensor.F32, input.Value.Shape...); err != nil {
				return nil, gradients, err
			}
			if gradients == nil {
				gradients = map[string]*tensor.Tensor{}
			}
			gradients[name] = place
		}
		messages = append(messages, m)
	}
	return messages, gradients, nil
}

// gradients checks the gradients of an answer and puts them into out, which has the places that were asked for.
func (c *Conn) gradients(r *pb.LossResponse, request *pb.LossRequest, q clip.LossRequest, out *clip.LossResult) (err error) {
	k := c.checker("Compute")
	take := func(what string, m, asked *pb.Tensor, place, of *tensor.Tensor) *tensor.Tensor {
		if err != nil {
			return place
		}
		var t *tensor.Tensor
		if t, err = c.result("Compute", what, m, asked, place, tensor.F32, of.Shape...); err != nil {
			return place
		}
		k.values(what, t)
		return t
	}
	out.DImage = take("image gradient", r.DImage, request.OutImage, out.DImage, q.Image)
	out.DText = take("text gradient", r.DText, request.OutText, out.DText, q.Text)
	for _, input := range request.Inputs {
		if clip.DifferentiableInput(input.Name) {
			out.Gradients[input.Name] = take("gradient of "+input.Name, r.Gradients[input.Name], input.Out, out.Gradients[input.Name], q.Inputs[input.Name].Value)
		}
	}
	k.require(len(r.Gradients) == len(out.Gradients), "there are gradients of %d further inputs, want %d", len(r.Gradients), len(out.Gradients))
	if err == nil {
		err = k.err
	}
	return err
}

func (l *lossClient) Close() error { return closeOnce(&l.close, l.conn, l.rpc.Close) }
