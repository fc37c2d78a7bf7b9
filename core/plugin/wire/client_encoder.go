package wire

import (
	"context"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// EncoderClient returns the encoder at the other end of a connection. Its tensors are in the arena when the
// connection has one.
func EncoderClient(c *Conn) clip.Encoder {
	rpc := pb.NewEncoderClient(c.rpc)
	return &encoderClient{trainableClient: trainableClient{conn: c, rpc: rpc}, rpc: rpc}
}

type encoderClient struct {
	trainableClient
	rpc     pb.EncoderClient
	dim     int
	trained bool // it has parameters that are trained
	tokens  int  // of a sample in the token output; 0: none
	close   sync.Once

	exchange *exchange // with other ranks; nil: none
	grouped  bool      // it adds gradients up by itself (Compute.Communicator)
}

func (e *encoderClient) Configure(ctx context.Context, cfg clip.EncoderConfig) (clip.EncoderInfo, error) {
	if o := cfg.Optimizer; len(o.Groups) > 0 || o.LayerDecay != 0 || o.EMADecay != 0 || cfg.LoRA != nil || cfg.SyncNorm {
		if err := e.conn.needVersion2("parameter groups, layer decay, averaged weights, LoRA and synchronised normalisation"); err != nil {
			return clip.EncoderInfo{}, err
		}
	}
	r, err := call(ctx, e.conn.lease(), "Configure", e.rpc.Configure, encoderConfigOut(cfg))
	if err != nil {
		return clip.EncoderInfo{}, err
	}
	if err := e.conn.checkEncoderInfo(r, cfg.EmbedDim); err != nil {
		return clip.EncoderInfo{}, err
	}
	info := encoderInfoIn(r)
	e.conn.pin(info.Pins)
	e.conn.stepsAlong(r.StepsAlong)
	e.mu.Lock()
	e.dim, e.parameters, e.trained, e.tokens = info.EmbedDim, info.Parameters, info.Parameters > info.Frozen, info.TokenCount
	e.buckets = info.BucketSizes
	e.grouped = cfg.Compute.Communicator != nil
	e.mu.Unlock()
	return info, nil
}

func (e *encoderClient) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	out, ticket, err := e.forward(ctx, q, false)
	return out.Embedding, ticket, err
}

// ForwardTokens implements clip.TokenEncoder.
func (e *encoderClient) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	return e.forward(ctx, q, true)
}

func (e *encoderClient) forward(ctx context.Context, q clip.ForwardRequest, tokens bool) (out clip.TokenOutput, _ clip.Ticket, err error) {
	e.mu.Lock()
	dim, trained, count := e.dim, e.trained, e.tokens
	e.mu.Unlock()
	if tokens && count == 0 {
		return out, 0, e.conn.lacks("output of tokens")
	}
	if q.EMA {
		if err := e.conn.needVersion2("averaged weights"); err != nil {
			return out, 0, err
		}
	}
	batch := len(q.Texts)
	if q.Images != nil && len(q.Images.Shape) > 0 {
		batch = q.Images.Shape[0]
	}
	use := e.conn.lease()
	request := &pb.ForwardRequest{Texts: validAll(q.Texts), Mode: pb.Mode(q.Mode), Step: int64(q.Step), Micro: int64(q.Micro),
		Id: q.ID, Tokens: tokens, Parts: int64(q.Parts)}
	if q.EMA {
		request.Weights = pb.Weights_AVERAGED
	}
	if s, ok := sharedIn(e.conn.arena, q.Next); ok {
		request.Next, request.NextId = slotReference(q.Next, s), q.NextID
	}
	defer func() {
		if err != nil {
			use.release() // nothing is left in it when the call was made
			freeOutput(&out)
		}
	}()
	if request.Images, err = use.in(q.Images); err != nil {
		return out, 0, err
	}
	if request.Out, out.Embedding, err = use.out(tensor.F32, batch, dim); err != nil {
		return out, 0, err
	}
	if tokens {
		if request.OutTokens, out.Tokens, err = use.out(tensor.F32, batch, count, dim); err != nil {
			return out, 0, err
		}
		if request.OutLengths, out.Lengths, err = use.out(tensor.I32, batch); err != nil {
			return out, 0, err
		}
	}
	over := e.during(ctx)
	r, err := call(ctx, use, "Forward", e.rpc.Forward, request)
	if err = over(err); err != nil {
		return out, 0, err
	}
	result := func(what string, m, asked *pb.Tensor, t **tensor.Tensor, dtype tensor.DType, shape ...int) {
		if err == nil {
			var got *tensor.Tensor
			if got, err = e.conn.result("Forward", what, m, asked, *t, dtype, shape...); err == nil {
				*t = got
			}
		}
	}
	result("embedding", r.Embedding, request.Out, &out.Embedding, tensor.F32, batch, dim)
	k := e.conn.checker("Forward")
	if tokens {
		result("token output", r.Tokens, request.OutTokens, &out.Tokens, tensor.F32, batch, count, dim)
		result("lengths of the tokens", r.Lengths, request.OutLengths, &out.Lengths, tensor.I32, batch)
	}
	if err != nil {
		return out, 0, err
	}
	k.require(q.Mode != clip.Train || !trained || r.Ticket != 0, "there is no ticket, though something is to be trained")
	k.values("embedding", out.Embedding)
	if tokens {
		k.tokens(out.Tokens, out.Lengths)
	}
	return out, clip.Ticket(r.Ticket), k.err
}

func freeOutput(out *clip.TokenOutput) {
	for _, t := range []*tensor.Tensor{out.Embedding, out.Tokens, out.Lengths} {
		t.Free()
	}
	*out = clip.TokenOutput{}
}

func (e *encoderClient) Backward(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) error {
	_, err := e.backward(ctx, &pb.BackwardRequest{Ticket: uint64(ticket)}, grad, nil)
	return err
}

// BackwardTokens implements clip.TokenEncoder.
func (e *encoderClient) BackwardTokens(ctx context.Context, ticket clip.Ticket, grad, tokens *tensor.Tensor) error {
	_, err := e.backward(ctx, &pb.BackwardRequest{Ticket: uint64(ticket)}, grad, tokens)
	return err
}

// BackwardNorm implements clip.BackwardNormer.
func (e *encoderClient) BackwardNorm(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) (float64, error) {
	return e.BackwardTokensNorm(ctx, ticket, grad, nil)
}

// BackwardTokensNorm implements clip.BackwardTokensNormer.
func (e *encoderClient) BackwardTokensNorm(ctx context.Context, ticket clip.Ticket, grad, tokens *tensor.Tensor) (float64, error) {
	r, err := e.backward(ctx, &pb.BackwardRequest{Ticket: uint64(ticket), GradNorm: true}, grad, tokens)
	if err != nil {
		return 0, err
	}
	return e.norm(ctx, "Backward", r.SumOfSquares)
}

// backward completes a request by its gradients and makes it.
func (e *encoderClient) backward(ctx context.Context, request *pb.BackwardRequest, grad, tokens *tensor.Tensor) (*pb.Done, error) {
	if grad == nil {
		return nil, fault.New(fault.Invalid, "backward without a gradient").WithPlugin(e.conn.name)
	}
	use := e.conn.lease()
	var err error
	if request.Grad, err = use.in(grad); err == nil {
		request.GradTokens, err = use.in(tokens)
	}
	if err != nil {
		use.release()
		return nil, err
	}
	over := e.during(ctx)
	r, err := call(ctx, use, "Backward", e.rpc.Backward, request)
	return r, over(err)
}

func (e *encoderClient) Discard(ctx context.Context, ticket clip.Ticket) error {
	_, err := call(ctx, e.conn.lease(), "Discard", e.rpc.Discard, &pb.DiscardRequest{Ticket: uint64(ticket)})
	return err
}

func (e *encoderClient) Close() error {
	e.endExchange()
	return closeOnce(&e.close, e.conn, e.rpc.Close)
}

func sharedIn(a *Arena, t *tensor.Tensor) (*slot, bool) {
	if a == nil || t == nil {
		return nil, false
	}
	s, ok := t.Shared.(*slot)
	return s, ok && s.arena == a
}
