package devicetest

import (
	"encoding/json"
	"os"
	"reflect"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

var (
	_ device.Autocaster   = (*Shapes)(nil)
	_ device.BF16Attender = (*Shapes)(nil)
	_ device.Fuser        = (*Shapes)(nil)
)

// Shapes stands in for a backend. It has no memory and computes nothing, but notes every kernel with the places of
// its arguments, so that the work of a step that fits no memory here can be counted (tools/cuda/roofline). Reads
// leave the values as they are.
type Shapes struct {
	Phase  string // is noted with what follows
	Calls  []Call
	spaces int
}

// Call notes one kernel that was run, or one copy.
type Call struct {
	Phase  string          `json:"phase"`
	Kind   string          `json:"kind"` // type of the kernel in core/engine/device, or Copy, Zero, Write, Read
	Kernel json.RawMessage `json:"kernel,omitempty"`
	FLOPs  float64         `json:"flops,omitempty"` // device.FLOPs of the kernel
	Args   []Place         `json:"args"`            // inputs and outputs; those that are absent have N 0
}

// Place names N elements of Size bytes from byte From of an allocation. Written says that the kernel may
// write there.
type Place struct {
	Space   int  `json:"space"`
	From    int  `json:"from"`
	N       int  `json:"n"`
	Size    int  `json:"size"`
	Written bool `json:"written,omitempty"`
}

// Step holds what a file of calls has: one training step of a part of a model.
type Step struct {
	Batch      int              `json:"batch"`
	Parameters int64            `json:"parameters"`
	Memory     map[string]int64 `json:"memory"` // the plan, in bytes
	Work       float64          `json:"work"`   // floating-point operations of products, convolutions and attention
	Calls      []Call           `json:"calls"`
}

// Write writes a step to a file.
func (s Step) Write(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// place implements device.Buffer.
type place struct {
	space, from, n int // from is in bytes
	dtype          device.DType
}

func (p place) DType() device.DType { return p.dtype }
func (p place) Len() int            { return p.n }

// noting implements device.Exec.
type noting struct {
	shapes *Shapes
	call   Call // without phase and places
	args   []device.Arg
}

func (n noting) Run(args []device.Buffer, _ ...float64) {
	places := make([]Place, len(args))
	for i, b := range args {
		if b != nil {
			places[i] = placeOf(b, n.args[i].Out)
		}
	}
	n.shapes.note(n.call, places...)
}

func placeOf(b device.Buffer, written bool) Place {
	p := b.(place)
	return Place{p.space, p.from, p.n, p.dtype.Size(), written}
}

func (s *Shapes) note(c Call, places ...Place) {
	c.Phase, c.Args = s.Phase, places
	s.Calls = append(s.Calls, c)
}

// Name implements device.Backend.
func (s *Shapes) Name() string { return "shapes" }

// Alloc implements device.Backend.
func (s *Shapes) Alloc(dtype device.DType, n int) (device.Buffer, error) {
	s.spaces++
	return place{s.spaces, 0, n, dtype}, nil
}

// Free implements device.Backend.
func (s *Shapes) Free(device.Buffer) {}

// View implements device.Backend.
func (s *Shapes) View(b device.Buffer, off, n int) device.Buffer {
	p := b.(place)
	if off < 0 || n < 0 || off+n > p.n {
		panic("view out of range")
	}
	return place{p.space, p.from + off*p.dtype.Size(), n, p.dtype}
}

// Halves implements device.Halver: as core/engine/device/cuda.
func (s *Shapes) Halves(kernel device.Kernel) device.Places {
	d, _ := device.Describe(kernel)
	return d.Half
}

// Autocasts implements device.Autocaster: as core/engine/device/cuda.
func (s *Shapes) Autocasts() bool { return true }

// AttendsBF16 implements device.BF16Attender as core/engine/device/cuda does.
func (s *Shapes) AttendsBF16(k device.Attention) bool {
	return k.Packed && (k.HeadDim == 32 || k.HeadDim == 64) && k.Tq <= 80
}

// Fuses implements device.Fuser: as core/engine/device/cuda.
func (s *Shapes) Fuses(kernel device.Kernel) bool {
	switch k := kernel.(type) {
	case device.LayerNormBack:
		return true
	case device.MatMul:
		return k.BF16 && k.RowSums
	case device.ConvBackData:
		return k.BF16 && k.Single()
	}
	return false
}

// HalfView implements device.Halver.
func (s *Shapes) HalfView(b device.Buffer, off, n int) device.Buffer {
	p := b.(place)
	if off < 0 || n < 0 || off+device.HalfRoom(n) > p.n {
		panic("view out of range")
	}
	return place{p.space, p.from + off*p.dtype.Size(), n, device.Half}
}

// Write implements device.Backend.
func (s *Shapes) Write(dst device.Buffer, _ any) { s.note(Call{Kind: "Write"}, placeOf(dst, true)) }

// Read implements device.Backend.
func (s *Shapes) Read(_ any, src device.Buffer) { s.note(Call{Kind: "Read"}, placeOf(src, false)) }

// Copy implements device.Backend.
func (s *Shapes) Copy(dst, src device.Buffer) {
	s.note(Call{Kind: "Copy"}, placeOf(src, false), placeOf(dst, true))
}

// Zero implements device.Backend.
func (s *Shapes) Zero(b device.Buffer) { s.note(Call{Kind: "Zero"}, placeOf(b, true)) }

// Prepare implements device.Backend.
func (s *Shapes) Prepare(k device.Kernel) (device.Exec, error) {
	args, err := device.Signature(k)
	if err != nil {
		return nil, err
	}
	k = device.WithoutHalf(k)
	kernel, err := json.Marshal(k)
	if err != nil {
		return nil, fault.New(fault.Internal, "%T: %w", k, err)
	}
	return noting{s, Call{Kind: reflect.TypeOf(k).Name(), Kernel: kernel, FLOPs: device.FLOPs(k)}, args}, nil
}

// ParamsChanged implements device.Backend.
func (s *Shapes) ParamsChanged() { s.note(Call{Kind: "ParamsChanged"}) }

// Close implements device.Backend.
func (s *Shapes) Close() error { return nil }
