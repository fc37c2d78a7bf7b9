package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mattn/go-sqlite3"

	"tandem/core/clip"
	"tandem/core/fault"
)

// TestMain doubles as a process that writes to a database, for the tests that need a second one.
func TestMain(m *testing.M) {
	switch path := os.Getenv("TANDEM_STORE_WRITE"); {
	case path == "":
		os.Exit(m.Run())
	default:
		if err := write(path, os.Getenv("TANDEM_STORE_FOREVER") == ""); err != nil {
			fmt.Fprintln(os.Stderr, fault.Format(err))
			os.Exit(1)
		}
	}
}

const writerSteps = 500

// write records a run of writerSteps steps of four metrics, or one without end.
func write(path string, ends bool) error {
	db, err := Open(path)
	if err != nil {
		return err
	}
	run, err := db.Begin(ctx, RunMeta{Experiment: "shared", Variant: fmt.Sprint(os.Getpid())})
	if err != nil {
		return err
	}
	for step := 1; !ends || step <= writerSteps; step++ {
		values := []clip.Metric{{Name: "train/loss", Value: 1 / float64(step)}, {Name: "train/a", Value: float64(step % 7)},
			{Name: "train/b", Value: float64(-step)}, {Name: fmt.Sprintf("train/%d", os.Getpid()), Value: 1}}
		if err := run.Metrics(step, values); err != nil {
			return err
		}
		if step%100 == 0 {
			if err := run.Checkpoint(step, "dir"); err != nil {
				return err
			}
			if err := run.Flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := run.Finish(ctx, clip.StatusDone, nil); err != nil {
		return err
	}
	return db.Close()
}

func writerProcess(t *testing.T, path string, env ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), "TANDEM_STORE_WRITE="+path), env...)
	c.Stderr = os.Stderr
	must(t, c.Start())
	return c
}

func TestSeveralProcessesWriteToOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "results.db")
	var all []*exec.Cmd
	for range 3 {
		all = append(all, writerProcess(t, path))
	}
	for _, c := range all {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	db, err := OpenReader(path)
	must(t, err)
	defer db.Close()
	table, err := db.Query(ctx, "SELECT count(DISTINCT run_id), count(*) FROM v_metrics")
	must(t, err)
	if table.Rows[0][0] != int64(3) || table.Rows[0][1] != int64(3*4*writerSteps) {
		t.Errorf("runs and points are %v, want 3 and %d", table.Rows[0], 3*4*writerSteps)
	}
	checkSummaries(t, db)
}

func TestAKilledWriterLeavesAPrefix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := Open(path)
	must(t, err)
	defer db.Close()
	for range 3 {
		c := writerProcess(t, path, "TANDEM_STORE_FOREVER=1")
		var id string
		waitUntil(t, func() bool {
			runs, err := db.Runs(ctx, Filter{Status: "running"})
			must(t, err)
			if len(runs) == 0 {
				return false
			}
			id = runs[0].ID
			points, err := db.Checkpoints(ctx, id)
			must(t, err)
			return len(points) >= 3
		})
		must(t, c.Process.Kill())
		c.Wait()

		checkSummaries(t, db)
		table, err := db.Query(ctx, "SELECT metric, count(*), min(step), max(step) FROM v_metrics WHERE run_id = ? GROUP BY metric", id)
		must(t, err)
		if len(table.Rows) != 4 {
			t.Fatalf("metrics are %v", table.Rows)
		}
		steps := table.Rows[0][1]
		for _, row := range table.Rows {
			if row[1] != steps || row[2] != int64(1) || row[3] != steps {
				t.Errorf("%v: want steps 1 … %v without a gap", row, steps)
			}
		}
		dead, err := db.MarkDead(ctx)
		must(t, err)
		if len(dead) != 1 || dead[0] != id {
			t.Errorf("marked %v dead, want %s", dead, id)
		}
		d, err := db.Get(ctx, id)
		must(t, err)
		if d.Status != "interrupted" || d.EndedAt == nil || d.Error == nil || int64(d.Checkpoints[0].Step) > steps.(int64) {
			t.Errorf("killed run is %+v", d)
		}
		run, err := db.Resume(ctx, id, d.Checkpoints[0].Step)
		must(t, err)
		must(t, run.Metrics(d.Checkpoints[0].Step+1, []clip.Metric{{Name: "train/loss", Value: 0}}))
		must(t, run.Finish(ctx, clip.StatusDone, nil))
		checkSummaries(t, db)
	}
}

func waitUntil(t *testing.T, ready func() bool) {
	t.Helper()
	// The time limit of all tests decides, and no clock of this one's: a machine may be busy.
	for end, limited := t.Deadline(); !ready(); time.Sleep(5 * time.Millisecond) {
		if limited && time.Until(end) < 20*time.Second {
			t.Fatal("waited in vain")
		}
	}
}

func TestManyGoroutinesOpenAndWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			db, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			run, err := db.Begin(ctx, RunMeta{Experiment: "e", Seed: int64(i)})
			if err != nil {
				t.Error(err)
				return
			}
			var inner sync.WaitGroup
			for metric := range 4 {
				inner.Go(func() {
					for step := range 100 {
						if err := run.Metrics(step, []clip.Metric{{Name: fmt.Sprint("m", metric), Value: float64(step)}}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			inner.Wait()
			if err := run.Flush(ctx); err != nil {
				t.Error(err)
			}
			if final, err := db.Final(ctx, run.ID()); err != nil || len(final) != 4 || final["m3"].N != 100 {
				t.Errorf("%v: %v", err, final)
			}
		})
	}
	group.Wait()
	db, err := OpenReader(path)
	must(t, err)
	defer db.Close()
	checkSummaries(t, db)
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := Open(path)
	must(t, err)
	run := begin(t, db, RunMeta{})
	for step := range 1000 {
		must(t, run.Metrics(step, []clip.Metric{{Name: "x", Value: 1}}))
	}
	must(t, db.Close())
	must(t, db.Close())
	wantKind(t, run.Metrics(1000, nil), fault.Conflict)
	r, err := OpenReader(path)
	must(t, err)
	defer r.Close()
	curve, err := r.Curve(ctx, run.ID(), "x")
	must(t, err)
	if len(curve) != 1000 {
		t.Errorf("%d points, want 1000", len(curve))
	}
}

func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	pages := func(limit string) {
		must(t, db.w.task(ctx, func(b *batch) error {
			return b.w.exec("PRAGMA max_page_count = " + limit)
		}))
	}
	pages("1") // SQLite takes the present size
	long := make([]byte, 1<<16)
	must(t, run.Metrics(1, []clip.Metric{{Name: "x", Value: 1}}))
	must(t, run.Event("info", "long", string(long), "")) // queued: the failure is not known yet
	err := run.Flush(ctx)
	wantKind(t, err, fault.Exhausted)
	if f := err.(*fault.Error); f.Hint == "" || !containsAll(f.Msg, db.Path()) {
		t.Errorf("full disk: %s", fault.Format(err))
	}
	wantKind(t, run.Metrics(2, []clip.Metric{{Name: "x", Value: 2}}), fault.Exhausted)
	wantKind(t, run.Finish(ctx, clip.StatusFailed, err), fault.Exhausted)

	// The batch stands in the way of the pragma, too, so the limit is lifted on the connection.
	db.w.mu.Lock()
	failing := db.w.failure
	db.w.mu.Unlock()
	wantKind(t, failing, fault.Exhausted)
	must(t, db.w.exec("PRAGMA max_page_count = 1000000"))
	must(t, run.Flush(ctx))
	must(t, run.Metrics(3, []clip.Metric{{Name: "x", Value: 3}}))
	must(t, run.Finish(ctx, clip.StatusDone, nil))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if d.Status != "done" || d.Metrics["x"].N != 3 || len(d.Events) != 1 {
		t.Errorf("after space was made: %+v", d)
	}
	checkSummaries(t, db)
}

// lock holds a transaction of another connection open until the function returned is called.
func lock(t *testing.T, path string) (release func()) {
	t.Helper()
	other, err := sql.Open("tandem_rw", dsn(path, ""))
	must(t, err)
	other.SetMaxOpenConns(1)
	_, err = other.Exec("BEGIN IMMEDIATE")
	must(t, err)
	return func() {
		t.Helper()
		_, err := other.Exec("COMMIT")
		must(t, err)
		must(t, other.Close())
	}
}

// While another process holds a transaction the queue fills up and calls wait; when it is over everything is there. A run
// that is told to end at once need not wait.
func TestALockedDatabaseIsWaitedFor(t *testing.T) {
	db := open(t)
	live, cancel := context.WithCancel(ctx)
	run, err := db.Begin(live, RunMeta{Experiment: "e"})
	must(t, err)
	release := lock(t, db.Path())

	values := make([]clip.Metric, 1000)
	for i := range values {
		values[i] = clip.Metric{Name: fmt.Sprint("m", i), Value: 1}
	}
	const steps = queueLimit/1000 + 10
	recorded := make(chan error, 1)
	go func() {
		for step := 1; step <= steps; step++ {
			if err := run.Metrics(step, values); err != nil {
				recorded <- err
				return
			}
		}
		recorded <- nil
	}()
	waitUntil(t, func() bool {
		db.w.mu.Lock()
		defer db.w.mu.Unlock()
		return db.w.cost > queueLimit-1000
	})
	gone, cancelFlush := context.WithCancel(ctx)
	cancelFlush()
	wantKind(t, run.Flush(gone), fault.Canceled)
	select {
	case err := <-recorded:
		t.Fatalf("a full queue took all: %v", err)
	default:
	}
	release()
	must(t, <-recorded)
	must(t, run.Flush(ctx))
	final, err := db.Final(ctx, run.ID())
	must(t, err)
	if n := final["m999"].N; n != steps {
		t.Errorf("%d steps stored, want %d", n, steps)
	}
	checkSummaries(t, db)

	release = lock(t, db.Path())
	cancel()
	for step := steps + 1; err == nil; step++ {
		err = run.Metrics(step, values)
	}
	wantKind(t, err, fault.Canceled)
	release()
	must(t, run.Finish(ctx, clip.StatusInterrupted, nil))
}

// The clock is synctest's: waiting takes no time and no busy machine makes it longer.
func TestWaitingForALockIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		busy := sqlite3.Error{Code: sqlite3.ErrBusy}
		tries := 0
		must(t, retryBusy("r.db", func(m string) { said = append(said, m) }, within(time.Hour), func() error {
			if tries++; len(said) == 0 {
				return busy
			}
			return nil
		}))
		if len(said) != 2 || !containsAll(said[0], "r.db", "locked") || !containsAll(said[1], "free again") {
			t.Errorf("after %d tries: %q", tries, said)
		}
		said, tries = nil, 0
		must(t, retryBusy("r.db", func(m string) { said = append(said, m) }, within(time.Hour), func() error {
			if tries++; tries < 3 {
				return busy
			}
			return nil
		}))
		if len(said) > 0 {
			t.Errorf("a short wait is told: %q", said)
		}
		if err := retryBusy("r.db", nil, within(0), func() error { return busy }); err == nil {
			t.Error("waited for ever")
		}
	})
}

// A process that was held for dead finds out before it writes anything more.
func TestARunThatAnotherProcessTookOverIsNotWrittenTo(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	must(t, run.Metrics(1, []clip.Metric{{Name: "x", Value: 1}}))
	must(t, run.Checkpoint(1, "one"))
	must(t, run.Flush(ctx))

	// Held for dead by a machine that cannot see this process, it goes on.
	_, err := db.w.conn.ExecContext(ctx, markDeadQuery, run.state.id)
	must(t, err)
	must(t, run.Metrics(2, []clip.Metric{{Name: "x", Value: 2}}))
	must(t, run.Flush(ctx))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if d.Status != "running" || d.Error != nil || d.EndedAt != nil || d.Metrics["x"].N != 2 {
		t.Errorf("after it was held for dead: %+v", d)
	}

	// Taken over, it is left alone, and other runs of the same process are not.
	other := begin(t, db, RunMeta{})
	must(t, other.Flush(ctx))
	_, err = db.w.conn.ExecContext(ctx, "UPDATE run SET session_ms = session_ms + 1, pid = 12345, host = 'elsewhere' WHERE id = ?", run.state.id)
	must(t, err)
	must(t, run.Metrics(3, []clip.Metric{{Name: "x", Value: 3}}))
	must(t, other.Metrics(3, []clip.Metric{{Name: "x", Value: 3}}))
	must(t, other.Flush(ctx))
	err = run.Flush(ctx)
	wantKind(t, err, fault.Conflict)
	if !containsAll(err.Error(), "12345", "elsewhere") {
		t.Error(err)
	}
	wantKind(t, run.Metrics(4, []clip.Metric{{Name: "x", Value: 4}}), fault.Conflict)
	wantKind(t, run.Finish(ctx, clip.StatusDone, nil), fault.Conflict)
	d, err = db.Get(ctx, run.ID())
	must(t, err)
	if d.Status != "running" || d.Metrics["x"].N != 2 || d.PID != 12345 {
		t.Errorf("after it was taken over: %+v", d)
	}
	final, err := db.Final(ctx, other.ID())
	must(t, err)
	if final["x"].N != 1 {
		t.Error("another run of the process lost a value")
	}
	must(t, other.Finish(ctx, clip.StatusDone, nil))
}

func TestAClockThatIsWrongOrSetBack(t *testing.T) {
	seen := map[string]bool{}
	for _, now := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1e9, 0), idEpoch, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		id := newID(now)
		if !IsID(id) || seen[id] {
			t.Errorf("at %v: %q", now, id)
		}
		seen[id] = true
	}
	db := open(t)
	must(t, db.w.task(ctx, func(b *batch) error { b.w.last += 1e9; return nil })) // the clock was ahead until now
	run := begin(t, db, RunMeta{})
	must(t, run.Finish(ctx, clip.StatusDone, nil))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if d.DurationS < 0 || *d.EndedAt < d.StartedAt {
		t.Errorf("from %s to %s, %v s", d.StartedAt, *d.EndedAt, d.DurationS)
	}
	// The heartbeat of a clock that was ahead does not keep a run of another machine alive for ever.
	p := process{host: "elsewhere", heartbeat: time.Now().Add(24 * time.Hour).UnixMilli()}
	if p.alive("here", time.Now().UnixMilli()) {
		t.Error("alive until tomorrow")
	}
}

func TestReadersSeeWhatIsWrittenMeanwhile(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	must(t, run.Metrics(1, []clip.Metric{{Name: "x", Value: 1}}))
	waitUntil(t, func() bool {
		curve, err := db.Curve(ctx, run.ID(), "x")
		must(t, err)
		return len(curve) == 1
	})
}

// BenchmarkIngest records steps of 20 metrics; the figure that counts is points/s.
func BenchmarkIngest(b *testing.B) {
	db := open(b)
	run := begin(b, db, RunMeta{})
	values := make([]clip.Metric, 20)
	for i := range values {
		values[i] = clip.Metric{Name: fmt.Sprint("train/m", i), Value: 0.5}
	}
	b.ResetTimer()
	for step := range b.N {
		must(b, run.Metrics(step, values))
	}
	must(b, run.Flush(ctx))
	b.ReportMetric(float64(b.N*len(values))/b.Elapsed().Seconds(), "points/s")
}

// BenchmarkViews asks what people ask of 300 runs × 10 metrics × 100 steps.
func BenchmarkViews(b *testing.B) {
	db := open(b)
	values := make([]clip.Metric, 10)
	var last *Run
	for i := range 300 {
		run := begin(b, db, RunMeta{Experiment: "e", Baseline: "v0", Variant: fmt.Sprint("v", i/10), Seed: int64(i % 10),
			Params: map[string]any{"train.batch_size": 128, "loss.plugin": "clip"}})
		for step := range 100 {
			for m := range values {
				values[m] = clip.Metric{Name: fmt.Sprint("train/m", m), Value: float64(step * (i + m))}
			}
			must(b, run.Metrics(step, values))
		}
		must(b, run.Finish(ctx, clip.StatusDone, nil))
		last = run
	}
	for name, query := range map[string]string{
		"list":       "SELECT " + runInfoColumns,
		"curve":      "SELECT step, value FROM v_metrics WHERE run_id = '" + last.ID() + "' AND metric = 'train/m3'",
		"last":       "SELECT run_id, last FROM v_final WHERE metric = 'train/m3'",
		"seed_stats": "SELECT * FROM v_seed_stats WHERE experiment = 'e' AND metric = 'train/m3'",
		"deltas":     "SELECT * FROM v_deltas WHERE experiment = 'e' AND metric = 'train/m3'",
		"cells":      "SELECT * FROM v_cells WHERE experiment = 'e' AND NOT done",
		"reach":      "SELECT run_id, min(step) FROM v_metrics WHERE metric = 'train/m3' AND value >= 500 GROUP BY run_id",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := db.Query(ctx, query)
				must(b, err)
			}
		})
	}
}
