package tower

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/optim"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var _ clip.BucketedEncoder = (*encoder)(nil)

// bucketElements is the size of a bucket of gradients, 25 MiB.
const bucketElements = 25 << 18

// WithBuckets replaces the number of gradients of a bucket, for tests.
func WithBuckets(elements int) Option { return func(e *encoder) { e.bucket = elements } }

// buckets gives the gradients of what is trained out in pieces of equal size, those that a backward pass completes first
// in front, also while the last backward pass of a step runs.
type buckets struct {
	pieces [][]piece // of each bucket

	mu      sync.Mutex
	changed chan struct{} // closed when what follows changes
	open    int           // tickets
	last    bool          // the last backward pass of the step has begun
	missing map[int]int   // arrays to whose part of a bucket the pass under way still adds, by bucket; nil: no pass
	reading sync.Mutex    // held while gradients are read off the device
}

// A piece is a part of an array's gradient.
type piece struct {
	param  string
	off, n int // in the flat buffer
	buffer device.Buffer
}

// newBuckets divides what p trains into buckets of so many elements. They have no buffers yet.
func newBuckets(p *params, elements int) *buckets {
	b := &buckets{changed: make(chan struct{})}
	place := map[string]int{} // of a parameter in the order of its block, then of registration
	for i, q := range slices.SortedStableFunc(slices.Values(p.set.Params()), func(x, y *nn.Param) int { return cmp.Compare(x.Block, y.Block) }) {
		place[q.Name] = i
	}
	entries := slices.Clone(p.trained.Entries)
	slices.SortFunc(entries, func(x, y graph.Entry) int { return cmp.Compare(place[y.Name], place[x.Name]) })
	room := 0
	for _, e := range entries {
		for from := 0; from < e.N; {
			if room == 0 {
				b.pieces, room = append(b.pieces, nil), elements
			}
			n, last := min(e.N-from, room), len(b.pieces)-1
			b.pieces[last] = append(b.pieces[last], piece{param: e.Name, off: e.Off + from, n: n})
			from, room = from+n, room-n
		}
	}
	return b
}

// sizes returns the number of gradients of each bucket.
func (b *buckets) sizes() (out []int) {
	for k := range b.pieces {
		out = append(out, b.size(k))
	}
	return out
}

func (b *buckets) size(k int) (n int) {
	for _, p := range b.pieces[k] {
		n += p.n
	}
	return n
}

// bind shows the buckets where the gradients are.
func (b *buckets) bind(backend device.Backend, grads device.Buffer) {
	for _, list := range b.pieces {
		for i := range list {
			list[i].buffer = backend.View(grads, list[i].off, list[i].n)
		}
	}
}

// set changes the state and wakes those who wait for a change.
func (b *buckets) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// opened notes a new ticket.
func (b *buckets) opened() { b.set(func() { b.open++; b.last = false }) }

// closed notes that a ticket is used up.
func (b *buckets) closed() { b.set(func() { b.open-- }) }

// stepped notes that the gradients are used up.
func (b *buckets) stepped() { b.set(func() { b.last = false }) }

// begin notes that the last backward pass begins, which computes the gradients of these parameters.
func (b *buckets) begin(params []string) {
	missing := map[int]int{}
	for k, list := range b.pieces {
		for _, p := range list {
			if slices.Contains(params, p.param) {
				missing[k]++
			}
		}
	}
	b.set(func() { b.last, b.missing = true, missing })
}

// beginSilent notes that a last backward pass begins that does not say what is complete before its end.
func (b *buckets) beginSilent() {
	missing := map[int]int{}
	for k := range b.pieces {
		missing[k] = 1
	}
	b.set(func() { b.last, b.missing = true, missing })
}

// complete notes that the pass under way adds no more to a parameter's gradient.
func (b *buckets) complete(param string) {
	for k, list := range b.pieces {
		if slices.ContainsFunc(list, func(p piece) bool { return p.param == param }) {
			b.set(func() { b.missing[k]-- })
		}
	}
}

// end notes that the last backward pass has ended.
func (b *buckets) end() { b.set(func() { b.last, b.missing = true, nil }) }

// wait waits until a bucket is complete. running reports whether the last backward pass still runs.
func (b *buckets) wait(ctx context.Context, k int) (running bool, err error) {
	for {
		b.mu.Lock()
		ready, running, changed := (b.open == 0 || b.last) && b.missing[k] == 0, b.missing != nil, b.changed
		b.mu.Unlock()
		if ready {
			return running, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, program.CheckContext(ctx, "gradients")
		}
	}
}

// Gradients implements clip.Bucketed.
func (e *encoder) Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error) {
	if err := e.ready(ctx, "gradients"); err != nil {
		return nil, err
	}
	if bucket < 0 || bucket >= len(e.buckets.pieces) {
		return nil, fault.New(fault.Invalid, "bucket %d of %d", bucket, len(e.buckets.pieces)).WithOp("gradients")
	}
	running, err := e.buckets.wait(ctx, bucket)
	if err != nil {
		return nil, err
	}
	out := program.Place(into, tensor.F32, e.buckets.size(bucket))
	if !running && !e.trained.HasGradient() {
		clear(out.F32())
		return out, nil
	}
	e.buckets.reading.Lock()
	defer e.buckets.reading.Unlock()
	values := out.F32()
	for _, p := range e.buckets.pieces[bucket] {
		e.session.Backend.Read(values[:p.n], p.buffer)
		values = values[p.n:]
	}
	return out, device.Err(e.session.Backend)
}

// show shows the gradients of all buckets where they are; nil when the backend cannot.
func (b *buckets) show(viewer device.HostViewer, gradients []*tensor.Tensor) (all []optim.Piece) {
	for k, list := range b.pieces {
		values := gradients[k].F32()
		for _, p := range list {
			shown := viewer.ViewHost(values[:p.n:p.n])
			if shown == nil {
				return nil
			}
			all = append(all, optim.Piece{Off: p.off, Grads: shown})
			values = values[p.n:]
		}
	}
	return all
}

// StepWith implements clip.Bucketed. Where the host computes, the optimiser reads the gradients where they are.
func (e *encoder) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	if err := e.ready(ctx, "step"); err != nil {
		return err
	}
	if err := e.trained.CheckStep(step); err != nil {
		return err
	}
	if err := program.CheckBuckets(gradients, e.buckets.sizes()); err != nil {
		return err
	}
	if viewer, ok := e.session.Backend.(device.HostViewer); ok && len(e.buckets.pieces) > 0 {
		if pieces := e.buckets.show(viewer, gradients); pieces != nil {
			return e.step(func() error { return e.trained.StepAlong(step, lr, scale, pieces) })
		}
	}
	e.session.Share(gradients...)
	for k, list := range e.buckets.pieces {
		values := gradients[k].F32()
		for _, p := range list {
			e.session.Backend.Write(p.buffer, values[:p.n])
			values = values[p.n:]
		}
	}
	e.trained.Accumulated()
	return e.Step(ctx, step, lr, scale)
}

// BackwardLast implements clip.BucketedEncoder.
func (e *encoder) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	defer e.buckets.end() // after an error too: who waits for gradients learns of it from BackwardLast
	err := e.backward(ctx, t, grad, tokens, true)
	if err == nil && e.group != nil && e.trained.HasGradient() {
		e.group.SumOverRanks(e.params.store.Grads)
		err = device.Err(e.session.Backend)
	}
	return err
}
