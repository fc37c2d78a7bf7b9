package clip

import "context"

// FormatONNX names the format of Exporter that ONNX Runtime reads (https://onnx.ai).
const FormatONNX = "onnx"

// Exporter is implemented by encoders with CapONNX.
type Exporter interface {
	// Export writes the forward pass of mode Eval, with the parameters as they are now, to path as a file that programs
	// of others run. An unknown format yields fault.Invalid.
	Export(ctx context.Context, format, path string) error
}
