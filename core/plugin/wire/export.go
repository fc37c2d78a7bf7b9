package wire

import (
	"context"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
)

// Export implements the method of the service Encoder.
func (e *encoderServer) Export(ctx context.Context, q *pb.ExportRequest) (*pb.Done, error) {
	exporter, ok := e.impl.(clip.Exporter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "this encoder exports nothing")
	}
	return handle(ctx, e.s, using, onThread, func() (*pb.Done, error) {
		return done(nil, func() error { return exporter.Export(ctx, q.Format, q.Path) })
	})
}

var _ clip.Exporter = (*encoderClient)(nil)

// Export implements clip.Exporter.
func (e *encoderClient) Export(ctx context.Context, format, path string) error {
	if err := e.conn.needVersion2("export to " + format); err != nil {
		return err
	}
	path, err := filepath.Abs(path) // the plugin may have another working folder
	if err != nil {
		return fault.New(fault.Invalid, "%s: %w", path, err)
	}
	if _, err := call(ctx, e.conn.lease(), "Export", e.rpc.Export, &pb.ExportRequest{Format: format, Path: path}); err != nil {
		return err
	}
	if stat, err := os.Lstat(path); err != nil || !stat.Mode().IsRegular() || stat.Size() == 0 {
		return e.conn.brokenRule("Export", "it said that it was done and wrote no %s", path)
	}
	return nil
}
