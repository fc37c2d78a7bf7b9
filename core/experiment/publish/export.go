// Package publish carries weights between tandem and others: Export writes those of a run for OpenCLIP or
// transformers, Import records published ones as a run.
package publish

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/fault"
)

// Exported tells what Export wrote.
type Exported struct {
	Run     string `json:"run"`
	Step    int    `json:"step"`
	Weights string `json:"weights"`
	Config  string `json:"config"`
	Tensors int    `json:"tensors"`
	// Tower is text when the weights are of the text tower alone: one of BERT's family, which transformers keeps as a model of its own.
	Tower string `json:"tower,omitempty"`
	// Averaged says that the weights are those that train.ema averages.
	Averaged bool `json:"averaged,omitempty"`
}

// Export writes the newest checkpoint of the run that ref names as one safetensors file for OpenCLIP
// (format open_clip) or for transformers' CLIPModel (hf), and the model's config beside it: FILE.json
// for OpenCLIP, config.json for transformers. Of a text tower of BERT's family hf writes the tower alone, as transformers' BertModel or
// RobertaModel, with its tokenizer.json. With averaged it writes the averaged weights (train.ema). A model that they do not have is
// fault.Invalid.
func Export(ctx context.Context, l lab.Lab, ref, format, out string, averaged bool) (Exported, error) {
	run, checkpoint, err := l.Trained(ctx, ref)
	if err != nil {
		return Exported{}, err
	}
	p, err := assemble.OpenCheckpoint(checkpoint.Dir, averaged)
	if err != nil {
		return Exported{}, err
	}
	defer p.Close()
	e, err := Write(p, format, out)
	e.Run, e.Step, e.Averaged = run.ID, checkpoint.Step, averaged
	return e, err
}

// Write does what Export does with parameters that are open, which it may rename. Of what it returns Run, Step and Averaged are the
// caller's to fill in.
func Write(p *assemble.Parameters, format, out string) (e Exported, err error) {
	if !p.Has(keymap.LogitScale) { // a loss without one multiplies by 1
		p.Tensors = append(p.Tensors, weights.FromF32(keymap.LogitScale, []float32{0}))
	}
	model := keymap.Model{EmbedDim: p.EmbedDim, Image: json.RawMessage(p.Meta[keymap.MetaImage]), Text: json.RawMessage(p.Meta[keymap.MetaText]),
		Tokenizer: []byte(p.Meta[keymap.MetaTokenizer]), LogitBias: p.Has(keymap.LogitBias)}
	tower := ""
	var config, tokenizer []byte
	out = filepath.Clean(out)
	path := strings.TrimSuffix(out, filepath.Ext(out)) + ".json"
	switch format {
	case "open_clip":
		config, err = model.OpenCLIP()
		for _, t := range p.Tensors {
			if name, ok := strings.CutSuffix(t.Name, ".running_mean"); ok {
				p.Tensors = append(p.Tensors, weights.FromI64(name+".num_batches_tracked", []int64{0}))
			}
		}
		p.Tensors = keymap.OpenCLIP(p.Tensors)
	case "hf":
		path = filepath.Join(filepath.Dir(out), "config.json")
		rename, replaceable := keymap.HF, "CLIPModel"
		if model.HasBERT() {
			tower, rename = assemble.RoleText, keymap.BERT
			config, tokenizer, err = model.BERT()
			replaceable = string(config)
		} else {
			config, err = model.HF()
		}
		if old, readErr := os.ReadFile(path); readErr == nil && err == nil && !strings.Contains(string(old), replaceable) {
			return Exported{}, fault.New(fault.Conflict, "there is a config.json of something else").WithFile(path, 0, 0).
				WithHint("transformers wants a folder per model: -o some/folder/model.safetensors")
		}
		if err == nil {
			p.Tensors, err = rename(p.Tensors)
		}
	default:
		err = fault.New(fault.Invalid, "unknown format %q", format).WithHint("open_clip, hf or onnx")
	}
	if err != nil {
		return Exported{}, err
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return Exported{}, fault.New(fault.Invalid, "%s is a folder", out).WithHint("-o %s", filepath.Join(out, "model.safetensors"))
	}
	if written := []string{path, filepath.Join(filepath.Dir(out), "tokenizer.json")}; slices.Contains(written, out) {
		return Exported{}, fault.New(fault.Invalid, "%s is the file of the model's config or tokenizer, and cannot be that of its weights", out).
			WithHint("-o %s.safetensors", strings.TrimSuffix(out, filepath.Ext(out)))
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return Exported{}, fault.New(fault.Unavailable, "%w", err)
	}
	if err := weights.WriteSync(out, p.Tensors, p.Meta); err != nil {
		return Exported{}, err
	}
	written := map[string][]byte{path: config}
	if len(tokenizer) > 0 {
		written[filepath.Join(filepath.Dir(out), "tokenizer.json")] = tokenizer
	}
	for file, data := range written {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return Exported{}, fault.New(fault.Exhausted, "%w", err)
		}
	}
	return Exported{Weights: out, Config: path, Tensors: len(p.Tensors), Tower: tower}, nil
}
