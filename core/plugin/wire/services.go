package wire

import (
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

type encoderServer struct {
	pb.UnsafeEncoderServer
	trainableServer
	impl clip.Encoder
}

func (e *encoderServer) Configure(ctx context.Context, q *pb.EncoderConfig) (*pb.EncoderInfo, error) {
	return handle(ctx, e.s, configuring, onThread, func() (*pb.EncoderInfo, error) {
		span := begin(nil)
		info, err := e.impl.Configure(ctx, encoderConfigIn(q))
		out := encoderInfoOut(info)
		out.StepsAlong = true
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

func (e *encoderServer) Forward(ctx context.Context, q *pb.ForwardRequest) (*pb.ForwardResponse, error) {
	return handle(ctx, e.s, using, onThread, func() (*pb.ForwardResponse, error) {
		step, err := e.stepBefore(ctx, q.StepBefore)
		if err != nil {
			return nil, err
		}
		images, err := e.s.window.tensor(q.Images)
		if err != nil {
			return nil, err
		}
		if (images != nil) == (len(q.Texts) > 0) {
			return nil, fault.New(fault.Invalid, "forward wants images or texts, one of the two")
		}
		into, err := e.s.window.resultTensor(q.Out)
		if err != nil {
			return nil, err
		}
		next, _ := e.s.window.tensor(q.Next) // a hint: what is wrong with it shows when it is asked for
		request := clip.ForwardRequest{
			Images: images, Texts: q.Texts, Mode: clip.Mode(q.Mode), Step: int(q.Step), Micro: int(q.Micro),
			ID: q.Id, Next: next, NextID: q.NextId, Into: into, EMA: q.Weights == pb.Weights_AVERAGED, Parts: int(q.Parts)}
		if q.Tokens {
			return e.forwardTokens(ctx, q, request, step)
		}
		span := begin(e.impl)
		embedding, ticket, err := e.impl.Forward(ctx, request)
		out := &pb.ForwardResponse{Ticket: uint64(ticket), StepBefore: step}
		out.StartNanos, out.KernelNanos, out.Work = span.end()
		if err != nil {
			return nil, err
		}
		if out.Embedding, err = e.s.window.answer("embedding", embedding, q.Out); err != nil && ticket != 0 {
			_ = e.impl.Discard(ctx, ticket) // the caller will never know the ticket
		}
		return out, err
	})
}

func (e *encoderServer) forwardTokens(ctx context.Context, q *pb.ForwardRequest, request clip.ForwardRequest, step *pb.Took) (_ *pb.ForwardResponse, err error) {
	impl, err := e.tokens()
	if err != nil {
		return nil, err
	}
	if request.IntoTokens, err = e.s.window.resultTensor(q.OutTokens); err != nil {
		return nil, err
	}
	if request.IntoLengths, err = e.s.window.resultTensor(q.OutLengths); err != nil {
		return nil, err
	}
	span := begin(e.impl)
	result, ticket, err := impl.ForwardTokens(ctx, request)
	out := &pb.ForwardResponse{Ticket: uint64(ticket), StepBefore: step}
	out.StartNanos, out.KernelNanos, out.Work = span.end()
	if err != nil {
		return nil, err
	}
	answers := []error{nil, nil, nil}
	out.Embedding, answers[0] = e.s.window.answer("embedding", result.Embedding, q.Out)
	out.Tokens, answers[1] = e.s.window.answer("token output", result.Tokens, q.OutTokens)
	out.Lengths, answers[2] = e.s.window.answer("lengths of the tokens", result.Lengths, q.OutLengths)
	for _, err := range answers {
		if err != nil {
			if ticket != 0 {
				_ = e.impl.Discard(ctx, ticket) // the caller will never know the ticket
			}
			return nil, err
		}
	}
	return out, nil
}

// tokens returns the implementation of a second output.
func (e *encoderServer) tokens() (clip.TokenEncoder, error) {
	if impl, ok := e.impl.(clip.TokenEncoder); ok {
		return impl, nil
	}
	return nil, fault.New(fault.Invalid, "this encoder has no output of tokens")
}

func (e *encoderServer) Backward(ctx context.Context, q *pb.BackwardRequest) (*pb.Done, error) {
	return handle(ctx, e.s, using, onThread, func() (*pb.Done, error) {
		grad, err := e.s.window.tensor(q.Grad)
		if err != nil {
			return nil, err
		}
		if grad == nil {
			return nil, missingFault("the gradient")
		}
		tokens, err := e.s.window.tensor(q.GradTokens)
		if err != nil {
			return nil, err
		}
		var sum *float64
		out, err := done(e.impl, func() error {
			err := e.backward(ctx, q, grad, tokens)
			if err == nil {
				sum, err = e.norm(ctx, q.GradNorm)
			}
			return err
		})
		out.SumOfSquares = sum
		return out, err
	})
}

func (e *encoderServer) backward(ctx context.Context, q *pb.BackwardRequest, grad, tokens *tensor.Tensor) error {
	t := clip.Ticket(q.Ticket)
	if q.Last {
		impl, ok := e.impl.(clip.BucketedEncoder)
		if !ok {
			return e.lacksBuckets()
		}
		return impl.BackwardLast(ctx, t, grad, tokens)
	}
	if tokens == nil {
		return e.impl.Backward(ctx, t, grad)
	}
	impl, err := e.tokens()
	if err != nil {
		return err
	}
	return impl.BackwardTokens(ctx, t, grad, tokens)
}

func (e *encoderServer) Discard(ctx context.Context, q *pb.DiscardRequest) (*pb.Done, error) {
	return handle(ctx, e.s, using, onThread, func() (*pb.Done, error) {
		return done(nil, func() error { return e.impl.Discard(ctx, clip.Ticket(q.Ticket)) })
	})
}

func (e *encoderServer) Close(ctx context.Context, _ *pb.Empty) (*pb.Done, error) {
	return e.s.close(ctx, e.impl.Close)
}

type lossServer struct {
	pb.UnsafeLossServer
	trainableServer
	impl clip.Loss
}

func (l *lossServer) Configure(ctx context.Context, q *pb.LossConfig) (*pb.LossInfo, error) {
	return handle(ctx, l.s, configuring, onThread, func() (*pb.LossInfo, error) {
		span := begin(nil)
		info, err := l.impl.Configure(ctx, lossConfigIn(q))
		out := &pb.LossInfo{Parameters: info.Parameters, Backend: valid(info.Backend), Pins: info.Pins, BucketSizes: sizesOut(info.BucketSizes), StepsAlong: true}
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

func (l *lossServer) Compute(ctx context.Context, q *pb.LossRequest) (*pb.LossResponse, error) {
	return handle(ctx, l.s, using, onThread, func() (*pb.LossResponse, error) {
		before, err := l.stepBefore(ctx, q.StepBefore)
		if err != nil {
			return nil, err
		}
		image, err := l.s.window.tensor(q.Image)
		if err != nil {
			return nil, err
		}
		text, err := l.s.window.tensor(q.Text)
		if err != nil {
			return nil, err
		}
		if image == nil || text == nil {
			return nil, missingFault("an embedding")
		}
		if (q.Rows != 0 || q.RowOffset != 0) && !slices.Contains(l.s.descriptor.Capabilities, clip.CapRows) {
			return nil, fault.New(fault.Invalid, "this loss scores no part of the rows (capability %q)", clip.CapRows)
		}
		request := clip.LossRequest{Image: image, Text: text, Train: q.Train, PerSample: q.PerSample,
			RowOffset: int(q.RowOffset), Rows: int(q.Rows)}
		if request.IntoImage, err = l.s.window.resultTensor(q.OutImage); err != nil {
			return nil, err
		}
		if request.IntoText, err = l.s.window.resultTensor(q.OutText); err != nil {
			return nil, err
		}
		if request.Inputs, err = l.inputs(q); err != nil {
			return nil, err
		}
		span := begin(l.impl)
		r, err := l.impl.Compute(ctx, request)
		var sum *float64
		if err == nil {
			sum, err = l.norm(ctx, q.GradNorm)
		}
		start, took, work := span.end()
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, fault.New(fault.Internal, "the loss gave neither a result nor an error")
		}
		out := lossResultOut(r)
		out.StepBefore = before
		out.StartNanos, out.KernelNanos, out.Work, out.SumOfSquares = start, took, work, sum
		if !q.Train {
			r.Free()
			return out, nil
		}
		if out.DImage, err = l.s.window.answer("image gradient", r.DImage, q.OutImage); err != nil {
			return nil, err
		}
		if out.DText, err = l.s.window.answer("text gradient", r.DText, q.OutText); err != nil {
			return nil, err
		}
		out.Gradients, err = l.gradients(q, r)
		return out, err
	})
}

// inputs returns what a request has beside image and text.
func (l *lossServer) inputs(q *pb.LossRequest) (inputs map[string]clip.LossInput, err error) {
	for _, m := range q.Inputs {
		var input clip.LossInput
		if input.Value, err = l.s.window.tensor(m.Value); err != nil {
			return nil, err
		}
		if input.Value == nil {
			return nil, missingFault("the value of " + m.Name)
		}
		if input.Lengths, err = l.s.window.tensor(m.Lengths); err != nil {
			return nil, err
		}
		if input.Into, err = l.s.window.resultTensor(m.Out); err != nil {
			return nil, err
		}
		if inputs == nil {
			inputs = map[string]clip.LossInput{}
		}
		inputs[m.Name] = input
	}
	return inputs, nil
}

// gradients answers with those of the further inputs.
func (l *lossServer) gradients(q *pb.LossRequest, r *clip.LossResult) (map[string]*pb.Tensor, error) {
	if len(r.Gradients) == 0 {
		return nil, nil
	}
	outs := map[string]*pb.Tensor{}
	for _, m := range q.Inputs {
		outs[m.Name] = m.Out
	}
	answers := make(map[string]*pb.Tensor, len(r.Gradients))
	for name, t := range r.Gradients {
		m, err := l.s.window.answer("gradient of "+name, t, outs[name])
		if err != nil {
			return nil, err
		}
		answers[name] = m
	}
	return answers, nil
}

func (l *lossServer) Close(ctx context.Context, _ *pb.Empty) (*pb.Done, error) {
	return l.s.close(ctx, l.impl.Close)
}

type datasetServer struct {
	pb.UnsafeDatasetServer
	s    *Server
	impl clip.Dataset
}

func (d *datasetServer) Configure(ctx context.Context, q *pb.DatasetConfig) (*pb.DatasetInfo, error) {
	return handle(ctx, d.s, configuring, anywhere, func() (*pb.DatasetInfo, error) {
		span := begin(nil)
		info, err := d.impl.Configure(ctx, datasetConfigIn(q))
		out := datasetInfoOut(info)
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

func (d *datasetServer) Batch(ctx context.Context, q *pb.BatchRequest) (*pb.BatchResponse, error) {
	return handle(ctx, d.s, using, anywhere, func() (*pb.BatchResponse, error) {
		into, err := d.s.window.tensor(q.Out)
		if err != nil {
			return nil, err
		}
		into2, err := d.s.window.tensor(q.Out2)
		if err != nil {
			return nil, err
		}
		request := clip.BatchRequest{Epoch: int(q.Epoch), Train: q.Train, Into: into, NoImages: q.NoImages,
			Negatives: q.Negatives, View2: q.View2, Into2: into2, Sizes: q.Sizes, Indices: make([]int, len(q.Indices))}
		for i, index := range q.Indices {
			request.Indices[i] = int(index)
		}
		span := begin(nil)
		batch, err := d.impl.Batch(ctx, request)
		start, took, _ := span.end()
		if err != nil {
			return nil, err
		}
		if batch == nil {
			return nil, fault.New(fault.Internal, "the dataset gave neither a batch nor an error")
		}
		out := batchOut(batch)
		out.StartNanos, out.KernelNanos = start, took
		if q.NoImages {
			batch.Images.Free()
			return out, nil
		}
		if out.Images, err = d.s.window.answer("pictures", batch.Images, q.Out); err != nil {
			return nil, err
		}
		if q.View2 {
			out.Images2, err = d.s.window.answer("second pictures", batch.Images2, q.Out2)
		}
		return out, err
	})
}

func (d *datasetServer) Captions(ctx context.Context, q *pb.CaptionsRequest) (*pb.CaptionsResponse, error) {
	return handle(ctx, d.s, using, anywhere, func() (*pb.CaptionsResponse, error) {
		span := begin(nil)
		list, err := d.impl.Captions(ctx, int(q.Limit))
		out := &pb.CaptionsResponse{Captions: validAll(list)}
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

func (d *datasetServer) Close(ctx context.Context, _ *pb.Empty) (*pb.Done, error) {
	return d.s.close(ctx, d.impl.Close)
}
