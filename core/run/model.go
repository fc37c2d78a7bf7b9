package run

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/eval"
	"tandem/core/fault"
	"tandem/core/host"
	"tandem/core/spec"
	"tandem/core/train"
)

// model is the plugins of a run, started and configured.
type model struct {
	session *host.Session
	spec    *spec.Spec
	train.Parts
	begin  Begin
	evals  []eval.Parts // beside spec.Eval
	byRole map[string]*host.Process
	// remarks are what was found while the parameters were initialised.
	remarks []string
}

// Close ends the plugins.
func (m *model) Close() error { return m.session.Close() }

// open starts and configures the plugins of s. With fresh false the text encoder gets no captions:
// it learns its vocabulary from a checkpoint.
func (l Lab) open(ctx context.Context, s *spec.Spec, logDir string, fresh bool, w Watcher) (m *model, err error) {
	return l.observed(ctx, s, logDir, fresh, w, nil)
}

// observed is open with an observer of every call, who is told from the goroutine that made it.
func (l Lab) observed(ctx context.Context, s *spec.Spec, logDir string, fresh bool, w Watcher, observe func(host.Call)) (m *model, err error) {
	w.Doing("starting plugins")
	defer w.Doing("")
	session, err := host.NewSession(host.SessionOptions{Catalog: l.Catalog, LogDir: logDir, Observe: observe})
	if err != nil {
		return nil, err
	}
	m = &model{session: session, spec: s, byRole: map[string]*host.Process{}, evals: make([]eval.Parts, len(s.Eval))}
	defer func() {
		if err != nil {
			_ = session.Close()
		}
	}()
	limits := threads(s)
	at := func(role string) host.StartOptions { return host.StartOptions{Label: role, Threads: limits[role]} }
	if err := m.start(ctx, at); err != nil {
		return nil, err
	}
	if err := m.configure(ctx, limits, fresh, w); err != nil {
		return nil, err
	}
	if fresh && s.Init.Weights != "" {
		w.Doing("loading " + s.Init.Weights)
		if m.remarks, err = m.initialise(ctx, s.Init.Weights, s.Init.Towers); err != nil {
			return nil, err
		}
	}
	m.Frozen = [2]bool{s.Image.Freeze.Any() && m.begin.Image.Frozen == m.begin.Image.Parameters,
		s.Text.Freeze.Any() && m.begin.Text.Frozen == m.begin.Text.Parameters}
	perEpoch := m.begin.Data.Len / s.Train.BatchSize
	m.begin.Spec, m.begin.StepsPerEpoch, m.begin.Steps = s, perEpoch, steps(s.Train, perEpoch)
	return m, nil
}

// start starts every process, all at once.
func (m *model) start(ctx context.Context, at func(role string) host.StartOptions) error {
	s := m.spec
	processes := make([]*host.Process, 4+len(s.Eval))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.Data, processes[0], err = m.session.StartDataset(ctx, s.Data.Train.Dataset, at(roleData))
		return err
	})
	g.Go(func() (err error) {
		m.Image, processes[1], err = m.session.StartEncoder(ctx, s.Image.Encoder, at(roleImage))
		return err
	})
	g.Go(func() (err error) {
		m.Text, processes[2], err = m.session.StartEncoder(ctx, s.Text.Encoder, at(roleText))
		return err
	})
	g.Go(func() (err error) {
		m.Loss, processes[3], err = m.session.StartLoss(ctx, s.Loss.Plugin, at(roleLoss))
		return err
	})
	for i, e := range s.Eval {
		g.Go(func() (err error) {
			m.evals[i].Data, processes[4+i], err = m.session.StartDataset(ctx, e.Dataset, at(roleEval+e.Name))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, role := range []string{roleData, roleImage, roleText, roleLoss} {
		m.byRole[role] = processes[i]
	}
	for i, e := range s.Eval {
		m.byRole[roleEval+e.Name] = processes[4+i]
	}
	return nil
}

// computeFor is what the plugin of a role computes with. Losses are always in float32.
func computeFor(s *spec.Spec, role string, limits map[string]int) clip.Compute {
	c := clip.Compute{Device: s.Device, Threads: limits[role], Precision: s.Train.Precision,
		Checkpointing: s.Train.ActivationCheckpointing}
	if role == roleLoss {
		c.Precision, c.Checkpointing = "f32", false
	}
	return c
}

// configure configures the plugins in the order that they need: the image encoder says how large its
// pictures are, the training data then gives the captions that the text encoder's vocabulary is
// learned from.
func (m *model) configure(ctx context.Context, limits map[string]int, fresh bool, w Watcher) (err error) {
	s := m.spec
	optimizer := s.Train.ClipOptimizer()
	compute := func(role string) clip.Compute {
		return computeFor(s, role, limits)
	}
	w.Doing("configuring the image encoder")
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.begin.Image, err = m.Image.Configure(gctx, clip.EncoderConfig{
			With: s.Image.With, EmbedDim: s.EmbedDim, Seed: s.Seed, Optimizer: optimizer, Compute: compute(roleImage),
			Freeze: s.Image.Freeze})
		return place(s, err, roleImage)
	})
	g.Go(func() (err error) {
		m.begin.Loss, err = m.Loss.Configure(gctx, clip.LossConfig{
			With: s.Loss.With, EmbedDim: s.EmbedDim, BatchSize: s.Train.BatchSize, Seed: s.Seed, Optimizer: optimizer, Compute: compute(roleLoss)})
		return place(s, err, roleLoss)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := agree(roleImage, m.begin.Image, clip.Image, s.EmbedDim); err != nil {
		return err
	}

	w.Doing("opening the data")
	cache := cacheDir()
	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		m.begin.Data, err = m.Data.Configure(gctx, clip.DatasetConfig{
			With: s.Data.Train.With, ImageSize: m.begin.Image.ImageSize, Seed: s.Seed, Augment: s.Data.Train.Augment,
			Threads: limits[roleData], CacheDir: cache})
		return place(s, err, roleData)
	})
	for i, e := range s.Eval {
		g.Go(func() (err error) {
			role := roleEval + e.Name
			m.evals[i].Info, err = m.evals[i].Data.Configure(gctx, clip.DatasetConfig{
				With: e.With, ImageSize: m.begin.Image.ImageSize, Seed: s.Seed, Threads: limits[role], CacheDir: cache})
			return place(s, err, evalSection(i))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}

	w.Doing("configuring the text encoder")
	var captions []string
	if fresh && hasCapability(m.byRole[roleText].Descriptor, clip.CapVocabulary) {
		if captions, err = m.Data.Captions(ctx, 0); err != nil {
			return place(s, err, roleData)
		}
	}
	m.begin.Text, err = m.Text.Configure(ctx, clip.EncoderConfig{
		With: s.Text.With, EmbedDim: s.EmbedDim, Seed: s.Seed, Optimizer: optimizer, Compute: compute(roleText), Captions: captions,
		Freeze: s.Text.Freeze})
	if err != nil {
		return place(s, err, roleText)
	}
	for i := range m.evals {
		m.evals[i].Image, m.evals[i].Text = m.Image, m.Text
	}
	return agree(roleText, m.begin.Text, clip.Text, s.EmbedDim)
}

func hasCapability(d clip.Descriptor, name string) bool {
	for _, c := range d.Capabilities {
		if c == name {
			return true
		}
	}
	return false
}

// place turns the path of a plugin's fault, which begins at its with or freeze block, into one of the spec, and
// says where in the file that is.
func place(s *spec.Spec, err error, section string) error {
	f, ok := err.(*fault.Error)
	if !ok || f == nil || f.Path != "with" && !strings.HasPrefix(f.Path, "with.") && !strings.HasPrefix(f.Path, "freeze.") {
		return err
	}
	f.Path = section + "." + f.Path
	if f.File == "" {
		if o := s.Locate(f.Path); o.Line > 0 {
			f.WithFile(o.Source, o.Line, o.Column)
		}
	}
	return f
}

// evalSection is the place of an evaluation in the spec.
func evalSection(i int) string { return fmt.Sprintf("eval[%d]", i) }

// agree holds what an encoder says of itself against what it was asked for.
func agree(role string, info clip.EncoderInfo, want clip.Modality, dim int) error {
	switch {
	case info.Modality != want:
		return fault.New(fault.Invalid, "the encoder reads %ss, want %ss", info.Modality, want).WithPath(role + ".encoder")
	case info.EmbedDim != dim:
		return fault.New(fault.Invalid, "the encoder ends in %d dimensions, want %d", info.EmbedDim, dim).WithPath("embed_dim")
	case want == clip.Image && info.ImageSize < 1:
		return fault.New(fault.Internal, "the encoder takes pictures of %d pixels", info.ImageSize).WithPath(role + ".encoder")
	}
	return nil
}
