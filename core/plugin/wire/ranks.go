package wire

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// lacksBuckets returns the fault of a request for buckets to an implementation that has none.
func (t *trainableServer) lacksBuckets() error {
	return fault.New(fault.Invalid, "this %s has no buckets of gradients (capability %q)", t.s.descriptor.Kind, clip.CapBuckets)
}

// stepWith takes a step with the gradients of a request.
func (t *trainableServer) stepWith(ctx context.Context, q *pb.StepRequest) error {
	impl, ok := t.impl.(clip.Bucketed)
	if !ok {
		return t.lacksBuckets()
	}
	gradients := make([]*tensor.Tensor, len(q.Gradients))
	for i, m := range q.Gradients {
		var err error
		if gradients[i], err = t.s.window.tensor(m); err != nil {
			return err
		}
	}
	return impl.StepWith(ctx, int(q.Step), q.Lr, q.Scale, gradients)
}

// Gradients implements the method of both services. It runs beside the compute thread: that of an encoder may be asked
// for while BackwardLast has the thread.
func (t *trainableServer) Gradients(ctx context.Context, q *pb.GradientsRequest) (*pb.GradientsResponse, error) {
	impl, ok := t.impl.(clip.Bucketed)
	if !ok {
		return nil, status.Error(codes.Unimplemented, t.lacksBuckets().Error())
	}
	return handle(ctx, t.s, using, anywhere, func() (*pb.GradientsResponse, error) {
		into, err := t.s.window.resultTensor(q.Out)
		if err != nil {
			return nil, err
		}
		span := begin(nil)
		gradients, err := impl.Gradients(ctx, int(q.Bucket), into)
		out := &pb.GradientsResponse{}
		out.StartNanos, out.KernelNanos, _ = span.end()
		if err != nil {
			return nil, err
		}
		out.Gradients, err = t.s.window.answer("bucket of gradients", gradients, q.Out)
		return out, err
	})
}

var (
	_ clip.BucketedEncoder = (*encoderClient)(nil)
	_ clip.Bucketed        = (*lossClient)(nil)
)

// bucketSizes returns the sizes of the plugin's buckets, a fault when it has none.
func (t *trainableClient) bucketSizes() ([]int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buckets) == 0 {
		return nil, t.conn.lacks("buckets of gradients: it lacks the capability \"" + clip.CapBuckets + "\", or trains nothing")
	}
	return t.buckets, nil
}

// Gradients implements clip.Bucketed. The bucket is in the arena where there is one: in into when that is there and of the
// bucket's size.
func (t *trainableClient) Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error) {
	sizes, err := t.bucketSizes()
	if err != nil {
		return nil, err
	}
	if bucket < 0 || bucket >= len(sizes) {
		return nil, fault.New(fault.Invalid, "bucket %d of %d", bucket, len(sizes)).WithPlugin(t.conn.name)
	}
	use, n := t.conn.lease(), sizes[bucket]
	request := &pb.GradientsRequest{Bucket: int64(bucket)}
	place := into
	if s, ok := sharedIn(t.conn.arena, into); ok && into.DType == tensor.F32 && into.Shape.Equal(tensor.Shape{n}) {
		request.Out = use.outIn(into, s)
	} else if request.Out, place, err = use.out(tensor.F32, n); err != nil {
		return nil, err
	}
	r, err := call(ctx, use, "Gradients", t.rpc.Gradients, request)
	if err == nil {
		var out *tensor.Tensor
		if out, err = t.conn.result("Gradients", "bucket of gradients", r.Gradients, request.Out, place, tensor.F32, n); err == nil {
			return out, nil
		}
	}
	if place != into {
		place.Free()
	}
	return nil, err
}

// StepWith implements clip.Bucketed. Without gradients it is Step.
func (t *trainableClient) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	use := t.conn.lease()
	q := &pb.StepRequest{Step: int64(step), Lr: lr, Scale: scale}
	if len(gradients) > 0 {
		sizes, err := t.bucketSizes()
		if err != nil {
			return err
		}
		if len(gradients) != len(sizes) {
			return fault.New(fault.Invalid, "%d gradients for %d buckets", len(gradients), len(sizes)).WithPlugin(t.conn.name)
		}
		for i, g := range gradients {
			if g == nil || g.DType != tensor.F32 || !slices.Equal(g.Shape, tensor.Shape{sizes[i]}) {
				use.release()
				return fault.New(fault.Invalid, "the gradients of bucket %d are missing or not f32 [%d]", i, sizes[i]).WithPlugin(t.conn.name)
			}
			m, err := use.in(g)
			if err != nil {
				use.release()
				return err
			}
			q.Gradients = append(q.Gradients, m)
		}
	}
	_, err := call(ctx, use, "Step", t.rpc.Step, q)
	return err
}

// BackwardLast implements clip.BucketedEncoder.
func (e *encoderClient) BackwardLast(ctx context.Context, ticket clip.Ticket, grad, tokens *tensor.Tensor) error {
	e.mu.Lock()
	grouped := e.grouped
	e.mu.Unlock()
	if _, err := e.bucketSizes(); err != nil && !grouped {
		return err
	}
	_, err := e.backward(ctx, &pb.BackwardRequest{Ticket: uint64(ticket), Last: true}, grad, tokens)
	return err
}

// outIn returns the message that names a tensor's slot for a result.
func (l *lease) outIn(t *tensor.Tensor, s *slot) *pb.Tensor {
	s.retain()
	l.conn.arena.setWriter(s, l.conn.name)
	l.slots = append(l.slots, s)
	return slotReference(t, s)
}
