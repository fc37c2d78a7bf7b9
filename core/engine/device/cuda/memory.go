//go:build clipcuda

package cuda

import (
	"fmt"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// buffer holds device memory. Views share it; their root is the buffer that they are views of.
type buffer struct {
	at    driver.Ptr
	n     int
	dtype device.DType
	root  *buffer // itself, unless it is a view
	freed bool    // of a root
}

func (b *buffer) DType() device.DType { return b.dtype }
func (b *buffer) Len() int            { return b.n }
func (b *buffer) bytes() int          { return b.n * b.dtype.Size() }

// block holds device memory for the backend itself.
type block struct {
	at    driver.Ptr
	bytes int64
}

// Alloc returns zeroed memory aligned to 256 bytes. Where it does not fit the GPU or the limit of Options, the error
// is fault.Exhausted and says how much is in use.
func (b *Backend) Alloc(dtype device.DType, n int) (device.Buffer, error) {
	if n < 0 || dtype > device.Half {
		return nil, fault.New(fault.Invalid, "cannot allocate %d elements of dtype %d", n, dtype)
	}
	buf := &buffer{n: n, dtype: dtype}
	buf.root = buf
	if n > 0 {
		var err error
		if buf.at, err = b.take(int64(buf.bytes()), fmt.Sprintf("%v[%d]", dtype, n)); err != nil {
			return nil, err
		}
	}
	b.live[buf] = struct{}{}
	b.Zero(buf)
	return buf, nil
}

// take allocates; an error says what the memory is for.
func (b *Backend) take(bytes int64, what string) (driver.Ptr, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.recording {
		return 0, fault.New(fault.Conflict, "cannot allocate %s while work is recorded", what)
	}
	if limit := b.options.MemoryLimit; limit > 0 && b.used+bytes > limit {
		return 0, b.exhausted(bytes, what, "the limit of this process is "+mebi(limit))
	}
	at, err := b.ctx.Alloc(bytes)
	if fault.KindOf(err) == fault.Exhausted {
		return 0, b.exhausted(bytes, what, "the GPU has no more")
	}
	if err != nil {
		return 0, err
	}
	b.used += bytes
	return at, nil
}

// exhausted returns the error of memory that there is not.
func (b *Backend) exhausted(bytes int64, what, why string) error {
	m := b.DeviceMemory()
	return fault.New(fault.Exhausted, "%s for %s do not fit: %s; this process uses %s (%s of it scratch), %s of %s are free",
		mebi(bytes), what, why, mebi(m.Used), mebi(m.Scratch), mebi(m.Free), mebi(m.Total)).WithOp(b.ctx.Properties().String()).
		WithHint("a smaller train.micro_batch_size; nvidia-smi shows what else uses the GPU")
}

// mebi formats bytes in MiB, rounded up.
func mebi(bytes int64) string { return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20) }

// give frees what take gave. The work that uses it comes to its end first.
func (b *Backend) give(at driver.Ptr, bytes int64) error {
	b.sync()
	b.used -= bytes
	return b.ctx.Free(at)
}

// grow makes a block of at least that size, without its content.
func (b *Backend) grow(s *block, bytes int64, what string) error {
	if bytes <= s.bytes {
		return nil
	}
	if err := b.drop(s); err != nil {
		return err
	}
	at, err := b.take(bytes, what)
	if err != nil {
		return err
	}
	*s = block{at, bytes}
	b.generation++
	return nil
}

func (b *Backend) drop(s *block) error {
	if s.bytes == 0 {
		return nil
	}
	at, bytes := s.at, s.bytes
	*s = block{}
	return b.give(at, bytes)
}

// Free gives memory back once the work that uses it is done. Freeing a view does nothing.
func (b *Backend) Free(x device.Buffer) {
	buf := asBuffer(x)
	if _, ok := b.live[buf]; !ok {
		return
	}
	if b.recording {
		b.noteError(fault.New(fault.Conflict, "cannot free memory while work is recorded"))
		return
	}
	b.noteError(b.release(buf))
}

func (b *Backend) release(buf *buffer) error {
	delete(b.live, buf)
	b.halves.forgetWritten(buf)
	at, bytes := buf.at, int64(buf.bytes())
	buf.freed, buf.at, buf.n = true, 0, 0
	if bytes == 0 {
		return nil
	}
	return b.give(at, bytes)
}

// View returns elements [off, off+n) of a buffer.
func (b *Backend) View(x device.Buffer, off, n int) device.Buffer {
	buf := asBuffer(x)
	if off < 0 || n < 0 || off+n > buf.n {
		panic(fmt.Sprintf("device/cuda: view [%d, %d) is outside a buffer of %d", off, off+n, buf.n))
	}
	return &buffer{at: buf.at + driver.Ptr(off*buf.dtype.Size()), n: n, dtype: buf.dtype, root: buf.root}
}

func asBuffer(x device.Buffer) *buffer {
	buf, ok := x.(*buffer)
	if !ok {
		panic(fmt.Sprintf("device/cuda: %T is not a buffer of this backend", x))
	}
	if buf.root.freed {
		panic("device/cuda: a buffer is used that was freed")
	}
	return buf
}

// Allocated returns the bytes of device memory that the backend took: buffers, scratch, operands in bfloat16 and
// cuBLAS's workspace. The context, code and cuDNN take more.
func (b *Backend) Allocated() int64 { return b.used }

// Packed returns 0: no copies of parameters outlive a step.
func (b *Backend) Packed() int64 { return 0 }

// DeviceMemory returns the state of the GPU's memory.
func (b *Backend) DeviceMemory() device.Memory {
	m := device.Memory{Used: b.used, Limit: b.options.MemoryLimit, Total: b.ctx.Properties().TotalMemory,
		Scratch: b.scratch.bytes + b.workspace.bytes + b.halves[0].bytes + b.halves[1].bytes}
	if free, total, err := b.ctx.MemInfo(); err == nil {
		m.Free, m.Total = free, total
	}
	return m
}
