package assemble

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/engine/weights/keymap"
	"tandem/core/fault"
)

// published finds the weights that path means and returns them as one .safetensors file; several parts are joined, and files of
// PyTorch converted, in dir. It holds what lies beside them, and their tokenizer, against the spec.
func (m learner) published(path, dir string, towers []string) (file string, remarks []string, err error) {
	found, err := locateWeights(path, m.section+"init.weights")
	if err != nil {
		return "", nil, err
	}
	want := m.wanted(towers)
	if remarks, err = keymap.Beside(found[0], want); err != nil {
		return "", nil, err
	}
	if found[0] != path {
		names := make([]string, len(found))
		for i, f := range found {
			names[i] = filepath.Base(f)
		}
		remarks = append(remarks, fmt.Sprintf("the weights are %s", strings.Join(names, ", ")))
	}
	if file = found[0]; keymap.NeedsJoin(found) {
		file = filepath.Join(dir, "joined.safetensors")
		if err := keymap.Join(found, file); err != nil {
			return "", nil, asNamed(err, file, path)
		}
	}
	f, err := keymap.Open(file)
	if err != nil {
		return "", nil, asNamed(err, file, path)
	}
	defer f.Close()
	if err := m.checkTokenizer(f, want.Text); err != nil {
		return "", nil, err.WithFile(path, 0, 0)
	}
	return file, slices.Concat(remarks, f.Remarks(), f.Resampled(want)), nil
}

// locateWeights calls keymap.Locate and adds to its fault the key that names the weights.
func locateWeights(path, key string) ([]string, error) {
	found, err := keymap.Locate(path)
	if f, ok := err.(*fault.Error); ok && f.Path == "" {
		return nil, f.WithPath(key)
	}
	return found, err
}

// wanted returns the settings of the towers that take weights, where they are tandem's own encoders.
func (m learner) wanted(towers []string) (w keymap.Wanted) {
	settings := func(raw json.RawMessage) (with map[string]any) {
		_ = json.Unmarshal(raw, &with)
		return with
	}
	if image := towerOf(m.spec, m.section+RoleImage); slices.Contains(towers, RoleImage) && slices.Contains([]string{"vit", "resnet-attnpool"}, image.Encoder) {
		w.Image = settings(image.With)
	}
	if text := towerOf(m.spec, m.section+RoleText); slices.Contains(towers, RoleText) && text.Encoder == "transformer" {
		w.Text = settings(text.With)
	}
	return w
}

// checkTokenizer refuses weights whose vocabulary is not that of the spec's tokenizer: the ids would mean other words. A
// file with its own tokenizer brings it along.
func (m learner) checkTokenizer(f *keymap.File, text map[string]any) *fault.Error {
	rows, found := f.Shape("token_embedding.weight")
	if text == nil || !found || len(rows) != 2 || f.Metadata()[keymap.MetaTokenizer] != "" {
		return nil
	}
	path, alone := m.section+"text.with.tokenizer", m.section+"init.towers: [image] takes the image tower alone"
	switch kind := text["tokenizer"]; {
	case kind == "clip" && rows[0] != keymap.CLIPVocabulary:
		return fault.New(fault.Invalid, "is clip, with %d tokens, but the weights have a vocabulary of %d: another tokenizer (as a worldwide MetaCLIP or SigLIP has)",
			keymap.CLIPVocabulary, rows[0]).WithPath(path).WithHint("token ids would mean other words; %s", alone)
	case kind == "bpe":
		return fault.New(fault.Invalid, "is bpe, learned from this spec's captions, but the weights come without a tokenizer: their ids mean other words").
			WithPath(path).WithHint("CLIP's is tokenizer: clip; %s", alone)
	}
	return nil
}
