//go:build clipcuda

package cuda

import (
	"sync"
	"unsafe"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
)

// ShareHost pins memory until Close: the GPU copies from it and to it directly, and Prefetch needs it.
// The memory must stay mapped until then, and begin and end on pages. The error is fault.Exhausted or
// fault.Unavailable when the system does not let it be pinned.
func (b *Backend) ShareHost(memory []byte) error {
	if len(memory) == 0 || b.isShared(memory) {
		return nil
	}
	pins.Lock()
	defer pins.Unlock()
	at := b.pinOf(memory)
	if pins.count[at] == 0 {
		if err := b.ctx.Register(memory); err != nil {
			return err
		}
	}
	pins.count[at]++
	b.shared = append(b.shared, memory)
	return nil
}

// pins counts the backends that pinned memory: those on one GPU have one context, which takes it once.
var pins = struct {
	sync.Mutex
	count map[pin]int
}{count: map[pin]int{}}

type pin struct {
	gpu    int
	memory *byte
}

func (b *Backend) pinOf(memory []byte) pin {
	return pin{b.ctx.Properties().N, unsafe.SliceData(memory)}
}

// unshare ends all sharing.
func (b *Backend) unshare() (first error) {
	pins.Lock()
	defer pins.Unlock()
	for _, memory := range b.shared {
		at := b.pinOf(memory)
		if pins.count[at]--; pins.count[at] == 0 {
			delete(pins.count, at)
			first = firstOf(first, b.ctx.Unregister(memory))
		}
	}
	b.shared = nil
	return first
}

// isShared reports whether all of a slice lies in memory that was shared.
func (b *Backend) isShared(part []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	for _, s := range b.shared {
		if from := uintptr(unsafe.Pointer(unsafe.SliceData(s))); at >= from && at+uintptr(len(part)) <= from+uintptr(len(s)) {
			return true
		}
	}
	return false
}

// prefetch holds the stream of Prefetch. The first Prefetch makes its parts.
type prefetch struct {
	stream       *driver.Stream
	before, done *driver.Event // the work that a copy comes after; the copies
	pending      bool
}

// Prefetch copies values of shared memory on a stream of its own: after the work asked for before, beside
// what is asked for later until Join.
func (b *Backend) Prefetch(dst device.Buffer, values any) bool {
	buf := asBuffer(dst)
	from := hostBytes(buf, values, "prefetch")
	if len(from) == 0 || b.recording || b.idle() || !b.isShared(from) {
		return false
	}
	p := &b.prefetch
	if p.stream == nil && b.noteError(p.open(b.ctx)) {
		return false
	}
	b.halves.forgetWritten(buf)
	p.pending = true
	return !b.noteError(p.before.Record(b.stream)) && !b.noteError(p.stream.Wait(p.before)) &&
		!b.noteError(p.stream.CopyIn(buf.at, unsafe.Pointer(&from[0]), len(from))) && !b.noteError(p.done.Record(p.stream))
}

// Join makes the work asked for from now on come after what Prefetch copies.
func (b *Backend) Join() {
	if b.prefetch.pending && !b.idle() && !b.refuseInRecording("Join after Prefetch") {
		b.prefetch.pending = false
		b.noteError(b.stream.Wait(b.prefetch.done))
	}
}

func (p *prefetch) open(ctx *driver.Context) (err error) {
	if p.before, err = ctx.NewEvent(false); err != nil {
		return err
	}
	if p.done, err = ctx.NewEvent(false); err != nil {
		return err
	}
	p.stream, err = ctx.NewStream()
	return err
}

// wait waits for the copies, so that memory can be freed.
func (p *prefetch) wait() error {
	if !p.pending {
		return nil
	}
	return p.done.Synchronize()
}

func (p *prefetch) close() (first error) {
	if p.stream != nil {
		first = p.stream.Destroy()
	}
	for _, e := range []*driver.Event{p.before, p.done} {
		if e != nil {
			first = firstOf(first, e.Destroy())
		}
	}
	*p = prefetch{}
	return first
}
