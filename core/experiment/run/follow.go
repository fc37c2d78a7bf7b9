package run

import (
	"context"
	"path/filepath"
	"strconv"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// RanksDir names the folder in a run's in which the ranks but 0 keep their plugins' logs, each in a folder of its number.
const RanksDir = "ranks"

// Follow takes part in the runs that rank 0 of l's ranks makes, until it has no more. Closing stop ends the run that is made now, on
// all ranks, with a checkpoint; cancelling ctx ends it at once. What goes wrong with a run is the error of rank 0, and ends Follow
// only when the ranks cannot go on together.
func Follow(ctx context.Context, l lab.Lab, stop <-chan struct{}) error {
	ctx, cancel := together(ctx, l.Ranks)
	defer cancel()
	bench := &assemble.Workbench{}
	defer func() { bench.Close() }()
	for {
		j, err := collective.BroadcastValue(ctx, l.Group, job{})
		if err != nil || j.End {
			return err
		}
		if err = j.follow(ctx, l, stop, bench); err == nil {
			continue
		}
		bench.Close()
		if ctx.Err() != nil || l.Group.Cause() != nil {
			return err
		}
	}
}

// follow takes part in a run.
func (j job) follow(ctx context.Context, l lab.Lab, stop <-chan struct{}, bench *assemble.Workbench) error {
	starting, training := untilTraining(ctx, stop)
	defer training()
	var f follower
	defer f.close()
	err := fault.Safely(func() error { return f.start(starting, j, l, bench) })()
	if err := leaveGroups(l.Ranks, j.Groups, err); err != nil {
		return err
	}
	if err := ready(ctx, l.Ranks, err, f.Model); err != nil {
		return err
	}
	_, end, err := share(ctx, f.Model, l.Ranks) // rank 0 tells
	defer end()
	if err != nil {
		return err
	}
	defer givingUp(f.Model, stop)()
	training()
	_, err = f.trainer.Run(ctx, stop)
	return err
}

// follower holds a run at a rank but 0.
type follower struct {
	*assemble.Model
	ranks    lab.Ranks
	trainer  *train.Trainer
	features func()
}

// start does as Attempt.start, without a record.
func (f *follower) start(ctx context.Context, j job, l lab.Lab, bench *assemble.Workbench) error {
	f.ranks = l.Ranks
	s, err := l.Parse(filepath.Join(j.Dir, lab.SpecFile), []byte(j.Spec))
	if err != nil {
		return err
	}
	if err := assemble.CheckDevices(s); err != nil {
		return err
	}
	used, err := l.Plugins(s)
	if err != nil {
		return err
	}
	if err := j.samePlugins(used); err != nil {
		return err
	}
	o := assemble.Options{Catalog: l.Catalog, Plugins: used, Cores: l.Cores, Ranks: len(l.Places), Resumes: j.From.Dir != "",
		Communicators: communicators(l.Ranks, j.Groups), LogDir: filepath.Join(j.Dir, RanksDir, strconv.Itoa(l.Group.Rank()), lab.LogsDir)}
	if j.Bench {
		o.Bench = bench
	}
	if f.Model, err = assemble.Open(ctx, s, o, Quiet{}); err != nil {
		return err
	}
	if err := exchange(ctx, f.Model, l.Ranks); err != nil {
		return err
	}
	config, err := trainConfig(f.Model, l.Ranks)
	if err != nil {
		return err
	}
	config.Dir, config.Run = filepath.Join(j.Dir, lab.CheckpointsDir), j.Run
	if f.trainer, err = train.New(config, f.Parts, nil, train.Hooks{Evaluate: f.evaluate}); err != nil {
		return err
	}
	if j.From.Dir != "" {
		if err := f.trainer.Resume(ctx, j.From.Dir, j.From.Known...); err != nil {
			return err
		}
	}
	f.features, err = remember(ctx, f.Model, f.trainer, Quiet{}, func(string, string) error { return nil })
	return err
}

// samePlugins checks that this rank's plugins are those of rank 0.
func (j job) samePlugins(used assemble.Plugins) error {
	digests := map[string]string{}
	for _, p := range j.Plugins {
		digests[p.Role] = p.SHA256
	}
	for _, p := range used {
		if p.Binary.SHA256 != digests[p.Role] {
			return fault.New(fault.Conflict, "%s is another plugin here (%s, %.12s) than at rank 0 (%.12s)", p.Role, p.Binary.Path, p.Binary.SHA256, digests[p.Role]).
				WithPlugin(p.Binary.Ref()).WithHint("install the same plugins on all hosts")
		}
	}
	return nil
}

// evaluate shares in the evaluations of rank 0. Those beside training are its own.
func (f *follower) evaluate(ctx context.Context, _ int) error {
	if f.Spec.Train.EvalDevice != "" && len(f.Spec.Eval) > 0 {
		return collective.Agree(ctx, f.ranks.Group, nil)
	}
	plan, during, end := shared(ctx, f.Model, f.ranks)
	defer end()
	for i := range f.Spec.Eval {
		var err error
		if plan.Ranks != nil {
			_, err = plan.Run(during, i, nil)
		}
		if err := collective.Agree(ctx, f.ranks.Group, err); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) close() {
	if f.features != nil {
		f.features()
	}
	if f.Model != nil {
		_ = f.Model.Close() // nothing of it is kept
	}
}
