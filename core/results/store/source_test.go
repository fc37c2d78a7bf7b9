package store

import (
	"slices"
	"testing"

	"tandem/core/clip"
)

// What is recorded of sources and skips stands in place of what was recorded before, of that role and stage alone.
func TestSkipsAreCountedOnce(t *testing.T) {
	db := open(t)
	run, err := db.Begin(ctx, RunMeta{Experiment: "e", Plugins: []Plugin{{Role: "data.train.b", Name: "datasets/csv"}}})
	must(t, err)
	must(t, run.SetSkips("data.train.a", StageRefused, []clip.Skip{{Reason: "no caption", Count: 4, First: "line 3"}}))
	for _, seen := range []int{64, 128} {
		must(t, run.SetSources([]Source{{Role: "data.train.a", Name: "a", Digest: "1", Samples: 100, Weight: 2, Seen: seen},
			{Role: "data.train.b", Name: "b", Digest: "2", Samples: 64, Quota: 16, Seen: seen / 2, Replaced: seen / 64}}))
		must(t, run.SetSkips("data.train.b", StageReplaced, []clip.Skip{{Reason: "truncated picture", Count: seen / 64, First: "x.jpg"}}))
	}
	must(t, run.SetSkips("eval.e", StageLeftOut, []clip.Skip{{Reason: "empty picture", Count: 1}}))
	must(t, run.SetSkips("eval.e", StageLeftOut, nil))
	must(t, run.Flush(ctx))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if want := []Skip{{"data.train.a", StageRefused, "no caption", 4, "line 3"}, {"data.train.b", StageReplaced, "truncated picture", 2, "x.jpg"}}; !slices.Equal(d.Skips, want) {
		t.Errorf("%+v", d.Skips)
	}
	if len(d.Sources) != 2 || d.Sources[1].Seen != 64 || d.Sources[1].Epochs() != 1 || d.Sources[0].Weight != 2 {
		t.Errorf("%+v", d.Sources)
	}
	table, err := db.Query(ctx, "SELECT s.plugin, s.epochs, k.n FROM v_sources s JOIN v_skips k USING (run_id, role) WHERE k.stage = 'replaced'")
	must(t, err)
	if len(table.Rows) != 1 || !slices.Equal(table.Rows[0], []any{"datasets/csv", 1.0, int64(2)}) {
		t.Errorf("%v", table.Rows)
	}
}
