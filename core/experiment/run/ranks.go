package run

import (
	"context"
	"maps"
	"slices"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// Several ranks make a run together, each in a process of its own with plugins of its own. Rank 0 makes it as one that is alone
// does: it has the record, the checkpoints and who watches. The others follow (Follow): rank 0 gives them a job, all start their
// plugins, agree that they are ready, train in lock-step and share in every evaluation; then they wait for the next job.

// job is what rank 0 has the others do: a run, or with End nothing more.
type job struct {
	End     bool
	Run     string // its id
	Dir     string // its folder
	Spec    string // resolved
	From    lab.Checkpoint
	Plugins []store.Plugin // as rank 0 has them
	Bench   bool           // other runs may come that take datasets over
}

// assign gives the others of a's run to do.
func (a Attempt) assign(ctx context.Context, g collective.Group, dir string) error {
	_, err := collective.BroadcastValue(ctx, g, job{Run: a.Record.ID(), Dir: dir, Spec: a.Spec.YAML(false), From: a.From, Plugins: a.Plugins.Rows(), Bench: a.Bench != nil})
	return err
}

// Dismiss tells the other ranks that there is nothing more to do. Rank 0 alone calls it.
func Dismiss(ctx context.Context, g collective.Group) error {
	_, err := collective.BroadcastValue(ctx, g, job{End: true})
	return err
}

// ready returns nil when every rank is: none has an error, and all have the same data.
func ready(ctx context.Context, ranks lab.Ranks, mine error, m *assemble.Model) error {
	if !ranks.Several() {
		return mine
	}
	if err := collective.Agree(ctx, ranks.Group, mine); err != nil {
		return err
	}
	all, err := collective.GatherValues(ctx, ranks.Group, m.DataDigests())
	if err != nil {
		return err
	}
	for rank, digests := range all {
		for _, role := range slices.Sorted(maps.Keys(digests)) {
			if digests[role] != all[0][role] {
				return fault.New(fault.Conflict, "%s is other data at rank %d on %s (%.12s) than at rank 0 on %s (%.12s)", role,
					rank, ranks.Places[rank].Host, digests[role], ranks.Places[0].Host, all[0][role]).WithHint("give all hosts the same files")
			}
		}
	}
	return nil
}

// together returns a context that ends, with the cause, when another rank is gone.
func together(ctx context.Context, ranks lab.Ranks) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ranks.Lost(): // nil: never
			cancel(ranks.Group.Cause())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// shared returns the plan of a model's evaluations in which the ranks share, and the context in which this rank does its part: a stop
// ends it.
func shared(ctx context.Context, m *assemble.Model, ranks lab.Ranks) (*eval.Plan, context.Context, context.CancelFunc) {
	plan := m.EvalPlan()
	if !ranks.Several() {
		return plan, ctx, func() {}
	}
	plan.Ranks = &eval.Ranks{Group: ranks.Group, Until: ctx}
	during, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-train.StopOf(ctx):
			cancel()
		case <-during.Done():
		}
	}()
	return plan, during, cancel
}

// The facts by which a run says on how many ranks it was made, those of the newest part where the number changed: the step loop tells
// of that.
const (
	factRanks = "ranks.n"
	factHosts = "ranks.hosts"
	factSent  = "ranks.bytes_per_step" // that rank 0 gave to others in the newest step
)

// recordRanks records on how many ranks the run is made.
func (r *running) recordRanks(from lab.Checkpoint) error {
	if r.lab.Several() {
		return r.rec.SetFacts(map[string]any{factRanks: int64(r.lab.Group.Size()), factHosts: collective.Hosts(r.lab.Places)})
	}
	if from.Dir == "" {
		return nil
	}
	before, err := train.ReadState(from.Dir)
	if err != nil || before.Ranks < 2 {
		return err
	}
	return r.rec.SetFacts(map[string]any{factRanks: int64(1), factHosts: collective.Host() + " (1 rank)"})
}
