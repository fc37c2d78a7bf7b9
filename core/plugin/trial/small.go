package trial

import (
	"context"
	"encoding/json"

	"tandem/core/clip"
	"tandem/core/plugin/process"
)

// smallest returns options for a quick trial: an encoder's sizes shrunk, where it accepts them, the first samples of a
// dataset with the option limit, else the defaults.
func (o *Options) smallest(ctx context.Context) json.RawMessage {
	defaults := json.RawMessage("{}")
	small := map[string]any{}
	switch o.Descriptor.Kind {
	case clip.KindLoss:
		return defaults
	case clip.KindDataset:
		for _, f := range o.Descriptor.Schema {
			if f.Name == "limit" && f.Type == clip.TypeInt {
				return json.RawMessage(`{"limit": 64}`)
			}
		}
		return defaults
	}
	for _, f := range o.Descriptor.Schema {
		if v, ok := shrink(f); ok {
			small[f.Name] = v
		}
	}
	text, err := json.Marshal(small)
	if err != nil || len(small) == 0 {
		return defaults
	}
	session, err := o.session(true)
	if err != nil {
		return defaults
	}
	defer session.Close()
	if !o.accepts(ctx, session, text) {
		return defaults
	}
	return text
}

// accepts reports whether an encoder can be configured with options.
func (o *Options) accepts(ctx context.Context, s *process.Session, with json.RawMessage) bool {
	e, err := o.encoder(ctx, s)
	if err != nil {
		return false
	}
	defer e.Close()
	_, err = e.Configure(ctx, clip.EncoderConfig{With: with, EmbedDim: 8, Modality: o.Modality, Seed: 1, Optimizer: clip.Optimizer{Name: "sgd"},
		Compute: o.compute(), Captions: []string{"a photo of a dog", "rain over the sea"}})
	return err == nil
}

// shrink returns a small value for an option with a number of things as its default.
func shrink(f clip.Field) (any, bool) {
	switch {
	case f.Type == clip.TypeInt:
		if n, ok := f.Default.(float64); ok && f.Name == "image_size" && n <= 32 {
			return int(n), true // a few patches are left
		} else if ok {
			return shrunk(int(n), f), true
		}
	case f.Type == clip.TypeList && f.Elem == clip.TypeInt:
		list, ok := f.Default.([]any)
		if !ok {
			return nil, false
		}
		out := make([]int, len(list))
		for i, v := range list {
			n, ok := v.(float64)
			if !ok {
				return nil, false
			}
			out[i] = shrunk(int(n)/2, f)
		}
		return out, true
	}
	return nil, false
}

// shrunk returns a power of two that stands to others as n does, roughly, within the bounds of an option.
func shrunk(n int, f clip.Field) int {
	small := n
	switch {
	case n > 4096: // a vocabulary
		small = 1024
	case n > 1024:
		small = 64
	case n > 128:
		small = 32
	case n > 64:
		small = 16
	case n > 16:
		small = 8
	case n > 1:
		small = 2
	}
	if f.Min != nil {
		small = max(small, int(*f.Min))
	}
	if f.Max != nil {
		small = min(small, int(*f.Max))
	}
	return small
}
