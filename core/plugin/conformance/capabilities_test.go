package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// groupedLinear adds groups of all parameters and an average to linear, which may break a rule.
type groupedLinear struct {
	*linear
	fault   string
	scale   float64
	decay   float64
	average []float32
}

func (l *groupedLinear) Configure(ctx context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	l.scale, l.decay = 1, c.Optimizer.EMADecay
	for _, g := range c.Optimizer.Groups {
		if g.Params[0] != "*" && l.fault != "takes any glob" {
			return clip.EncoderInfo{}, fault.New(fault.Invalid, "nothing matches %q", g.Params[0])
		}
		if g.LRScale != nil && l.fault != "ignores groups" {
			l.scale = *g.LRScale
		}
	}
	return l.linear.Configure(ctx, c)
}

func (l *groupedLinear) Step(ctx context.Context, step int, lr, scale float64) error {
	err := l.linear.Step(ctx, step, lr*l.scale, scale)
	decay := float32(l.decay)
	if l.average == nil && l.fault != "averages from zero" {
		l.average, decay = slices.Clone(l.w), 0
	} else if l.average == nil {
		l.average = make([]float32, len(l.w))
	}
	if l.fault == "is the weights" {
		decay = 0
	}
	for i, w := range l.w {
		l.average[i] = decay*l.average[i] + (1-decay)*w
	}
	return err
}

func (l *groupedLinear) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if !q.EMA {
		return l.linear.Forward(ctx, q)
	}
	if (l.decay == 0 || q.Mode == clip.Train) && l.fault != "averages always" {
		return nil, 0, fault.New(fault.Invalid, "no average")
	}
	if l.average != nil {
		live := l.w
		l.w = l.average
		defer func() { l.w = live }()
	}
	return l.linear.Forward(ctx, q)
}

func TestEveryRuleOfCapabilitiesOfEncodersCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckEncoder(func() clip.Encoder { return &groupedLinear{linear: &linear{}, fault: fault} },
			EncoderOptions{Capabilities: []string{clip.CapGroups, clip.CapEMA}, Only: []string{"parameter groups", "average"}})
	}, map[string]string{
		"ignores groups":     "parameter groups",
		"takes any glob":     "parameter groups",
		"averages from zero": "average",
		"is the weights":     "average",
		"averages always":    "average",
	})
}

// rich adds two negatives and a second view to plain, which may break a rule.
type rich struct {
	plain
	fault string
}

func (d *rich) Configure(ctx context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	info, err := d.plain.Configure(ctx, c)
	info.Negatives = 2
	return info, err
}

func (d *rich) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.plain.Batch(ctx, q)
	if err != nil {
		return nil, err
	}
	for i, index := range q.Indices {
		texts := []string{fmt.Sprint("not ", index), fmt.Sprint("nor ", q.Epoch)}
		switch d.fault {
		case "one text too few":
			texts = texts[:1]
		case "the caption itself":
			texts[1] = b.Captions[i]
		case "by place":
			texts[0] = fmt.Sprint("not ", i)
		}
		if q.Negatives || d.fault == "negatives for all" {
			b.Negatives = append(b.Negatives, texts)
		}
		if d.fault == "other captions" && q.Negatives {
			b.Captions[i] += "!"
		}
	}
	if !q.View2 {
		return b, nil
	}
	if b.Images2 = q.Into2; b.Images2 == nil || d.fault == "elsewhere" {
		b.Images2 = tensor.New(tensor.U8, b.Images.Shape...)
	}
	for i, v := range b.Images.Data {
		if b.Images2.Data[i] = v + 1; d.fault == "the first again" {
			b.Images2.Data[i] = v
		}
		if d.fault == "moves the first" {
			b.Images.Data[i]++
		}
	}
	return b, nil
}

// colourful makes the pictures of plain grey or changes their colour when asked to, and may break a rule.
type colourful struct {
	plain
	fault string
}

func (d *colourful) Configure(ctx context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	if c.Augment != nil && c.Augment.Grayscale > 1 && d.fault != "takes any probability" {
		return clip.DatasetInfo{}, fault.New(fault.Invalid, "no probability")
	}
	info, err := d.plain.Configure(ctx, c)
	info.Fixed = info.Fixed || d.fault == "calls jitter fixed"
	return info, err
}

func (d *colourful) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.plain.Batch(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.View2 {
		b.Images2 = tensor.New(tensor.U8, b.Images.Shape...)
		copy(b.Images2.Data, b.Images.Data)
	}
	a := d.c.Augment
	if a == nil || !q.Train && d.fault != "changes evaluation" {
		return b, nil
	}
	if a.Grayscale > 0 && d.fault == "grey of its own" {
		for i := range b.Images.Data {
			b.Images.Data[i] += 3
		}
	}
	if a.ColorJitterProb > 0 {
		for i := range b.Images.Data {
			switch d.fault {
			case "no jitter":
				b.Images.Data[i] = byte(q.Indices[i/(len(b.Images.Data)/len(q.Indices))])
			case "jitters once":
				b.Images.Data[i] = 200
			case "changes evaluation":
				b.Images.Data[i]++
			}
			if q.View2 && d.fault != "one view" {
				b.Images2.Data[i] = b.Images.Data[i] + 1
			}
		}
	}
	return b, nil
}

func TestTheRuleOfAugmentationsCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckDataset(func() clip.Dataset { return &colourful{fault: fault} },
			DatasetOptions{Capabilities: []string{clip.CapAugment, clip.CapView2}, Only: []string{"augmentations"}})
	}, map[string]string{
		"takes any probability": "augmentations",
		"calls jitter fixed":    "augmentations",
		"changes evaluation":    "augmentations",
		"grey of its own":       "augmentations",
		"no jitter":             "augmentations",
		"jitters once":          "augmentations",
		"one view":              "augmentations",
	})
}

// keeping keeps a number for each format in a file of the folder that is given, and may break a rule.
type keeping struct {
	plain
	fault string
}

func (d *keeping) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.plain.Batch(ctx, q)
	if err != nil || d.c.Cache == nil {
		return b, err
	}
	file := filepath.Join(d.c.CacheDir, d.c.Cache.Format)
	_, err = os.Stat(file)
	found := err == nil
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return nil, err
	}
	switch {
	case d.c.Cache.Format == "jpeg" && d.fault != "packs what is found alone" || found && d.fault != "":
		b.Images.Data[0]++
	case d.fault == "raw is packed":
		b.Images.Data[0]++
	}
	return b, nil
}

func TestTheRuleOfKeptPicturesCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckDataset(func() clip.Dataset { return &keeping{fault: fault} },
			DatasetOptions{Capabilities: []string{clip.CapCache}, Only: []string{"kept pictures"}})
	}, map[string]string{
		"raw is packed":             "kept pictures",
		"packs what is found alone": "kept pictures",
	})
}

func TestEveryRuleOfCapabilitiesOfDatasetsCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckDataset(func() clip.Dataset { return &rich{fault: fault} },
			DatasetOptions{Capabilities: []string{clip.CapNegatives, clip.CapView2}, Only: []string{"negatives", "second view"}})
	}, map[string]string{
		"one text too few":   "negatives",
		"the caption itself": "negatives",
		"by place":           "negatives",
		"negatives for all":  "negatives",
		"other captions":     "negatives",
		"elsewhere":          "second view",
		"the first again":    "second view",
		"moves the first":    "second view",
	})
}
