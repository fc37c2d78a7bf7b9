package trial_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/tensor"
)

// datasetFaults names the faults that can be planted in the dataset, and the rule that finds each.
var datasetFaults = map[string]string{
	"another digest each time": "info",
	"one too long":             "length",
	"one too short":            "length",
	"wrong size":               "batch",
	"no captions":              "batch",
	"one key for two":          "keys",
	"no key":                   "keys",
	"splits overlap":           "splits",
	"label out of range":       "labels",
	"call order":               "determinism",
	"mixes samples":            "determinism", // the runner reads a sample of a batch alone
	"ignores the epoch":        "epochs",
	"augments evaluation":      "epochs",
	"other captions":           "without images",
	"calls crops fixed":        "fixed",
	"one at a time":            "several batches at once",
	"repeats captions":         "captions",
	"hides captions":           "captions",
	"fails to close":           "close",
}

type datasetConfig struct {
	faultConfig
	Split string `with:"split" enum:"train,test" help:"part of the samples"`
}

var faultyDataset = sdk.Dataset{
	Name: "faulty-dataset", Version: "1.0.0", Summary: "pictures of one colour, and a fault on request", Config: datasetConfig{Split: "train"},
	New: func() clip.Dataset { return &plain{} },
}

// plain has 40 pictures of one colour each.
type plain struct {
	datasetConfig
	c     clip.DatasetConfig
	calls atomic.Int64
	busy  chan struct{}
}

func (d *plain) Configure(_ context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	d.datasetConfig = datasetConfig{Split: "train"}
	if err := sdk.Decode(c.With, &d.datasetConfig); err != nil {
		return clip.DatasetInfo{}, err
	}
	d.c, d.busy = c, make(chan struct{}, 1)
	info := clip.DatasetInfo{Len: 40, Digest: "d1", Targets: []clip.Target{{Name: "parity", Classes: []string{"even", "odd"}}}}
	info.Fixed = c.Augment == nil || d.Fault == "calls crops fixed"
	switch d.Fault {
	case "one too long":
		info.Len++
	case "one too short":
		info.Len--
	case "another digest each time":
		info.Digest = fmt.Sprint(time.Now().UnixNano())
	}
	return info, nil
}

func (d *plain) Batch(_ context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	default:
		if d.Fault == "one at a time" {
			return nil, fault.New(fault.Conflict, "busy")
		}
	}
	calls := int(d.calls.Add(1))
	if d.Fault == "one at a time" {
		time.Sleep(10 * time.Millisecond)
	}
	size := d.c.ImageSize
	if d.Fault == "wrong size" {
		size, q.Into = size+1, nil
	}
	b := &clip.Batch{Images: q.Into, Labels: map[string][]int32{}}
	if b.Images == nil {
		b.Images = tensor.New(tensor.U8, len(q.Indices), size, size, 3)
	}
	per := size * size * 3
	for i, index := range q.Indices {
		if index < 0 || index >= 40 {
			return nil, fault.New(fault.Invalid, "sample %d of 40", index)
		}
		colour := index
		if d.c.Augment != nil && (q.Train || d.Fault == "augments evaluation") {
			colour += 50
			if d.Fault != "ignores the epoch" {
				colour += 50 * q.Epoch
			}
		}
		switch d.Fault {
		case "call order":
			colour += calls
		case "mixes samples":
			colour += 3 * len(q.Indices)
		}
		for j := range per {
			b.Images.Data[i*per+j] = byte(colour)
		}
		b.Captions = append(b.Captions, d.caption(index, q))
		b.Keys = append(b.Keys, d.key(index))
		b.Groups = append(b.Groups, int64(index))
		label := int32(index % 2)
		if d.Fault == "label out of range" {
			label += 2
		}
		b.Labels["parity"] = append(b.Labels["parity"], label)
		if !q.Train {
			b.All = append(b.All, []string{d.caption(index, q)})
		}
	}
	return b, nil
}

func (d *plain) caption(index int, q clip.BatchRequest) string {
	switch {
	case d.Fault == "no captions":
		return ""
	case d.Fault == "other captions" && q.NoImages:
		return "something"
	}
	return fmt.Sprint("number ", index)
}

func (d *plain) key(index int) string {
	switch {
	case d.Fault == "splits overlap":
		return fmt.Sprint(index)
	case d.Fault == "no key":
		return ""
	case d.Fault == "one key for two" && index == 7:
		index = 8
	}
	return fmt.Sprint(d.Split, "/", index)
}

func (d *plain) Captions(_ context.Context, limit int) ([]string, error) {
	var out []string
	for i := range 40 {
		if limit == 0 || len(out) < limit {
			out = append(out, fmt.Sprint("number ", i))
		}
	}
	switch d.Fault {
	case "repeats captions":
		out[1] = out[0]
	case "hides captions":
		out = out[1:]
	}
	return out, nil
}

func (d *plain) Close() error {
	if d.Fault == "fails to close" {
		return fault.New(fault.Internal, "closed already")
	}
	return nil
}
