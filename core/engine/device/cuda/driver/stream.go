//go:build clipcuda

package driver

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"tandem/core/fault"
)

// Stream queues work that runs in order. Only events order the work of two streams: none waits
// for the default stream.
type Stream struct {
	c      *Context
	s      cu.Stream
	recent [8]launched
	count  int // launches so far

	capturing bool // see Capture
}

// launched holds what an error of a stream tells of one of its last launches.
type launched struct {
	name        string
	grid, block Dim
	shared      int
}

func (l launched) String() string {
	switch {
	case l.grid == (Dim{}): // of a library
		return l.name
	case l.block == (Dim{}): // a product
		return fmt.Sprintf("%s %d×%d×%d, batch %d", l.name, l.grid.X, l.grid.Y, l.grid.Z, l.shared)
	}
	return fmt.Sprintf("%s grid %s block %s shared %d", l.name, l.grid, l.block, l.shared)
}

// Dim gives the size of a grid or a block; zeros count as 1.
type Dim struct{ X, Y, Z int }

func (d Dim) ones() Dim { return Dim{max(d.X, 1), max(d.Y, 1), max(d.Z, 1)} }

// NewStream makes a stream.
func (c *Context) NewStream() (*Stream, error) {
	s := &Stream{c: c}
	err := c.do("cuStreamCreate", func() (err error) {
		s.s, err = cu.MakeStream(cu.NonBlocking)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Destroy ends the stream once its work is done.
func (s *Stream) Destroy() error { return s.c.do("cuStreamDestroy", s.s.Destroy) }

// Synchronize waits for all work of the stream and returns an error of any of it, with the names of the
// last launches.
func (s *Stream) Synchronize() error { return s.blame(s.c.do("cuStreamSynchronize", s.s.Synchronize)) }

// Idle reports whether all work is done, without waiting.
func (s *Stream) Idle() (bool, error) {
	return s.c.query("cuStreamQuery", s.s.Query)
}

// Wait lets the stream's later work wait for an event.
func (s *Stream) Wait(e *Event) error {
	return s.c.do("cuStreamWaitEvent", func() error { return s.s.Wait(e.e, 0) })
}

// Launch enqueues a kernel of grid × block threads with shared bytes of dynamic shared memory. All its
// parameters are eight bytes wide: addresses (Ptr), long long and double, as bits.
func (s *Stream) Launch(f Function, grid, block Dim, shared int, params []uint64) error {
	grid, block = grid.ones(), block.ones()
	s.note(launched{f.name, grid, block, shared})
	var room [32]unsafe.Pointer
	args := room[:0]
	for i := range params {
		args = append(args, unsafe.Pointer(&params[i]))
	}
	err := s.c.do("cuLaunchKernel", func() error {
		return f.f.Launch(grid.X, grid.Y, grid.Z, block.X, block.Y, block.Z, shared, s.s, args)
	})
	return s.blame(err)
}

// CopyIn enqueues a copy of bytes of host memory at src to the device. src must stay as it is until the
// copy ran, unless it is neither pinned nor registered: then it has been read when CopyIn returns.
func (s *Stream) CopyIn(dst Ptr, src unsafe.Pointer, bytes int) error {
	return s.blame(s.c.do("cuMemcpyHtoDAsync", func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), src, int64(bytes), s.s)
	}))
}

// CopyOut enqueues a copy of bytes of device memory to host memory at dst, which holds them once the
// stream is synchronised.
func (s *Stream) CopyOut(dst unsafe.Pointer, src Ptr, bytes int) error {
	return s.blame(s.c.do("cuMemcpyDtoHAsync", func() error {
		return cu.MemcpyDtoHAsync(dst, cu.DevicePtr(src), int64(bytes), s.s)
	}))
}

// Copy enqueues a copy of bytes within the device; they may not overlap.
func (s *Stream) Copy(dst, src Ptr, bytes int) error {
	return s.blame(s.c.do("cuMemcpyDtoDAsync", func() error {
		return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), int64(bytes), s.s)
	}))
}

// Fill enqueues the setting of bytes to a value.
func (s *Stream) Fill(dst Ptr, value byte, bytes int) error {
	return s.blame(s.c.do("cuMemsetD8Async", func() error {
		return cu.MemsetD8Async(cu.DevicePtr(dst), value, int64(bytes), s.s)
	}))
}

// Fill32 enqueues the setting of n words of 32 bits.
func (s *Stream) Fill32(dst Ptr, value uint32, n int) error {
	return s.blame(s.c.do("cuMemsetD32Async", func() error {
		return cu.MemsetD32Async(cu.DevicePtr(dst), uint(value), int64(n), s.s)
	}))
}

// note remembers a launch for blame.
func (s *Stream) note(l launched) {
	s.recent[s.count%len(s.recent)] = l
	s.count++
}

// blame adds the last launches to an error that may be one of theirs.
func (s *Stream) blame(err error) error {
	var e *fault.Error
	if s.count == 0 || !errors.As(err, &e) || e.Kind != fault.Internal {
		return err
	}
	lines := []string{"last launches, the latest first:"}
	for i := range min(s.count, len(s.recent)) {
		lines = append(lines, s.recent[(s.count-1-i)%len(s.recent)].String())
	}
	return e.WithDetail(strings.Join(lines, "\n"))
}

// String returns "128,1,1".
func (d Dim) String() string { return fmt.Sprintf("%d,%d,%d", d.X, d.Y, d.Z) }

// query turns a call that may return notReady into yes or no.
func (c *Context) query(call string, f func() error) (bool, error) {
	ready := true
	err := c.do(call, func() error {
		err := f()
		if s, ok := statusOf(err); ok && s == notReady {
			ready = false
			return nil
		}
		return err
	})
	return ready && err == nil, err
}
