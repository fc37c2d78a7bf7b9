//go:build clipcuda

package cuda

import (
	"errors"
	"fmt"
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// exec holds a prepared kernel.
type exec struct {
	kernel device.Kernel
	want   []device.Arg
	code   code
	steps  []step
	call   call // its addr and scalars are set by each Run
}

// step holds a launch whose kernel was found.
type step struct {
	launch
	f    driver.Function
	bits []uint64 // of params
}

// Prepare makes an Exec, and room for what its kernels work with. Impossible kernels are fault.Invalid,
// those that this GPU, its libraries or its limits do not allow fault.Unavailable; without memory for
// scratch it is fault.Exhausted.
func (b *Backend) Prepare(k device.Kernel) (device.Exec, error) {
	want, err := device.Signature(k)
	if err != nil {
		return nil, err
	}
	if b.recording {
		return nil, fault.New(fault.Conflict, "cannot prepare %T while work is recorded", k)
	}
	c, err := b.code(k)
	if err != nil {
		return nil, b.nameKernel(k, err)
	}
	if h, ok := k.(device.Halved); ok && h.In&^c.mayBeHalf() != 0 {
		c.free()
		return nil, b.nameKernel(k, fault.New(fault.Unavailable, "not all of arguments %b can be half", h.In))
	}
	x := &exec{kernel: k, want: want, code: c,
		call: call{b: b, addr: make([]driver.Ptr, len(want)), lens: make([]int, len(want)), half: make([]bool, len(want))}}
	for i, a := range want {
		x.call.lens[i], x.call.half[i] = a.Len, a.DType == device.Half
	}
	b.execs[x] = struct{}{}
	if err := b.prepare(x, c); err != nil {
		x.Release()
		return nil, b.nameKernel(k, err)
	}
	return x, nil
}

// nameKernel adds to an error of Prepare which kernel it is about.
func (b *Backend) nameKernel(k device.Kernel, err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Op == "" {
		f.Op = fmt.Sprintf("%s: %T%+v", b.ctx.Properties(), k, k)
	}
	return err
}

func (b *Backend) code(k device.Kernel) (code, error) {
	var half device.Places
	if h, ok := k.(device.Halved); ok {
		k, half = h.Kernel, h.In
	}
	switch k := k.(type) {
	case device.MatMul:
		return b.matMulCode(k)
	case device.ConvForward, device.ConvBackData, device.ConvBackWeights:
		return b.convCode(k, half)
	}
	if _, low := attentionBF16Code(k); low {
		if err := b.checkBF16(); err != nil {
			return code{}, err
		}
	}
	if c, ok := codeOf(k); ok {
		return c, nil
	}
	return code{}, fault.New(fault.Unavailable, "no kernel for it").WithHint("use device: cpu")
}

func (b *Backend) prepare(x *exec, c code) error {
	for _, l := range c.launches {
		s := step{launch: l}
		if l.call == nil {
			var err error
			if s, err = b.step(l); err != nil {
				return err
			}
		}
		x.steps = append(x.steps, s)
	}
	if len(c.halves) > 0 {
		if _, err := b.step(toBF16(driver.Ptr(0), driver.Ptr(0), 1)); err != nil {
			return err
		}
	}
	for n, i := range c.halves {
		if x.call.half[i] {
			continue
		}
		o := operand{n: x.want[i].Len}
		if n == 0 {
			o.rows, o.cols = c.rows, c.cols
		}
		if err := b.reserve(o); err != nil {
			return err
		}
	}
	scratch := c.scratch
	if c.scratchOf != nil {
		scratch = max(scratch, c.scratchOf(x.call.half, x.call.lens))
	}
	return b.grow(&b.scratch, int64(scratch), "scratch")
}

// step finds a launch's kernel and holds the launch to the limits of kernel and GPU.
func (b *Backend) step(l launch) (step, error) {
	f, err := b.function(l.entry)
	if err != nil {
		return step{}, err
	}
	e := b.entries[l.entry]
	grid, block := ones(l.grid), ones(l.block)
	threads := block.X * block.Y * block.Z
	switch {
	case len(l.params) != e.Params:
		return step{}, fault.New(fault.Internal, "%s takes %d parameters, is given %d", l.entry, e.Params, len(l.params))
	case threads > max(e.MaxThreads, 1):
		return step{}, fault.New(fault.Internal, "%s takes blocks of %d threads, is given %d", l.entry, e.MaxThreads, threads)
	case grid.X > math.MaxInt32 || grid.Y > 65535 || grid.Z > 65535 || min(grid.X, grid.Y, grid.Z) < 1:
		return step{}, fault.New(fault.Unavailable, "%s needs a grid of %v blocks; CUDA has at most 2147483647,65535,65535", l.entry, grid).
			WithHint("set train.micro_batch_size, or make the batch smaller")
	case l.shared > b.ctx.Properties().SharedPerBlock:
		return step{}, fault.New(fault.Unavailable, "%s needs %d bytes of shared memory, this GPU has %d", l.entry, l.shared,
			b.ctx.Properties().SharedPerBlock)
	}
	if l.shared > sharedByDefault && l.shared > b.allowed[l.entry] {
		if err := f.SetDynamicShared(l.shared); err != nil {
			return step{}, err
		}
		b.allowed[l.entry] = l.shared
	}
	return step{launch: l, f: f, bits: make([]uint64, len(l.params))}, nil
}

// sharedByDefault bounds the dynamic shared memory that a kernel may have without asking, with some declared.
const sharedByDefault = 32 << 10

func ones(d dim) driver.Dim { return driver.Dim{X: max(d.x, 1), Y: max(d.y, 1), Z: max(d.z, 1)} }

// Run enqueues the kernel and returns. It panics when arguments are not those of the kernel's signature;
// all other errors are those of Backend.Err.
func (x *exec) Run(args []device.Buffer, scalars ...float64) {
	if len(args) != len(x.want) {
		panic(fmt.Sprintf("device/cuda: %T takes %d arguments, got %d", x.kernel, len(x.want), len(args)))
	}
	for i := range x.want {
		want := &x.want[i]
		if want.Absent {
			continue // the address stays 0
		}
		buf, ok := args[i].(*buffer)
		if !ok || buf.n != want.Len || buf.dtype != want.DType || buf.root.freed {
			panic(x.mismatch(i, args[i]))
		}
		x.call.addr[i] = buf.at
	}
	b := x.call.b
	if b.idle() {
		return
	}
	x.call.scalars, x.call.other = scalars, 0
	for i := range x.steps {
		if b.noteError(b.start(&x.steps[i], &x.call)) {
			return
		}
	}
	for i := range x.want {
		if x.want[i].Out && !x.want[i].Absent {
			b.halves.forgetWritten(args[i].(*buffer))
		}
	}
}

func (x *exec) mismatch(i int, arg device.Buffer) string {
	want := x.want[i]
	if arg == nil {
		return fmt.Sprintf("device/cuda: %T: argument %d (%s) is nil", x.kernel, i, want.Name)
	}
	if buf, ok := arg.(*buffer); ok && buf.root.freed {
		return fmt.Sprintf("device/cuda: %T: argument %d (%s) was freed", x.kernel, i, want.Name)
	}
	return fmt.Sprintf("device/cuda: %T: argument %d (%s) is a %T of %v[%d], want %v[%d]",
		x.kernel, i, want.Name, arg, arg.DType(), arg.Len(), want.DType, want.Len)
}

// Release frees what the kernel keeps. It may run meanwhile.
func (x *exec) Release() {
	delete(x.call.b.execs, x)
	x.code.free()
}

// start enqueues one step.
func (b *Backend) start(s *step, c *call) error {
	if s.call != nil {
		return s.call(c)
	}
	for i, p := range s.params {
		if r, ok := p.(rounded); ok {
			at, err := c.inBF16(arg(r))
			if err != nil {
				return err
			}
			p = at
		}
		s.bits[i] = c.bits(p)
	}
	return b.stream.Launch(s.f, ones(s.grid), ones(s.block), s.shared, s.bits)
}

// bits returns a parameter as eight bytes.
func (c *call) bits(param any) uint64 {
	switch p := param.(type) {
	case nil:
		return 0
	case int:
		return uint64(p)
	case float64:
		return math.Float64bits(p)
	case arg:
		return uint64(c.at(p))
	case temp:
		return uint64(c.temp(p))
	case isHalf:
		return uint64(bit(c.half[p]))
	case scalar:
		return math.Float64bits(c.scalar(p))
	case driver.Ptr:
		return uint64(p)
	}
	panic(fmt.Sprintf("device/cuda: a kernel cannot take a %T", param))
}
