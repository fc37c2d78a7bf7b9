package wire

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// diary implements an encoder that notes what it is asked, in order.
type diary struct {
	clip.Encoder // nil: the methods that no test calls
	notes        []string
	fails        error // of the next step
	block        chan struct{}
}

func (d *diary) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *diary) Configure(context.Context, clip.EncoderConfig) (clip.EncoderInfo, error) {
	return clip.EncoderInfo{EmbedDim: 2, ContextLength: 4, VocabSize: 8}, nil
}

func (d *diary) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if d.block != nil {
		close(d.block)
		d.block = nil
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	d.note("forward")
	return tensor.New(tensor.F32, len(q.Texts), 2), 0, nil
}

func (d *diary) Step(_ context.Context, step int, lr, scale float64) error {
	err := d.fails
	if d.fails = nil; err != nil {
		return err
	}
	d.note("step %d %g %g", step, lr, scale)
	return nil
}

func (d *diary) GradNorm(context.Context) (float64, error)  { d.note("norm"); return 1, nil }
func (d *diary) Load(context.Context, string) error         { d.note("load"); return nil }
func (d *diary) Discard(context.Context, clip.Ticket) error { d.note("discard"); return nil }
func (d *diary) Memory() []clip.MemoryPart                  { d.note("memory"); return nil }
func (d *diary) Close() error                               { d.note("close"); return nil }
func (d *diary) CountTokens(_ context.Context, _ *clip.EncoderConfig, texts []string) ([]int, int, error) {
	d.note("count")
	return make([]int, len(texts)), 4, nil
}

// keep connects to a diary, with what was observed of each call.
func keep(t *testing.T, change func(*Conn)) (*diary, clip.Encoder, *Conn, *[]Call) {
	t.Helper()
	d, seen := &diary{}, new([]Call)
	conn := connect(t, d, nil)
	conn.observe = func(c Call) { *seen = append(*seen, c) }
	if change != nil {
		change(conn)
	}
	e := EncoderClient(conn)
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
		t.Fatal(err)
	}
	*seen = nil
	return d, e, conn, seen
}

func putOff(t *testing.T, e clip.Encoder, step int) {
	t.Helper()
	if err := e.(clip.LaterStepper).StepLater(t.Context(), step, .5, .25); err != nil {
		t.Fatal(err)
	}
}

var texts = clip.ForwardRequest{Texts: []string{"a", "b"}}

func methods(calls []Call) (names []string) {
	for _, c := range calls {
		names = append(names, c.Method)
	}
	return names
}

// A step that is put off comes with the next forward, in one message, and is observed as a call of its own.
func TestAStepComesWithTheNextForward(t *testing.T) {
	d, e, conn, seen := keep(t, nil)
	for step := 1; step <= 3; step++ {
		putOff(t, e, step)
		if _, _, err := e.Forward(t.Context(), texts); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"step 1 0.5 0.25", "forward", "step 2 0.5 0.25", "forward", "step 3 0.5 0.25", "forward"}; !slices.Equal(d.notes, want) {
		t.Errorf("the plugin did %q, want %q", d.notes, want)
	}
	if want := []string{"Step", "Forward", "Step", "Forward", "Step", "Forward"}; !slices.Equal(methods(*seen), want) {
		t.Fatalf("observed %q, want %q", methods(*seen), want)
	}
	for _, c := range *seen {
		if c.Server <= 0 || c.Client < c.Server || c.Inside.IsZero() {
			t.Errorf("%+v", c)
		}
	}
	if step, forward := (*seen)[0], (*seen)[1]; forward.Start.Before(step.Inside.Add(step.Server)) || forward.Inside.Before(forward.Start) {
		t.Errorf("%+v overlaps %+v", step, forward)
	}
	if conn.later.due != nil {
		t.Error("a step is still due")
	}
}

// Nothing that sees parameters or gradients comes before a step that was put off; what sees neither does not wait for it.
func TestNothingComesBeforeAStepThatWasPutOff(t *testing.T) {
	for name, act := range map[string]func(clip.Encoder, *Conn) error{
		"norm":             func(e clip.Encoder, _ *Conn) error { _, err := e.GradNorm(t.Context()); return err },
		"load":             func(e clip.Encoder, _ *Conn) error { return e.Load(t.Context(), "x") },
		"discard":          func(e clip.Encoder, _ *Conn) error { return e.Discard(t.Context(), 1) },
		"memory":           func(_ clip.Encoder, c *Conn) error { _, _, err := c.Memory(t.Context()); return err },
		"step 2 0.5 0.125": func(e clip.Encoder, _ *Conn) error { return e.Step(t.Context(), 2, .5, .125) },
	} {
		d, e, conn, _ := keep(t, nil)
		putOff(t, e, 1)
		if _, _, err := e.(clip.TokenCounter).CountTokens(t.Context(), nil, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		if err := act(e, conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := []string{"count", "step 1 0.5 0.25", name}; !slices.Equal(d.notes, want) {
			t.Errorf("the plugin did %q, want %q", d.notes, want)
		}
	}
	d, e, _, _ := keep(t, nil)
	putOff(t, e, 1)
	putOff(t, e, 2)
	if want := []string{"step 1 0.5 0.25"}; !slices.Equal(d.notes, want) {
		t.Errorf("two in a row: the plugin did %q", d.notes)
	}
	if err := e.Close(); err != nil || !slices.Equal(d.notes[1:], []string{"close"}) {
		t.Errorf("after Close: %q (%v)", d.notes, err)
	}
}

// A step is taken once, whatever becomes of the call that it came with.
func TestAStepIsTakenOnce(t *testing.T) {
	d, e, conn, _ := keep(t, nil)
	putOff(t, e, 1)
	ctx, cancel := context.WithCancel(t.Context())
	d.block = make(chan struct{})
	begun := d.block
	go func() { <-begun; cancel() }()
	if _, _, err := e.Forward(ctx, texts); fault.KindOf(err) != fault.Canceled {
		t.Fatalf("a cancelled forward: %v", err)
	}
	if conn.later.due == nil {
		t.Error("nobody knows whether the step was taken, and it is not due")
	}
	if _, _, err := e.Forward(t.Context(), texts); err != nil {
		t.Fatal(err)
	}
	if want := []string{"step 1 0.5 0.25", "forward"}; !slices.Equal(d.notes, want) {
		t.Errorf("the plugin did %q, want %q", d.notes, want)
	}

	d.notes, d.fails = nil, fault.New(fault.Exhausted, "no memory for the step")
	putOff(t, e, 2)
	if _, _, err := e.Forward(t.Context(), texts); fault.KindOf(err) != fault.Exhausted || len(d.notes) > 0 {
		t.Errorf("a step that failed: %v, then %q", err, d.notes)
	}
	if _, err := e.GradNorm(t.Context()); err != nil || !slices.Equal(d.notes, []string{"step 2 0.5 0.25", "norm"}) {
		t.Errorf("after it: %q (%v)", d.notes, err)
	}
}

// Plugins that cannot take a step along, those of protocol 1 and those on a tape get it at once.
func TestStepsAreNotPutOffForEveryPlugin(t *testing.T) {
	for name, change := range map[string]func(*Conn){
		"protocol 1": func(c *Conn) { c.version = 1 },
		"a tape":     func(c *Conn) { c.taped = true },
	} {
		d, e, _, _ := keep(t, change)
		putOff(t, e, 1)
		if !slices.Equal(d.notes, []string{"step 1 0.5 0.25"}) {
			t.Errorf("%s: the plugin did %q", name, d.notes)
		}
	}
	d, e, conn, _ := keep(t, nil)
	conn.stepsAlong(false)
	putOff(t, e, 1)
	if !slices.Equal(d.notes, []string{"step 1 0.5 0.25"}) {
		t.Errorf("without steps_along: the plugin did %q", d.notes)
	}
}
