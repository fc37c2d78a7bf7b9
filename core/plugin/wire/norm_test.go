package wire

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// script connects to a plugin that answers the gradient's norm in whole or in part.
type script struct {
	told  *float64 // in the answers of Backward and Compute
	calls []string
}

func (s *script) Invoke(_ context.Context, method string, _, reply any, _ ...grpc.CallOption) error {
	s.calls = append(s.calls, method)
	switch r := reply.(type) {
	case *pb.Done:
		r.SumOfSquares = s.told
	case *pb.LossResponse:
		r.DImage, r.DText, r.SumOfSquares = inlineTensor(tensor.New(tensor.F32, 2, 1)), inlineTensor(tensor.New(tensor.F32, 2, 1)), s.told
	case *pb.GradNormResponse:
		r.SumOfSquares = 25
	}
	return nil
}

func (s *script) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams")
}

func TestANormLeftOutOfAnAnswerIsAskedFor(t *testing.T) {
	zero, some := 0.0, 9.0
	for name, c := range map[string]struct {
		told  *float64
		norm  float64
		asked bool
	}{"told": {&some, 9, false}, "told to be 0": {&zero, 0, false}, "left out": {nil, 25, true}} {
		s := &script{told: c.told}
		conn := NewConn(s, ConnConfig{})
		x := tensor.New(tensor.F32, 2, 1)
		n, err := EncoderClient(conn).(clip.BackwardNormer).BackwardNorm(t.Context(), 1, x)
		if err != nil || n != c.norm {
			t.Errorf("%s: the encoder's norm is %v (%v), want %v", name, n, err, c.norm)
		}
		_, n, err = LossClient(conn).(clip.ComputeNormer).ComputeNorm(t.Context(), clip.LossRequest{Image: x, Text: x, Train: true})
		if err != nil || n != c.norm {
			t.Errorf("%s: the loss's norm is %v (%v), want %v", name, n, err, c.norm)
		}
		want := []string{"/tandem.v1.Encoder/Backward", "/tandem.v1.Loss/Compute"}
		if c.asked {
			want = []string{want[0], "/tandem.v1.Encoder/GradNorm", want[1], "/tandem.v1.Loss/GradNorm"}
		}
		if !slices.Equal(s.calls, want) {
			t.Errorf("%s: calls %v, want %v", name, s.calls, want)
		}
	}
}
