package graph

import (
	"cmp"
	"slices"

	"tandem/core/engine/device"
)

// A Workspace holds growing device memory, which programs on one backend share for values that live within one pass.
// It is for one goroutine.
type Workspace struct {
	backend device.Backend
	buffer  device.Buffer
	size    int
	version int // counts moves: instances bind again when the memory moved
}

// NewWorkspace makes an empty workspace; programs make it grow.
func NewWorkspace(backend device.Backend) *Workspace { return &Workspace{backend: backend} }

// Bytes returns the present size, when Real is float32.
func (w *Workspace) Bytes() int64 { return int64(w.size) * 4 }

// Close frees the memory. A program that runs later allocates it again.
func (w *Workspace) Close() {
	if w.buffer != nil {
		w.backend.Free(w.buffer)
		w.buffer, w.size = nil, 0
		w.version++
	}
}

// reserve makes room for n elements.
func (w *Workspace) reserve(n int) error {
	if n <= w.size {
		return nil
	}
	w.Close()
	buffer, err := w.backend.Alloc(device.Real, n)
	if err != nil {
		return err
	}
	w.buffer, w.size = buffer, n
	w.version++
	return nil
}

// findLifetimes finds when each storage is first written and last read; steps of both passes are numbered
// through.
func (l *lowering) findLifetimes() {
	for i, st := range l.steps {
		for _, s := range st.inputs() {
			if s != nil {
				s.last = max(s.last, i)
			}
		}
		for _, s := range st.outputs() {
			s.def = i
			s.last = max(s.last, i)
		}
	}
}

// place decides where each storage lives.
func (l *lowering) place() {
	for _, s := range l.all {
		switch {
		case s.leaf != nil || s.place == inConstants:
		case s.keep && s.grad == nil, s.def < l.forward && s.last >= l.forward:
			s.place = inInstance
		case s.def >= l.forward:
			s.place = inBackward
		default:
			s.place = inForward
		}
	}
}

// reuse lets outputs take over the memory of an input that dies, where the kernel allows it.
func (l *lowering) reuse() {
	for i, st := range l.steps {
		d, _ := device.Describe(st.kernel)
		if d.InPlace < 0 {
			continue
		}
		out := st.args[st.outs]
		if b, ok := st.kernel.(device.Binary); ok && b.Op == device.OpAdd && b.N == b.Period &&
			!l.canTake(st, i, st.args[0], out) && l.canTake(st, i, st.args[1], out) {
			st.args[0], st.args[1] = st.args[1], st.args[0] // a + b is b + a to the bit
		}
		if in := st.args[d.InPlace]; l.canTake(st, i, in, out) {
			into := in.root()
			out.into = into
			into.last = max(into.last, out.last)
		}
	}
}

func (l *lowering) canTake(st *step, i int, in, out *storage) bool {
	if out.place != inForward && out.place != inBackward || in.place != out.place || in.size != out.size || in.dtype != out.dtype {
		return false
	}
	if in.grad != nil || out.grad != nil || in.root().grad != nil || in.root().last != i {
		return false
	}
	n := 0
	for _, s := range st.inputs() {
		if s != nil && s.root() == in.root() {
			n++
		}
	}
	return n == 1
}

// pack gives storages of one workspace their offsets: the largest first, each as low as those allow
// that live at the same time. Gradients of parameters come last, as they lie in the workspace only when
// they are added to others. It returns the size of the whole, and without them.
func pack(storages []*storage, reuse bool) (whole, plain int) {
	order := slices.Clone(storages)
	late := func(s *storage) int {
		if s.grad != nil {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b *storage) int {
		return cmp.Or(cmp.Compare(late(a), late(b)), cmp.Compare(b.realElements(), a.realElements()), cmp.Compare(a.def, b.def))
	})
	var placed []*storage // by offset
	for _, s := range order {
		off := 0
		for _, p := range placed {
			if reuse && (p.last < s.def || s.last < p.def) {
				continue
			}
			if off+alignUp(s.realElements()) <= p.off {
				break
			}
			off = max(off, p.off+alignUp(p.realElements()))
		}
		s.off = off
		whole = max(whole, off+alignUp(s.realElements()))
		if s.grad == nil {
			plain = whole
		}
		at, _ := slices.BinarySearchFunc(placed, off, func(p *storage, off int) int { return cmp.Compare(p.off, off) })
		placed = slices.Insert(placed, at, s)
	}
	return whole, plain
}

// placedIn lists the storages of a place that have memory of their own, in order of definition.
func (l *lowering) placedIn(p place) []*storage {
	var list []*storage
	for _, s := range l.all {
		// Without a definition it is a leaf, a constant, or an intermediate that fusion removed.
		if s.place == p && s.into == nil && (s.def >= 0 || s.leaf != nil || p == inConstants) {
			list = append(list, s)
		}
	}
	return list
}

// placeInLine lays storages out one after another.
func placeInLine(storages []*storage) int {
	total := 0
	for _, s := range storages {
		s.off = total
		total += alignUp(s.realElements())
	}
	return total
}
