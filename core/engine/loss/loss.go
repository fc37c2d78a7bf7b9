// Package loss makes a clip.Loss of an expression graph. A loss that is built with it says which
// scalar parameters it has (a logit scale, a logit bias) and how the losses of a batch's pairs follow
// from embeddings and parameters; gradients, programs per batch size, the optimiser, accumulation,
// checkpoints and the checks of requests are here.
package loss

import (
	"context"
	"math"
	"slices"
	"strconv"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/graph"
	"tandem/core/engine/profile"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// Names that published checkpoints give to the parameters of contrastive losses.
const (
	LogitScale = "logit_scale" // ln(1/temperature)
	LogitBias  = "logit_bias"  // added to scaled cosines
)

// Definition is what distinguishes one loss from another.
type Definition struct {
	Scalars []Scalar
	// Learn trains the scalars; otherwise they stay at their initial values.
	Learn bool
	// Build gives the terms of the loss of one batch size. It is called once for each.
	Build func(Batch) []Part
	// Report gives LossResult.Scalars from the current values of the parameters.
	Report func(value func(name string) float64) map[string]float64
}

// Scalar is a parameter. Weight decay never applies to it: decay would pull a temperature towards 1.
type Scalar struct {
	Name     string
	Init     float64
	Min, Max float64 // bounds that a learned value is clamped to after each step
}

// Batch is what Build has to work with.
type Batch struct {
	Graph       *graph.Graph
	Size        int
	Image, Text *graph.Node            // [Size, D]
	Scalars     map[string]*graph.Node // [1] each, by name
	// Partners makes i32 [n]: from, from+1, …, the partners of rows from … from+n−1.
	Partners func(from, n int) *graph.Node
	// Eye makes an input that is the identity matrix, [Size, Size].
	Eye func() *graph.Node

	limit int // logits above which the batch is not Whole
}

// Part is a term: the loss of each of the batch's rows. The value of the batch is the sum over parts of
// Weight times the mean over rows.
type Part struct {
	Name   string
	Losses *graph.Node // [Size], in nats
	Weight float64
}

// Define reads and checks a configuration.
type Define func(clip.LossConfig) (Definition, error)

// Option changes how a loss computes.
type Option func(*Loss)

// WithBackend replaces the choice of a backend by the spec's device; tests compute in double precision.
func WithBackend(open func(clip.Compute) (device.Backend, error)) Option {
	return func(l *Loss) { l.open = open }
}

// New is an unconfigured loss.
func New(define Define, options ...Option) *Loss {
	l := &Loss{define: define, block: blockElements,
		open: func(c clip.Compute) (device.Backend, error) {
			return devices.OpenWith(c.Device, devices.Options{Threads: c.Threads, MemoryLimit: c.MemoryLimit})
		}}
	for _, o := range options {
		o(l)
	}
	return l
}

// Loss is a clip.Loss. The batch size may change from call to call: each size has programs of its own.
type Loss struct {
	define   Define
	open     func(clip.Compute) (device.Backend, error)
	def      Definition
	dim      int
	backend  device.Backend
	params   *parameters
	programs *programs
	work     float64 // of all Computes
	block    int     // logits above which a batch is not Whole
	recorder profile.Recorder
	planned  device.Backend // that Plan left open; nil: none
	known    map[*byte]bool // pages that were shown to the backend
}

var (
	_ clip.Loss  = (*Loss)(nil)
	_ clip.Meter = (*Loss)(nil)
)

// Configure implements clip.Loss. Losses compute in float32 whatever the towers' precision.
func (l *Loss) Configure(ctx context.Context, c clip.LossConfig) (info clip.LossInfo, err error) {
	if l.backend != nil {
		return info, fault.New(fault.Conflict, "the loss is configured already")
	}
	def, err := l.checked(ctx, c)
	if err != nil {
		return info, err
	}
	backend, err := l.open(c.Compute)
	l.closePlanned()
	if err != nil {
		return info, err
	}
	params, err := newParameters(backend, def, c.Optimizer)
	if err != nil {
		backend.Close()
		return info, profile.Exhausted(err, backend, nil, nil, remedy)
	}
	l.def, l.dim, l.backend, l.params = def, c.EmbedDim, backend, params
	l.programs = newPrograms(backend, def, params.store)
	l.programs.block = l.block
	l.known = map[*byte]bool{}
	info.Backend = backend.Name()
	_, info.Pins = backend.(device.HostSharer)
	if def.Learn {
		info.Parameters = int64(len(def.Scalars))
	}
	return info, device.Err(backend)
}

// checked is the definition of a configuration that can be.
func (l *Loss) checked(ctx context.Context, c clip.LossConfig) (def Definition, err error) {
	if err := canceled(ctx); err != nil {
		return def, err
	}
	if def, err = l.define(c); err != nil {
		return def, err
	}
	if p := c.Compute.Precision; !slices.Contains([]string{"", "f32", "tf32", "bf16"}, p) {
		return def, fault.New(fault.Invalid, "%q is not supported", p).WithPath("compute.precision").WithHint("precision: f32")
	}
	return def, nil
}

// Work implements clip.Meter.
func (l *Loss) Work() float64 { return l.work }

// Value is the current value of a parameter.
func (l *Loss) Value(name string) float64 { return l.params.value(name) }

// Gradient is the gradient of a parameter accumulated since the last Step.
func (l *Loss) Gradient(name string) float64 { return l.params.grad(name) }

// Compute implements clip.Loss.
func (l *Loss) Compute(ctx context.Context, req clip.LossRequest) (*clip.LossResult, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if err := l.check(req); err != nil {
		return nil, err
	}
	batch, dim := req.Image.Shape[0], req.Image.Shape[1]
	p, err := l.programs.get(key{batch, dim, req.Train})
	if err != nil {
		return nil, l.exhausted(err, nil)
	}
	l.share(req.Image, req.Text, req.IntoImage, req.IntoText)
	if err := p.forward(req.Image.F32(), req.Text.F32()); err != nil {
		return nil, l.exhausted(err, p)
	}
	forward, backward := p.prog.FLOPs()
	l.work += forward
	result := &clip.LossResult{Parts: map[string]float64{}, Scalars: l.def.Report(l.params.value)}
	if req.PerSample {
		result.PerSample = map[string][]float32{}
	}
	for k, part := range p.parts {
		if err := p.instance.Read(k, p.losses); err != nil {
			return nil, err
		}
		result.Parts[part.Name] = mean(p.losses)
		result.Value += part.Weight * result.Parts[part.Name]
		if req.PerSample {
			result.PerSample[part.Name] = append([]float32(nil), p.losses...)
		}
	}
	if math.IsNaN(result.Value) || math.IsInf(result.Value, 0) {
		return nil, fault.New(fault.Numeric, "the loss of %d pairs is %v with %v", batch, result.Value, result.Scalars).
			WithOp("compute").WithHint("%s", culprit(req))
	}
	if !req.Train {
		return result, nil
	}
	if err := p.backward(l.params.mode()); err != nil {
		return nil, l.exhausted(err, p)
	}
	l.work += backward
	l.params.touched = true
	result.DImage, result.DText = into(req.IntoImage, batch, dim), into(req.IntoText, batch, dim)
	l.backend.Read(result.DImage.F32(), p.instance.InputGrad(0))
	return result, device.Read(l.backend, result.DText.F32(), p.instance.InputGrad(1))
}

// check finds requests that have no loss.
func (l *Loss) check(req clip.LossRequest) error {
	invalid := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithOp("compute")
	}
	for _, in := range []struct {
		name string
		t    *tensor.Tensor
	}{{"image", req.Image}, {"text", req.Text}} {
		switch {
		case in.t == nil:
			return invalid("no %s embeddings", in.name)
		case in.t.DType != tensor.F32 || len(in.t.Shape) != 2:
			return invalid("%s is %v %v, want f32 [B, D]", in.name, in.t.DType, in.t.Shape)
		case in.t.Shape[1] != l.dim:
			return invalid("%s is %v, want %d columns", in.name, in.t.Shape, l.dim)
		}
	}
	if !req.Image.Shape.Equal(req.Text.Shape) {
		return invalid("text is %v, image %v: want equal shapes", req.Text.Shape, req.Image.Shape)
	}
	if b := req.Image.Shape[0]; b < 2 {
		return fault.New(fault.Invalid, "%d pairs, want at least 2", b).WithOp("compute").
			WithHint("a contrastive loss needs other pairs to contrast with; raise the batch size")
	}
	return nil
}

// culprit says where a loss that is no number comes from.
func culprit(req clip.LossRequest) string {
	for i, t := range []*tensor.Tensor{req.Image, req.Text} {
		for k, x := range t.F32() {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return []string{"the image", "the text"}[i] + " embeddings hold a non-finite number, first in row " +
					strconv.Itoa(k/t.Shape[1]) + ": lower the learning rate or clip gradients"
			}
		}
	}
	return "the embeddings are finite: the logit scale is too large for them"
}

func (l *Loss) ready(ctx context.Context) error {
	if l.backend == nil {
		return fault.New(fault.Conflict, "the loss is not configured")
	}
	return canceled(ctx)
}

func canceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "%w", err)
	}
	return nil
}

// GradNorm implements clip.Trainable.
func (l *Loss) GradNorm(ctx context.Context) (float64, error) {
	if err := l.ready(ctx); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, s := range l.def.Scalars {
		g := l.params.grad(s.Name)
		sum += g * g
	}
	return sum, device.Err(l.backend)
}

// Step implements clip.Trainable: an optimiser step without weight decay, then the clamp.
func (l *Loss) Step(ctx context.Context, step int, lr, gradScale float64) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	if err := l.params.step(step, lr, gradScale); err != nil {
		return err
	}
	return device.Err(l.backend)
}

// Save implements clip.Trainable. The file holds the parameters and the state of their optimiser.
func (l *Loss) Save(ctx context.Context, path string) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	return l.params.save(path)
}

// Load implements clip.Trainable. A file without optimiser state, such as a published model, is
// taken for its parameters alone.
func (l *Loss) Load(ctx context.Context, path string) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	return l.params.load(path)
}

// Close implements clip.Loss.
func (l *Loss) Close() error {
	l.closePlanned()
	if l.backend == nil {
		return nil
	}
	l.programs.close()
	err := l.backend.Close()
	l.backend = nil
	return err
}

func mean(values []float32) float64 {
	sum := 0.0
	for _, v := range values {
		sum += float64(v)
	}
	return sum / float64(len(values))
}
