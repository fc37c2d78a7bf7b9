package wire

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
)

// trainableRPC has the methods that pb.EncoderClient and pb.LossClient share.
type trainableRPC interface {
	GradNorm(context.Context, *pb.Empty, ...grpc.CallOption) (*pb.GradNormResponse, error)
	Step(context.Context, *pb.StepRequest, ...grpc.CallOption) (*pb.Done, error)
	Save(context.Context, *pb.FileRequest, ...grpc.CallOption) (*pb.Done, error)
	Load(context.Context, *pb.FileRequest, ...grpc.CallOption) (*pb.Done, error)
	Gradients(context.Context, *pb.GradientsRequest, ...grpc.CallOption) (*pb.GradientsResponse, error)
}

// closeWait limits the time of a Close. core/plugin/process ends a plugin that does not answer.
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
	// parameters is how many scalars the plugin said that it has; buckets are the sizes of its buckets of gradients.
	parameters int64
	buckets    []int
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
	return t.StepWith(ctx, step, lr, scale, nil)
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
	return t.conn.checkSaved(path, parameters)
}
