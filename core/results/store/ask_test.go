package store

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

func TestAskAnswersWithinLimits(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{Experiment: "x", Variant: "v"})
	for step := range 20 {
		must(t, run.Metrics(step, []clip.Metric{{Name: "train/loss", Value: 1}}))
	}
	must(t, run.Flush(ctx))
	l := Limits{Time: 5 * time.Second, Rows: 10, Bytes: 1 << 20}
	a, err := db.Ask(ctx, "SELECT step FROM v_metrics WHERE run_id = :run ORDER BY step", l, map[string]string{"run": run.ID()})
	must(t, err)
	if len(a.Rows) != 10 || !a.Cut || a.Columns[0] != "step" || a.Rows[9][0] != int64(9) {
		t.Errorf("%+v", a)
	}
	if a, err = db.Ask(ctx, "SELECT step FROM v_metrics LIMIT 10", l, nil); err != nil || a.Cut || len(a.Rows) != 10 {
		t.Errorf("%+v, %v", a, err)
	}
	for query, want := range map[string]fault.Kind{
		"SELECT printf('%.*c', 300000, 'x') FROM v_metrics": fault.Exhausted, // rows over the memory
		"SELECT zeroblob(100000000)":                        fault.Internal,  // a value over the memory
		"SELECT 1 -- " + strings.Repeat("x", 70_000):        fault.Internal,
		"SELECT x FROM v_metrics":                           fault.Invalid,
		"DELETE FROM run":                                   fault.Invalid,
		"ATTACH '/tmp/x.db' AS x":                           fault.Invalid,
		"SELECT load_extension('x')":                        fault.Invalid,
		"SELECT writefile('/tmp/x', 'x')":                   fault.Invalid,
		"SELECT 1; PRAGMA journal_mode = delete":            fault.Invalid,
	} {
		if _, err := db.Ask(ctx, query, l, nil); fault.KindOf(err) != want {
			t.Errorf("%.60s: %v (%s), want %s", query, err, fault.KindOf(err), want)
		}
	}
}

// However long queries take, they end, and others read and write meanwhile.
func TestAskIsInterruptedAndKeepsNobodyWaiting(t *testing.T) {
	db := open(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asked sync.WaitGroup
	for range 2 * askers {
		asked.Go(func() {
			_, err := db.Ask(ctx, endless, Limits{Time: 300 * time.Millisecond, Rows: 1, Bytes: 1 << 20}, nil)
			if k := fault.KindOf(err); k != fault.Exhausted && k != fault.Unavailable {
				t.Errorf("%v", err)
			}
		})
	}
	asked.Go(func() { // a sort that never ends
		_, err := db.Ask(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY -i", Limits{Time: 300 * time.Millisecond, Rows: 1, Bytes: 1 << 20}, nil)
		if k := fault.KindOf(err); k != fault.Exhausted && k != fault.Unavailable {
			t.Errorf("%v", err)
		}
	})
	run := begin(t, db, RunMeta{Experiment: "x"})
	must(t, run.Metrics(1, []clip.Metric{{Name: "train/loss", Value: 1}}))
	must(t, run.Flush(ctx))
	if c, err := db.Curve(ctx, run.ID(), "train/loss"); err != nil || len(c) != 1 {
		t.Errorf("%v, %v", c, err)
	}
	asked.Wait()
	if a, err := db.Ask(ctx, "SELECT 1", Limits{Time: 10 * time.Second, Rows: 1, Bytes: 1 << 20}, nil); err != nil || len(a.Rows) != 1 {
		t.Errorf("afterwards: %+v, %v", a, err)
	}
}
