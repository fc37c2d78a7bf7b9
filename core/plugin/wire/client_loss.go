package wire

import (
	"context"
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
	r, err := call(ctx, l.conn.lease(), "Configure", l.rpc.Configure, lossConfigOut(cfg))
	if err != nil {
		return clip.LossInfo{}, err
	}
	if err := l.conn.lossInfo(r); err != nil {
		return clip.LossInfo{}, err
	}
	l.conn.pin(r.Pins)
	l.mu.Lock()
	l.parameters = r.Parameters
	l.mu.Unlock()
	return clip.LossInfo{Parameters: r.Parameters, Backend: r.Backend, Pins: r.Pins}, nil
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
		r.DImage.Free()
		r.DText.Free()
		return nil, 0, err
	}
	return r, sum, nil
}

// compute also returns the sum of squares, when norm asks for it and the plugin's answer has it.
func (l *lossClient) compute(ctx context.Context, q clip.LossRequest, norm bool) (*clip.LossResult, *float64, error) {
	if q.Image == nil || q.Text == nil {
		return nil, nil, fault.New(fault.Invalid, "loss of a missing embedding").WithPlugin(l.conn.name)
	}
	use := l.conn.lease()
	request := &pb.LossRequest{Train: q.Train, PerSample: q.PerSample, GradNorm: norm}
	var sum *float64
	var dImage, dText *tensor.Tensor
	result, err := func() (*clip.LossResult, error) {
		var err error
		if request.Image, err = use.in(q.Image); err != nil {
			return nil, err
		}
		if request.Text, err = use.in(q.Text); err != nil {
			return nil, err
		}
		if q.Train {
			if request.OutImage, dImage, err = use.out(tensor.F32, q.Image.Shape...); err != nil {
				return nil, err
			}
			if request.OutText, dText, err = use.out(tensor.F32, q.Text.Shape...); err != nil {
				return nil, err
			}
		}
		r, err := call(ctx, use, "Compute", l.rpc.Compute, request)
		if err != nil {
			return nil, err
		}
		if err := l.conn.checkLossResult(r, q); err != nil {
			return nil, err
		}
		out := lossResultIn(r)
		sum = r.SumOfSquares
		if q.Train {
			if out.DImage, err = l.conn.result("Compute", "image gradient", r.DImage, request.OutImage, dImage, tensor.F32, q.Image.Shape...); err != nil {
				return nil, err
			}
			if out.DText, err = l.conn.result("Compute", "text gradient", r.DText, request.OutText, dText, tensor.F32, q.Text.Shape...); err != nil {
				return nil, err
			}
		}
		k := l.conn.checker("Compute")
		k.values("image gradient", out.DImage)
		k.values("text gradient", out.DText)
		return out, k.err
	}()
	if err != nil {
		use.release() // nothing is left in it when the call was made
		dImage.Free()
		dText.Free()
		return nil, nil, err
	}
	return result, sum, nil
}

func (l *lossClient) Close() error { return closeOnce(&l.close, l.conn, l.rpc.Close) }
