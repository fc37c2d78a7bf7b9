package wire

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/plugin/wire/pb"
)

// Gradients implements the service for plugins without CapBuckets.
func (e *encoderServer) Gradients(context.Context, *pb.GradientsRequest) (*pb.GradientsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "this encoder gives no buckets of gradients")
}

// Exchange implements the service for plugins without CapExchange.
func (e *encoderServer) Exchange(pb.Encoder_ExchangeServer) error {
	return status.Error(codes.Unimplemented, "this encoder exchanges nothing")
}

// Gradients implements the service for plugins without CapBuckets.
func (l *lossServer) Gradients(context.Context, *pb.GradientsRequest) (*pb.GradientsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "this loss gives no buckets of gradients")
}
