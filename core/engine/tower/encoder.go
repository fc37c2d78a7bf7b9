package tower

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/profile"
	"tandem/core/engine/program"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// encoder implements clip.Encoder.
type encoder struct {
	modality clip.Modality
	build    func(clip.EncoderConfig) (front, error)
	open     func(clip.Compute) (device.Backend, error)

	configured, closed bool

	session  *program.Session
	front    front
	intake   *intake
	dim      int
	params   *params
	programs *programs
	trained  program.Trained
	call     nn.Call
	lora     *weights.LoRA // nil: no adapters
	bucket   int           // gradients of one of
	buckets  *buckets

	syncNorm bool                                   // EncoderConfig.SyncNorm
	sum      func(context.Context, []float64) error // of Exchange; nil: this rank is alone
	group    device.Communicator                    // adds gradients up over all ranks by itself (Compute.Communicator); nil: it does not
	under    context.Context                        // of the Forward or Backward under way, for sum

	tickets map[clip.Ticket]flight
	last    clip.Ticket
}

var _ clip.Encoder = (*encoder)(nil)

// Configure implements clip.Encoder.
func (e *encoder) Configure(ctx context.Context, c clip.EncoderConfig) (info clip.EncoderInfo, err error) {
	if e.configured || e.closed {
		return info, fault.New(fault.Conflict, "the encoder is configured or closed already").WithOp("configure")
	}
	if err := program.CheckContext(ctx, "configure"); err != nil {
		return info, err
	}
	front, err := e.newFront(c)
	if err != nil {
		return info, err
	}
	info, err = measure(front, c)
	if err != nil {
		return info, err
	}
	info.Modality = e.modality
	backend, err := e.session.Open(c.Compute)
	if err != nil {
		return info, err
	}
	if err := checkBF16(backend, c.Compute.Precision); err != nil {
		backend.Close()
		return info, err
	}
	if err := e.allocate(ctx, backend, front, c); err != nil {
		defer backend.Close()
		var f *fault.Error
		if errors.As(err, &f) && f.Hint != "" {
			return info, err
		}
		wanted := e.fixedParts(layouts(front.Params(), c.Optimizer), c)
		return info, profile.Exhausted(err, backend, nil, wanted, remedy)
	}
	if err := e.joinRanks(backend, c.Compute.Communicator); err != nil {
		backend.Close()
		return info, err
	}
	e.front, e.dim = front, c.EmbedDim
	if l := c.LoRA; l != nil {
		e.lora = &weights.LoRA{Rank: l.Rank, Alpha: l.Alpha}
	}
	e.programs = newPrograms(backend, e.params, front, c.Compute, e.sumOverRanks)
	e.syncNorm = c.SyncNorm
	e.session.Use(backend, e.programs)
	e.intake = &intake{session: e.session}
	e.call.Seed = c.Seed
	e.tickets = map[clip.Ticket]flight{}
	e.configured = true
	info.Backend = backend.Name()
	if e.group == nil {
		info.BucketSizes = e.buckets.sizes()
	}
	if c.Compute.BF16() && device.EmulatesBF16(backend) {
		info.Remarks = append(info.Remarks, info.Backend+" has no products of bfloat16 here: train.precision: "+c.Compute.Precision+
			" takes more time than f32, and saves memory only")
	} else if c.Compute.BF16() {
		gain, err := device.BF16Gain(backend)
		if err != nil {
			return info, err
		}
		if gain < 0.9 {
			info.Remarks = append(info.Remarks, fmt.Sprintf("%s multiplies bfloat16 at %.0f %% of the speed of float32 here, as measured: "+
				"train.precision: %s saves memory, f32 saves time", info.Backend, 100*gain, c.Compute.Precision))
		}
	}
	info.Pins = e.session.Pins()
	return info, nil
}

// newFront builds the network of a configuration, marks what is frozen and sets rates; it allocates nothing.
func (e *encoder) newFront(c clip.EncoderConfig) (front, error) {
	if err := validate(c); err != nil {
		return nil, err
	}
	f, err := e.build(c)
	if err != nil {
		return nil, err
	}
	if err := freeze(f.Params(), c.Freeze); err != nil {
		return nil, err
	}
	if err := adapt(f, c); err != nil {
		return nil, err
	}
	return f, setRates(f.Params(), c.Optimizer)
}

// allocate makes the parameters and their optimiser.
func (e *encoder) allocate(ctx context.Context, b device.Backend, f front, c clip.EncoderConfig) (err error) {
	if err := e.checkMachine(b, layouts(f.Params(), c.Optimizer), c); err != nil {
		return err
	}
	if e.params, err = newParams(b, f.Params(), c.Seed, c.Optimizer, c.Compute.Threads); err != nil {
		return err
	}
	if err := e.begin(ctx, b, f); err != nil {
		return err
	}
	if e.trained, err = newTrained(b, e.params, c.Optimizer); err != nil {
		return err
	}
	e.buckets = newBuckets(e.params, e.bucket)
	e.buckets.bind(b, e.params.store.Grads)
	return device.Err(b)
}

// measure builds the network without memory, in both modes, to find its size and work.
func measure(f front, c clip.EncoderConfig) (info clip.EncoderInfo, err error) {
	const batch = 2 // batch statistics need two
	info = clip.EncoderInfo{EmbedDim: c.EmbedDim, Parameters: f.Params().Count(), Frozen: f.Params().Frozen()}
	f.describe(&info)
	info.TokenCount = f.tokenCount()
	for _, training := range []bool{true, false} {
		g := nn.NewGraph(f.Params(), graph.Options{Training: training})
		out := f.network(g, batch, f.maxTokens(batch))
		if err := g.Err(); err != nil {
			return info, err
		}
		if shape := out.Shape(); !slices.Equal(shape, []int{batch, c.EmbedDim}) {
			return info, fault.New(fault.Internal, "the network gives %v, want [B %d]", shape, c.EmbedDim)
		}
		info.FLOPs = g.FLOPs / batch
		if training {
			info.Fixed = f.Params().AllFrozen() && !g.Random
		}
	}
	return info, nil
}

// Forward implements clip.Encoder.
func (e *encoder) Forward(ctx context.Context, req clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	out, ticket, err := e.forward(ctx, req, false)
	return out.Embedding, ticket, err
}

// forward computes embeddings and, with second, tokens.
func (e *encoder) forward(ctx context.Context, req clip.ForwardRequest, second bool) (out clip.TokenOutput, _ clip.Ticket, err error) {
	if err := e.ready(ctx, "forward"); err != nil {
		return out, 0, err
	}
	mode := req.Mode
	if mode < clip.Eval || mode > clip.Raw {
		return out, 0, fault.New(fault.Invalid, "mode %d is unknown", mode).WithOp("forward")
	}
	if err := e.checkAverage(req); err != nil {
		return out, 0, err
	}
	e.under = ctx
	f, out, err := e.pass(req, second)
	if err != nil || mode != clip.Train || !e.trained.Trains() {
		e.give(f)
		return out, 0, err
	}
	if err = f.instances[0].Update(); err == nil { // the statistics of parts are one
		err = e.shareStatistics()
	}
	if err != nil {
		e.give(f)
		return clip.TokenOutput{}, 0, err
	}
	e.last++
	e.tickets[e.last] = f
	e.buckets.opened()
	return out, e.last, nil
}

// checkAverage refuses a request for averaged weights that this encoder or mode has not.
func (e *encoder) checkAverage(req clip.ForwardRequest) error {
	switch {
	case !req.EMA:
		return nil
	case !e.params.averaged:
		return fault.New(fault.Invalid, "the encoder keeps no average of its parameters").WithOp("forward").
			WithHint("train.ema: 0.9999 keeps one")
	case req.Mode != clip.Eval && req.Mode != clip.Raw:
		return fault.New(fault.Invalid, "averaged weights are not trained: mode %d has no use for them", req.Mode).WithOp("forward")
	}
	return nil
}

// Backward implements clip.Encoder.
func (e *encoder) Backward(ctx context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	return e.backward(ctx, t, grad, nil, false)
}

// backward takes the gradient of the embeddings, and that of the tokens where the ticket has any; nil stands for zero. The
// last pass before a step tells buckets how far it is.
func (e *encoder) backward(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor, last bool) error {
	if err := e.ready(ctx, "backward"); err != nil {
		return err
	}
	f, ok := e.tickets[t]
	if !ok {
		return fault.New(fault.Conflict, "ticket %d is unknown or used", t).WithOp("backward")
	}
	batch := f.batch()
	if err := checkGradient("gradient", grad, batch, e.dim); err != nil {
		return err
	}
	if tokens != nil {
		if !f.program.Key.second {
			return fault.New(fault.Invalid, "ticket %d is of a Forward without tokens, which have no gradient", t).WithOp("backward")
		}
		if err := checkGradient("gradient of the tokens", tokens, batch, e.front.tokenCount(), e.dim); err != nil {
			return err
		}
	}
	if !f.program.Extra.trains { // nothing has started
		e.release(t)
		return nil
	}
	if f.program.Extra.waits {
		e.trained.ClearGradient()
	}
	e.session.Share(grad)
	for k, i := range f.instances {
		i.SetGrad(0, rows(grad, k, len(f.instances)).F32())
	}
	if f.program.Key.second {
		e.setTokenGrad(f, tokens)
	}
	e.under = ctx
	mode := e.trained.Mode()
	var final func(param string)
	if _, silent := e.session.Backend.(device.Asynchronous); last && silent {
		e.buckets.beginSilent()
	} else if last {
		e.buckets.begin(f.program.Gradients())
		final = e.buckets.complete
	}
	err := e.programs.Run(func() error { return graph.BackwardTogether(f.instances, mode, final) }, e.intake.drop)
	_, backward := f.program.FLOPs()
	e.session.AddWork(backward * float64(len(f.instances)))
	e.trained.Accumulated()
	e.release(t)
	return e.explainExhausted(err, f.program)
}

// checkGradient demands f32 of a shape.
func checkGradient(what string, grad *tensor.Tensor, shape ...int) error {
	got := "missing"
	if grad != nil {
		if grad.DType == tensor.F32 && grad.Shape.Equal(shape) {
			return nil
		}
		got = grad.DType.String() + " " + grad.Shape.String()
	}
	return fault.New(fault.Invalid, "the %s is %s, want f32 %v", what, got, shape).WithOp("backward")
}

// Discard implements clip.Encoder.
func (e *encoder) Discard(ctx context.Context, t clip.Ticket) error {
	if err := e.ready(ctx, "discard"); err != nil {
		return err
	}
	e.release(t)
	return nil
}

// release uses a ticket up.
func (e *encoder) release(t clip.Ticket) {
	if f, ok := e.tickets[t]; ok {
		delete(e.tickets, t)
		e.buckets.closed()
		e.give(f)
	}
}

// Close implements clip.Encoder.
func (e *encoder) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	if !e.configured {
		return e.session.Close()
	}
	for t := range e.tickets {
		e.release(t)
	}
	e.programs.Close()
	e.trained.Close()
	if e.params.average != nil {
		e.params.average.Close()
	}
	return e.session.Close()
}

// ready checks what every method needs.
func (e *encoder) ready(ctx context.Context, op string) error {
	if e.closed || !e.configured {
		return fault.New(fault.Conflict, "the encoder is not configured, or closed").WithOp(op)
	}
	return program.CheckContext(ctx, op)
}
