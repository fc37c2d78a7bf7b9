package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// linear implements an encoder, W [12, D] over the pixels of 2×2 pictures, which may break a rule.
type linear struct {
	broken     string
	d          int
	w, g, m    []float32 // m: momentum, under adamw
	momentum   bool
	tickets    map[clip.Ticket]kept
	last       clip.Ticket
	calls      int
	configured bool
	closed     bool
	frozen     bool
}

type kept struct{ x, y *tensor.Tensor }

func (l *linear) Configure(_ context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	if l.configured && l.broken != "configured twice" {
		return clip.EncoderInfo{}, fault.New(fault.Conflict, "configured already")
	}
	var with struct{}
	if len(c.With) > 2 && l.broken != "takes any option" {
		return clip.EncoderInfo{}, fault.New(fault.Invalid, "unknown option in %s: %v", c.With, json.Unmarshal(c.With, &with))
	}
	if l.broken != "takes any configuration" && (c.EmbedDim < 1 || c.Optimizer.Name != "sgd" && c.Optimizer.Name != "adamw") {
		return clip.EncoderInfo{}, fault.New(fault.Invalid, "embed_dim %d, optimizer %q", c.EmbedDim, c.Optimizer.Name)
	}
	l.configured, l.d, l.tickets, l.momentum = true, c.EmbedDim, map[clip.Ticket]kept{}, c.Optimizer.Name == "adamw"
	seed := c.Seed
	if l.broken == "ignores the seed" {
		seed = 0
	}
	r := rand.New(rand.NewPCG(seed, 0))
	l.w, l.g, l.m = make([]float32, 12*l.d), make([]float32, 12*l.d), make([]float32, 12*l.d)
	for i := range l.w {
		l.w[i] = float32(r.NormFloat64())
	}
	info := clip.EncoderInfo{Modality: clip.Image, EmbedDim: l.d, ImageSize: 2, Backend: "go", Parameters: int64(len(l.w))}
	if l.broken == "counts too many parameters" {
		info.Parameters *= 3
	}
	if l.frozen = c.Freeze.All; l.frozen {
		info.Frozen, info.Fixed = info.Parameters, true
	}
	return info, nil
}

func (l *linear) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if ctx.Err() != nil && l.broken != "does not hear" {
		return nil, 0, fault.New(fault.Canceled, "%w", ctx.Err())
	}
	l.calls++
	if l.broken == "sleeps on" && q.Images != nil {
		time.Sleep(time.Duration(q.Images.Shape[0]) * 10 * time.Millisecond)
	}
	if q.Images == nil || len(q.Texts) > 0 || q.Images.DType != tensor.U8 || !q.Images.Shape[1:].Equal(tensor.Shape{2, 2, 3}) {
		if l.broken == "panics" {
			panic("no picture")
		}
		return nil, 0, fault.New(fault.Invalid, "want pictures of 2×2")
	}
	b := q.Images.Shape[0]
	x, y := tensor.New(tensor.F32, b, 12), tensor.New(tensor.F32, b, l.d)
	for i, v := range q.Images.U8() {
		x.F32()[i] = float32(v)/255 - .5
	}
	switch {
	case l.broken == "looks at neighbours":
		x.F32()[0] += x.F32()[12]
	case l.broken == "embeds otherwise" && q.Mode == clip.Embed:
		x.F32()[0] += .1
	case l.broken == "is not deterministic":
		x.F32()[0] += float32(l.calls)
	case l.broken == "draws though fixed" && l.frozen:
		x.F32()[0] += float32(q.Step)
	case l.broken == "changes its input":
		q.Images.Data[0]++
	}
	for i := range b {
		row := y.F32()[i*l.d : (i+1)*l.d]
		for j := range row {
			for k := range 12 {
				row[j] += x.F32()[i*12+k] * l.w[k*l.d+j]
			}
		}
	}
	out := y.Clone()
	for i := range b {
		row := out.F32()[i*l.d : (i+1)*l.d]
		norm := float32(math.Sqrt(dot(row, row)))
		if l.broken == "no unit rows" {
			norm *= 1.01
		}
		for j := range row {
			row[j] /= norm
		}
	}
	switch {
	case l.broken == "gives a NaN" && q.Mode == clip.Embed:
		out.F32()[3] = float32(math.NaN())
	case l.broken == "one row too few":
		out = tensor.New(tensor.F32, b-1, l.d)
	case l.broken == "embeds in f16":
		out = tensor.New(tensor.U8, b, l.d)
	}
	if q.Mode != clip.Train || l.frozen && l.broken != "has tickets though frozen" {
		return out, 0, nil
	}
	l.last++
	l.tickets[l.last] = kept{x, y}
	return out, l.last, nil
}

func (l *linear) Backward(_ context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	k, ok := l.tickets[t]
	if !ok {
		return fault.New(fault.Conflict, "ticket %d", t)
	}
	if !grad.Shape.Equal(k.y.Shape) {
		return fault.New(fault.Invalid, "gradient %v", grad.Shape)
	}
	if l.broken != "keeps tickets" {
		delete(l.tickets, t)
	}
	if l.broken == "overwrites gradients" {
		clear(l.g)
	}
	for i := range k.y.Shape[0] {
		y, g := k.y.F32()[i*l.d:(i+1)*l.d], grad.F32()[i*l.d:(i+1)*l.d]
		norm := math.Sqrt(dot(y, y))
		along := dot(y, g) / norm / norm
		if l.broken == "forgets the norm's gradient" {
			along = 0
		}
		for j := range g {
			dy := (float64(g[j]) - along*float64(y[j])) / norm
			if l.broken == "gradient 5 % too long" {
				dy *= 1.05
			}
			for n := range 12 {
				l.g[n*l.d+j] += k.x.F32()[i*12+n] * float32(dy)
			}
		}
	}
	return nil
}

func (l *linear) Discard(_ context.Context, t clip.Ticket) error { delete(l.tickets, t); return nil }

func (l *linear) GradNorm(context.Context) (float64, error) {
	n := dot(l.g, l.g)
	if l.broken == "hides NaN" && math.IsNaN(n) {
		n = 0
	}
	return n, nil
}

func (l *linear) Step(_ context.Context, _ int, lr, scale float64) error {
	if l.broken == "ignores the scale" {
		scale = 1
	}
	for i, g := range l.g {
		if l.momentum {
			l.m[i] = .9*l.m[i] + g
			g = l.m[i]
		}
		l.w[i] -= float32(lr * scale * float64(g))
	}
	if l.broken != "keeps gradients" {
		clear(l.g)
	}
	return nil
}

func (l *linear) Save(_ context.Context, path string) error {
	m := l.m
	if l.broken == "saves no optimiser state" {
		m = make([]float32, len(l.m))
	}
	sum := fmt.Sprint(crc32.ChecksumIEEE(fmt.Append(nil, l.w, m)))
	return weights.Write(path, []weights.Tensor{weights.FromF32("w", l.w, 12, l.d), weights.FromF32("m", m, 12, l.d)}, map[string]string{"sum": sum})
}

func (l *linear) Load(_ context.Context, path string) error {
	f, err := weights.Open(path)
	if err != nil {
		if l.broken == "loads half" {
			clear(l.w[:l.d])
		}
		return err
	}
	defer f.Close()
	w, err1 := f.F32("w", 12, l.d)
	m, err2 := f.F32("m", 12, l.d)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	l.w, l.m = w, m
	return nil
}

func (l *linear) Close() error {
	if l.closed && l.broken == "closes once" {
		return fault.New(fault.Internal, "closed already")
	}
	l.closed = true
	return nil
}

// breaks checks that a right implementation keeps every rule and that each wrong one breaks its own.
func breaks(t *testing.T, check func(broken string) []Finding, rules map[string]string) {
	t.Helper()
	for _, f := range check("") {
		if f.Err != nil {
			t.Errorf("a right implementation breaks %q: %v", f.Rule, f.Err)
		}
	}
	for broken, rule := range rules {
		found := false
		for _, f := range check(broken) {
			found = found || f.Rule == rule && f.Err != nil
		}
		if !found {
			t.Errorf("one that %q does not break the rule %q", broken, rule)
		}
	}
}

func TestEveryEncoderRuleCanBeBroken(t *testing.T) {
	breaks(t, func(broken string) []Finding {
		return CheckEncoder(func() clip.Encoder { return &linear{broken: broken} }, EncoderOptions{})
	}, map[string]string{
		"configured twice":            "info",
		"takes any option":            "unknown option",
		"takes any configuration":     "bad configuration",
		"gives a NaN":                 "embedding",
		"one row too few":             "embedding",
		"embeds in f16":               "embedding",
		"counts too many parameters":  "checkpoint file",
		"sleeps on":                   "cancellation",
		"no unit rows":                "unit rows",
		"changes its input":           "inputs unmodified",
		"is not deterministic":        "determinism",
		"ignores the seed":            "determinism",
		"looks at neighbours":         "permutation",
		"embeds otherwise":            "embed equals train",
		"gradient 5 % too long":       "gradient",
		"forgets the norm's gradient": "gradient",
		"overwrites gradients":        "gradients add up",
		"ignores the scale":           "step",
		"keeps gradients":             "step",
		"keeps tickets":               "tickets",
		"has tickets though frozen":   "frozen",
		"draws though fixed":          "frozen",
		"panics":                      "bad shapes",
		"hides NaN":                   "non-finite gradient",
		"saves no optimiser state":    "save and load",
		"loads half":                  "load refuses",
		"does not hear":               "cancellation",
		"closes once":                 "close",
	})
}
