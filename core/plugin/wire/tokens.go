package wire

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
)

// CountTokens implements the method of the service Encoder.
func (e *encoderServer) CountTokens(ctx context.Context, q *pb.CountTokensRequest) (*pb.CountTokensResponse, error) {
	counter, ok := e.impl.(clip.TokenCounter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "this encoder does not count tokens")
	}
	when := using
	var config *clip.EncoderConfig
	if q.Config != nil {
		c := encoderConfigIn(q.Config)
		when, config = planning, &c
	}
	return handle(ctx, e.s, when, onThread, func() (*pb.CountTokensResponse, error) {
		span := begin(nil)
		tokens, limit, err := counter.CountTokens(ctx, config, q.Texts)
		out := &pb.CountTokensResponse{Tokens: make([]int64, len(tokens)), Limit: int64(limit)}
		for i, n := range tokens {
			out.Tokens[i] = int64(n)
		}
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

var _ clip.TokenCounter = (*encoderClient)(nil)

// CountTokens implements clip.TokenCounter.
func (e *encoderClient) CountTokens(ctx context.Context, c *clip.EncoderConfig, texts []string) ([]int, int, error) {
	q := &pb.CountTokensRequest{Texts: validAll(texts)}
	if c != nil {
		q.Config = encoderConfigOut(*c)
	}
	known := true
	r, err := call(ctx, e.conn.lease(), "CountTokens",
		func(ctx context.Context, q *pb.CountTokensRequest, o ...grpc.CallOption) (*pb.CountTokensResponse, error) {
			r, err := e.rpc.CountTokens(ctx, q, o...)
			known = status.Code(err) != codes.Unimplemented
			return r, err
		}, q)
	bad := func(format string, args ...any) error {
		return fault.New(fault.Internal, format, args...).WithOp("CountTokens").WithPlugin(e.conn.name)
	}
	switch {
	case !known:
		return nil, 0, fault.New(fault.Unavailable, "the encoder does not count tokens").WithPlugin(e.conn.name)
	case err != nil:
		return nil, 0, err
	case len(r.Tokens) != len(texts):
		return nil, 0, bad("%d numbers for %d texts", len(r.Tokens), len(texts))
	case r.Limit < 0:
		return nil, 0, bad("a limit of %d tokens", r.Limit)
	}
	tokens := make([]int, len(r.Tokens))
	for i, n := range r.Tokens {
		if n < 0 {
			return nil, 0, bad("text %d of %d has %d tokens", i, len(texts), n)
		}
		tokens[i] = int(n)
	}
	return tokens, int(r.Limit), nil
}
