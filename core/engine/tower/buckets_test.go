package tower

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// deep is the mean colour through three linear layers.
type deep struct {
	mean
	layers []*nn.Linear
}

func newDeep(c clip.EncoderConfig) (ImageModel, error) {
	m := &deep{}
	for i, in := range []int{3, 5, 5} {
		m.set.Enter(1 + i)
		m.layers = append(m.layers, nn.NewLinear(&m.set, fmt.Sprintf("visual.%d", i), in, []int{5, 5, c.EmbedDim}[i], nn.FanIn, nn.BiasOf(in)))
	}
	return m, nil
}

func (m *deep) Build(g *nn.Graph, x *graph.Node) *graph.Node {
	x = graph.MeanTokens(graph.Reshape(graph.Normalize(x, CLIPMean, CLIPStd), x.Dim(0), 4, 3), nil)
	for _, l := range m.layers {
		x = l.Apply(g, x, nn.Identity)
	}
	return x
}

// watched is a backend that calls before each kernel that runs.
type watched struct {
	device.Backend
	before func()
}

type watchedExec struct {
	device.Exec
	backend *watched
}

func (w *watched) Prepare(k device.Kernel) (device.Exec, error) {
	e, err := w.Backend.Prepare(k)
	return &watchedExec{e, w}, err
}

func (e *watchedExec) Run(args []device.Buffer, scalars ...float64) {
	e.backend.before()
	e.Exec.Run(args, scalars...)
}

// perBucket is the size of a bucket of deep's 18 + 30 + 20 parameters.
const perBucket = 24

func openDeep(t *testing.T) (*encoder, *watched) {
	t.Helper()
	w := &watched{Backend: reference.New[float32](1), before: func() {}}
	e := Image(newDeep, WithBuckets(perBucket), WithBackend(func(clip.Compute) (device.Backend, error) { return w, nil })).(*encoder)
	t.Cleanup(func() { e.Close() })
	info, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "sgd"}, Compute: clip.Compute{Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{24, 24, 20}; !slices.Equal(info.BucketSizes, want) {
		t.Fatalf("buckets of %v, want %v", info.BucketSizes, want)
	}
	return e, w
}

func colourful(n int) clip.ForwardRequest {
	q := request(n, clip.Train)
	for i := range q.Images.Data {
		q.Images.Data[i] = byte(37 * i)
	}
	return q
}

func slope(n int) *tensor.Tensor {
	grad := tensor.New(tensor.F32, n, 3)
	for i := range grad.F32() {
		grad.F32()[i] = float32(i%4) - 1.4
	}
	return grad
}

// The gradients of the last layers are there while the backward pass is at the first; those of the first wait for it.
func TestBucketsAnswerWhileTheBackwardPassRuns(t *testing.T) {
	e, w := openDeep(t)
	runs := 0
	pass := func() chan error {
		_, ticket, err := e.Forward(t.Context(), colourful(4))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- e.BackwardLast(t.Context(), ticket, slope(4), nil) }()
		return done
	}
	w.before = func() { runs++ }
	done := pass()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	all := runs // of a forward and a backward pass
	if err := e.Step(t.Context(), 1, 0, 1); err != nil {
		t.Fatal(err)
	}

	held, goOn := make(chan bool), make(chan bool)
	runs = 0
	w.before = func() {
		if runs++; runs == all {
			close(held)
			<-goOn
		}
	}
	done = pass()
	first, err := e.Gradients(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-held
	early, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("too early"))
	if _, err := e.Gradients(early, 2, nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("the first layer's bucket is given out before its last kernel ran: %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	again, err := e.Gradients(t.Context(), 0, first.Clone())
	if err != nil || !slices.Equal(first.Data, again.Data) {
		t.Errorf("the bucket changed after it was given out: %v, then %v, %v", first.F32(), again.F32(), err)
	}
}

// A caller on another goroutine cannot know whether the backward pass has begun: gradients wait for it.
func TestGradientsWaitForTheLastBackwardPass(t *testing.T) {
	e, _ := openDeep(t)
	want := func() *tensor.Tensor {
		_, ticket, err := e.Forward(t.Context(), colourful(4))
		if err == nil {
			err = e.Backward(t.Context(), ticket, slope(4))
		}
		if err != nil {
			t.Fatal(err)
		}
		g, err := e.Gradients(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}()
	if err := e.Step(t.Context(), 1, 0, 1); err != nil {
		t.Fatal(err)
	}
	if g, err := e.Gradients(t.Context(), 1, want.Clone()); err != nil || slices.ContainsFunc(g.F32(), func(v float32) bool { return v != 0 }) {
		t.Errorf("after a step the gradients are %v, %v", g.F32(), err)
	}
	_, ticket, err := e.Forward(t.Context(), colourful(4))
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if g, err := e.Gradients(over, 1, nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("before the backward pass: %v, %v", g, err)
	}
	got := make(chan *tensor.Tensor)
	go func() {
		g, _ := e.Gradients(t.Context(), 1, nil)
		got <- g
	}()
	if err := e.BackwardLast(t.Context(), ticket, slope(4), nil); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g == nil || !slices.Equal(g.Data, want.Data) {
		t.Errorf("gradients %v, want %v", g, want)
	}
	if _, err := e.Gradients(t.Context(), 3, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a bucket that does not exist: %v", err)
	}
	short := []*tensor.Tensor{tensor.New(tensor.F32, 24), tensor.New(tensor.F32, 24), tensor.New(tensor.F32, 19)}
	if err := e.StepWith(t.Context(), 1, 1, 1, short); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a bucket of another size: %v", err)
	}
	if err := e.StepWith(t.Context(), 1, 1, 1, short[:2]); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a bucket that is missing: %v", err)
	}
}
