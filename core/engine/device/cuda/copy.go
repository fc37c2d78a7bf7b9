//go:build clipcuda

package cuda

import (
	"fmt"
	"unsafe"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// Write copies host values in, after the work asked for before. They may be changed when it returns.
func (b *Backend) Write(dst device.Buffer, values any) {
	buf := asBuffer(dst)
	from := hostBytes(buf, values, "write")
	b.halves.forgetWritten(buf)
	if b.idle() || len(from) == 0 || b.refuseInRecording("Write") {
		return
	}
	// Small values are sooner copied than waited for.
	if len(from) >= 256<<10 && b.isShared(from) {
		if !b.noteError(b.stream.CopyIn(buf.at, unsafe.Pointer(&from[0]), len(from))) {
			b.sync()
		}
		return
	}
	for at, left := buf.at, from; len(left) > 0; {
		s, err := b.staging.take(b.ctx)
		if b.noteWaitError(err) {
			return
		}
		n := copy(s.memory, left)
		if b.noteError(b.stream.CopyIn(at, unsafe.Pointer(&s.memory[0]), n)) || b.noteError(s.begin(b.stream)) {
			return
		}
		at, left = at+driver.Ptr(n), left[n:]
	}
}

// Read waits for the work and copies a buffer out. After an error values are undefined: ask Err.
func (b *Backend) Read(values any, src device.Buffer) {
	buf := asBuffer(src)
	into := hostBytes(buf, values, "read into")
	if b.idle() || len(into) == 0 || b.refuseInRecording("Read") {
		return
	}
	if b.isShared(into) {
		if !b.noteError(b.stream.CopyOut(unsafe.Pointer(&into[0]), buf.at, len(into))) {
			b.sync()
		}
		return
	}
	type piece struct {
		slot *slot
		into []byte
	}
	var ahead []piece // on their way
	for at := buf.at; len(into) > 0 || len(ahead) > 0; {
		if len(into) > 0 && len(ahead) < len(b.staging) {
			s, err := b.staging.take(b.ctx)
			if b.noteWaitError(err) {
				return
			}
			n := min(len(s.memory), len(into))
			if b.noteError(b.stream.CopyOut(unsafe.Pointer(&s.memory[0]), at, n)) || b.noteError(s.begin(b.stream)) {
				return
			}
			ahead = append(ahead, piece{s, into[:n]})
			at, into = at+driver.Ptr(n), into[n:]
			continue
		}
		if b.noteWaitError(ahead[0].slot.wait()) {
			return
		}
		copy(ahead[0].into, ahead[0].slot.memory)
		ahead = ahead[1:]
	}
}

// Copy copies dst ← src.
func (b *Backend) Copy(dst, src device.Buffer) {
	d, s := asBuffer(dst), asBuffer(src)
	if d.dtype != s.dtype || d.n != s.n {
		panic(fmt.Sprintf("device/cuda: cannot copy %v[%d] to %v[%d]", s.dtype, s.n, d.dtype, d.n))
	}
	b.halves.forgetWritten(d)
	if d.n > 0 && !b.idle() {
		b.noteError(b.stream.Copy(d.at, s.at, d.bytes()))
	}
}

// Zero clears a buffer.
func (b *Backend) Zero(x device.Buffer) {
	buf := asBuffer(x)
	b.halves.forgetWritten(buf)
	if buf.n > 0 && !b.idle() {
		b.noteError(b.stream.Fill(buf.at, 0, buf.bytes()))
	}
}

// refuseInRecording reports whether work is being recorded, and notes then that this call cannot be.
func (b *Backend) refuseInRecording(call string) bool {
	if b.recording {
		b.noteError(fault.New(fault.Unavailable, "%s cannot be recorded", call))
	}
	return b.recording
}

// hostBytes returns the bytes of values for a buffer; it panics when type or length do not fit.
func hostBytes(buf *buffer, values any, verb string) []byte {
	switch v := values.(type) {
	case []float32:
		return bytesFor(buf, device.Real, v)
	case []uint8:
		return bytesFor(buf, device.U8, v)
	case []int32:
		return bytesFor(buf, device.I32, v)
	case []uint16:
		return bytesFor(buf, device.Half, v)
	}
	panic(fmt.Sprintf("device/cuda: cannot %s %T", verb, values))
}

func bytesFor[E any](buf *buffer, dtype device.DType, values []E) []byte {
	if buf.dtype != dtype || buf.n != len(values) {
		panic(fmt.Sprintf("device/cuda: buffer is %v[%d], values are %v[%d]", buf.dtype, buf.n, dtype, len(values)))
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), buf.bytes())
}

// staging holds pinned host memory, through which other host memory is copied: the driver copies from and to
// pinned memory while the host goes on.
type staging [4]slot

// slotBytes fixes the size of a part of the staging memory: long enough for full speed.
const slotBytes = 4 << 20

// slot holds a part of the staging memory, in use until the event.
type slot struct {
	memory []byte
	done   *driver.Event
	turn   int64
	busy   bool
}

// take returns the slot that was used longest ago, once it is free.
func (s *staging) take(ctx *driver.Context) (*slot, error) {
	first := &s[0]
	var last int64
	for i := range s {
		if s[i].turn < first.turn {
			first = &s[i]
		}
		last = max(last, s[i].turn)
	}
	first.turn = last + 1
	if first.memory == nil {
		var err error
		if first.memory, err = ctx.HostAlloc(slotBytes); err != nil {
			return nil, err
		}
		if first.done, err = ctx.NewEvent(false); err != nil {
			return nil, err
		}
	}
	return first, first.wait()
}

// begin says that the slot is in use by what the stream was given last.
func (s *slot) begin(stream *driver.Stream) error {
	s.busy = true
	return s.done.Record(stream)
}

func (s *slot) wait() error {
	if !s.busy {
		return nil
	}
	s.busy = false
	return s.done.Synchronize()
}

func (s *staging) close(ctx *driver.Context) (first error) {
	for i := range s {
		if s[i].done != nil {
			first = firstOf(first, s[i].done.Destroy())
		}
		if s[i].memory != nil {
			first = firstOf(first, ctx.HostFree(s[i].memory))
		}
		s[i] = slot{}
	}
	return first
}

// firstOf returns the first of two errors.
func firstOf(first, next error) error {
	if first != nil {
		return first
	}
	return next
}
