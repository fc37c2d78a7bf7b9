package wire

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

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

// LossClient returns the loss at the other end of a connection.
func LossClient(c *Conn) clip.Loss {
	rpc := pb.NewLossClient(c.rpc)
	return &lossClient{trainableClient: trainableClient{conn: c, rpc: rpc}, rpc: rpc}
}

// DatasetClient returns the dataset at the other end of a connection.
func DatasetClient(c *Conn) clip.Dataset {
	return &datasetClient{conn: c, rpc: pb.NewDatasetClient(c.rpc)}
}

// trainableRPC has the methods that pb.EncoderClient and pb.LossClient share.
type trainableRPC interface {
	GradNorm(context.Context, *pb.Empty, ...grpc.CallOption) (*pb.GradNormResponse, error)
	Step(context.Context, *pb.StepRequest, ...grpc.CallOption) (*pb.Done, error)
	Save(context.Context, *pb.FileRequest, ...grpc.CallOption) (*pb.Done, error)
	Load(context.Context, *pb.FileRequest, ...grpc.CallOption) (*pb.Done, error)
}

// closeWait bounds a Close: a plugin that does not answer is the host's to end.
const closeWait = 10 * time.Second

func closeOnce(once *sync.Once, c *Conn, rpc func(context.Context, *pb.Empty, ...grpc.CallOption) (*pb.Done, error)) (err error) {
	once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		_, err = call(ctx, c.lease(), "Close", rpc, &pb.Empty{})
	})
	return err
}

// trainableClient implements clip.Trainable with the methods that both services have.
type trainableClient struct {
	conn *Conn
	rpc  trainableRPC
	mu   sync.Mutex // guards what follows against a caller's careless Configure
	// parameters is how many scalars the plugin said that it has.
	parameters int64
}

func (t *trainableClient) GradNorm(ctx context.Context) (float64, error) {
	r, err := call(ctx, t.conn.lease(), "GradNorm", t.rpc.GradNorm, &pb.Empty{})
	if err != nil {
		return 0, err
	}
	return t.checkSquare("GradNorm", r.SumOfSquares)
}

// checkSquare refuses a negative sum of squares. A NaN or an infinity is a valid answer.
func (t *trainableClient) checkSquare(method string, v float64) (float64, error) {
	if v < 0 {
		return 0, t.conn.brokenRule(method, "a sum of squares is %g", v)
	}
	return v, nil
}

// norm returns the sum of squares that another method's answer brought, or else asks the plugin with GradNorm.
func (t *trainableClient) norm(ctx context.Context, method string, known *float64) (float64, error) {
	if known != nil {
		return t.checkSquare(method, *known)
	}
	return t.GradNorm(ctx)
}

func (t *trainableClient) Step(ctx context.Context, step int, lr, scale float64) error {
	q := &pb.StepRequest{Step: int64(step), Lr: lr, Scale: scale}
	_, err := call(ctx, t.conn.lease(), "Step", t.rpc.Step, q)
	return err
}

func (t *trainableClient) Save(ctx context.Context, path string) error {
	return t.file(ctx, "Save", path)
}

func (t *trainableClient) Load(ctx context.Context, path string) error {
	return t.file(ctx, "Load", path)
}

func (t *trainableClient) file(ctx context.Context, method, path string) error {
	path, err := filepath.Abs(path) // the plugin may have another working folder
	if err != nil {
		return fault.New(fault.Invalid, "%s: %w", path, err)
	}
	rpc := t.rpc.Save
	if method == "Load" {
		rpc = t.rpc.Load
	}
	if _, err = call(ctx, t.conn.lease(), method, rpc, &pb.FileRequest{Path: path}); err != nil || method == "Load" {
		return err
	}
	t.mu.Lock()
	parameters := t.parameters
	t.mu.Unlock()
	return t.conn.saved(path, parameters)
}

type encoderClient struct {
	trainableClient
	rpc     pb.EncoderClient
	dim     int
	trained bool // it has parameters that are trained
	close   sync.Once
}

func (e *encoderClient) Configure(ctx context.Context, cfg clip.EncoderConfig) (clip.EncoderInfo, error) {
	r, err := call(ctx, e.conn.lease(), "Configure", e.rpc.Configure, encoderConfigOut(cfg))
	if err != nil {
		return clip.EncoderInfo{}, err
	}
	if err := e.conn.encoderInfo(r, cfg.EmbedDim); err != nil {
		return clip.EncoderInfo{}, err
	}
	info := encoderInfoIn(r)
	e.conn.pin(info.Pins)
	e.mu.Lock()
	e.dim, e.parameters, e.trained = info.EmbedDim, info.Parameters, info.Parameters > info.Frozen
	e.mu.Unlock()
	return info, nil
}

func (e *encoderClient) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	e.mu.Lock()
	dim, trained := e.dim, e.trained
	e.mu.Unlock()
	batch := len(q.Texts)
	if q.Images != nil && len(q.Images.Shape) > 0 {
		batch = q.Images.Shape[0]
	}
	use := e.conn.lease()
	request := &pb.ForwardRequest{Texts: validAll(q.Texts), Mode: pb.Mode(q.Mode), Step: int64(q.Step), Micro: int64(q.Micro),
		Id: q.ID}
	if s, ok := sharedIn(e.conn.arena, q.Next); ok {
		request.Next, request.NextId = slotReference(q.Next, s), q.NextID
	}
	var err error
	if request.Images, err = use.in(q.Images); err != nil {
		return nil, 0, err
	}
	var out *tensor.Tensor
	if request.Out, out, err = use.out(tensor.F32, batch, dim); err != nil {
		use.release()
		return nil, 0, err
	}
	r, err := call(ctx, use, "Forward", e.rpc.Forward, request)
	if err == nil {
		var t *tensor.Tensor
		if t, err = e.conn.result("Forward", "embedding", r.Embedding, request.Out, out, tensor.F32, batch, dim); err == nil {
			k := e.conn.checker("Forward")
			k.require(q.Mode != clip.Train || !trained || r.Ticket != 0, "there is no ticket, though something is to be trained")
			k.values("embedding", t)
			if err = k.err; err == nil {
				return t, clip.Ticket(r.Ticket), nil
			}
			if t != out {
				t.Free()
			}
		}
	}
	out.Free()
	return nil, 0, err
}

func (e *encoderClient) Backward(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) error {
	_, err := e.backward(ctx, ticket, grad, false)
	return err
}

// BackwardNorm implements clip.BackwardNormer.
func (e *encoderClient) BackwardNorm(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) (float64, error) {
	r, err := e.backward(ctx, ticket, grad, true)
	if err != nil {
		return 0, err
	}
	return e.norm(ctx, "Backward", r.SumOfSquares)
}

func (e *encoderClient) backward(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor, norm bool) (*pb.Done, error) {
	if grad == nil {
		return nil, fault.New(fault.Invalid, "backward without a gradient").WithPlugin(e.conn.name)
	}
	use := e.conn.lease()
	g, err := use.in(grad)
	if err != nil {
		return nil, err
	}
	return call(ctx, use, "Backward", e.rpc.Backward, &pb.BackwardRequest{Ticket: uint64(ticket), Grad: g, GradNorm: norm})
}

func (e *encoderClient) Discard(ctx context.Context, ticket clip.Ticket) error {
	_, err := call(ctx, e.conn.lease(), "Discard", e.rpc.Discard, &pb.DiscardRequest{Ticket: uint64(ticket)})
	return err
}

func (e *encoderClient) Close() error { return closeOnce(&e.close, e.conn, e.rpc.Close) }

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

// compute gives the sum of squares too, when it was asked for and the plugin's answer has it.
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
		if err := l.conn.lossResult(r, q); err != nil {
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

type datasetClient struct {
	conn  *Conn
	rpc   pb.DatasetClient
	mu    sync.Mutex
	side  int
	info  clip.DatasetInfo
	reads map[reading]int
	close sync.Once
}

func (d *datasetClient) Configure(ctx context.Context, cfg clip.DatasetConfig) (clip.DatasetInfo, error) {
	d.mu.Lock()
	d.side = cfg.ImageSize
	d.mu.Unlock()
	r, err := call(ctx, d.conn.lease(), "Configure", d.rpc.Configure, datasetConfigOut(cfg))
	if err != nil {
		return clip.DatasetInfo{}, err
	}
	if err := d.conn.datasetInfo(r); err != nil {
		return clip.DatasetInfo{}, err
	}
	info := datasetInfoIn(r)
	d.mu.Lock()
	d.info = info
	d.mu.Unlock()
	return info, nil
}

// Batch asks for samples, and for one of them once more now and then.
func (d *datasetClient) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.batch(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := d.readAgain(ctx, q, b); err != nil {
		if b.Images != q.Into {
			b.Images.Free()
		}
		return nil, err
	}
	return b, nil
}

func (d *datasetClient) batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	d.mu.Lock()
	side, info := d.side, d.info
	d.mu.Unlock()
	use := d.conn.lease()
	request := &pb.BatchRequest{Epoch: int64(q.Epoch), Train: q.Train, NoImages: q.NoImages, Indices: make([]int64, len(q.Indices))}
	for i, index := range q.Indices {
		request.Indices[i] = int64(index)
	}
	if q.NoImages {
		r, err := call(ctx, use, "Batch", d.rpc.Batch, request)
		if err != nil {
			return nil, err
		}
		if err := d.conn.batchAnswer(r, q, info); err != nil {
			return nil, err
		}
		return batchIn(r), nil // pictures that came all the same are left
	}
	shape := []int{len(q.Indices), side, side, 3}
	if q.Into != nil && (q.Into.DType != tensor.U8 || !q.Into.Shape.Equal(shape)) {
		return nil, fault.New(fault.Invalid, "the place for the pictures is %v %v, want u8 %v", q.Into.DType, q.Into.Shape,
			shape).WithPlugin(d.conn.name)
	}
	// The pictures go to Into when a plugin can see it, else to a slot of their own.
	out := q.Into
	var err error
	if s, ok := sharedIn(d.conn.arena, q.Into); ok {
		s.retain()
		d.conn.arena.marks(s, d.conn.name)
		use.slots = append(use.slots, s)
		request.Out = slotReference(q.Into, s)
	} else if request.Out, out, err = use.out(tensor.U8, shape...); err != nil {
		return nil, err
	}
	r, err := call(ctx, use, "Batch", d.rpc.Batch, request)
	if err == nil {
		var images *tensor.Tensor
		if err = d.conn.batchAnswer(r, q, info); err == nil {
			images, err = d.conn.result("Batch", "pictures", r.Images, request.Out, out, tensor.U8, shape...)
		}
		if err == nil {
			batch := batchIn(r)
			batch.Images = images
			if q.Into != nil && images != q.Into {
				copy(q.Into.Data, images.Data)
				images.Free()
				batch.Images = q.Into
			}
			return batch, nil
		}
	}
	if out != q.Into {
		out.Free()
	}
	return nil, err
}

func (d *datasetClient) Captions(ctx context.Context, limit int) ([]string, error) {
	r, err := call(ctx, d.conn.lease(), "Captions", d.rpc.Captions, &pb.CaptionsRequest{Limit: int64(limit)})
	if err != nil {
		return nil, err
	}
	k := d.conn.checker("Captions")
	k.require(limit == 0 || len(r.Captions) <= limit, "%d captions, at most %d were asked for", len(r.Captions), limit)
	for i, text := range r.Captions {
		k.text(fmt.Sprintf("caption %d", i), text, maxCaption)
	}
	return r.Captions, k.err
}

func (d *datasetClient) Close() error { return closeOnce(&d.close, d.conn, d.rpc.Close) }

func sharedIn(a *Arena, t *tensor.Tensor) (*slot, bool) {
	if a == nil || t == nil {
		return nil, false
	}
	s, ok := t.Shared.(*slot)
	return s, ok && s.arena == a
}
