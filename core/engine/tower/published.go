package tower

import (
	"context"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/checkpoint"
	"tandem/core/engine/program"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/fault"
	"tandem/core/media/token"
)

// loadPublished loads weights that no tower saved, under OpenCLIP's, OpenAI's or transformers' names
// (core/engine/weights/keymap), with positions resampled to this network's. It takes parameters and running statistics
// only; the optimiser's state and adapters start anew. A tokenizer and the network's config count when the file has them, as those
// that tandem exports do. It checks everything before it changes anything.
func (e *encoder) loadPublished(ctx context.Context, path string) error {
	f, err := keymap.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	arrays := withoutAdapters(e.values())
	if err := e.checkPublished(f, arrays); err != nil {
		return err.WithOp("load").WithFile(path, 0, 0)
	}
	if err := e.loadPublishedTokenizer(f.Metadata()[keymap.MetaTokenizer]); err != nil {
		return err
	}
	for _, a := range arrays {
		if err := checkFinite(f, a); err != nil {
			return err.WithOp("load").WithFile(path, 0, 0)
		}
	}
	for _, a := range arrays {
		if err := program.CheckContext(ctx, "load"); err != nil {
			return err
		}
		values, err := f.F32(a.Name, a.Shape...)
		if err != nil {
			return err
		}
		e.session.Backend.Write(a.Buffer, values)
	}
	for _, a := range e.values() {
		if strings.HasSuffix(a.Name, weights.SuffixB) {
			e.session.Backend.Zero(a.Buffer) // the network begins as the weights are
		}
	}
	if e.params.average != nil {
		e.params.average.Restart()
	}
	for _, s := range e.trained.States() {
		e.session.Backend.Zero(s.Buffer)
	}
	return e.dropStale()
}

// checkFinite demands numbers: a single NaN makes every embedding one.
func checkFinite(f *keymap.File, a checkpoint.Array) *fault.Error {
	values, err := f.F32(a.Name, a.Shape...)
	if err != nil {
		return fault.New(fault.KindOf(err), "%w", err)
	}
	bad, first := 0, -1
	for i, v := range values {
		if v-v != 0 {
			if bad++; first < 0 {
				first = i
			}
		}
	}
	if bad == 0 {
		return nil
	}
	return fault.New(fault.Numeric, "tensor %q: %d of %d values are not finite, the first at %d is %v", a.Name, bad, len(values), first, values[first]).
		WithHint("the training that made the weights diverged, or the file is damaged")
}

// checkPublished holds names and shapes against the network: none missing, none left over.
func (e *encoder) checkPublished(f *keymap.File, arrays []checkpoint.Array) *fault.Error {
	invalid := func(err error) *fault.Error {
		if own, ok := err.(*fault.Error); ok {
			return own
		}
		return fault.New(fault.Invalid, "%w", err)
	}
	key := keymap.MetaImage
	if e.modality == clip.Text {
		key = keymap.MetaText
	}
	if config := f.Metadata()[key]; config != "" {
		want, err := e.metadata()
		if err != nil {
			return invalid(err)
		}
		// Positions are resampled to these sizes.
		if err := sameConfig(config, want["config"], "image_size", "context_length"); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	for _, a := range arrays {
		known[a.Name] = true
		if err := f.Check(a.Name, a.Shape...); err != nil {
			if other := f.Unlike(string(e.modality)); other != nil {
				return other
			}
			return invalid(err).WithHint("the settings of the %s encoder have to be those of the weights: width, layers, embed_dim, …", e.modality)
		}
	}
	for _, name := range f.Names() {
		if keymap.Modality(name) == string(e.modality) && !known[name] {
			if other := f.Unlike(string(e.modality)); other != nil {
				return other
			}
			return fault.New(fault.Invalid, "tensor %q is none of this encoder's", name).
				WithHint("the settings of the %s encoder have to be those of the weights: layers, pool_type, …", e.modality)
		}
	}
	return nil
}

// loadPublishedTokenizer takes the file's tokenizer, JSON, for texts; without one that of the config stays.
func (e *encoder) loadPublishedTokenizer(saved string) error {
	t, ok := e.front.(*textFront)
	switch {
	case !ok:
		return nil
	case saved == "" && t.tokenizer == nil:
		return fault.New(fault.Invalid, "the weights come without a tokenizer").WithOp("load").WithPath("with.tokenizer").
			WithHint("CLIP's is tokenizer: clip")
	case saved == "":
		return nil
	}
	tokenizer, err := token.Load([]byte(saved))
	if err != nil {
		return err
	}
	return t.adopt(tokenizer)
}
