package run

import (
	"context"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// trained finds the run that ref names and its newest checkpoint.
func (l Lab) trained(ctx context.Context, ref string) (_ *store.RunDetail, step int, dir string, err error) {
	r, err := store.OpenReader(l.DB)
	if err != nil {
		return nil, 0, "", err
	}
	defer r.Close()
	id, err := r.FindRun(ctx, ref)
	if err != nil {
		return nil, 0, "", err
	}
	detail, err := r.Get(ctx, id)
	if err != nil {
		return nil, 0, "", err
	}
	from, err := l.find(id, detail.Checkpoints, train.Verify)
	if err != nil {
		return nil, 0, "", err
	}
	for _, message := range from.skipped {
		l.note(message)
	}
	if from.dir == "" {
		return nil, 0, "", fault.New(fault.NotFound, "run %s has no checkpoint", id).
			WithHint("a run writes one at its end, on Ctrl-C and every train.checkpoint_every steps")
	}
	return detail, from.step, from.dir, nil
}

// assemble starts and configures both towers and the loss, without data.
func (l Lab) assemble(ctx context.Context, s *spec.Spec) (*model, error) {
	if err := checkDevices(s); err != nil {
		return nil, err
	}
	session, err := process.NewSession(process.SessionOptions{Catalog: l.Catalog, Limits: callLimits(s)})
	if err != nil {
		return nil, err
	}
	m := &model{session: session, spec: s, byRole: map[string]*process.Process{}}
	m.begin.Spec = s
	if err := m.startModel(ctx); err != nil {
		return nil, closing(session, err)
	}
	return m, nil
}

func closing(s *process.Session, err error) error {
	_ = s.Close() // the first error counts
	return err
}

// startModel starts and configures towers and loss, all at once. The text encoder gets no captions: its
// tokenizer comes with the settings or with the weights.
func (m *model) startModel(ctx context.Context) error {
	s, limits := m.spec, threads(m.spec)
	tower := func(ctx context.Context, role string, t spec.Tower) (clip.Encoder, clip.EncoderInfo, error) {
		e, _, err := m.session.StartEncoder(ctx, t.Encoder, process.StartOptions{Label: role, Threads: limits[role]})
		if err != nil {
			return nil, clip.EncoderInfo{}, err
		}
		info, err := e.Configure(ctx, encoderConfig(s, role, limits))
		return e, info, place(s, err, role)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(fault.Safely(func() (err error) {
		m.Image, m.begin.Image, err = tower(ctx, roleImage, s.Image)
		return err
	}))
	g.Go(fault.Safely(func() (err error) {
		m.Text, m.begin.Text, err = tower(ctx, roleText, s.Text)
		return err
	}))
	g.Go(fault.Safely(func() (err error) {
		m.Loss, _, err = m.session.StartLoss(ctx, s.Loss.Plugin, process.StartOptions{Label: roleLoss, Threads: limits[roleLoss]})
		if err != nil {
			return err
		}
		m.begin.Loss, err = m.Loss.Configure(ctx, lossConfig(s, limits))
		return place(s, err, roleLoss)
	}))
	return g.Wait()
}
