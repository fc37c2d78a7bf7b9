package run

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/eval"
	"tandem/core/fault"
	"tandem/core/host"
	"tandem/core/spec"
	"tandem/core/store"
	"tandem/core/tensor"
	"tandem/core/train"
	"tandem/core/vision"
)

// Guess is one class of a picture.
type Guess struct {
	Label       string  `json:"label"`
	Probability float64 `json:"probability"` // see logits
	Cosine      float64 `json:"cosine"`
}

// Classified is a picture and its classes, the likeliest first.
type Classified struct {
	Image   string  `json:"image"`
	Guesses []Guess `json:"guesses"`
}

// Classify guesses which of the labels each picture file shows, with the newest checkpoint of the run
// that ref names. Each template has one {} for the label; without any, those of the spec's first
// zero-shot evaluation are used. A file that is no picture is fault.Invalid,
// one that is not there fault.NotFound.
func (l Lab) Classify(ctx context.Context, ref string, files, labels, templates []string) ([]Classified, error) {
	pictures := make([]vision.Picture, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.NotFound, "%w", err)
		}
		if pictures[i], err = vision.Decode(data, vision.Options{}); err != nil {
			if f, ok := err.(*fault.Error); ok {
				f.WithFile(file, 0, 0).Kind = fault.Invalid // what the user gave, not what tandem keeps
			}
			return nil, err
		}
	}
	m, logits, err := l.restore(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if len(templates) == 0 {
		templates = ownTemplates(m.spec)
	}
	side := m.begin.Image.ImageSize
	batch := tensor.New(tensor.U8, len(pictures), side, side, 3)
	var r vision.Resizer
	for i, p := range pictures {
		n := 3 * side * side
		r.Evaluate(batch.Data[i*n:(i+1)*n], p, side)
	}
	cosines, err := eval.Cosines(ctx, m.Image, m.Text, batch, labels, templates)
	if err != nil {
		return nil, err
	}
	out := make([]Classified, len(files))
	for i, row := range cosines {
		out[i] = Classified{Image: files[i], Guesses: logits.guesses(row, labels)}
	}
	return out, nil
}

func ownTemplates(s *spec.Spec) []string {
	for _, e := range s.Eval {
		if e.ZeroShot != nil {
			return e.ZeroShot.Templates
		}
	}
	return []string{"a photo of a {}."}
}

// logits is how the loss that a model was trained with turns cosines into probabilities.
type logits struct {
	scale float64
	// bias is nil for losses that compare the labels with one another: the probabilities are then the
	// softmax over the labels of scale times cosine. A loss with a bias (SigLIP) judges each label on
	// its own, σ(scale·cosine + bias): none of the labels may fit, or several.
	bias *float64
}

// guesses are the labels with their probabilities, the likeliest first.
func (l logits) guesses(cosines []float32, labels []string) []Guess {
	out := make([]Guess, len(labels))
	best := math.Inf(-1)
	for _, c := range cosines {
		best = math.Max(best, float64(c))
	}
	sum := 0.0
	for j, c := range cosines {
		p := math.Exp(l.scale * (float64(c) - best))
		if l.bias != nil {
			p = 1 / (1 + math.Exp(-l.scale*float64(c)-*l.bias))
		}
		out[j] = Guess{Label: labels[j], Probability: p, Cosine: float64(c)}
		sum += p
	}
	if l.bias == nil {
		for j := range out {
			out[j].Probability /= sum
		}
	}
	slices.SortStableFunc(out, func(a, b Guess) int {
		switch {
		case a.Cosine > b.Cosine:
			return -1
		case a.Cosine < b.Cosine:
			return 1
		}
		return 0
	})
	return out
}

// restore starts the towers and the loss of a run from its newest checkpoint and asks the loss for its
// logits.
func (l Lab) restore(ctx context.Context, ref string) (*model, logits, error) {
	var none logits
	r, err := store.OpenReader(l.DB)
	if err != nil {
		return nil, none, err
	}
	defer r.Close()
	id, err := r.FindRun(ctx, ref)
	if err != nil {
		return nil, none, err
	}
	detail, err := r.Get(ctx, id)
	if err != nil {
		return nil, none, err
	}
	_, dir := newest(detail.Checkpoints)
	if dir == "" {
		return nil, none, fault.New(fault.NotFound, "run %s has no checkpoint", id).
			WithHint("a run writes one at its end, on Ctrl-C and every train.checkpoint_every steps")
	}
	s, err := l.stored(detail)
	if err != nil {
		return nil, none, err
	}
	session, err := host.NewSession(host.SessionOptions{Catalog: l.Catalog})
	if err != nil {
		return nil, none, err
	}
	m := &model{session: session, spec: s, byRole: map[string]*host.Process{}}
	found, err := m.load(ctx, dir)
	if err != nil {
		return nil, none, closing(session, err)
	}
	return m, found, nil
}

func closing(s *host.Session, err error) error {
	_ = s.Close() // the first error counts
	return err
}

// load starts, configures and loads both towers and the loss.
func (m *model) load(ctx context.Context, dir string) (found logits, err error) {
	s, limits := m.spec, threads(m.spec)
	compute := func(role string) clip.Compute {
		return clip.Compute{Device: s.Device, Threads: limits[role], Precision: s.Train.Precision}
	}
	tower := func(ctx context.Context, role, name string, with []byte, file string) (clip.Encoder, clip.EncoderInfo, error) {
		e, _, err := m.session.StartEncoder(ctx, name, host.StartOptions{Label: role, Threads: limits[role]})
		if err != nil {
			return nil, clip.EncoderInfo{}, err
		}
		info, err := e.Configure(ctx, clip.EncoderConfig{With: with, EmbedDim: s.EmbedDim, Seed: s.Seed,
			Optimizer: s.Train.ClipOptimizer(), Compute: compute(role)})
		if err != nil {
			return nil, info, place(s, err, role)
		}
		return e, info, e.Load(ctx, filepath.Join(dir, file))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.Image, m.begin.Image, err = tower(ctx, roleImage, s.Image.Encoder, s.Image.With, train.ImageFile)
		return err
	})
	g.Go(func() (err error) {
		m.Text, m.begin.Text, err = tower(ctx, roleText, s.Text.Encoder, s.Text.With, train.TextFile)
		return err
	})
	g.Go(func() (err error) {
		m.Loss, _, err = m.session.StartLoss(ctx, s.Loss.Plugin, host.StartOptions{Label: roleLoss, Threads: limits[roleLoss]})
		if err != nil {
			return err
		}
		m.begin.Loss, err = m.Loss.Configure(ctx, clip.LossConfig{With: s.Loss.With, EmbedDim: s.EmbedDim, BatchSize: s.Train.BatchSize,
			Seed: s.Seed, Optimizer: s.Train.ClipOptimizer(), Compute: compute(roleLoss)})
		if err != nil {
			return place(s, err, roleLoss)
		}
		if err = m.Loss.Load(ctx, filepath.Join(dir, train.LossFile)); err != nil {
			return err
		}
		found, err = m.logits(ctx)
		return err
	})
	err = g.Wait()
	return found, err
}

// logits are what the loss reports beside the loss of any two pairs; the scale is 1 when it has none.
func (m *model) logits(ctx context.Context) (logits, error) {
	pairs := tensor.New(tensor.F32, 2, m.spec.EmbedDim)
	values := pairs.F32()
	values[0], values[m.spec.EmbedDim] = 1, 1 // unit rows
	r, err := m.Loss.Compute(ctx, clip.LossRequest{Image: pairs, Text: pairs})
	if err != nil {
		return logits{}, err
	}
	out := logits{scale: 1}
	if scale, ok := r.Scalars["logit_scale"]; ok {
		out.scale = scale
	}
	if bias, ok := r.Scalars["logit_bias"]; ok {
		out.bias = &bias
	}
	return out, nil
}
