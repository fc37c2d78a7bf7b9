package trial

import (
	"context"
	"strings"
	"sync"

	"tandem/core/clip"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// The kit takes instances; each is a process here, which ends when the kit closes it.

func (o *Options) encoder(ctx context.Context, s *process.Session) (clip.Encoder, error) {
	e, p, err := s.StartEncoder(ctx, o.Binary.Path, o.options())
	if err != nil {
		return nil, err
	}
	return &encoder{Encoder: e, process: p}, nil
}

func (o *Options) loss(ctx context.Context, s *process.Session) (clip.Loss, error) {
	l, p, err := s.StartLoss(ctx, o.Binary.Path, o.options())
	if err != nil {
		return nil, err
	}
	return &loss{Loss: l, process: p}, nil
}

func (o *Options) dataset(ctx context.Context, s *process.Session) (clip.Dataset, error) {
	d, p, err := s.StartDataset(ctx, o.Binary.Path, o.options())
	if err != nil {
		return nil, err
	}
	return &dataset{Dataset: d, process: p}, nil
}

type encoder struct {
	clip.Encoder
	process *process.Process
}

func (e *encoder) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	out, ticket, err := e.Encoder.Forward(ctx, q)
	return out, ticket, breach(err)
}

func (e *encoder) Backward(ctx context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	return breach(e.Encoder.Backward(ctx, t, grad))
}

func (e *encoder) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	out, ticket, err := e.Encoder.(clip.TokenEncoder).ForwardTokens(ctx, q)
	return out, ticket, breach(err)
}

func (e *encoder) BackwardTokens(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	return breach(e.Encoder.(clip.TokenEncoder).BackwardTokens(ctx, t, grad, tokens))
}

func (e *encoder) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	return breach(e.Encoder.(clip.BucketedEncoder).BackwardLast(ctx, t, grad, tokens))
}

func (e *encoder) Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error) {
	return e.Encoder.(clip.Bucketed).Gradients(ctx, bucket, into)
}

func (e *encoder) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	return breach(e.Encoder.(clip.Bucketed).StepWith(ctx, step, lr, scale, gradients))
}

func (e *encoder) Close() error { return end(e.process, e.Encoder.Close) }

type loss struct {
	clip.Loss
	process *process.Process
}

func (l *loss) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := l.Loss.Compute(ctx, q)
	return r, breach(err)
}

func (l *loss) Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error) {
	return l.Loss.(clip.Bucketed).Gradients(ctx, bucket, into)
}

func (l *loss) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	return breach(l.Loss.(clip.Bucketed).StepWith(ctx, step, lr, scale, gradients))
}

func (l *loss) Close() error { return end(l.process, l.Loss.Close) }

type dataset struct {
	clip.Dataset
	process *process.Process
}

func (d *dataset) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.Dataset.Batch(ctx, q)
	return b, breach(err)
}

func (d *dataset) Close() error { return end(d.process, d.Dataset.Close) }

// end closes an instance and lets its process end meanwhile. The session waits for it.
func end(p *process.Process, closeIt func() error) error {
	err := closeIt()
	go p.Stop()
	return err
}

// breaches tells by what the protocol's own checks say which rule of the kit is broken.
var breaches = []struct{ says, rule string }{
	{"wrote over what it was given to read", "inputs unmodified"},
	{"labels of target", "labels"},
	{"the label", "labels"},
	{"have one key", "keys"},
	{"a key is empty", "keys"},
	{"read twice", "determinism"},
}

// breach names the rule that an error is about, where the protocol's own checks found it.
func breach(err error) error {
	if err == nil || !process.BrokeRule(err) {
		return err
	}
	for _, b := range breaches {
		if strings.Contains(err.Error(), b.says) {
			return &conformance.Breach{Rule: b.rule, Err: err}
		}
	}
	return err
}

// started starts instances one ahead, so that the next is there when the kit asks for it. Python needs seconds for a
// start.
type started[T any] struct {
	ready chan func() (T, error)
	quit  chan struct{}
	once  sync.Once
	end   sync.WaitGroup
}

func prestart[T any](start func() (T, error)) *started[T] {
	s := &started[T]{ready: make(chan func() (T, error)), quit: make(chan struct{})}
	s.end.Go(func() {
		for {
			one, err := start()
			select {
			case s.ready <- func() (T, error) { return one, err }:
			case <-s.quit:
				return
			}
			if err != nil {
				// What cannot start once rarely can again; it is not tried before somebody asks.
				select {
				case s.ready <- start:
				case <-s.quit:
					return
				}
			}
		}
	})
	return s
}

func (s *started[T]) next() (T, error) { return (<-s.ready)() }

// stop waits for the last start to end. The session ends the process.
func (s *started[T]) stop() {
	s.once.Do(func() { close(s.quit) })
	s.end.Wait()
}
