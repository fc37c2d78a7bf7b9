package trial_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/tensor"
)

// encoderFaults names the faults that can be planted in the encoder, and the rule that finds each.
var encoderFaults = map[string]string{
	"any option":              "unknown option",
	"any configuration":       "bad configuration",
	"wrong shape":             "embedding",
	"wrong dtype":             "embedding",
	"NaN":                     "embedding",
	"no ticket":               "embedding",
	"exits":                   "embedding",
	"long rows":               "unit rows",
	"writes its input":        "inputs unmodified",
	"random":                  "determinism",
	"random in evaluation":    "determinism",
	"ignores the seed":        "determinism",
	"neighbours":              "permutation",
	"place":                   "permutation",
	"embeds otherwise":        "embed equals train",
	"wrong sign":              "gradient",
	"scaled gradient":         "gradient",
	"root of GradNorm":        "gradient",
	"no gradient of the norm": "gradient",
	"overwrites gradients":    "gradients add up",
	"ignores scale":           "step",
	"keeps gradients":         "step",
	"half a bucket":           "buckets",
	"own gradients":           "buckets",
	"early bucket":            "buckets",
	"reuses tickets":          "tickets",
	"tickets though frozen":   "frozen",
	"any shape":               "bad shapes",
	"hides NaN":               "non-finite gradient",
	"too many parameters":     "checkpoint file",
	"no safetensors":          "checkpoint file",
	"forgets momentum":        "save and load",
	"loads damaged":           "load refuses",
	"loads half":              "load refuses",
	"deaf":                    "cancellation",
	"fails to close":          "close",
}

// faultConfig chooses the fault of a plugin.
type faultConfig struct {
	Fault string `with:"fault" help:"the rule that it breaks"`
}

var faultyEncoder = sdk.Encoder{
	Name: "faulty-encoder", Version: "1.0.0", Modality: clip.Image, Summary: "a product with the pixels, and a fault on request",
	Capabilities: []string{clip.CapFreeze, clip.CapBuckets}, Config: faultConfig{}, New: func() clip.Encoder { return &linear{} },
}

// side is that of the pictures, pixels the number of their values.
const (
	side   = 2
	pixels = side * side * 3
)

// linear embeds pictures by a product W [12, D] with their values.
type linear struct {
	faultConfig
	d        int
	w, g, m  []float32 // m: momentum, under adamw
	momentum bool
	tickets  map[clip.Ticket]kept
	last     clip.Ticket
	calls    int
	frozen   bool
	gate     gate
}

type kept struct{ x, y *tensor.Tensor }

func (l *linear) Configure(_ context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	if err := sdk.Decode(c.With, &l.faultConfig); err != nil && !ignoresOptions(string(c.With)) {
		return clip.EncoderInfo{}, err
	}
	if l.Fault != "any configuration" && (c.EmbedDim < 1 || c.Optimizer.Name != "sgd" && c.Optimizer.Name != "adamw") {
		return clip.EncoderInfo{}, fault.New(fault.Invalid, "embed_dim %d, optimizer %q", c.EmbedDim, c.Optimizer.Name)
	}
	l.d, l.tickets, l.momentum, l.frozen = c.EmbedDim, map[clip.Ticket]kept{}, c.Optimizer.Name == "adamw", c.Freeze.All
	if l.Fault == "ignores the seed" {
		c.Seed = 0
	}
	r := rand.New(rand.NewPCG(c.Seed, 0))
	l.w, l.g, l.m = make([]float32, pixels*l.d), make([]float32, pixels*l.d), make([]float32, pixels*l.d)
	for i := range l.w {
		l.w[i] = float32(r.NormFloat64())
	}
	info := clip.EncoderInfo{Modality: clip.Image, EmbedDim: l.d, ImageSize: side, Backend: "go", Parameters: int64(len(l.w))}
	if l.Fault == "too many parameters" {
		info.Parameters *= 3
	}
	if l.frozen {
		info.Frozen = info.Parameters
	} else {
		info.BucketSizes = []int{int(info.Parameters)}
	}
	return info, nil
}

// ignoresOptions reports whether the options are those that the kit makes up, and the environment asks to take them.
func ignoresOptions(with string) bool {
	return os.Getenv("TANDEM_FAULT") == "any option" && with == `{"no_such_option": 1}`
}

func (l *linear) Forward(_ context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	l.calls++
	if q.Images == nil || q.Images.DType != tensor.U8 || !q.Images.Shape[1:].Equal(tensor.Shape{side, side, 3}) {
		if l.Fault != "any shape" {
			return nil, 0, fault.New(fault.Invalid, "want pictures of 2×2")
		}
		q.Images = tensor.New(tensor.U8, 2, side, side, 3)
	}
	b := q.Images.Shape[0]
	x, y := tensor.New(tensor.F32, b, pixels), tensor.New(tensor.F32, b, l.d)
	for i, v := range q.Images.U8() {
		x.F32()[i] = float32(v)/255 - .5
	}
	switch l.Fault {
	case "deaf":
		time.Sleep(time.Duration(b) * 8 * time.Millisecond)
	case "exits":
		os.Exit(0)
	case "writes its input":
		q.Images.Data[0]++
	case "neighbours":
		x.F32()[0] += x.F32()[(b-1)*pixels]
	case "place":
		x.F32()[pixels] += .1
	case "embeds otherwise":
		if q.Mode == clip.Embed {
			x.F32()[0] += .1
		}
	case "random":
		x.F32()[0] += float32(l.calls)
	case "random in evaluation":
		if q.Mode == clip.Eval {
			x.F32()[0] += rand.Float32()
		}
	}
	for i := range b {
		row := y.F32()[i*l.d : (i+1)*l.d]
		for j := range row {
			for k := range pixels {
				row[j] += x.F32()[i*pixels+k] * l.w[k*l.d+j]
			}
		}
	}
	out := y.Clone()
	for i := range b {
		row := out.F32()[i*l.d : (i+1)*l.d]
		norm := float32(math.Sqrt(square(row)))
		if l.Fault == "long rows" {
			norm *= 1.01
		}
		for j := range row {
			row[j] /= norm
		}
	}
	switch l.Fault {
	case "wrong shape":
		out = tensor.New(tensor.F32, b-1, l.d)
	case "wrong dtype":
		out = tensor.New(tensor.I32, b, l.d)
	case "NaN":
		out.F32()[1] = float32(math.NaN())
	}
	if q.Mode != clip.Train || l.frozen && l.Fault != "tickets though frozen" || l.Fault == "no ticket" {
		return out, 0, nil
	}
	l.last++
	l.tickets[l.last] = kept{x, y}
	l.gate.close()
	return out, l.last, nil
}

func square(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

func (l *linear) Backward(_ context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	k, ok := l.tickets[t]
	if !ok {
		return fault.New(fault.Conflict, "ticket %d", t)
	}
	if !grad.Shape.Equal(k.y.Shape) {
		return fault.New(fault.Invalid, "gradient %v", grad.Shape)
	}
	if l.Fault != "reuses tickets" {
		delete(l.tickets, t)
	}
	defer l.pass()
	if l.Fault == "overwrites gradients" {
		clear(l.g)
	}
	for i := range k.y.Shape[0] {
		y, g := k.y.F32()[i*l.d:(i+1)*l.d], grad.F32()[i*l.d:(i+1)*l.d]
		norm, along := math.Sqrt(square(y)), 0.0
		for j := range g {
			along += float64(y[j]) * float64(g[j])
		}
		along /= norm * norm
		if l.Fault == "no gradient of the norm" {
			along = 0
		}
		for j := range g {
			dy := (float64(g[j]) - along*float64(y[j])) / norm
			switch l.Fault {
			case "wrong sign":
				dy = -dy
			case "scaled gradient":
				dy *= 1.05
			}
			for n := range pixels {
				l.g[n*l.d+j] += k.x.F32()[i*pixels+n] * float32(dy)
			}
		}
	}
	return nil
}

func (l *linear) Discard(_ context.Context, t clip.Ticket) error {
	delete(l.tickets, t)
	l.pass()
	return nil
}

// pass lets gradients be had once no ticket is open.
func (l *linear) pass() {
	if len(l.tickets) == 0 {
		l.gate.open()
	}
}

func (l *linear) GradNorm(context.Context) (float64, error) {
	n := square(l.g)
	switch {
	case l.Fault == "root of GradNorm":
		n = math.Sqrt(n)
	case l.Fault == "hides NaN" && math.IsNaN(n):
		n = 0
	}
	return n, nil
}

func (l *linear) Step(_ context.Context, _ int, lr, scale float64) error {
	if l.Fault == "ignores scale" {
		scale = 1
	}
	for i, g := range l.g {
		g *= float32(scale)
		if l.momentum {
			l.m[i] = .9*l.m[i] + g
			g = l.m[i]
		}
		l.w[i] -= float32(lr) * g
	}
	if l.Fault != "keeps gradients" {
		clear(l.g)
	}
	return nil
}

func (l *linear) Save(_ context.Context, path string) error {
	m := l.m
	switch l.Fault {
	case "no safetensors":
		return os.WriteFile(path, fmt.Append(nil, l.w), 0o644)
	case "forgets momentum":
		m = make([]float32, len(l.m))
	}
	return weights.Write(path, []weights.Tensor{weights.FromF32("w", l.w, pixels, l.d), weights.FromF32("m", m, pixels, l.d)}, nil)
}

func (l *linear) Load(_ context.Context, path string) error {
	f, err := weights.Open(path)
	if err != nil {
		switch l.Fault {
		case "loads damaged":
			return nil
		case "loads half":
			clear(l.w[:l.d])
		}
		return err
	}
	defer f.Close()
	w, err1 := f.F32("w", pixels, l.d)
	m, err2 := f.F32("m", pixels, l.d)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	l.w, l.m = w, m
	return nil
}

func (l *linear) Close() error {
	if l.Fault == "fails to close" {
		return fault.New(fault.Internal, "closed already")
	}
	return nil
}
