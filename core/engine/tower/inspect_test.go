package tower

import (
	"context"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// The same steps with and without the profiler end in the same bits, and the profile has both passes
// and the optimiser.
func TestProfileChangesNoBit(t *testing.T) {
	ctx := context.Background()
	var results [][]float32
	for _, on := range []bool{false, true} {
		e := configured(t)
		e.SetProfile(on)
		req, grad := request(4, clip.Train), tensor.New(tensor.F32, 4, 3)
		for i := range req.Images.Data {
			req.Images.Data[i] = byte(i * 37)
		}
		for i := range grad.F32() {
			grad.F32()[i] = float32(i%5) - 2
		}
		for step := 1; step <= 3; step++ {
			out, ticket, err := e.Forward(ctx, req)
			if err == nil {
				err = e.Backward(ctx, ticket, grad)
			}
			if err == nil {
				_, err = e.GradNorm(ctx)
			}
			if err == nil {
				err = e.Step(ctx, step, .1, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, out.F32())
		}
		events := e.KernelRuns()
		if !on {
			if len(events) > 0 {
				t.Errorf("%d events without a profile", len(events))
			}
			continue
		}
		seen, work := map[string]bool{}, 0.0
		for i, event := range events {
			if event.Start.IsZero() || event.Duration < 0 || i > 0 && event.Start.Before(events[i-1].Start) {
				t.Errorf("event %d is out of order: %+v", i, event)
			}
			seen[event.Op] = true
			seen["backward"] = seen["backward"] || event.Backward
			work += event.FLOPs
		}
		for _, want := range []string{"linear", "backward", "prepare", "grad norm", "step"} {
			if !seen[want] {
				t.Errorf("no %s among %v", want, seen)
			}
		}
		if work != e.Work() {
			t.Errorf("events of %g operations, want %g", work, e.Work())
		}
		if len(e.KernelRuns()) > 0 {
			t.Error("events are given twice")
		}
	}
	for i := range 3 {
		if !slices.Equal(results[i], results[i+3]) {
			t.Errorf("step %d gives %v without a profile and %v with one", i+1, results[i], results[i+3])
		}
	}
}

// The plan names all that the backend has allocated.
func TestMemoryIsAllThatIsAllocated(t *testing.T) {
	e, ctx := configured(t), context.Background()
	_, ticket, err := e.Forward(ctx, request(4, clip.Train))
	if err == nil {
		err = e.Backward(ctx, ticket, tensor.New(tensor.F32, 4, 3))
	}
	if err != nil {
		t.Fatal(err)
	}
	sum, parts := int64(0), map[string]int64{}
	for _, m := range e.Memory() {
		sum += m.Bytes
		parts[m.Name] = m.Bytes
	}
	if want := e.session.Backend.(interface{ Allocated() int64 }).Allocated(); sum != want {
		t.Errorf("%d bytes are planned, %d allocated: %v", sum, want, parts)
	}
	if n := int64(e.params.store.Layout.Total) * 4; parts["parameters"] != n || parts["gradients"] != n || parts["activations"] == 0 {
		t.Errorf("the plan is %v, want %d bytes of parameters", parts, n)
	}
	if other := parts["other"]; other > sum/10 {
		t.Errorf("%d of %d bytes are of no known purpose", other, sum)
	}
}
