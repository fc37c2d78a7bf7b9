package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"

	"tandem/core/fault"
	"tandem/core/tensor"
)

const (
	headerBytes = 64         // before every slot's data, so that data is aligned to 64
	headerMagic = 0x4d444e54 // "TNDM" in memory order
	pageBytes   = 4096
)

// warmBytes limits how much free memory an arena keeps in core. A training step frees and allocates the same
// sizes again and again; to give the pages back each time would cost a page fault for each.
const warmBytes = 512 << 20

// arenaID numbers the arena in messages. A run has one arena.
const arenaID = 1

// Arena owns memory that the runner and its plugins share, and allocates from it. It may be used from several
// goroutines.
type Arena struct {
	mem  []byte
	file *os.File

	mu         sync.Mutex
	closed     bool
	next       uint64              // first byte never given out
	warm, cold map[uint64][]uint64 // free blocks by size: with pages in core, and without
	warmBytes  uint64
	generation uint64
	inUse      int
	usedBytes  uint64
	peakBytes  uint64
	pinned     bool
	live       map[*slot]struct{} // in use
	calls      map[string]int     // under way, by plugin
}

// ArenaStats describes the state of an arena.
type ArenaStats struct {
	Slots     int    // in use
	UsedBytes uint64 // of the slots in use, their rounding included
	PeakBytes uint64 // the most that UsedBytes has been
	WarmBytes uint64 // free but kept in core
}

// NewArena makes an arena of 64 GiB of addresses; pages take memory only once they are written to. A system
// without memfd yields fault.Unavailable; plugins then work without an arena.
func NewArena() (*Arena, error) {
	file, mem, err := makeShared()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "shared memory: %w", err).
			WithHint("tensors will be copied through the plugins' sockets")
	}
	return &Arena{mem: mem, file: file, warm: map[uint64][]uint64{}, cold: map[uint64][]uint64{},
		live: map[*slot]struct{}{}, calls: map[string]int{}}, nil
}

// File returns the memfd, to be passed to plugins; nil after Close.
func (a *Arena) File() *os.File { return a.file }

// Size returns the size of the arena in bytes.
func (a *Arena) Size() int64 { return int64(len(a.mem)) }

// Memory returns all of the arena's bytes, which stay valid until Close.
func (a *Arena) Memory() []byte { return a.mem }

// Window returns the plugin's view of the arena, for a plugin in the same process.
func (a *Arena) Window() *Window { return &Window{mem: a.mem} }

// Stats returns the state of the arena now.
func (a *Arena) Stats() ArenaStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return ArenaStats{Slots: a.inUse, UsedBytes: a.usedBytes, PeakBytes: a.peakBytes, WarmBytes: a.warmBytes}
}

// Alloc returns a tensor in the arena, aligned to 64 bytes, with undefined content. The caller frees it. A full
// arena yields fault.Exhausted.
func (a *Arena) Alloc(dtype tensor.DType, shape ...int) (*tensor.Tensor, error) {
	n := tensor.Shape(shape).Elements() * dtype.Size()
	if n < 0 || dtype.Size() == 0 {
		panic(fmt.Sprintf("wire: Alloc of %v %v", dtype, shape))
	}
	s, err := a.take(uint64(n))
	if err != nil {
		return nil, err
	}
	return &tensor.Tensor{
		DType: dtype, Shape: append(tensor.Shape(nil), shape...),
		Data:    a.mem[s.offset : s.offset+uint64(n) : s.offset+uint64(n)],
		Release: s.release, Shared: s,
	}, nil
}

// Pin keeps all pages where they are from now on, because hardware knows their addresses. Without it, free
// pages beyond a number go back to the system, and other pages take their place when they are written again.
func (a *Arena) Pin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pinned = true
}

// Close gives the memory back. Tensors still in use stay readable: the mapping goes when the last of them is
// freed, or when the process ends.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	err := a.file.Close()
	a.unmapIfIdle()
	return err
}

func (a *Arena) unmapIfIdle() {
	if a.closed && a.inUse == 0 && a.mem != nil {
		unmap(a.mem)
		a.mem = nil
	}
}

// slot describes a block in use. It counts its users: the tensor that holds it, and every call that a plugin
// may not have finished with.
type slot struct {
	arena      *Arena
	offset     uint64 // of the data
	size       uint64 // bytes of the data
	block      uint64 // bytes of header, data and canary
	generation uint64
	writer     string // the plugin that is to write to it; the arena's lock guards it
	refs       atomic.Int32
}

func (s *slot) retain() { s.refs.Add(1) }

func (s *slot) release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		s.arena.give(s)
	case n < 0:
		panic("wire: a slot was released twice")
	}
}

// blockSize rounds up to one of four sizes for each power of two. At most a quarter is wasted, and blocks of
// similar tensors fit one another.
func blockSize(n uint64) uint64 {
	n += headerBytes + canaryBytes
	step := uint64(pageBytes)
	if b := bits.Len64(n - 1); b > 15 {
		step = 1 << (b - 3)
	}
	return (n + step - 1) / step * step
}

func (a *Arena) take(n uint64) (*slot, error) {
	block := blockSize(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, fault.New(fault.Conflict, "the arena is closed")
	}
	at, ok := a.reuse(block)
	if !ok && a.next+block <= uint64(len(a.mem)) {
		at, ok = a.next, true
		a.next += block
	}
	if !ok {
		if at, block, ok = a.reuseLarger(block); !ok {
			return nil, fault.New(fault.Exhausted, "shared memory is full: %d MiB wanted, %d MiB in use",
				n>>20, a.usedBytes>>20).WithHint("use a smaller batch")
		}
	}
	a.generation++
	a.inUse++
	a.usedBytes += block
	a.peakBytes = max(a.peakBytes, a.usedBytes)
	s := &slot{arena: a, offset: at + headerBytes, size: n, block: block, generation: a.generation}
	s.refs.Store(1)
	writeHeader(a.mem[at:], s.generation, block-headerBytes)
	a.writeCanary(s)
	a.live[s] = struct{}{}
	return s, nil
}

func (a *Arena) reuse(block uint64) (uint64, bool) {
	if list := a.warm[block]; len(list) > 0 {
		a.warm[block] = list[:len(list)-1]
		a.warmBytes -= block
		return list[len(list)-1], true
	}
	if list := a.cold[block]; len(list) > 0 {
		a.cold[block] = list[:len(list)-1]
		return list[len(list)-1], true
	}
	return 0, false
}

// reuseLarger takes the smallest free block that is large enough, when all addresses are given out.
func (a *Arena) reuseLarger(block uint64) (at, size uint64, ok bool) {
	for _, lists := range []map[uint64][]uint64{a.warm, a.cold} {
		for b, list := range lists {
			if b >= block && len(list) > 0 && (size == 0 || b < size) {
				size = b
			}
		}
	}
	if size == 0 {
		return 0, 0, false
	}
	at, ok = a.reuse(size)
	return at, size, ok
}

func (a *Arena) give(s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := s.offset - headerBytes
	a.inUse--
	a.usedBytes -= s.block
	delete(a.live, s)
	if a.closed {
		a.unmapIfIdle()
		return
	}
	writeHeader(a.mem[at:], 0, 0) // a reference that is still about is now stale
	if a.warmBytes+s.block > warmBytes && !a.pinned && punch(a.file, at, s.block) == nil {
		a.cold[s.block] = append(a.cold[s.block], at)
		return
	}
	a.warm[s.block] = append(a.warm[s.block], at)
	a.warmBytes += s.block
}

func writeHeader(mem []byte, generation, capacity uint64) {
	binary.LittleEndian.PutUint64(mem, headerMagic)
	binary.LittleEndian.PutUint64(mem[8:], generation)
	binary.LittleEndian.PutUint64(mem[16:], capacity)
}

// Window shows an arena as a plugin sees it: memory to read and write, which it cannot allocate or free.
type Window struct{ mem []byte }

// OpenWindow maps the arena that a file descriptor names; the descriptor may be closed afterwards.
func OpenWindow(fd uintptr, size int64) (*Window, error) {
	mem, err := mapShared(fd, size)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "cannot map %d bytes of shared memory: %w", size, err)
	}
	return &Window{mem: mem}, nil
}

// at returns the n bytes at offset and the pages of their slot. It first checks that the slot is still the one
// that was meant.
func (w *Window) at(offset, generation, n uint64) (data, pages []byte, err error) {
	size := uint64(len(w.mem))
	if offset < headerBytes || offset%headerBytes != 0 || offset > size || n > size-offset {
		return nil, nil, fault.New(fault.Internal, "a tensor of %d bytes at %d is outside shared memory (%d bytes)", n, offset, size)
	}
	h := w.mem[offset-headerBytes:]
	magic, is := binary.LittleEndian.Uint64(h), binary.LittleEndian.Uint64(h[8:])
	if magic != headerMagic || is != generation {
		return nil, nil, fault.New(fault.Internal, "slot %d is of generation %d, want %d", offset, is, generation)
	}
	capacity := binary.LittleEndian.Uint64(h[16:])
	if n > capacity || capacity > size-offset {
		return nil, nil, fault.New(fault.Internal, "a tensor of %d bytes is in a slot of %d", n, capacity)
	}
	return w.mem[offset : offset+n : offset+n], w.mem[offset-headerBytes : offset+capacity], nil
}
