//go:build clipcuda

package driver

// #include "libraries.h"
import "C"

import (
	"fmt"

	"tandem/core/fault"
)

// DNN holds a cuDNN handle on a stream.
type DNN struct {
	c      *Context
	s      *Stream
	handle C.uintptr_t
	file   string
}

// OpenDNN makes a handle whose work goes to s. Without the library it is Unavailable: convolutions then
// need kernels of one's own. TANDEM_CUDNN may name its file or folder.
func (c *Context) OpenDNN(s *Stream) (*DNN, error) {
	findBLAS() // cuDNN looks for cuBLAS by name, and finds the one that is loaded
	file, err := findDNN()
	if err != nil {
		return nil, err
	}
	d := &DNN{c: c, s: s, file: file}
	if err := d.do("cudnnCreate", func() C.int { return C.tandem_dnn_create(&d.handle) }); err != nil {
		return nil, err
	}
	if err := d.do("cudnnSetStream", func() C.int { return C.tandem_dnn_stream(d.handle, handleOf(s.s)) }); err != nil {
		d.Destroy()
		return nil, err
	}
	return d, nil
}

var dnnFile string

// findDNN opens the library and says which file it is.
func findDNN() (string, error) {
	libraries.Lock()
	defer libraries.Unlock()
	if dnnFile != "" {
		return dnnFile, nil
	}
	file, err := cuDNN().open(func(path *C.char) *C.char { return C.tandem_dnn_open(path) })
	if err == nil {
		dnnFile = file
	}
	return file, err
}

// Destroy ends the handle; its plans must have ended.
func (d *DNN) Destroy() error {
	return d.do("cudnnDestroy", func() C.int { return C.tandem_dnn_destroy(d.handle) })
}

// Version returns the library's version, as "9.5.1", and the file that dlopen was given.
func (d *DNN) Version() (version, file string) { return dnnVersion(), d.file }

func dnnVersion() string {
	v := int(C.tandem_dnn_version())
	if v >= 90000 { // 9.x counts with two digits more
		return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
	}
	return fmt.Sprintf("%d.%d.%d", v/1000, v%1000/100, v%100)
}

// Direction tells which of a convolution's three arrays is computed.
type Direction int

// The directions, with what Run takes and gives.
const (
	Forward     Direction = iota // x, w → y
	BackData                     // w, dy → dx
	BackWeights                  // x, dy → dw
)

// Convolution describes a convolution without bias and with zero padding on all sides:
//
//	x [B, H, W, InC], y [B, OH, OW, OutC], OH = (H + 2·Pad − KH)/Stride + 1
//	w [OutC, KH, KW, InC], the channel last: not as in checkpoints
//
// All three have Type; sums are float32.
type Convolution struct {
	B, H, W, InC, OutC, KH, KW, Stride, Pad int
	Type                                    DType
	TF32                                    bool // F32 values may be rounded to TF32
}

// Plan holds the algorithm chosen for a convolution.
type Plan struct {
	d    *DNN
	p    C.struct_tandem_conv
	name string // for errors
}

// Plan chooses the fastest deterministic algorithm in at most limit bytes of workspace, as the library's
// heuristics see it; of BF16 only those that multiply the numbers as they are. It is Unavailable when there is none.
// Arrays of BF16 begin on 16 bytes.
func (d *DNN) Plan(direction Direction, c Convolution, limit int64) (*Plan, error) {
	oh, ow := (c.H+2*c.Pad-c.KH)/c.Stride+1, (c.W+2*c.Pad-c.KW)/c.Stride+1
	p := &Plan{d: d, name: fmt.Sprintf("cuDNN convolution %d of %+v", direction, c), p: C.struct_tandem_conv{direction: C.int(direction),
		n: C.int(c.B), h: C.int(c.H), w: C.int(c.W), c: C.int(c.InC), k: C.int(c.OutC), kh: C.int(c.KH), kw: C.int(c.KW),
		pad: C.int(c.Pad), stride: C.int(c.Stride), oh: C.int(oh), ow: C.int(ow),
		math: 3, // CUDNN_FMA_MATH: no tensor cores, float32 stays float32
	}}
	switch {
	case c.Type == BF16:
		p.p._type, p.p.math = 9, 1 // CUDNN_DATA_BFLOAT16, CUDNN_TENSOR_OP_MATH
	case c.TF32:
		p.p.math = 0 // CUDNN_DEFAULT_MATH: TF32
	}
	var found C.int
	err := d.do("cudnnGetConvolutionAlgorithm", func() C.int {
		return C.tandem_conv_plan(d.handle, &p.p, C.size_t(limit), &found)
	})
	if err == nil && found == 0 {
		err = fault.New(fault.Unavailable, "cuDNN has no deterministic algorithm for %+v in %s", c, mib(limit)).
			WithOp(d.c.op("cudnnGetConvolutionAlgorithm"))
	}
	if err != nil {
		p.Destroy()
		return nil, err
	}
	return p, nil
}

// Workspace returns the bytes that Run needs.
func (p *Plan) Workspace() int64 { return int64(p.p.workspace) }

// Run enqueues the convolution with the arrays of its direction and Workspace bytes of scratch.
func (p *Plan) Run(in1, in2, out, workspace Ptr) error {
	p.d.s.note(launched{name: p.name})
	return p.d.s.blame(p.d.do("cudnnConvolution", func() C.int {
		return C.tandem_conv_run(p.d.handle, &p.p, C.uintptr_t(in1), C.uintptr_t(in2), C.uintptr_t(out), C.uintptr_t(workspace), p.p.workspace)
	}))
}

// Destroy ends the plan.
func (p *Plan) Destroy() { C.tandem_conv_destroy(&p.p) }

func (d *DNN) do(call string, f func() C.int) error { return d.c.library(call, f, dnnStatus) }

// dnnStatus makes an error of a cudnnStatus_t, whose numbers changed between 8 and 9.
func dnnStatus(code int) *fault.Error {
	name := fmt.Sprintf("%s (%d)", C.GoString(C.tandem_dnn_error(C.int(code))), code)
	switch {
	case code == -1, code == 6, code == 9, code >= 3000 && code < 4000: // CUDNN_STATUS_ARCH_MISMATCH, NOT_SUPPORTED
		return fault.New(fault.Unavailable, "%s", name)
	case code == 1, code >= 1001 && code < 1010: // CUDNN_STATUS_NOT_INITIALIZED, *_VERSION_MISMATCH
		return fault.New(fault.Unavailable, "%s", name).WithHint("cuDNN and the driver do not fit: see runner devices; TANDEM_CUDNN may name another file or folder")
	case code == 2, code == 4003, code == 4004: // CUDNN_STATUS_ALLOC_FAILED
		return fault.New(fault.Exhausted, "%s", name).WithHint("%s", remedies[outOfMemory].hint)
	}
	return fault.New(fault.Internal, "%s", name)
}
