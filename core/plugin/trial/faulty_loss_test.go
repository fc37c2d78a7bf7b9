package trial_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// lossFaults names the faults that can be planted in the loss, and the rule that finds each.
var lossFaults = map[string]string{
	"adds when training":  "result",
	"writes its input":    "inputs unmodified",
	"random":              "determinism",
	"place":               "permutation",
	"wrong sign":          "embedding gradients",
	"sum for a mean":      "embedding gradients",
	"half a gradient":     "parameter gradient",
	"always learns":       "parameter gradient",
	"ignores scale":       "step",
	"half a bucket":       "buckets",
	"own gradients":       "buckets",
	"sums samples":        "per sample",
	"batch of one":        "bad shapes",
	"hides NaN":           "non-finite",
	"too many parameters": "checkpoint file",
	"saves rounded":       "save and load",
	"loads damaged":       "load refuses",
	"deaf":                "cancellation",
	"fails to close":      "close",
}

var faultyLoss = sdk.Loss{
	Name: "faulty-loss", Version: "1.0.0", Summary: "squared distances, and a fault on request", Config: faultConfig{}, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return &squares{} },
}

// squares implements the loss ½·s·|image − text|² of a pair, with a learnable s.
type squares struct {
	faultConfig
	s, g float64
}

func (l *squares) Configure(_ context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	if err := sdk.Decode(c.With, &l.faultConfig); err != nil {
		return clip.LossInfo{}, err
	}
	l.s = 2
	info := clip.LossInfo{Parameters: 1, Backend: "go"}
	if l.Fault == "too many parameters" {
		info.Parameters = 9
	}
	info.BucketSizes = []int{int(info.Parameters)}
	return info, nil
}

func (l *squares) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	if !q.Image.Shape.Equal(q.Text.Shape) || q.Image.Shape[0] < 2 && l.Fault != "batch of one" {
		return nil, fault.New(fault.Invalid, "image is %v, text is %v", q.Image.Shape, q.Text.Shape)
	}
	b, d := q.Image.Shape[0], q.Image.Shape[1]
	if l.Fault == "deaf" {
		time.Sleep(time.Duration(b) * 6 * time.Millisecond)
	}
	r := &clip.LossResult{DImage: q.Image.Clone(), DText: q.Image.Clone(), Parts: map[string]float64{}}
	per := make([]float32, b)
	sum := 0.0
	for i := range b * d {
		diff := float64(q.Image.F32()[i] - q.Text.F32()[i])
		if l.Fault == "place" {
			diff *= 1 + float64(i/d)
		}
		per[i/d] += float32(l.s * diff * diff / 2)
		sum += diff * diff / 2
		slope := l.s * diff / float64(b)
		switch l.Fault {
		case "wrong sign":
			slope = -slope
		case "sum for a mean":
			slope *= float64(b)
		}
		r.DImage.F32()[i], r.DText.F32()[i] = float32(slope), float32(-slope)
	}
	r.Value = l.s * sum / float64(b)
	switch {
	case l.Fault == "random":
		r.Value += 1e-9 * rand.Float64()
	case l.Fault == "adds when training" && q.Train:
		r.Value++
	case l.Fault == "writes its input":
		q.Text.F32()[0] = 0
	}
	if math.IsNaN(r.Value) {
		if l.Fault == "hides NaN" {
			r.Value = 0
			clear(r.DImage.F32())
			clear(r.DText.F32())
		} else {
			return nil, fault.New(fault.Numeric, "the value is %v", r.Value)
		}
	}
	r.Parts["squares"] = r.Value
	if q.PerSample {
		if l.Fault == "sums samples" {
			per[0] *= 2
		}
		r.PerSample = map[string][]float32{"squares": per}
	}
	if q.Train || l.Fault == "always learns" {
		l.g += sum / float64(b)
		if l.Fault == "half a gradient" {
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
	if l.Fault == "ignores scale" {
		scale = 1
	}
	l.s -= lr * scale * l.g
	l.g = 0
	return nil
}

func (l *squares) Save(_ context.Context, path string) error {
	s := l.s
	if l.Fault == "saves rounded" {
		s = math.Round(s)
	}
	return weights.Write(path, []weights.Tensor{weights.FromI64("s", []int64{int64(math.Float64bits(s))}, 1)}, nil)
}

func (l *squares) Load(_ context.Context, path string) error {
	f, err := weights.Open(path)
	if err != nil {
		if l.Fault == "loads damaged" {
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
	if l.Fault == "fails to close" {
		return fault.New(fault.Internal, "closed already")
	}
	return nil
}
