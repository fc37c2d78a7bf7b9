//go:build clipcuda

package cuda

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// pass runs a small piece of training on buffers of its own.
type pass struct {
	b       *Backend
	w, x, y device.Buffer
	run     func() error
}

func newPass(t *testing.T, b *Backend, bf16 bool) *pass {
	t.Helper()
	const side = 48
	const n = side * side
	p := &pass{b: b}
	var all []device.Buffer
	for range 6 {
		buf, err := b.Alloc(device.Real, n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, buf)
	}
	p.w, p.x, p.y = all[0], all[1], all[2]
	hidden, slope, norm := all[3], all[4], all[5]
	prepare := func(k device.Kernel) device.Exec {
		exec, err := b.Prepare(k)
		if err != nil {
			t.Fatal(err)
		}
		return exec
	}
	linear := prepare(device.MatMul{Batch: 1, M: side, N: side, K: side, TransB: true, Act: device.GELU, Slope: true, Weights: true, BF16: bf16})
	grad := prepare(device.MatMul{Batch: 1, M: side, N: side, K: side, TransA: true, Gate: true, BF16: bf16})
	step := prepare(device.Lion{N: n, Beta1: .9, Beta2: .99})
	l2 := prepare(device.L2Norm{Rows: side, Cols: side, Eps: 1e-12})
	momentum, err := b.Alloc(device.Real, n)
	if err != nil {
		t.Fatal(err)
	}
	p.run = func() error {
		linear.Run([]device.Buffer{p.x, p.w, nil, nil, hidden, slope})
		l2.Run([]device.Buffer{hidden, norm})
		grad.Run([]device.Buffer{norm, p.x, nil, slope, p.y})
		step.Run([]device.Buffer{p.y, p.w, momentum}, 1e-2, .1, 1)
		b.Copy(hidden, p.y)
		b.ParamsChanged()
		linear.Run([]device.Buffer{p.x, p.w, nil, nil, p.y, slope})
		b.Zero(norm)
		return nil
	}
	return p
}

func (p *pass) write(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	values := make([]float32, p.w.Len())
	for _, buf := range []device.Buffer{p.w, p.x} {
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		p.b.Write(buf, values)
	}
}

func (p *pass) read() []float32 {
	out := make([]float32, p.y.Len())
	p.b.Read(out, p.y)
	return out
}

func TestReplayGivesWhatRunningGives(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		plain, b := open(t, Options{}), open(t, Options{})
		want, got := newPass(t, plain, bf16), newPass(t, b, bf16)
		want.write(1)
		got.write(1)
		for range 2 { // operands in bfloat16 are there when the recording begins
			want.run()
			got.run()
		}
		before := got.read()
		r, err := b.Record(got.run)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.read(), before) {
			t.Errorf("bf16 %v: recording changes buffers", bf16)
		}
		for step := range 6 {
			if step == 3 { // what is written between replays counts
				want.write(2)
				got.write(2)
			}
			want.run()
			if step == 4 { // plain runs may come between
				got.run()
			} else if err := r.Replay(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.read(), want.read()) {
				t.Fatalf("bf16 %v, step %d: replaying and running differ", bf16, step)
			}
		}
		r.Release()
		if err := r.Replay(); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a released recording gives %v", err)
		}
	}
}

func TestWhatCannotBeRecordedIsAnError(t *testing.T) {
	b := open(t, Options{})
	p := newPass(t, b, false)
	p.write(1)
	p.run()
	want := p.read()
	for name, bad := range map[string]func() error{
		"Write":   func() error { b.Write(p.x, make([]float32, p.x.Len())); return nil },
		"Read":    func() error { p.read(); return nil },
		"Alloc":   func() error { _, err := b.Alloc(device.Real, 1); return err },
		"Prepare": func() error { _, err := b.Prepare(device.Act{N: 1}); return err },
		"Free":    func() error { b.Free(p.w); return nil },
		"Record":  func() error { _, err := b.Record(p.run); return err },
	} {
		r, err := b.Record(func() error {
			p.run()
			if err := bad(); err != nil {
				return err
			}
			return p.run()
		})
		if kind := fault.KindOf(err); r != nil || kind != fault.Unavailable && kind != fault.Conflict {
			t.Errorf("%s: recorded %v, error %v", name, r, err)
		}
	}
	if got := p.read(); b.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("what was refused ran all the same; error %v", b.Err())
	}
	func() {
		defer func() {
			if text, _ := recover().(string); !strings.Contains(text, "takes") {
				t.Errorf("panic %q within a recording", text)
			}
		}()
		b.Record(func() error { p.run(); panic("takes it away") })
	}()
	r, err := b.Record(p.run)
	if err != nil {
		t.Fatalf("after a panic: %v", err)
	}
	r.Release()
}

func TestRecordingsAreStaleOnceScratchMoves(t *testing.T) {
	b := open(t, Options{})
	p := newPass(t, b, true)
	p.run() // products that never ran cannot be recorded
	r, err := b.Record(p.run)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if _, err := b.Prepare(device.MatMul{Batch: 1, M: 8, N: 8, K: 8, BF16: true}); err != nil || r.Stale() {
		t.Errorf("a kernel that needs no more room makes a recording stale (error %v)", err)
	}
	if _, err := b.Prepare(device.MatMul{Batch: 1, M: 800, N: 8, K: 80, BF16: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.Replay(); !r.Stale() || fault.KindOf(err) != fault.Conflict {
		t.Errorf("where operands in bfloat16 have moved, Stale is %v and Replay gives %v", r.Stale(), err)
	}
}

// A context belongs to a thread of the system, and goroutines move between those.
func TestAnyThreadMayCall(t *testing.T) {
	b := open(t, Options{})
	p := newPass(t, b, true)
	p.write(1)
	var r device.Recording
	for _, call := range []func() error{p.run, func() (err error) { r, err = b.Record(p.run); return err },
		func() error { return r.Replay() }, func() error { p.write(2); return nil }, func() error { p.read(); return b.Err() },
		func() error { r.Release(); return nil }} {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // without unlocking: the thread ends with the goroutine
			done <- call()
		}()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
