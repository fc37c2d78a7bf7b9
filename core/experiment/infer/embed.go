// Package infer uses trained towers: it classifies pictures by texts (Classify) and writes embeddings of pictures
// and texts (Embed).
package infer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/tensor"
)

// Embedding chooses what to embed, and with which model: the newest checkpoint of a run, or weights (see
// spec init.weights) in the towers of a spec.
type Embedding struct {
	Run     string
	Spec    *spec.Spec
	Weights string

	Images  []string // picture files
	Remarks []string // what Pictures said of them
	Texts   []string
	Raw     bool // leave out the L2 normalisation
	// Averaged computes with the run's averaged weights (train.ema).
	Averaged bool
	// SkipUnreadable leaves pictures out that cannot be read: rows and metadata are then of the others.
	SkipUnreadable bool
}

// Embedded tells what Embed wrote.
type Embedded struct {
	File       string  `json:"file"`
	Images     int     `json:"images"`
	LeftOut    int     `json:"left_out"` // pictures that cannot be read
	TextsCut   int     `json:"texts_cut"`
	Texts      int     `json:"texts"`
	EmbedDim   int     `json:"embed_dim"`
	LogitScale float64 `json:"logit_scale"`
}

// embedBatch limits the samples that are embedded at a time.
const embedBatch = 64

// Embed writes a safetensors file with image_features f32 [N, D], text_features f32 [M, D], each when
// there is something to embed, and logit_scale f32 [], what cosines are multiplied by (as OpenCLIP's
// forward gives it: exp of the parameter; 1 when the loss has none). Pictures get the evaluation
// transform. The metadata holds the names of the pictures and the texts as JSON lists.
func Embed(ctx context.Context, l lab.Lab, e Embedding, out string, w assemble.Watcher) (done Embedded, err error) {
	if len(e.Images)+len(e.Texts) == 0 {
		return done, fault.New(fault.Invalid, "nothing to embed").WithHint("--images DIR, --texts FILE or both")
	}
	for _, r := range e.Remarks {
		w.Event("warning", r)
	}
	w.Doing("loading the model")
	defer w.Doing("")
	m, found, err := openModel(ctx, l, e)
	if err != nil {
		return done, err
	}
	defer m.Close()
	for _, r := range m.Remarks {
		w.Event("warning", r)
	}
	mode := clip.Eval
	if e.Raw {
		mode = clip.Raw
	}
	dim := m.Spec.EmbedDim
	done = Embedded{File: out, Images: len(e.Images), Texts: len(e.Texts), EmbedDim: dim, LogitScale: found.Scale}
	tensors := []weights.Tensor{weights.FromF32("logit_scale", []float32{float32(found.Scale)})}
	meta := map[string]string{"normalized": fmt.Sprint(!e.Raw)}
	if len(e.Images) > 0 {
		features, files, unreadable, err := embedImages(ctx, m, e, mode, w)
		if err != nil {
			return done, err
		}
		if len(files) == 0 {
			return done, fault.New(fault.Invalid, "none of the %d pictures can be read; the first: %w", len(e.Images), unreadable)
		}
		done.Images, done.LeftOut = len(files), len(e.Images)-len(files)
		tensors = append(tensors, weights.FromF32("image_features", features, len(files), dim))
		meta["images"] = jsonList(files)
	}
	if len(e.Texts) > 0 {
		if done.TextsCut, err = countTexts(ctx, m, e.Texts, w); err != nil {
			return done, err
		}
		features := make([]float32, 0, len(e.Texts)*dim)
		for part := range slices.Chunk(e.Texts, embedBatch) {
			w.Doing(fmt.Sprintf("embedding texts %d/%d", len(features)/dim, len(e.Texts)))
			if features, err = embed(ctx, m.Text, clip.ForwardRequest{Texts: part, Mode: mode}, features); err != nil {
				return done, err
			}
		}
		tensors = append(tensors, weights.FromF32("text_features", features, len(e.Texts), dim))
		meta["texts"] = jsonList(e.Texts)
	}
	return done, weights.WriteSync(out, tensors, meta)
}

// jsonList returns texts as a JSON list.
func jsonList(texts []string) string {
	data, err := json.Marshal(texts)
	if err != nil {
		panic("infer: texts do not encode: " + err.Error()) // strings always do
	}
	return string(data)
}

// openModel starts the model that is to embed. The caller closes it.
func openModel(ctx context.Context, l lab.Lab, e Embedding) (*assemble.Model, assemble.Logits, error) {
	if e.Run != "" {
		return restore(ctx, l, e.Run, e.Averaged)
	}
	l.NoteUnguarded(e.Spec)
	m, err := assemble.OpenTowers(ctx, l.Catalog, e.Spec)
	if err != nil {
		return nil, assemble.Logits{}, err
	}
	m.Remarks, err = m.LoadWeights(ctx, e.Weights)
	return withLogits(ctx, m, err)
}

// embed appends the embeddings of a request to features.
func embed(ctx context.Context, e clip.Encoder, q clip.ForwardRequest, features []float32) ([]float32, error) {
	out, _, err := e.Forward(ctx, q)
	if err != nil {
		return nil, err
	}
	defer out.Free()
	return append(features, out.F32()...), nil
}

// embedImages returns the features of the pictures that can be read, and which they are: all, unless the others are to
// be left out. unreadable says why the first of these is.
func embedImages(ctx context.Context, m *assemble.Model, e Embedding, mode clip.Mode, w assemble.Watcher) (features []float32, files []string, unreadable, err error) {
	side := m.Summary.Image.ImageSize
	features = make([]float32, 0, len(e.Images)*m.Spec.EmbedDim)
	n := 3 * side * side
	var r vision.Resizer
	for part := range slices.Chunk(e.Images, embedBatch) {
		w.Doing(fmt.Sprintf("embedding pictures %d/%d", len(files), len(e.Images)))
		batch, read := tensor.New(tensor.U8, len(part), side, side, 3), 0
		for _, file := range part {
			p, err := readPicture(file)
			if err != nil && e.SkipUnreadable {
				if unreadable == nil {
					unreadable = err
				}
				continue
			}
			if f, ok := err.(*fault.Error); ok {
				f.WithHint("%s", strings.TrimPrefix(f.Hint+"; --skip-unreadable leaves such pictures out", "; "))
			}
			if err != nil {
				return nil, nil, nil, err
			}
			r.Evaluate(batch.Data[read*n:(read+1)*n], p, side)
			files = append(files, file)
			read++
		}
		if read == 0 {
			continue
		}
		batch.Shape[0], batch.Data = read, batch.Data[:read*n]
		if features, err = embed(ctx, m.Image, clip.ForwardRequest{Images: batch, Mode: mode}, features); err != nil {
			return nil, nil, nil, err
		}
	}
	if bad := len(e.Images) - len(files); bad > 0 {
		w.Event("warning", fmt.Sprintf("%s cannot be read and are left out; the first: %v", clip.CountOf(bad, len(e.Images), "pictures"), unreadable))
	}
	return features, files, unreadable, nil
}

// countTexts returns how many texts are longer than the encoder's context, and tells of them and of those that say
// nothing; 0 from an encoder that does not count.
func countTexts(ctx context.Context, m *assemble.Model, texts []string, w assemble.Watcher) (cut int, err error) {
	counter, ok := m.Text.(clip.TokenCounter)
	if !ok {
		return 0, nil
	}
	blank, longest, limit := 0, 0, 0
	for part := range slices.Chunk(texts, 1024) {
		var tokens []int
		tokens, limit, err = counter.CountTokens(ctx, nil, part)
		if fault.KindOf(err) == fault.Unavailable {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		for _, n := range tokens {
			longest = max(longest, n)
			if limit > 0 && n > limit {
				cut++
			}
			if n <= 2 {
				blank++
			}
		}
	}
	if cut > 0 {
		w.Event("warning", fmt.Sprintf("%s are longer than the context of %d tokens and are cut; the longest has %d", clip.CountOf(cut, len(texts), "texts"), limit, longest))
	}
	if blank > 0 {
		w.Event("warning", clip.CountOf(blank, len(texts), "texts")+" say nothing to the text encoder: no token is left of them")
	}
	return cut, nil
}
