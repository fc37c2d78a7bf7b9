package wire

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
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
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

func (e *encoderServer) Forward(ctx context.Context, q *pb.ForwardRequest) (*pb.ForwardResponse, error) {
	return handle(ctx, e.s, using, onThread, func() (*pb.ForwardResponse, error) {
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
		span := begin(e.impl)
		embedding, ticket, err := e.impl.Forward(ctx, clip.ForwardRequest{
			Images: images, Texts: q.Texts, Mode: clip.Mode(q.Mode), Step: int(q.Step), Micro: int(q.Micro),
			ID: q.Id, Next: next, NextID: q.NextId, Into: into})
		out := &pb.ForwardResponse{Ticket: uint64(ticket)}
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

func (e *encoderServer) Backward(ctx context.Context, q *pb.BackwardRequest) (*pb.Done, error) {
	return handle(ctx, e.s, using, onThread, func() (*pb.Done, error) {
		grad, err := e.s.window.tensor(q.Grad)
		if err != nil {
			return nil, err
		}
		if grad == nil {
			return nil, missingFault("the gradient")
		}
		var sum *float64
		out, err := done(e.impl, func() error {
			err := e.impl.Backward(ctx, clip.Ticket(q.Ticket), grad)
			if err == nil {
				sum, err = e.norm(ctx, q.GradNorm)
			}
			return err
		})
		out.SumOfSquares = sum
		return out, err
	})
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
		out := &pb.LossInfo{Parameters: info.Parameters, Backend: valid(info.Backend), Pins: info.Pins}
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

func (l *lossServer) Compute(ctx context.Context, q *pb.LossRequest) (*pb.LossResponse, error) {
	return handle(ctx, l.s, using, onThread, func() (*pb.LossResponse, error) {
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
		request := clip.LossRequest{Image: image, Text: text, Train: q.Train, PerSample: q.PerSample}
		if request.IntoImage, err = l.s.window.resultTensor(q.OutImage); err != nil {
			return nil, err
		}
		if request.IntoText, err = l.s.window.resultTensor(q.OutText); err != nil {
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
		out.StartNanos, out.KernelNanos, out.Work, out.SumOfSquares = start, took, work, sum
		if !q.Train {
			r.DImage.Free()
			r.DText.Free()
			return out, nil
		}
		if out.DImage, err = l.s.window.answer("image gradient", r.DImage, q.OutImage); err != nil {
			return nil, err
		}
		out.DText, err = l.s.window.answer("text gradient", r.DText, q.OutText)
		return out, err
	})
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
		request := clip.BatchRequest{Epoch: int(q.Epoch), Train: q.Train, Into: into, NoImages: q.NoImages, Indices: make([]int, len(q.Indices))}
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
		out.Images, err = d.s.window.answer("pictures", batch.Images, q.Out)
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
