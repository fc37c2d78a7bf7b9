package task

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/results/store"
)

// Look tells how a trial of a bundle stands.
type Look struct {
	bundle.Trial
	Standing
	State ledger.State
	// Of a running trial: how far it is, how long ago its owner gave a sign of life, and whether it is taken for dead.
	Progress ledger.Progress
	Age      time.Duration
	Stale    bool
}

// Survey tells how the trials of a bundle stand, in their order. Failures of a round count.
func Survey(b *bundle.Bundle, round int, expiry time.Duration) ([]Look, error) {
	books := ledger.Ledger{Dir: b.TrialsDir(), Expiry: expiry}
	var all []Look
	for _, t := range b.Trials() {
		l, err := look(b, books, t, round)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func look(b *bundle.Bundle, books ledger.Ledger, t bundle.Trial, round int) (Look, error) {
	state, err := books.Read(t.ID)
	if err != nil {
		return Look{}, err
	}
	l := Look{Trial: t, State: state, Standing: Judge(state, b.Retries(), round)}
	if l.Status == Running {
		n := state.Last().N
		l.Progress, _ = books.Progress(t.ID, n) // none before its first sign of life
		if l.Age, err = books.Age(t.ID, n); err != nil {
			return l, err
		}
		l.Stale = l.Age > cmp.Or(books.Expiry, ledger.DefaultExpiry)
	}
	return l, nil
}

// Plan records in the study's database what a bundle is to fill. A spec that is no sweep plans nothing, and with unlessPlanned a study that
// has a plan keeps it.
func Plan(ctx context.Context, b *bundle.Bundle, db string, unlessPlanned bool) (err error) {
	e, cells := b.Experiment()
	if e.Design == "" {
		return nil
	}
	d, err := store.Open(db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if unlessPlanned {
		if planned, err := d.Planned(ctx, e.Name); err != nil || len(planned) > 0 {
			return err
		}
	}
	return d.Plan(ctx, e, cells)
}

// Adopt enters in the ledger the trials that the study's database has as done, so that no task makes them. It returns how many.
func Adopt(ctx context.Context, b *bundle.Bundle, db string, expiry time.Duration, o ledger.Owner) (adopted int, err error) {
	r, err := store.OpenReader(db)
	if fault.KindOf(err) == fault.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer r.Close()
	cells, err := r.Cells(ctx, b.Name())
	if fault.KindOf(err) == fault.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	type key struct {
		variant string
		seed    int64
	}
	done := map[key]string{}
	for _, c := range cells {
		if c.Done && c.Planned {
			done[key{c.Variant, c.Seed}] = c.RunID
		}
	}
	books := ledger.Ledger{Dir: b.TrialsDir(), Expiry: expiry}
	for _, t := range b.Trials() {
		run := done[key{t.Variant(), int64(t.Seed)}]
		if run == "" {
			continue
		}
		state, err := books.Read(t.ID)
		if err != nil {
			return adopted, err
		}
		lease, err := books.Take(state, o)
		if err != nil {
			return adopted, err
		}
		if lease == nil {
			continue
		}
		if err := lease.End(ledger.Outcome{Status: ledger.Done, Run: run, Message: "it was done before, in " + db}); err != nil {
			return adopted, err
		}
		adopted++
	}
	return adopted, nil
}

// Lacking returns the trials that were adopted as done from another database, and whose runs the one at db has not: tasks make no results of
// them.
func Lacking(ctx context.Context, b *bundle.Bundle, db string, all []Look) (lacking []Look, err error) {
	books := ledger.Ledger{Dir: b.TrialsDir()}
	var r *store.Reader
	for _, l := range all {
		over := l.State.Over()
		if over == nil || l.hasEnd(books) {
			continue
		}
		if r == nil {
			if r, err = store.OpenReader(db); fault.KindOf(err) == fault.NotFound {
				lacking, err = append(lacking, l), nil
				continue
			}
			if err != nil {
				return nil, err
			}
			defer r.Close()
		}
		if _, err := r.Get(ctx, over.Run); fault.KindOf(err) == fault.NotFound {
			lacking = append(lacking, l)
		} else if err != nil {
			return nil, err
		}
	}
	return lacking, nil
}

// hasEnd reports whether the attempt that came to the trial's end has left its database.
func (l Look) hasEnd(books ledger.Ledger) bool {
	for n, a := range l.State.Attempts {
		if a.End == l.State.Over() {
			return DatabaseOf(books, l.State, n) != ""
		}
	}
	return false
}

// Gathered says what a merge of a bundle did.
type Gathered struct {
	*store.Merged
	Trials int `json:"trials"` // that there are results of
	Going  int `json:"going"`  // trials left out, since tasks make them just now
}

// MergeOptions say how a bundle is merged.
type MergeOptions struct {
	store.MergeOptions
	Expiry time.Duration // of leases; 0: ledger.DefaultExpiry
	// Wait has Merge wait for trials that tasks make just now: at most until what a killed task had is taken for dead.
	Wait bool
}

// Merge takes what the tasks have made of a bundle's trials into the study's database: of each trial what counts, which is the attempt that came
// to its end, or else the newest. What a task makes just now is left out, unless it ends while Merge waits. Merging again changes nothing. Two merges at a time wait for
// one another, also on different machines.
func Merge(ctx context.Context, b *bundle.Bundle, db string, m MergeOptions, o ledger.Owner) (g Gathered, err error) {
	books := ledger.Ledger{Dir: b.TrialsDir(), Expiry: m.Expiry}
	dir, release, err := leftover.Dir("tandem-merge-")
	if err != nil {
		return g, fault.New(fault.Exhausted, "a folder on a local disk: %w", err).WithHint("TMPDIR names another place")
	}
	defer release()
	// All on the local disk first, so that the study's database is written to for as short as can be.
	whole := filepath.Join(dir, "all.db")
	empty, err := store.Open(whole)
	if err != nil {
		return g, err
	}
	if err := empty.Close(); err != nil {
		return g, err
	}
	until := time.Time{}
	if expiry := cmp.Or(m.Expiry, ledger.DefaultExpiry); m.Wait {
		until = time.Now().Add(expiry + expiry/10)
	}
	for i, t := range b.Trials() {
		if err := m.settle(ctx, b, books, t, &until); err != nil {
			return g, err
		}
		switch made, err := collect(ctx, b, books, t, filepath.Join(dir, "one.db"), whole); {
		case errors.Is(err, errGoing):
			g.Going++
		case err != nil:
			return g, err
		case made:
			g.Trials++
		}
		if m.Progress != nil {
			m.Progress(i+1, len(b.Trials()))
		}
	}
	m.Progress = nil
	if !m.DryRun {
		unlock, err := lock(ctx, ledger.Ledger{Dir: b.Root()}, merging, o, m.Waiting)
		if err != nil {
			return g, err
		}
		defer unlock()
	}
	if g.Merged, err = store.Merge(ctx, db, whole, m.MergeOptions); err != nil || m.DryRun {
		return g, err
	}
	return g, Plan(ctx, b, db, true)
}

// result returns the database of the attempt that counts; "" when none has left one.
func (l Look) result(books ledger.Ledger) string {
	newest := ""
	for n, a := range l.State.Attempts {
		path := DatabaseOf(books, l.State, n)
		if path == "" {
			continue
		}
		if newest = path; a.End != nil && (a.End.Status == ledger.Done || a.End.Status == ledger.Stopped) {
			return path
		}
	}
	return newest
}

// gather takes the runs of a trial's database into another one. What is recorded as running in it is not: its owner is gone.
func gather(ctx context.Context, from, one, whole string) error {
	if err := copyFile(from, one); err != nil {
		return fault.New(fault.Unavailable, "a trial's results: %w", err)
	}
	defer os.Remove(one)
	d, err := store.Open(one)
	if err != nil {
		return err
	}
	_, err = d.Seize(ctx)
	if closed := d.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	_, err = store.Merge(ctx, whole, one, store.MergeOptions{RunsDir: runsBeside(from)})
	return err
}
