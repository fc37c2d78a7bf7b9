package run

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"tandem/core/clip"
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
	Plugins []store.Plugin    // as rank 0 has them
	Groups  map[string][]byte // of GPUs (assemble.Groups)
	Bench   bool              // other runs may come that take datasets over
}

// assign gives the others of a's run to do.
func (a Attempt) assign(ctx context.Context, g collective.Group, dir string) error {
	_, err := collective.BroadcastValue(ctx, g, job{Run: a.Record.ID(), Dir: dir, Spec: a.Spec.YAML(false), From: a.From, Plugins: a.Plugins.Rows(), Groups: a.groups, Bench: a.Bench != nil})
	return err
}

// nameGroups names the groups of GPUs that add gradients up among themselves. Where there is no NCCL the runners do, which is told.
func (a *Attempt) nameGroups(w Watcher) (err error) {
	if a.groups, err = assemble.Groups(a.Spec, a.Plugins); fault.KindOf(err) != fault.Unavailable {
		return err
	}
	message := fmt.Sprintf("gradients are added up on the CPU: %v", err)
	w.Event("warning", message)
	return a.Record.Event("warning", "nccl", message, "")
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

// communicators returns this rank's place in groups of GPUs.
func communicators(ranks lab.Ranks, groups map[string][]byte) map[string]*clip.Communicator {
	all := map[string]*clip.Communicator{}
	for role, id := range groups {
		all[role] = &clip.Communicator{ID: id, Rank: ranks.Group.Rank(), Size: ranks.Group.Size()}
	}
	return all
}

// leaveGroups tells the other ranks of an error of the start where GPUs form groups: they may wait for this one in there, where
// nothing else ends them.
func leaveGroups(ranks lab.Ranks, groups map[string][]byte, err error) error {
	if err == nil || len(groups) == 0 {
		return nil
	}
	ranks.Group.Abort(err)
	return err
}

// exchange lets towers add values up over the ranks while they compute, where the spec asks for it.
func exchange(ctx context.Context, m *assemble.Model, ranks lab.Ranks) (err error) {
	if ranks.Several() {
		m.Exchanges, err = m.Exchange(ctx, ranks.Group.SumDoubles)
	}
	return err
}

// share lets the ranks add gradients up in the memory of a model's plugins, until end is called. why says why they cannot, the same on all
// ranks.
func share(ctx context.Context, m *assemble.Model, ranks lab.Ranks) (why string, end func(), err error) {
	sharer, ok := ranks.Group.(collective.Sharer)
	if !ok {
		return "", func() {}, nil
	}
	why, err = sharer.Share(ctx, m.Memory())
	return why, sharer.Unshare, err
}

// shareMemory lets rank 0 take part in what share does, and tells where gradients travel instead.
func (r *running) shareMemory(ctx context.Context) error {
	why, end, err := share(ctx, r.Model, r.lab.Ranks)
	r.ends = append(r.ends, end)
	if err != nil || why == "" {
		return err
	}
	if err = r.rec.Event("info", "ranks", "gradients travel by MPI: "+why, ""); err != nil {
		r.lab.Group.Abort(err) // the others begin to train
	}
	return err
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

// shared returns the plan of a model's evaluations, in which the ranks share where their towers are alike, and the context in which this
// rank does its part: a stop ends it.
func shared(ctx context.Context, m *assemble.Model, ranks lab.Ranks) (*eval.Plan, context.Context, context.CancelFunc) {
	plan := m.EvalPlan()
	if !ranks.Several() {
		return plan, ctx, func() {}
	}
	if m.Alike() {
		plan.Ranks = &eval.Ranks{Group: ranks.Group, Until: ctx}
	}
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

// The facts by which a run says on how many ranks it was made.
const (
	factRanks   = "ranks.n"
	factHosts   = "ranks.hosts"
	factSent    = "ranks.bytes_per_step" // that rank 0 gave to others in the newest step
	factHistory = "ranks.history"        // of a run whose number of ranks changed
)

// recordRanks records on how many ranks the run is made, and tells when it goes on with another number than before: then the last bits of
// its numbers are those of neither.
func (r *running) recordRanks(ctx context.Context, from lab.Checkpoint) error {
	now, facts := int64(1), map[string]any{}
	if r.lab.Several() {
		now = int64(r.lab.Group.Size())
		facts[factRanks], facts[factHosts] = now, collective.Hosts(r.lab.Places)
	}
	if from.Step >= 0 {
		known, err := r.known(ctx)
		if err != nil {
			return err
		}
		before, told := known[factRanks].(int64)
		if !told {
			before = 1
		}
		if before != now {
			history, _ := known[factHistory].(string)
			if history == "" {
				history = fmt.Sprint(before)
			}
			facts[factRanks], facts[factHistory] = now, fmt.Sprintf("%s until step %d, %d", history, from.Step, now)
			if err := r.rec.Event("warning", "ranks", fmt.Sprintf("resumed on %s at step %d, after %s before: sums are taken in another order, so that the last bits differ from those of a run on one number of ranks",
				countRanks(now), from.Step, countRanks(before)), ""); err != nil {
				return err
			}
		}
	}
	if len(facts) == 0 {
		return nil
	}
	return r.rec.SetFacts(facts)
}

func countRanks(n int64) string {
	if n == 1 {
		return "1 rank"
	}
	return fmt.Sprintf("%d ranks", n)
}

// known returns the facts that are recorded of the run.
func (r *running) known(ctx context.Context) (map[string]any, error) {
	if err := r.rec.Flush(ctx); err != nil {
		return nil, err
	}
	reader, err := store.OpenReader(r.lab.DB)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	detail, err := reader.Get(ctx, r.rec.ID())
	if err != nil {
		return nil, err
	}
	return detail.Facts, nil
}
