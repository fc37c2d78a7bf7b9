// Package loss makes a clip.Loss of an expression graph. A loss that is built with it says which
// scalar parameters it has (a logit scale, a logit bias) and how the losses of a batch's pairs follow
// from embeddings and parameters; gradients, programs per batch size, the optimiser, accumulation,
// checkpoints and the checks of requests are here.
package loss

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/profile"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// Names that published checkpoints give to the parameters of contrastive losses.
const (
	LogitScale = "logit_scale" // ln(1/temperature)
	LogitBias  = "logit_bias"  // added to scaled cosines
)

// Definition holds what distinguishes one loss from another.
type Definition struct {
	// Inputs names what the loss takes beside image and text, as its descriptor does: clip.InputGroups, …
	Inputs  []string
	Scalars []Scalar
	// Learn trains the scalars; otherwise they stay at their initial values.
	Learn bool
	// ByRows says that Build gives the losses of Batch.Rows rows where that is less than Batch.Size (clip.CapRows).
	ByRows bool
	// Build gives the terms of the loss of one batch size. It is called once for each.
	Build func(Batch) []Part
	// Report gives LossResult.Scalars from the current values of the parameters.
	Report func(value func(name string) float64) map[string]float64
}

// Scalar describes a parameter. Weight decay never applies to it: decay would pull a temperature towards 1.
type Scalar struct {
	Name     string
	Init     float64
	Min, Max float64 // bounds that a learned value is clamped to after each step
}

// Batch gives Build what it works with.
type Batch struct {
	Graph *graph.Graph
	Size  int
	// Rows is how many rows of Image and of Text are scored, each against all of the other; Size, or less for losses that
	// are ByRows. Blocks, Each, Pieces and Contrast see to it.
	Rows        int
	Image, Text *graph.Node            // [Size, D]
	Scalars     map[string]*graph.Node // [1] each, by name
	// Partners makes i32 [n]: from, from+1, …, the partners of rows from … from+n−1.
	Partners func(from, n int) *graph.Node
	// Eye makes an input that is the identity matrix, [Size, Size].
	Eye func() *graph.Node

	// Input gives one of Definition.Inputs in its shape (clip.InputTextNegatives, …), with Size for B; groups have other
	// forms. The last four functions work on the host, before each forward pass. All panic for what is not among
	// Definition.Inputs.
	Input func(name string) *graph.Node
	// Negatives is K of clip.InputTextNegatives.
	Negatives int
	// Lengths gives the number of tokens of each sample, i32 [Size], for clip.InputImageTokens or clip.InputTextTokens.
	Lengths func(name string) *graph.Node
	// Mask gives 1 for the tokens that a sample has and 0 for what follows them, [Size, T].
	Mask func(name string) *graph.Node
	// TokenShares divides each row of Mask by the sample's number of tokens, so that it adds up to 1.
	TokenShares func(name string) *graph.Node
	// SameGroup gives 1 where two samples are of one group and 0 elsewhere, [Size, Size]; GroupTargets divides each row
	// by the size of its sample's group, so that it adds up to 1.
	SameGroup, GroupTargets func() *graph.Node

	from   int // the first of Rows
	limit  int // logits above which the batch is not Whole
	pieces int // logits of a piece
	rows   *rowNumbers
}

// Part holds a term: the loss of each of the batch's rows. The value of the batch is the sum over parts of Weight
// times the mean over rows.
type Part struct {
	Name   string
	Losses *graph.Node // [Rows], in nats
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

// New returns an unconfigured loss.
func New(define Define, options ...Option) *Loss {
	l := &Loss{define: define, block: blockElements, piece: pieceElements,
		open: func(c clip.Compute) (device.Backend, error) {
			c.Precision = "" // losses compute in float32
			return program.OpenDevice(c)
		}}
	for _, o := range options {
		o(l)
	}
	l.session = program.NewSession(l.open)
	return l
}

// Loss implements clip.Loss. The batch size may change from call to call: each size has programs of its own.
type Loss struct {
	define   Define
	open     func(clip.Compute) (device.Backend, error)
	block    int // logits above which a batch is not Whole
	piece    int // logits of a piece
	session  *program.Session
	def      Definition
	inputs   inputs
	dim      int
	params   *parameters
	programs *programs
}

var _ clip.Loss = (*Loss)(nil)

// Configure implements clip.Loss. Losses compute in float32 whatever the towers' precision.
func (l *Loss) Configure(ctx context.Context, c clip.LossConfig) (info clip.LossInfo, err error) {
	if l.session.Backend != nil {
		return info, fault.New(fault.Conflict, "the loss is configured already")
	}
	def, in, err := l.defineValid(ctx, c)
	if err != nil {
		return info, err
	}
	backend, err := l.session.Open(c.Compute)
	if err != nil {
		return info, err
	}
	params, err := newParameters(backend, def, c.Optimizer)
	if err != nil {
		backend.Close()
		return info, profile.Exhausted(err, backend, nil, nil, remedy)
	}
	l.def, l.inputs, l.dim, l.params = def, in, c.EmbedDim, params
	l.programs = newPrograms(backend, def, in, params.store, l.block, l.piece)
	l.session.Use(backend, l.programs)
	info.Backend = backend.Name()
	info.Pins = l.session.Pins()
	if def.Learn {
		info.Parameters = int64(len(def.Scalars))
		info.BucketSizes = l.bucketSizes()
	}
	return info, device.Err(backend)
}

// defineValid returns the definition of a configuration and its inputs, or what is wrong with it.
func (l *Loss) defineValid(ctx context.Context, c clip.LossConfig) (def Definition, in inputs, err error) {
	if err := program.CheckContext(ctx, "configure"); err != nil {
		return def, in, err
	}
	if def, err = l.define(c); err != nil {
		return def, in, err
	}
	if in, err = newInputs(def, c); err != nil {
		return def, in, err
	}
	return def, in, program.CheckPrecision(c.Compute.Precision)
}

// Value returns the current value of a parameter.
func (l *Loss) Value(name string) float64 { return l.params.value(name) }

// Gradient returns the gradient of a parameter accumulated since the last Step.
func (l *Loss) Gradient(name string) float64 { return l.params.grad(name) }

// Compute implements clip.Loss.
func (l *Loss) Compute(ctx context.Context, req clip.LossRequest) (*clip.LossResult, error) {
	if err := l.ready(ctx, "compute"); err != nil {
		return nil, err
	}
	if err := l.check(req); err != nil {
		return nil, err
	}
	batch, dim := req.Image.Shape[0], req.Image.Shape[1]
	p, err := l.programs.Get(programKey{batch: batch, dim: dim, training: req.Train, from: req.RowOffset, rows: cmp.Or(req.Rows, batch),
		imageTokens: tokens(req, clip.InputImageTokens), textTokens: tokens(req, clip.InputTextTokens)})
	if err != nil {
		return nil, l.explainExhausted(err, nil)
	}
	instance, err := l.programs.Take(p)
	if err != nil {
		return nil, l.explainExhausted(err, p)
	}
	defer l.programs.Give(p, instance)
	l.session.Share(req.Image, req.Text, req.IntoImage, req.IntoText)
	for _, x := range req.Inputs {
		l.session.Share(x.Value, x.Into)
	}
	terms := p.Extra
	terms.feed(instance, req)
	if err := l.programs.Run(instance.Forward, func() {}); err != nil {
		return nil, l.explainExhausted(err, p)
	}
	forward, backward := p.FLOPs()
	l.session.AddWork(forward)
	result := &clip.LossResult{Parts: map[string]float64{}, Scalars: l.def.Report(l.params.value)}
	if req.PerSample {
		result.PerSample = map[string][]float32{}
	}
	for k, part := range terms.parts {
		if err := instance.Read(k, terms.losses); err != nil {
			return nil, err
		}
		result.Parts[part.Name] = sum(terms.losses) / float64(batch)
		result.Value += part.Weight * result.Parts[part.Name]
		if req.PerSample {
			result.PerSample[part.Name] = append([]float32(nil), terms.losses...)
		}
	}
	if math.IsNaN(result.Value) || math.IsInf(result.Value, 0) {
		return nil, fault.New(fault.Numeric, "the loss of %d pairs is %v with %v", batch, result.Value, result.Scalars).
			WithOp("compute").WithHint("%s", culprit(req))
	}
	if !req.Train {
		return result, nil
	}
	terms.setGrads(instance)
	mode := l.params.Mode()
	if err := l.programs.Run(func() error { return instance.Backward(mode) }, func() {}); err != nil {
		return nil, l.explainExhausted(err, p)
	}
	l.session.AddWork(backward)
	l.params.Accumulated()
	backend := l.session.Backend
	result.DImage = terms.gradient(backend, instance, "image", req.IntoImage, req.Image.Shape)
	result.DText = terms.gradient(backend, instance, "text", req.IntoText, req.Text.Shape)
	for _, c := range terms.candidates[2:] {
		if result.Gradients == nil {
			result.Gradients = map[string]*tensor.Tensor{}
		}
		x := req.Inputs[c.name]
		result.Gradients[c.name] = terms.gradient(backend, instance, c.name, x.Into, x.Value.Shape)
	}
	return result, device.Err(backend)
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
	b := req.Image.Shape[0]
	if b < 2 {
		return fault.New(fault.Invalid, "%d pairs, want at least 2", b).WithOp("compute").
			WithHint("a contrastive loss needs other pairs to contrast with; raise the batch size")
	}
	switch rows, from := req.Rows, req.RowOffset; {
	case rows == 0 && from == 0:
	case !l.def.ByRows:
		return invalid("the loss scores no part of the rows (capability %q)", clip.CapRows)
	case rows < 1 || from < 0 || from+rows > b:
		return invalid("%d rows from row %d of %d", rows, from, b)
	}
	return l.inputs.check(req)
}

// culprit says where a loss that is no number comes from.
func culprit(req clip.LossRequest) string {
	for _, name := range slices.Sorted(maps.Keys(req.Inputs)) {
		if x := req.Inputs[name].Value; x.DType == tensor.F32 && program.FirstNotFinite(x.F32()) >= 0 {
			at := program.FirstNotFinite(x.F32()) / (x.Shape.Elements() / x.Shape[0])
			return name + " holds a non-finite number, first in row " + strconv.Itoa(at)
		}
	}
	for i, t := range []*tensor.Tensor{req.Image, req.Text} {
		if k := program.FirstNotFinite(t.F32()); k >= 0 {
			return []string{"the image", "the text"}[i] + " embeddings hold a non-finite number, first in row " +
				strconv.Itoa(k/t.Shape[1]) + ": lower the learning rate or clip gradients"
		}
	}
	return "the embeddings are finite: the logit scale is too large for them"
}

func (l *Loss) ready(ctx context.Context, op string) error {
	if l.session.Backend == nil {
		return fault.New(fault.Conflict, "the loss is not configured").WithOp(op)
	}
	return program.CheckContext(ctx, op)
}

// GradNorm implements clip.Trainable.
func (l *Loss) GradNorm(ctx context.Context) (float64, error) {
	if err := l.ready(ctx, "gradient norm"); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, s := range l.def.Scalars {
		g := l.params.grad(s.Name)
		sum += g * g
	}
	return sum, device.Err(l.session.Backend)
}

// Step implements clip.Trainable: an optimiser step without weight decay, then the clamp.
func (l *Loss) Step(ctx context.Context, step int, lr, gradScale float64) error {
	if err := l.ready(ctx, "step"); err != nil {
		return err
	}
	if err := l.params.step(step, lr, gradScale); err != nil {
		return err
	}
	return device.Err(l.session.Backend)
}

// Save implements clip.Trainable. The file holds the parameters and the state of their optimiser.
func (l *Loss) Save(ctx context.Context, path string) error {
	if err := l.ready(ctx, "save"); err != nil {
		return err
	}
	return l.params.save(ctx, path)
}

// Load implements clip.Trainable. A file without optimiser state, such as a published model, is
// taken for its parameters alone.
func (l *Loss) Load(ctx context.Context, path string) error {
	if err := l.ready(ctx, "load"); err != nil {
		return err
	}
	return l.params.load(path)
}

// Close implements clip.Loss.
func (l *Loss) Close() error {
	if l.session.Backend != nil {
		l.programs.Close()
	}
	return l.session.Close()
}

func sum(values []float32) (sum float64) {
	for _, v := range values {
		sum += float64(v)
	}
	return sum
}
