package run

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// model is the plugins of a run, started and configured.
type model struct {
	session *process.Session
	spec    *spec.Spec
	train.Parts
	begin  Begin
	evals  []eval.Parts // beside spec.Eval
	byRole map[string]*process.Process
	data   []source   // the training data, and that of each evaluation
	bench  *workbench // not nil: the session is its, and outlives the model
	// remarks are what was found while the parameters were initialised.
	remarks []string
	told    map[string]string // what was last said of each evaluation, by kind
}

// Close ends the plugins. On a workbench it leaves the datasets for the next model.
func (m *model) Close() error {
	if m.bench == nil {
		return m.session.Close()
	}
	keep := map[*process.Process]bool{}
	m.bench.clear()
	for _, x := range m.data {
		keep[x.process] = true
	}
	m.bench.kept = m.data
	var wg sync.WaitGroup
	for _, p := range m.byRole {
		if !keep[p] {
			wg.Go(p.Stop)
		}
	}
	wg.Wait()
	return nil
}

// open starts and configures the plugins of s. With fresh false the text encoder gets no captions:
// it learns its vocabulary from a checkpoint.
func (l Lab) open(ctx context.Context, s *spec.Spec, logDir string, fresh bool, w Watcher) (m *model, err error) {
	return l.observed(ctx, s, logDir, fresh, w, nil)
}

// observed is open with an observer of every call, who is told from the goroutine that made it.
func (l Lab) observed(ctx context.Context, s *spec.Spec, logDir string, fresh bool, w Watcher, observe func(process.Call)) (m *model, err error) {
	tellDevices(s, w)
	w.Doing("starting plugins")
	defer w.Doing("")
	limits := threads(s)
	m = &model{bench: l.bench, spec: s, byRole: map[string]*process.Process{}, evals: make([]eval.Parts, len(s.Eval)), data: sources(s, limits)}
	if m.bench != nil && m.bench.session != nil {
		m.session = m.bench.session
	} else if m.session, err = process.NewSession(process.SessionOptions{Catalog: l.Catalog, LogDir: logDir, Observe: observe}); err != nil {
		return nil, err
	}
	if m.bench != nil {
		m.bench.session = m.session
	}
	session := m.session // m is nil after an error
	defer func() {
		switch {
		case err != nil && l.bench != nil:
			l.bench.Close()
		case err != nil:
			_ = session.Close()
		}
	}()
	m.session.SetLimits(callLimits(s))
	m.session.OnSlow(l.slow)
	at := func(role string) process.StartOptions {
		return process.StartOptions{Label: role, Threads: limits[role], LogDir: logDir, SHA256: l.used.sha256(role)}
	}
	if err := m.start(ctx, at); err != nil {
		return nil, err
	}
	if err := m.configure(ctx, at, limits, fresh, w); err != nil {
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
	m.Ahead = onGPU(s, roleImage) && hasCapability(m.byRole[roleImage].Descriptor, clip.CapPrefetch)
	perEpoch := m.begin.Data.Len / s.Train.BatchSize
	m.begin.Spec, m.begin.StepsPerEpoch, m.begin.Steps = s, perEpoch, steps(s.Train, perEpoch)
	return m, nil
}

// start starts every process, all at once.
func (m *model) start(ctx context.Context, at func(role string) process.StartOptions) error {
	s := m.spec
	var image, text, loss *process.Process
	g, ctx := errgroup.WithContext(ctx)
	for i := range m.data {
		x := &m.data[i]
		if m.bench.take(x, at(x.role).SHA256); !x.kept {
			g.Go(fault.Safely(func() error { return x.start(ctx, m.session, at(x.role)) }))
		}
	}
	g.Go(fault.Safely(func() (err error) {
		m.Image, image, err = m.session.StartEncoder(ctx, s.Image.Encoder, at(roleImage))
		return err
	}))
	g.Go(fault.Safely(func() (err error) {
		m.Text, text, err = m.session.StartEncoder(ctx, s.Text.Encoder, at(roleText))
		return err
	}))
	g.Go(fault.Safely(func() (err error) {
		m.Loss, loss, err = m.session.StartLoss(ctx, s.Loss.Plugin, at(roleLoss))
		return err
	}))
	if err := g.Wait(); err != nil {
		return err
	}
	m.byRole[roleImage], m.byRole[roleText], m.byRole[roleLoss] = image, text, loss
	return nil
}

// callLimits are the spec's timeouts.
func callLimits(s *spec.Spec) process.Limits {
	t := s.Limits()
	return process.Limits{Start: time.Duration(t.Start), Configure: time.Duration(t.Configure), Batch: time.Duration(t.Batch),
		Compute: time.Duration(t.Compute), File: time.Duration(t.File), Ask: time.Duration(t.Ask)}
}

// computeFor is what the plugin of a role computes with. Losses are always in float32.
func computeFor(s *spec.Spec, role string, limits map[string]int) clip.Compute {
	c := clip.Compute{Device: deviceOf(s, role), Threads: limits[role], Precision: s.Train.Precision,
		Checkpointing: s.Train.ActivationCheckpointing}
	if role == roleLoss {
		c.Precision, c.Checkpointing = "f32", false
	}
	return c
}

// encoderConfig is the configuration of a tower, without captions.
func encoderConfig(s *spec.Spec, role string, limits map[string]int) clip.EncoderConfig {
	t := s.Image
	if role == roleText {
		t = s.Text
	}
	return clip.EncoderConfig{With: t.With, EmbedDim: s.EmbedDim, Seed: s.Seed, Optimizer: s.Train.ClipOptimizer(),
		Compute: computeFor(s, role, limits), Freeze: t.Freeze}
}

// lossConfig is the configuration of the loss.
func lossConfig(s *spec.Spec, limits map[string]int) clip.LossConfig {
	return clip.LossConfig{With: s.Loss.With, EmbedDim: s.EmbedDim, BatchSize: s.Train.BatchSize, Seed: s.Seed,
		Optimizer: s.Train.ClipOptimizer(), Compute: computeFor(s, roleLoss, limits)}
}

// configure configures the plugins in the order that they need: the image encoder says how large its
// pictures are, the training data then gives the captions that the text encoder's vocabulary is
// learned from.
func (m *model) configure(ctx context.Context, at func(role string) process.StartOptions, limits map[string]int, fresh bool, w Watcher) (err error) {
	s := m.spec
	w.Doing("asking for memory")
	memory, err := m.budgets(ctx, limits)
	if err != nil {
		return err
	}
	w.Doing("configuring the image encoder")
	g, gctx := errgroup.WithContext(ctx)
	g.Go(fault.Safely(func() (err error) {
		c := encoderConfig(s, roleImage, limits)
		c.Compute.MemoryLimit = memory[roleImage]
		m.begin.Image, err = m.Image.Configure(gctx, c)
		return place(s, err, roleImage)
	}))
	g.Go(fault.Safely(func() (err error) {
		c := lossConfig(s, limits)
		c.Compute.MemoryLimit = memory[roleLoss]
		m.begin.Loss, err = m.Loss.Configure(gctx, c)
		return place(s, err, roleLoss)
	}))
	if err := g.Wait(); err != nil {
		return err
	}
	if err := agree(roleImage, m.begin.Image, clip.Image, s.EmbedDim); err != nil {
		return err
	}

	w.Doing("opening the data")
	g, gctx = errgroup.WithContext(ctx)
	for i := range m.data {
		x := &m.data[i]
		g.Go(fault.Safely(func() error {
			return place(s, x.configure(gctx, m.session, at(x.role), m.begin.Image.ImageSize), x.section)
		}))
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, x := range m.data {
		m.byRole[x.role] = x.process
		if i == 0 {
			m.Data, m.begin.Data = x.data, x.info
		} else {
			m.evals[i-1].Data = x.data
			if m.evals[i-1].Info, err = named(x.info, s.Eval[i-1].ZeroShot, x.section); err != nil {
				return err
			}
		}
	}

	w.Doing("configuring the text encoder")
	c := encoderConfig(s, roleText, limits)
	c.Compute.MemoryLimit = memory[roleText]
	if fresh && hasCapability(m.byRole[roleText].Descriptor, clip.CapVocabulary) {
		if c.Captions, err = m.Data.Captions(ctx, 0); err != nil {
			return place(s, err, roleData)
		}
	}
	m.begin.Text, err = m.Text.Configure(ctx, c)
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
