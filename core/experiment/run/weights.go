package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/results/store"
)

// both towers take weights that are to be used as they are.
var both = []string{roleImage, roleText}

// whole says that both towers take weights.
func whole(towers []string) bool {
	return slices.Contains(towers, roleImage) && slices.Contains(towers, roleText)
}

// published is a checkpoint folder seen as one model's parameters under OpenCLIP's names, without
// optimiser state. Tensors are read when they are written.
type published struct {
	tensors  []weights.Tensor
	meta     map[string]string
	embedDim int
	files    []*weights.File
}

// Close closes the checkpoint's files.
func (p *published) Close() {
	for _, f := range p.files {
		f.Close()
	}
}

// openCheckpoint opens a checkpoint folder. Encoders that keep their parameters in another way than
// core/engine/tower are fault.Invalid.
func openCheckpoint(dir string) (_ *published, err error) {
	p := &published{meta: map[string]string{"format": "pt"}} // what transformers asks for: PyTorch's layouts
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for _, part := range []struct{ file, meta string }{{train.ImageFile, keymap.MetaImage}, {train.TextFile, keymap.MetaText}, {train.LossFile, ""}} {
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
			p.meta[part.meta] = meta["config"]
			if p.embedDim, err = strconv.Atoi(meta["embed_dim"]); err != nil {
				return nil, fault.New(fault.Corrupt, "embed_dim in the metadata: %w", err).WithFile(path, 0, 0)
			}
		}
		if err := p.add(f, part.meta == ""); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add takes a file's parameters; of a loss those that published models have.
func (p *published) add(f *weights.File, loss bool) error {
	for _, name := range f.Names() {
		if name == weights.TokenizerTensor && !loss {
			data, err := f.U8(name)
			if err != nil {
				return err
			}
			p.meta[keymap.MetaTokenizer] = string(data)
			continue
		}
		if strings.HasPrefix(name, weights.SlotPrefix) || loss && keymap.Modality(name) != "loss" {
			continue
		}
		info, _ := f.Info(name)
		if loss {
			info.Shape = nil // published as scalars
		}
		p.tensors = append(p.tensors, weights.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Load: func() ([]byte, error) {
			t, err := f.Read(name)
			return t.Data, err
		}})
	}
	return nil
}

// has says whether there is a tensor of that name.
func (p *published) has(name string) bool {
	for _, t := range p.tensors {
		if t.Name == name {
			return true
		}
	}
	return false
}

// initialise gives towers and loss, just configured, the parameters at path: published weights, or
// those of a checkpoint folder. towers are the roles that take them; the loss does when both towers do.
// Optimisers start anew. The remarks are worth telling.
func (m *model) initialise(ctx context.Context, path string, towers []string) (remarks []string, err error) {
	dir, release, err := leftover.Dir("tandem-weights-")
	if err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	if isCheckpoint(path) {
		p, err := openCheckpoint(path)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		path = filepath.Join(dir, "model.safetensors")
		if err := weights.Write(path, p.tensors, p.meta); err != nil {
			return nil, err
		}
	} else if path, remarks, err = m.published(path, dir, towers); err != nil {
		return nil, err
	}
	loss := ""
	if whole(towers) {
		var more []string
		if loss, more, err = lossWeights(path, dir); err != nil {
			return nil, err
		}
		remarks = append(remarks, more...)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, t := range []struct {
		role string
		e    clip.Encoder
	}{{roleImage, m.Image}, {roleText, m.Text}} {
		if slices.Contains(towers, t.role) {
			g.Go(func() error { return place(m.spec, t.e.Load(gctx, path), t.role) })
		}
	}
	if err := g.Wait(); err != nil || loss == "" {
		return remarks, err
	}
	switch err := m.Loss.Load(ctx, loss); {
	case fault.KindOf(err) == fault.Invalid: // a loss with other parameters
		return append(remarks, fmt.Sprintf("the loss starts anew: %v", err)), nil
	case err != nil:
		return nil, err
	}
	return remarks, nil
}

// lossWeights writes the scalars that published weights have for a loss to a file of their own; "" when
// there are none.
func lossWeights(path, dir string) (file string, remarks []string, err error) {
	f, err := keymap.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range []string{keymap.LogitScale, keymap.LogitBias} {
		v, ok, err := f.Scalar(name)
		if err != nil {
			return "", nil, err
		}
		if ok {
			tensors = append(tensors, weights.FromF32(name, []float32{v}))
		}
	}
	if len(tensors) == 0 {
		return "", []string{"the weights come without a logit_scale; the loss starts as its settings say"}, nil
	}
	file = filepath.Join(dir, train.LossFile)
	return file, nil, weights.Write(file, tensors, map[string]string{"format": "pt"})
}

// weightsDigest is the hex sha256 of published weights or of a checkpoint folder's parameters.
func weightsDigest(path string) (string, error) {
	if !isCheckpoint(path) {
		return publishedDigest(path)
	}
	h := sha256.New()
	for _, name := range []string{train.ImageFile, train.TextFile, train.LossFile} {
		sha, _, err := store.FileDigest(filepath.Join(path, name))
		if err != nil {
			return "", err
		}
		h.Write([]byte(sha))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// identity is that of a run of s with these plugins.
func identity(s *spec.Spec, used parts) (string, error) {
	return identityBy(weightsDigest, s, used)
}

func identityBy(weightsDigest func(path string) (string, error), s *spec.Spec, used parts) (string, error) {
	digests := used.digests()
	if s.Init.Weights != "" {
		sha, err := weightsDigest(s.Init.Weights)
		if err != nil {
			return "", err
		}
		digests["init"] = sha
		if !whole(s.Init.Towers) {
			digests["init"] += " " + s.Init.Towers[0]
		}
	}
	return s.Identity(digests), nil
}

// Exported says what Export wrote.
type Exported struct {
	Run     string `json:"run"`
	Step    int    `json:"step"`
	Weights string `json:"weights"`
	Config  string `json:"config"`
	Tensors int    `json:"tensors"`
}

// Export writes the newest checkpoint of the run that ref names as one safetensors file for OpenCLIP
// (format open_clip) or for transformers' CLIPModel (hf), and the model's config beside it: FILE.json
// for OpenCLIP, config.json for transformers. A model that they do not have is fault.Invalid.
func (l Lab) Export(ctx context.Context, ref, format, out string) (Exported, error) {
	detail, step, dir, err := l.trained(ctx, ref)
	if err != nil {
		return Exported{}, err
	}
	p, err := openCheckpoint(dir)
	if err != nil {
		return Exported{}, err
	}
	defer p.Close()
	if !p.has(keymap.LogitScale) { // a loss without one multiplies by 1
		p.tensors = append(p.tensors, weights.FromF32(keymap.LogitScale, []float32{0}))
	}
	model := keymap.Model{EmbedDim: p.embedDim, Image: json.RawMessage(p.meta[keymap.MetaImage]), Text: json.RawMessage(p.meta[keymap.MetaText]),
		Tokenizer: []byte(p.meta[keymap.MetaTokenizer]), LogitBias: p.has(keymap.LogitBias)}
	var config []byte
	path := strings.TrimSuffix(out, filepath.Ext(out)) + ".json"
	switch format {
	case "open_clip":
		config, err = model.OpenCLIP()
		for _, t := range p.tensors {
			if name, ok := strings.CutSuffix(t.Name, ".running_mean"); ok {
				p.tensors = append(p.tensors, weights.FromI64(name+".num_batches_tracked", []int64{0}))
			}
		}
	case "hf":
		path = filepath.Join(filepath.Dir(out), "config.json")
		if old, readErr := os.ReadFile(path); readErr == nil && !strings.Contains(string(old), "CLIPModel") {
			return Exported{}, fault.New(fault.Conflict, "there is a config.json of something else").WithFile(path, 0, 0).
				WithHint("transformers wants a folder per model: -o some/folder/model.safetensors")
		}
		if config, err = model.HF(); err == nil {
			p.tensors, err = keymap.HF(p.tensors)
		}
	default:
		err = fault.New(fault.Invalid, "unknown format %q", format).WithHint("open_clip or hf")
	}
	if err != nil {
		return Exported{}, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return Exported{}, fault.New(fault.Unavailable, "%w", err)
	}
	if err := weights.WriteSync(out, p.tensors, p.meta); err != nil {
		return Exported{}, err
	}
	if err := os.WriteFile(path, config, 0o644); err != nil {
		return Exported{}, fault.New(fault.Exhausted, "%w", err)
	}
	return Exported{Run: detail.ID, Step: step, Weights: out, Config: path, Tensors: len(p.tensors)}, nil
}

// Import records published weights (or a checkpoint folder's) as a run of s that is done at step 0, so
// that every command works on them. Nothing is trained and no data is opened.
func (l Lab) Import(ctx context.Context, s *spec.Spec, file string, w Watcher) (_ Outcome, err error) {
	used, err := l.plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	sha, err := weightsDigest(file)
	if err != nil {
		return Outcome{}, err
	}
	m, err := l.assemble(ctx, s)
	if err != nil {
		return Outcome{}, err
	}
	defer m.Close()
	remarks, err := m.initialise(ctx, file, both)
	if err != nil {
		return Outcome{}, err
	}
	db, err := l.database()
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	digests := used.digests()
	digests["init"] = sha
	rec, err := db.Begin(ctx, meta(s, used, s.Identity(digests)))
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{ID: rec.ID(), Status: clip.StatusFailed}
	err = l.keep(ctx, m, rec, fmt.Sprintf("imported %s, sha256 %s", file, sha), remarks, w)
	if err == nil {
		out.Status = clip.StatusDone
	}
	return out, errors.Join(err, rec.Finish(context.WithoutCancel(ctx), out.Status, err))
}

// keep writes and records the checkpoint of an imported model.
func (l Lab) keep(ctx context.Context, m *model, rec *store.Run, what string, remarks []string, w Watcher) error {
	if err := rec.Event("info", "imported", what, ""); err != nil {
		return err
	}
	for _, r := range remarks {
		w.Event("warning", r)
		if err := rec.Event("warning", "weights", r, ""); err != nil {
			return err
		}
	}
	dir := l.Dir(rec.ID())
	checkpoints := filepath.Join(dir, checkpointsDir)
	if err := os.MkdirAll(checkpoints, 0o755); err != nil {
		return fault.New(fault.Unavailable, "the run's folder: %w", err).WithHint("--runs-dir names another place")
	}
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(m.spec.YAML(true)), 0o644); err != nil {
		return fault.New(fault.Exhausted, "the run's folder: %w", err)
	}
	path, err := train.WriteCheckpoint(ctx, checkpoints, m.Parts, train.State{BatchSize: m.spec.Train.BatchSize, Seed: m.spec.Seed, Run: rec.ID()})
	if err != nil {
		return err
	}
	if err := rec.SetFacts(facts(m.begin)); err != nil {
		return err
	}
	if err := rec.SetDevice(deviceText(m.spec, m.begin.Image), map[string]string{
		"image": m.begin.Image.Backend, "text": m.begin.Text.Backend, "loss": m.begin.Loss.Backend}); err != nil {
		return err
	}
	if err := rec.Checkpoint(0, path); err != nil {
		return err
	}
	w.Checkpointed(0, path)
	return nil
}
