package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// squares implements the loss ½·s·|image − text|² per pair, s learnable, which may break a rule.
type squares struct {
	broken     string
	s, g       float64
	configured bool
	closed     bool
}

// calls counts over all instances.
var calls atomic.Int64

func (l *squares) Configure(_ context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	if l.configured && l.broken != "configured twice" {
		return clip.LossInfo{}, fault.New(fault.Conflict, "configured already")
	}
	if len(c.With) > 2 && l.broken != "takes any option" {
		return clip.LossInfo{}, fault.New(fault.Invalid, "unknown option")
	}
	l.configured, l.s = true, 2
	info := clip.LossInfo{Parameters: 1, Backend: "go"}
	if l.broken == "counts too many parameters" {
		info.Parameters = 2
	}
	if l.broken == "counts no parameters" {
		info.Parameters = 0
	}
	return info, nil
}

func (l *squares) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	if ctx.Err() != nil && l.broken != "does not hear" {
		return nil, fault.New(fault.Canceled, "%w", ctx.Err())
	}
	if !q.Image.Shape.Equal(q.Text.Shape) || q.Image.Shape[0] < 2 && l.broken != "takes a batch of one" {
		return nil, fault.New(fault.Invalid, "shapes")
	}
	b, d := q.Image.Shape[0], q.Image.Shape[1]
	r := &clip.LossResult{DImage: q.Image.Clone(), DText: q.Image.Clone(), Parts: map[string]float64{}}
	per := make([]float32, b)
	sum := 0.0
	for i := range b * d {
		diff := float64(q.Image.F32()[i] - q.Text.F32()[i])
		if l.broken == "weighs places" {
			diff *= 1 + float64(i/d)
		}
		per[i/d] += float32(l.s * diff * diff / 2)
		sum += diff * diff / 2
		slope := l.s * diff / float64(b)
		r.DImage.F32()[i], r.DText.F32()[i] = float32(slope), float32(-slope)
		if l.broken == "text gradient of the wrong sign" {
			r.DText.F32()[i] = float32(slope)
		}
	}
	r.Value = l.s * sum / float64(b)
	if l.broken == "is not deterministic" {
		r.Value += 1e-9 * float64(calls.Add(1))
	}
	if l.broken == "adds when training" && q.Train {
		r.Value++
	}
	if math.IsNaN(r.Value) && l.broken != "passes NaN on" {
		return nil, fault.New(fault.Numeric, "the value is %v", r.Value)
	}
	r.Parts["squares"] = r.Value
	if q.PerSample {
		if l.broken == "sums samples" {
			per[0] *= 2
		}
		r.PerSample = map[string][]float32{"squares": per}
	}
	if l.broken == "changes its input" {
		q.Text.F32()[0] = 0
	}
	if q.Train || l.broken == "always learns" {
		l.g += sum / float64(b)
		if l.broken == "parameter gradient halved" {
			l.g /= 2
		}
	}
	if !q.Train {
		r.DImage, r.DText = nil, nil
	}
	return r, nil
}

func (l *squares) GradNorm(context.Context) (float64, error) { return l.g * l.g, nil }

func (l *squares) Step(_ context.Context, _ int, lr, scale float64) error {
	if l.broken == "ignores the scale" {
		scale = 1
	}
	l.s -= lr * scale * l.g
	l.g = 0
	return nil
}

func (l *squares) Save(_ context.Context, path string) error {
	s := l.s
	if l.broken == "saves rounded" {
		s = math.Round(s)
	}
	bits := math.Float64bits(s)
	return weights.Write(path, []weights.Tensor{weights.FromI64("s", []int64{int64(bits)}, 1)}, nil)
}

func (l *squares) Load(_ context.Context, path string) error {
	f, err := weights.Open(path)
	if err != nil {
		if l.broken == "loads anything" {
			return nil
		}
		return err
	}
	defer f.Close()
	s, err := f.Read("s")
	if err == nil {
		l.s = math.Float64frombits(binary.LittleEndian.Uint64(s.Data))
	}
	return err
}

func (l *squares) Close() error {
	if l.closed && l.broken == "closes once" {
		return errors.New("closed already")
	}
	l.closed = true
	return nil
}

func TestEveryLossRuleCanBeBroken(t *testing.T) {
	breaks(t, func(broken string) []Finding {
		return CheckLoss(func() clip.Loss { return &squares{broken: broken} }, LossOptions{})
	}, map[string]string{
		"configured twice":                "info",
		"takes any option":                "unknown option",
		"adds when training":              "result",
		"changes its input":               "inputs unmodified",
		"is not deterministic":            "determinism",
		"weighs places":                   "permutation",
		"text gradient of the wrong sign": "embedding gradients",
		"parameter gradient halved":       "parameter gradient",
		"always learns":                   "parameter gradient",
		"counts no parameters":            "parameter gradient",
		"ignores the scale":               "step",
		"counts too many parameters":      "checkpoint file",
		"sums samples":                    "per sample",
		"takes a batch of one":            "bad shapes",
		"passes NaN on":                   "non-finite",
		"saves rounded":                   "save and load",
		"loads anything":                  "load refuses",
		"does not hear":                   "cancellation",
		"closes once":                     "close",
	})
}
