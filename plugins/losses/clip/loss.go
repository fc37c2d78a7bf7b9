package main

import (
	"context"
	"math"
	"strconv"

	"tandem/core/clip"
	"tandem/core/device"
	"tandem/core/device/devices"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// The parts of the loss, as they are called in results.
const (
	imageToText = "image_to_text" // each image finds its text: cross-entropy over the rows of the logits
	textToImage = "text_to_image" // each text finds its image: over the columns
)

// loss is the symmetric contrastive loss of a batch of pairs (Radford et al. 2021, §2.3, figure 3):
//
//	S     = exp(logit_scale)·v tᵀ                      [B, B] for v, t [B, D]
//	value = ½·mean_i CE(S[i, :], i) + ½·mean_j CE(S[:, j], j)
//
// in nats. The targets may be smoothed, and one direction left out. The batch size may change from call
// to call: each size has programs of its own.
type loss struct {
	cfg      Config
	dim      int
	backend  device.Backend
	scale    *scale
	programs *programs
	open     func(clip.Compute) (device.Backend, error)
}

var _ clip.Loss = (*loss)(nil)

func newLoss() *loss {
	return &loss{open: func(c clip.Compute) (device.Backend, error) { return devices.Open(c.Device, c.Threads) }}
}

// Configure implements clip.Loss.
func (l *loss) Configure(ctx context.Context, c clip.LossConfig) (info clip.LossInfo, err error) {
	if l.backend != nil {
		return info, fault.New(fault.Conflict, "the loss is configured already")
	}
	if err := canceled(ctx); err != nil {
		return info, err
	}
	cfg, err := decode(c.With)
	if err != nil {
		return info, err
	}
	if c.Compute.Precision != "" && c.Compute.Precision != "f32" {
		return info, fault.New(fault.Invalid, "%q is not supported", c.Compute.Precision).
			WithPath("compute.precision").WithHint("precision: f32")
	}
	backend, err := l.open(c.Compute)
	if err != nil {
		return info, err
	}
	s, err := newScale(backend, cfg, c.Optimizer)
	if err != nil {
		backend.Close()
		return info, err
	}
	l.cfg, l.dim, l.backend, l.scale = cfg, c.EmbedDim, backend, s
	l.programs = newPrograms(backend, cfg, s.store)
	info.Backend = backend.Name()
	if cfg.Learnable {
		info.Parameters = 1
	}
	return info, nil
}

// Compute implements clip.Loss.
func (l *loss) Compute(ctx context.Context, req clip.LossRequest) (*clip.LossResult, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if err := l.check(req); err != nil {
		return nil, err
	}
	batch, dim := req.Image.Shape[0], req.Image.Shape[1]
	p, err := l.programs.get(key{batch, dim, req.Train})
	if err != nil {
		return nil, err
	}
	if err := p.forward(req.Image.F32(), req.Text.F32()); err != nil {
		return nil, err
	}
	s := l.scale.value()
	result := &clip.LossResult{
		Parts:   map[string]float64{},
		Scalars: map[string]float64{"logit_scale": math.Exp(s), "temperature": math.Exp(-s)},
	}
	if req.PerSample {
		result.PerSample = map[string][]float32{}
	}
	for k, name := range p.parts {
		p.instance.Read(k, p.losses)
		part := mean(p.losses)
		result.Parts[name] = part
		result.Value += part / float64(len(p.parts))
		if req.PerSample {
			result.PerSample[name] = append([]float32(nil), p.losses...)
		}
	}
	if math.IsNaN(result.Value) || math.IsInf(result.Value, 0) {
		return nil, fault.New(fault.Numeric, "the loss of %d pairs is %v at logit scale %.4g", batch, result.Value, math.Exp(s)).
			WithOp("compute").WithHint("%s", l.culprit(req))
	}
	if !req.Train {
		return result, nil
	}
	if err := p.backward(l.scale.mode()); err != nil {
		return nil, err
	}
	l.scale.touched = true
	result.DImage, result.DText = tensor.New(tensor.F32, batch, dim), tensor.New(tensor.F32, batch, dim)
	l.backend.Read(result.DImage.F32(), p.instance.InputGrad(0))
	l.backend.Read(result.DText.F32(), p.instance.InputGrad(1))
	return result, nil
}

// check finds requests that have no loss.
func (l *loss) check(req clip.LossRequest) error {
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
func (l *loss) culprit(req clip.LossRequest) string {
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

func (l *loss) ready(ctx context.Context) error {
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
func (l *loss) GradNorm(ctx context.Context) (float64, error) {
	if err := l.ready(ctx); err != nil {
		return 0, err
	}
	g := l.scale.grad()
	return g * g, nil
}

// Step implements clip.Trainable: an optimiser step without weight decay, then the clamp.
func (l *loss) Step(ctx context.Context, step int, lr, gradScale float64) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	return l.scale.step(step, lr, gradScale)
}

// Save implements clip.Trainable. The file holds logit_scale and the state of its optimiser.
func (l *loss) Save(ctx context.Context, path string) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	return l.scale.save(path)
}

// Load implements clip.Trainable. A file without optimiser state, such as a published model, is
// taken for its logit_scale alone.
func (l *loss) Load(ctx context.Context, path string) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	return l.scale.load(path)
}

// Close implements clip.Loss.
func (l *loss) Close() error {
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
