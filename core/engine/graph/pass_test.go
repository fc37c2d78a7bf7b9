package graph

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

// recorder adds recordings to the host backend: while it records, kernels and copies are noted, not done.
type recorder struct {
	device.Backend
	noting  bool
	notes   []func()
	plain   int // calls done outside recordings
	open    int // recordings not released
	records int
	epoch   int // recordings of an older one are stale
	refuse  error
}

func (r *recorder) do(f func()) {
	if r.noting {
		r.notes = append(r.notes, f)
		return
	}
	r.plain++
	f()
}

type recordedExec struct {
	r    *recorder
	exec device.Exec
}

func (e recordedExec) Run(args []device.Buffer, scalars ...float64) {
	e.r.do(func() { e.exec.Run(args, scalars...) })
}

func (r *recorder) Prepare(k device.Kernel) (device.Exec, error) {
	e, err := r.Backend.Prepare(k)
	return recordedExec{r, e}, err
}

func (r *recorder) Copy(dst, src device.Buffer) { r.do(func() { r.Backend.Copy(dst, src) }) }

func (r *recorder) Record(run func() error) (device.Recording, error) {
	if r.refuse != nil {
		return nil, r.refuse
	}
	r.noting, r.notes = true, nil
	defer func() { r.noting = false }()
	if err := run(); err != nil {
		return nil, err
	}
	r.records++
	r.open++
	return &notes{r, r.notes, r.epoch}, nil
}

type notes struct {
	r     *recorder
	todo  []func()
	epoch int
}

func (n *notes) Stale() bool { return n.epoch != n.r.epoch }
func (n *notes) Release()    { n.r.open--; n.todo = nil }
func (n *notes) Replay() error {
	for _, f := range n.todo {
		f()
	}
	return nil
}

// trainer trains a residual network with batch norm by plain gradient descent, on a backend of numbers T.
type trainer[T float32 | float64] struct {
	t             *testing.T
	backend       device.Backend
	prog          *Program
	run           *Instance
	store, states Store
	workspace     *Workspace
	step          int
}

func newTrainer[T float32 | float64](t *testing.T, b device.Backend) *trainer[T] {
	g, out := bottleneck(true, 3)
	rng := rand.New(rand.NewPCG(9, 1))
	tr := &trainer[T]{t: t, backend: b, workspace: NewWorkspace(b)}
	tr.store = Store{Layout: g.Params(), Values: alloc(t, b, g.Params().Total), Grads: alloc(t, b, g.Params().Total)}
	tr.states = Store{Layout: g.States(), Values: alloc(t, b, g.States().Total)}
	b.Write(tr.store.Values, narrow[T](fill(rng, g.Params().Total, .5)))
	var err error
	if tr.prog, err = Compile(g, b, CompileOptions{Outputs: []*Node{out}, Backward: []*Node{out}, Params: tr.store,
		States: tr.states, Workspace: tr.workspace}); err != nil {
		t.Fatal(err)
	}
	if tr.run, err = tr.prog.NewInstance(); err != nil {
		t.Fatal(err)
	}
	return tr
}

func narrow[T float32 | float64](x []float64) []T {
	y := make([]T, len(x))
	for i, v := range x {
		y[i] = T(v)
	}
	return y
}

func (tr *trainer[T]) read(b device.Buffer) []T {
	tr.t.Helper()
	v := make([]T, b.Len())
	if err := device.Read(tr.backend, v, b); err != nil {
		tr.t.Fatal(err)
	}
	return v
}

// train takes a step with two micro-batches and gives what it computed.
func (tr *trainer[T]) train() []T {
	tr.t.Helper()
	tr.step++
	var seen []T
	for _, mode := range []Mode{Overwrite, Accumulate} {
		rng := rand.New(rand.NewPCG(uint64(tr.step), uint64(mode)))
		tr.run.SetInput("images", pictures(rng, 3*8*8*3))
		for _, err := range []error{tr.run.Forward(), tr.run.Update()} {
			if err != nil {
				tr.t.Fatal(err)
			}
		}
		seen = append(seen, tr.read(tr.run.Output(0))...)
		tr.run.SetGrad(0, narrow[T](fill(rng, tr.run.Output(0).Len(), 1)))
		if err := tr.run.Backward(mode); err != nil {
			tr.t.Fatal(err)
		}
	}
	values, grads := tr.read(tr.store.Values), tr.read(tr.store.Grads)
	for i, g := range grads {
		values[i] -= .01 * g
	}
	tr.backend.Write(tr.store.Values, values)
	tr.backend.ParamsChanged()
	return slices.Concat(seen, grads, tr.read(tr.states.Values))
}

// TestRecordedPassesGiveTheSameBits trains with and without recordings, while what they rest on moves.
func TestRecordedPassesGiveTheSameBits(t *testing.T) {
	r := &recorder{Backend: reference.New[float64](1)}
	plain, recorded := newTrainer[float64](t, reference.New[float64](1)), newTrainer[float64](t, r)
	both := func() {
		t.Helper()
		if want, got := plain.train(), recorded.train(); !slices.Equal(got, want) {
			t.Fatalf("step %d differs from the one that was not recorded", plain.step)
		}
	}
	for range 3 { // the first Backward that accumulates moves the workspace
		both()
	}
	before := r.plain
	made := func() int { n := r.records; r.records = 0; return n }
	made()
	for range 3 {
		both()
	}
	if n := made(); r.plain != before || n != 0 || r.open != 4 {
		t.Errorf("%d calls one by one, %d recordings made and %d open after the third step, want 4 open alone: "+
			"forward, update and the two kinds of backward", r.plain-before, n, r.open)
	}

	if err := recorded.workspace.reserve(2 * recorded.workspace.size); err != nil {
		t.Fatal(err)
	}
	both()
	both()
	if n := made(); n != 4 || r.open != 4 {
		t.Errorf("%d recordings made, %d open after the workspace moved, want 4 and 4", n, r.open)
	}

	r.epoch++ // memory of the backend's own moved
	both()
	if n := made(); n != 4 || r.open != 4 {
		t.Errorf("%d recordings made, %d open after they got stale, want 4 and 4", n, r.open)
	}

	events := 0
	recorded.prog.SetProfile(func(Event) { events++ })
	both()
	recorded.prog.SetProfile(nil)
	both()
	if n := made(); events == 0 || n != 0 {
		t.Errorf("%d kernels noted, %d recordings made: a profile shows kernels and leaves recordings", events, r.records)
	}
	if recorded.run.Close(); r.open != 0 {
		t.Errorf("%d recordings are left after Close", r.open)
	}
}

func TestPassesThatCannotBeRecordedRunPlainly(t *testing.T) {
	for _, why := range []error{fault.New(fault.Unavailable, "no recordings today"), fault.New(fault.Internal, "the recording is broken")} {
		said := listen(t)
		r := &recorder{Backend: reference.New[float64](1), refuse: why}
		plain, refused := newTrainer[float64](t, reference.New[float64](1)), newTrainer[float64](t, r)
		for range 3 {
			if want, got := plain.train(), refused.train(); !slices.Equal(got, want) {
				t.Fatalf("step %d differs", plain.step)
			}
		}
		if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "warning: ") || !strings.Contains(text, why.Error()) {
			t.Errorf("said %q, want one warning with %v", text, why)
		}
	}
}

// A backend that is broken fails the pass, also when it shows while a pass is recorded.
func TestABackendThatBreaksWhileItRecordsFailsThePass(t *testing.T) {
	said := listen(t)
	b := &failing{Backend: reference.New[float64](1), left: 1 << 30}
	tr := newTrainer[float64](t, breaks{b})
	if err := tr.run.Forward(); err != nil {
		t.Fatal(err)
	}
	if err := tr.run.Forward(); err == nil || err.Error() != b.Err().Error() || said.Len() > 0 {
		t.Errorf("got %v, said %q; want the fault of the hardware and no more", err, said)
	}
}

// breaks is hardware that fails when it is asked to record.
type breaks struct{ *failing }

func (b breaks) Record(func() error) (device.Recording, error) {
	b.left = -1
	return nil, fault.New(fault.Unavailable, "no recordings")
}

// listen returns what is warned of from now on, to the end of the test.
func listen(t *testing.T) *bytes.Buffer {
	said, before := &bytes.Buffer{}, toldPlain.Load()
	warnings = said
	toldPlain.Store(false)
	t.Cleanup(func() { warnings = os.Stderr; toldPlain.Store(before) })
	return said
}

// failing wraps a backend whose hardware fails after a number of kernels.
type failing struct {
	device.Backend
	left int
}

type failingExec struct {
	b    *failing
	exec device.Exec
}

func (e failingExec) Run(args []device.Buffer, scalars ...float64) {
	e.b.left--
	e.exec.Run(args, scalars...)
}

func (b *failing) Prepare(k device.Kernel) (device.Exec, error) {
	e, err := b.Backend.Prepare(k)
	return failingExec{b, e}, err
}

func (b *failing) Wait() error { return b.Err() }

func (b *failing) Err() error {
	if b.left < 0 {
		return fault.New(fault.Internal, "the hardware failed")
	}
	return nil
}

func TestAFaultThatShowsLateIsThatOfThePass(t *testing.T) {
	b := &failing{Backend: reference.New[float64](1), left: 1 << 30}
	tr := newTrainer[float64](t, b)
	tr.train()
	b.left = 1
	if err := tr.run.Forward(); fault.KindOf(err) != fault.Internal {
		t.Errorf("Forward: %v, want the hardware's fault", err)
	}
	if err := tr.run.Read(0, make([]float64, tr.run.Output(0).Len())); fault.KindOf(err) != fault.Internal {
		t.Errorf("Read: %v, want the hardware's fault", err)
	}
}
