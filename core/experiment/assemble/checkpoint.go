package assemble

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/objective"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// isCheckpoint reports whether path is the folder of a checkpoint.
func isCheckpoint(path string) bool {
	for _, name := range []string{train.ImageFile, train.TextFile} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// LoadCheckpoint loads both towers and the loss from a checkpoint folder.
func (m *Model) LoadCheckpoint(ctx context.Context, dir string) error {
	load := func(part clip.Trainable, file string) func(context.Context) error {
		return func(ctx context.Context) error { return part.Load(ctx, filepath.Join(dir, file)) }
	}
	calls := []func(context.Context) error{load(m.Image, train.ImageFile), load(m.Text, train.TextFile)}
	files := m.LossFiles()
	for i, member := range objective.Members(m.Loss) {
		calls = append(calls, load(member.Loss, files[i]))
	}
	return atOnce(ctx, calls...)
}

// lossFiles lists the files of the losses in a checkpoint folder.
func lossFiles(dir string) []string {
	s, err := train.ReadState(dir)
	if err != nil {
		return []string{train.LossFile} // of a folder without a state; who opens the file says what is wrong
	}
	return s.LossFiles()
}

// scaledLoss returns the file, of those of the losses in a checkpoint folder, whose parameters stand for the model's: the
// first that has a logit_scale, else the first.
func scaledLoss(dir string) string {
	files := lossFiles(dir)
	for _, name := range files {
		if len(files) > 1 && hasTensor(filepath.Join(dir, name), keymap.LogitScale) {
			return name
		}
	}
	return files[0]
}

// hasTensor reports whether a file has a tensor.
func hasTensor(path, name string) bool {
	f, err := weights.Open(path)
	if err != nil {
		return false // who reads it says why
	}
	defer f.Close()
	_, has := f.Info(name)
	return has
}

// Parameters holds a checkpoint folder as one model's parameters under OpenCLIP's names, without optimiser
// state. Tensors are read when they are written.
type Parameters struct {
	Tensors  []weights.Tensor
	Meta     map[string]string // the towers' settings and the tokenizer, by keymap's names
	EmbedDim int
	Averaged bool // some of the parameters are averages (train.ema)

	files []*weights.File
}

// Close closes the checkpoint's files.
func (p *Parameters) Close() {
	for _, f := range p.files {
		f.Close()
	}
}

// OpenCheckpoint opens a checkpoint folder; the caller closes it. With averaged, parameters of which the checkpoint has an
// average are that; a checkpoint without any is fault.Invalid. Encoders that keep their parameters in another
// way than core/engine/tower are fault.Invalid.
func OpenCheckpoint(dir string, averaged bool) (_ *Parameters, err error) {
	p := &Parameters{Meta: map[string]string{"format": "pt"}} // what transformers asks for: PyTorch's layouts
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for _, part := range []struct{ file, meta string }{{train.ImageFile, keymap.MetaImage}, {train.TextFile, keymap.MetaText}, {scaledLoss(dir), ""}} {
		path := filepath.Join(dir, part.file)
		f, err := weights.Open(path)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, f)
		meta := f.Metadata()
		if part.meta != "" {
			if meta["format"] != weights.EncoderFormat {
				return nil, fault.New(fault.Invalid, "the encoder keeps its parameters in a form of its own (%q)", meta["format"]).WithFile(path, 0, 0)
			}
			p.Meta[part.meta] = meta["config"]
			if p.EmbedDim, err = strconv.Atoi(meta["embed_dim"]); err != nil {
				return nil, fault.New(fault.Corrupt, "embed_dim in the metadata: %w", err).WithFile(path, 0, 0)
			}
		}
		if err := p.add(f, part.meta == "", averaged); err != nil {
			return nil, err
		}
	}
	if averaged && !p.Averaged {
		return nil, fault.New(fault.Invalid, "the checkpoint has no averaged weights").WithFile(dir, 0, 0).
			WithHint("runs with train.ema keep them, from their first step on")
	}
	return p, nil
}

// add takes a file's parameters, matrices together with what their adapters add; of a loss it takes those that published
// models have.
func (p *Parameters) add(f *weights.File, loss, averaged bool) error {
	lora, err := f.LoRA()
	if err != nil {
		return err
	}
	for _, name := range f.Names() {
		if name == weights.TokenizerTensor && !loss {
			data, err := f.U8(name)
			if err != nil {
				return err
			}
			p.Meta[keymap.MetaTokenizer] = string(data)
			continue
		}
		if strings.HasPrefix(name, weights.SlotPrefix) || strings.HasPrefix(name, weights.AveragePrefix) || weights.IsAdapter(name) || loss && keymap.Modality(name) != "loss" {
			continue
		}
		info, _ := f.Info(name)
		source := func(name string) string {
			if _, kept := f.Info(weights.AveragePrefix + name); kept && averaged {
				p.Averaged = true
				return weights.AveragePrefix + name
			}
			return name
		}
		from := source(name)
		read := func() (weights.Tensor, error) { return f.Read(from) }
		if _, adapted := f.Info(name + weights.SuffixA); adapted && lora != nil {
			a, b := source(name+weights.SuffixA), source(name+weights.SuffixB)
			read = func() (weights.Tensor, error) { return lora.Merge(f, name, a, b) }
		}
		if loss {
			info.Shape = nil // published as scalars
		}
		p.Tensors = append(p.Tensors, weights.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Load: func() ([]byte, error) {
			t, err := read()
			return t.Data, err
		}})
	}
	return nil
}

// Has reports whether there is a tensor of that name.
func (p *Parameters) Has(name string) bool {
	for _, t := range p.Tensors {
		if t.Name == name {
			return true
		}
	}
	return false
}
