package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// exchanger implements an encoder that needs sums in Forward and Backward.
type exchanger struct {
	noter
	sum  func(context.Context, []float64) error
	sums []float64
}

func (e *exchanger) Exchange(_ context.Context, sum func(context.Context, []float64) error) error {
	e.sum = sum
	return nil
}

func (e *exchanger) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	e.sums = []float64{1, 2.5}
	for range 2 {
		if err := e.sum(ctx, e.sums); err != nil {
			return nil, 0, err
		}
	}
	return e.noter.Forward(ctx, q)
}

func (e *exchanger) Backward(ctx context.Context, _ clip.Ticket, _ *tensor.Tensor) error {
	return e.sum(ctx, make([]float64, 3))
}

func (e *exchanger) Close() error { return nil }

// exchanging connects to an exchanger, whose values f adds up.
func exchanging(t *testing.T, impl *exchanger, f func(context.Context, []float64) error) clip.Encoder {
	t.Helper()
	e := EncoderClient(connect(t, impl, nil))
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3, SyncNorm: true}); err != nil {
		t.Fatal(err)
	}
	if !impl.config.SyncNorm {
		t.Error("the encoder was not told of SyncNorm")
	}
	opening, opened := context.WithCancel(t.Context())
	if err := e.(clip.Exchanger).Exchange(opening, f); err != nil {
		t.Fatal(err)
	}
	opened() // the exchange goes on
	t.Cleanup(func() { e.Close() })
	return e
}

func images() clip.ForwardRequest {
	return clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, 4, 4, 3), Mode: clip.Train}
}

func TestAnEncoderExchangesWithinItsCalls(t *testing.T) {
	impl := &exchanger{}
	var lengths []int
	e := exchanging(t, impl, func(_ context.Context, values []float64) error {
		lengths = append(lengths, len(values))
		for i := range values {
			values[i] *= 3
		}
		return nil
	})
	for range 2 {
		if _, _, err := e.Forward(t.Context(), images()); err != nil {
			t.Fatal(err)
		}
		if err := e.Backward(t.Context(), 1, tensor.New(tensor.F32, 2, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(impl.sums, lengths); got != "[9 22.5] [2 2 3 2 2 3]" {
		t.Error(got)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheErrorOfAnExchangeIsThatOfTheCall(t *testing.T) {
	gone := fault.New(fault.Unavailable, "rank 1 is gone")
	e := exchanging(t, &exchanger{}, func(context.Context, []float64) error { return gone })
	if _, _, err := e.Forward(t.Context(), images()); !errors.Is(err, gone) {
		t.Errorf("forward: %v", err)
	}
	if err := e.Backward(t.Context(), 1, tensor.New(tensor.F32, 2, 3)); !errors.Is(err, gone) {
		t.Errorf("backward: %v", err)
	}
}

// A run that is cancelled while other ranks keep it waiting ends, and nothing adds up after the call.
func TestACancelledCallEndsItsExchange(t *testing.T) {
	waits, ended := make(chan struct{}), false
	e := exchanging(t, &exchanger{}, func(ctx context.Context, _ []float64) error {
		close(waits)
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waits
		cancel()
	}()
	_, _, err := e.Forward(ctx, images())
	if !errors.Is(err, context.Canceled) || !ended {
		t.Errorf("%v, the sum has ended: %v", err, ended)
	}
	if err := e.Backward(t.Context(), 1, tensor.New(tensor.F32, 2, 3)); err == nil {
		t.Error("another exchange after one that was given up")
	}
}

func TestAnEncoderThatExchangesOutsideOfItsCallsIsBlamed(t *testing.T) {
	impl := &exchanger{}
	e := exchanging(t, impl, func(context.Context, []float64) error { return nil })
	if err := impl.sum(t.Context(), []float64{1}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("an exchange while nobody computes: %v", err)
	}
	if _, _, err := e.Forward(t.Context(), images()); err == nil || !strings.Contains(err.Error(), "outside of Forward and Backward") {
		t.Errorf("the next call: %v", err)
	}
}

func TestEncodersWithoutExchangeSaySo(t *testing.T) {
	e := EncoderClient(connect(t, &noter{}, nil))
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3}); err != nil {
		t.Fatal(err)
	}
	err := e.(clip.Exchanger).Exchange(t.Context(), func(context.Context, []float64) error { return nil })
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "no exchange") {
		t.Error(err)
	}
	old := EncoderClient(serveWide(t, clip.KindEncoder, &wide{}, nil, 1))
	if _, err := old.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2, SyncNorm: true}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("protocol 1: %v", err)
	}
}
