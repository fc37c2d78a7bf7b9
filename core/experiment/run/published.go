package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// isCheckpoint says whether path is the folder of a checkpoint.
func isCheckpoint(path string) bool {
	for _, name := range []string{train.ImageFile, train.TextFile} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// published finds the weights that path means, joins their parts in dir when they have several, and holds what is beside
// them and their tokenizer against the spec. file is a .safetensors file.
func (m *model) published(path, dir string, towers []string) (file string, remarks []string, err error) {
	found, err := locateWeights(path)
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
	if file = found[0]; len(found) > 1 {
		file = filepath.Join(dir, "joined.safetensors")
		if err := keymap.Join(found, file); err != nil {
			return "", nil, err
		}
	}
	f, err := keymap.Open(file)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	if err := m.sameTokenizer(f, want.Text); err != nil {
		return "", nil, err.WithFile(path, 0, 0)
	}
	return file, slices.Concat(remarks, f.Remarks(), f.Resampled(want)), nil
}

// locateWeights is keymap.Locate with the key that names the weights.
func locateWeights(path string) ([]string, error) {
	found, err := keymap.Locate(path)
	if f, ok := err.(*fault.Error); ok && f.Path == "" {
		return nil, f.WithPath("init.weights")
	}
	return found, err
}

// wanted are the settings of the towers that take weights, of tandem's own encoders.
func (m *model) wanted(towers []string) (w keymap.Wanted) {
	settings := func(raw json.RawMessage) (with map[string]any) {
		_ = json.Unmarshal(raw, &with)
		return with
	}
	if slices.Contains(towers, roleImage) && slices.Contains([]string{"vit", "resnet-attnpool"}, m.spec.Image.Encoder) {
		w.Image = settings(m.spec.Image.With)
	}
	if slices.Contains(towers, roleText) && m.spec.Text.Encoder == "transformer" {
		w.Text = settings(m.spec.Text.With)
	}
	return w
}

// sameTokenizer refuses weights whose vocabulary is not that of the spec's tokenizer: the ids would mean other words. A
// file with its own tokenizer brings it along.
func (m *model) sameTokenizer(f *keymap.File, text map[string]any) *fault.Error {
	rows, found := f.Shape("token_embedding.weight")
	if text == nil || !found || len(rows) != 2 || f.Metadata()[keymap.MetaTokenizer] != "" {
		return nil
	}
	const path, alone = "text.with.tokenizer", "init.towers: [image] takes the image tower alone"
	switch kind := text["tokenizer"]; {
	case kind == "clip" && rows[0] != keymap.CLIPVocabulary:
		return fault.New(fault.Invalid, "is clip, with %d tokens, but the weights have a vocabulary of %d: another tokenizer (as a worldwide MetaCLIP or SigLIP has)",
			keymap.CLIPVocabulary, rows[0]).WithPath(path).WithHint("token ids would mean other words; %s", alone)
	case kind == "bpe":
		return fault.New(fault.Invalid, "is bpe, learned from this spec's captions, but the weights come without a tokenizer: their ids mean other words").
			WithPath(path).WithHint("CLIP's is tokenizer: clip with merges: bpe_simple_vocab_16e6.txt.gz; %s", alone)
	}
	return nil
}

// publishedDigest is the hex sha256 of published weights: of their one file, or of the digests of their parts. Weights that
// cannot be read are told before they are hashed.
func publishedDigest(path string) (string, error) {
	found, err := locateWeights(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, file := range found {
		f, err := weights.Open(file)
		if err != nil {
			if own, ok := err.(*fault.Error); ok && own.Path == "" {
				own.Path = "init.weights"
			}
			return "", err
		}
		f.Close()
		sha, _, err := store.FileDigest(file)
		if err != nil || len(found) == 1 {
			return sha, err
		}
		h.Write([]byte(sha))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
