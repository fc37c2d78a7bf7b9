package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// plain implements a dataset of 40 pictures of one colour, which may break a rule.
type plain struct {
	broken     string
	c          clip.DatasetConfig
	configured bool
	closed     bool
	calls      int
	split      int
	busy       chan struct{}
}

func (d *plain) Configure(_ context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	if d.configured && d.broken != "configured twice" {
		return clip.DatasetInfo{}, fault.New(fault.Conflict, "configured already")
	}
	if _, err := fmt.Sscanf(string(c.With), `{"split":%d}`, &d.split); len(c.With) > 2 && err != nil && d.broken != "takes any option" {
		return clip.DatasetInfo{}, fault.New(fault.Invalid, "unknown option")
	}
	d.c, d.configured, d.busy = c, true, make(chan struct{}, 1)
	info := clip.DatasetInfo{Len: 40, Digest: "x", Targets: []clip.Target{{Name: "parity", Classes: []string{"even", "odd"}}}}
	info.Fixed = c.Augment == nil || d.broken == "calls crops fixed"
	if d.broken == "promises too much" {
		info.Len++
	}
	return info, nil
}

func (d *plain) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	if ctx.Err() != nil && d.broken != "does not hear" {
		return nil, fault.New(fault.Canceled, "%w", ctx.Err())
	}
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	default:
		if d.broken == "one at a time" {
			return nil, fault.New(fault.Conflict, "busy")
		}
		d.busy <- struct{}{}
		defer func() { <-d.busy }()
	}
	d.calls++
	if d.broken == "one at a time" {
		time.Sleep(10 * time.Millisecond)
	}
	b := &clip.Batch{Images: q.Into, Labels: map[string][]int32{}}
	if b.Images == nil || d.broken == "ignores into" {
		b.Images = tensor.New(tensor.U8, len(q.Indices), d.c.ImageSize, d.c.ImageSize, 3)
	}
	per := d.c.ImageSize * d.c.ImageSize * 3
	for i, index := range q.Indices {
		if index < 0 || index >= 40 {
			return nil, fault.New(fault.Invalid, "index %d", index)
		}
		colour := index
		if q.Train && d.c.Augment != nil && d.broken != "crops once" || d.broken == "augments evaluation" {
			colour += 50 * (1 + q.Epoch)
		}
		switch d.broken {
		case "moves what is fixed":
			colour += q.Epoch
		case "is not deterministic":
			colour += d.calls
		case "mixes samples":
			colour += i
		}
		for j := range per {
			b.Images.Data[i*per+j] = byte(colour)
		}
		caption, label := string(rune('A'+index)), int32(index%2)
		switch d.broken {
		case "knows pictures only":
			if q.NoImages {
				caption = "?"
			}
		case "has no captions":
			caption = ""
		case "mislabels":
			label += 2
		}
		key := fmt.Sprint(d.split, "/", caption)
		switch d.broken {
		case "splits overlap":
			key = caption
		case "repeats keys":
			if index == 7 {
				key = fmt.Sprint(d.split, "/", string(rune('A'+8)))
			}
		}
		b.Captions, b.Keys = append(b.Captions, caption), append(b.Keys, key)
		b.Groups, b.Labels["parity"] = append(b.Groups, int64(index)), append(b.Labels["parity"], label)
		if !q.Train {
			b.All = append(b.All, []string{caption})
		}
	}
	return b, nil
}

func (d *plain) Captions(_ context.Context, limit int) ([]string, error) {
	var out []string
	for i := range 40 {
		if limit == 0 || len(out) < limit {
			out = append(out, string(rune('A'+i)))
		}
	}
	if d.broken == "repeats captions" {
		out[1] = out[0]
	}
	return out, nil
}

func (d *plain) Close() error {
	if d.closed && d.broken == "closes once" {
		return errors.New("closed already")
	}
	d.closed = true
	return nil
}

// unreadable reports that the last picture cannot be read when pictures are asked for.
type unreadable struct{ plain }

func (d *unreadable) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.plain.Batch(ctx, q)
	if err != nil || q.NoImages {
		return b, err
	}
	for i, index := range q.Indices {
		if index == 39 {
			b.Faults = append(b.Faults, clip.SampleFault{Index: index, Key: b.Keys[i], Msg: "cut off", Reason: "truncated picture"})
		}
	}
	return b, nil
}

func TestADatasetWithAPictureThatCannotBeReadKeepsThePromises(t *testing.T) {
	TestDataset(t, func() clip.Dataset { return &unreadable{} }, DatasetOptions{})
}

func TestEveryDatasetRuleCanBeBroken(t *testing.T) {
	breaks(t, func(broken string) []Finding {
		return CheckDataset(func() clip.Dataset { return &plain{broken: broken} }, DatasetOptions{Splits: []string{`{"split":0}`, `{"split":1}`}})
	}, map[string]string{
		"configured twice":     "info",
		"takes any option":     "unknown option",
		"promises too much":    "length",
		"has no captions":      "batch",
		"mislabels":            "labels",
		"splits overlap":       "splits",
		"repeats keys":         "keys",
		"is not deterministic": "determinism",
		"mixes samples":        "independence",
		"augments evaluation":  "epochs",
		"crops once":           "epochs",
		"ignores into":         "into",
		"knows pictures only":  "without images",
		"calls crops fixed":    "fixed",
		"moves what is fixed":  "fixed",
		"one at a time":        "several batches at once",
		"repeats captions":     "captions",
		"does not hear":        "cancellation",
		"closes once":          "close",
	})
}
