package store

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results"
)

// dumpQueries give all that a database holds, without the numbers of its rows.
var dumpQueries = []string{
	"SELECT name, description, baseline, metric, created_ms, design, factors, noise FROM experiment ORDER BY 1",
	"SELECT e.name, t.variant, t.seed, t.identity, t.levels, t.position FROM trial t JOIN experiment e ON e.id = t.experiment_id ORDER BY 1, 6, 2, 3",
	"SELECT e.name, " + copiedRunColumns + " FROM run r JOIN experiment e ON e.id = r.experiment_id ORDER BY key",
	"SELECT r.key, s.spec FROM run_spec s JOIN run r ON r.id = s.run_id ORDER BY 1",
	"SELECT r.key, s.seq, s.at_ms, s.status, s.note FROM run_status s JOIN run r ON r.id = s.run_id ORDER BY 1, 2",
	"SELECT r.key, f.key, f.value FROM run_fact f JOIN run r ON r.id = f.run_id ORDER BY 1, 2",
	"SELECT r.key, p.role, p.name, p.version, p.sha256 FROM run_plugin p JOIN run r ON r.id = p.run_id ORDER BY 1, 2",
	"SELECT r.key, s.position, s.role, s.name, s.digest, s.samples, s.weight, s.quota, s.seen, s.replaced FROM run_source s JOIN run r ON r.id = s.run_id ORDER BY 1, 2",
	"SELECT r.key, s.role, s.stage, s.reason, s.n, s.first FROM run_skip s JOIN run r ON r.id = s.run_id ORDER BY 1, 2, 3, 4",
	"SELECT r.key, v.at_ms, v.step, v.level, v.kind, v.message, v.detail FROM event v JOIN run r ON r.id = v.run_id ORDER BY 1, v.id",
	"SELECT r.key, a.path, a.kind, a.bytes, a.sha256, a.at_ms FROM artifact a JOIN run r ON r.id = a.run_id ORDER BY 1, 2",
	"SELECT r.key, c.step, c.dir, c.at_ms FROM checkpoint c JOIN run r ON r.id = c.run_id ORDER BY 1, 2",
	"SELECT run_id, key, type, value FROM v_params ORDER BY 1, 2",
	"SELECT name, better FROM metric ORDER BY 1",
	"SELECT r.key, m.name, p.step, p.value FROM point p JOIN run r ON r.id = p.run_id JOIN metric m ON m.id = p.metric_id ORDER BY 1, 2, 3",
	"SELECT r.key, m.name, s.first, s.last, s.last_step, s.min, s.max, s.best, s.best_step, s.n, s.n_finite, s.sum FROM run_summary s JOIN run r ON r.id = s.run_id JOIN metric m ON m.id = s.metric_id ORDER BY 1, 2",
	"SELECT sha256, n, hex(data) FROM example_set ORDER BY 1",
	"SELECT r.key, p.evaluation, p.target, p.step, p.n, p.correct, s.sha256, hex(p.data) FROM prediction p JOIN run r ON r.id = p.run_id JOIN example_set s ON s.id = p.example_set_id ORDER BY 1, 2, 3, 4",
	"SELECT * FROM v_evaluations ORDER BY run_id, evaluation, step",
}

func dump(t *testing.T, path string) string {
	t.Helper()
	r, err := OpenReader(path)
	must(t, err)
	defer r.Close()
	var b strings.Builder
	for _, query := range dumpQueries {
		table, err := r.Query(ctx, query)
		must(t, err)
		fmt.Fprintln(&b, table.Columns)
		for _, row := range table.Rows {
			fmt.Fprintln(&b, row...)
		}
	}
	return b.String()
}

// laboratory makes a database with two runs of an ablation, one done and one that failed.
func laboratory(t *testing.T, path string, seed int64) {
	t.Helper()
	db, err := Open(path)
	must(t, err)
	defer db.Close()
	factors := []results.Factor{{Name: "pool", Levels: []string{"attention", "average"}}}
	var cells []Cell
	for _, v := range []string{"attention", "average"} {
		cells = append(cells, Cell{Variant: v, Seed: seed, Identity: fmt.Sprint(v, seed), Levels: map[string]string{"pool": v}})
	}
	must(t, db.Plan(ctx, Experiment{Name: "pooling", Baseline: "attention", Design: "grid", Factors: factors}, cells))
	for i, c := range cells {
		run := begin(t, db, RunMeta{Experiment: "pooling", Metric: "eval/e/top1", Variant: c.Variant, Seed: seed, Identity: c.Identity, Spec: "name: pooling",
			Params: map[string]any{"seed": seed, "pool": c.Variant, "nan": math.NaN(), "shared": 1.5}, Plugins: []Plugin{{"loss", "losses/clip", "1", "sha"}}})
		must(t, run.SetFacts(map[string]any{"parameters.total": int64(5)}))
		must(t, run.Metrics(1, []clip.Metric{{Name: fmt.Sprint("only/", seed), Value: 1}, {Name: "train/loss", Value: math.NaN()}, {Name: "eval/e/top1", Value: 0.5}}))
		must(t, run.Metrics(2, []clip.Metric{{Name: "train/loss", Value: 7.5}}))
		must(t, run.Predictions(2, "e", "label", []clip.Prediction{{Key: "k", Label: 1, Top: []int32{1}}, {Key: fmt.Sprint(seed), Label: 2}}))
		must(t, run.Predictions(2, "e", "tags", []clip.Prediction{{Key: "shared", Label: 1, Top: []int32{1}}}))
		must(t, run.Event("warning", "note", "a message", "a detail"))
		must(t, run.Checkpoint(2, filepath.Join("/gone/runs", run.ID(), "step-00000002")))
		artifact(t, db, run)
		if i == 0 {
			must(t, run.Finish(ctx, clip.StatusDone, nil))
		} else {
			must(t, run.Finish(ctx, clip.StatusFailed, fault.New(fault.PluginDied, "gone")))
		}
	}
}

func TestMergeTakesEverythingAndOnlyOnce(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db"), filepath.Join(dir, "c.db")
	laboratory(t, a, 0)
	laboratory(t, b, 1)
	before, err := os.ReadFile(b)
	must(t, err)

	// Into a new database: the same contents.
	m, err := Merge(ctx, c, b, MergeOptions{DryRun: true})
	must(t, err)
	if _, err := os.Stat(c); err == nil || m.Added != 2 || m.Cells != 2 || m.Experiments != 1 {
		t.Errorf("dry run: %+v, file: %v", m, err)
	}
	m, err = Merge(ctx, c, b, MergeOptions{})
	must(t, err)
	if m.Added != 2 || m.Cells != 2 || m.Experiments != 1 || m.Updated != 0 || m.Unchanged != 0 {
		t.Errorf("merge into nothing: %+v", m)
	}
	if diff := cmp.Diff(dump(t, b), dump(t, c)); diff != "" {
		t.Error(diff)
	}
	// Into one with other runs of the same experiment, twice.
	m, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	if m.Added != 2 || m.Cells != 2 || m.Experiments != 0 {
		t.Errorf("merge: %+v", m)
	}
	once := dump(t, a)
	m, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	if m.Added != 0 || m.Updated != 0 || m.Unchanged != 2 || m.Cells != 0 || len(m.Runs) != 0 {
		t.Errorf("merge again: %+v", m)
	}
	if diff := cmp.Diff(once, dump(t, a)); diff != "" {
		t.Errorf("the second merge changed something: %s", diff)
	}
	r, err := OpenReader(a)
	must(t, err)
	defer r.Close()
	checkSummaries(t, r)
	cells, err := r.Cells(ctx, "pooling")
	must(t, err)
	if len(cells) != 4 || !cells[2].Done || cells[3].Done || !cells[3].Planned || cells[3].Seed != 1 {
		t.Errorf("cells are %+v", cells)
	}
	sets, err := r.Query(ctx, "SELECT count(*), (SELECT count(*) FROM setting WHERE key = 'shared'), (SELECT count(*) FROM metric WHERE name = 'train/loss') FROM example_set")
	must(t, err)
	if diff := cmp.Diff([][]any{{int64(3), int64(1), int64(1)}}, sets.Rows); diff != "" {
		t.Errorf("example sets, settings, metrics that are shared: %s", diff)
	}
	after, err := os.ReadFile(b)
	must(t, err)
	if string(before) != string(after) {
		t.Error("the merge changed the database that it read")
	}
}

func TestMergeReplacesARunThatIsFurtherAlongThere(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	laboratory(t, a, 0)
	_, err := Merge(ctx, b, a, MergeOptions{})
	must(t, err)
	db, err := Open(b)
	must(t, err)
	defer db.Close()
	runs, err := db.Runs(ctx, Filter{Status: "failed"})
	must(t, err)
	run, err := db.Resume(ctx, runs[0].ID, 1)
	must(t, err)

	// In progress there: left out.
	before := dump(t, a)
	m, err := Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	if m.InProgress != 1 || m.Updated != 0 || m.Runs[0].Owner == "" || dump(t, a) != before {
		t.Errorf("merge of a run in progress: %+v", m)
	}
	// Its process is gone: interrupted here.
	must(t, run.Metrics(2, []clip.Metric{{Name: "train/loss", Value: 7}}))
	must(t, run.Flush(ctx))
	process := func(token string) {
		t.Helper()
		must(t, db.w.task(ctx, func(b *batch) error {
			_, err := b.exec("UPDATE run SET process = ?, heartbeat_ms = heartbeat_ms + 1 WHERE key = ?", token, run.ID())
			return err
		}))
	}
	process("other/boot 1")
	m, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	ours, err := OpenReader(a)
	must(t, err)
	defer ours.Close()
	d, err := ours.Get(ctx, run.ID())
	must(t, err)
	if m.Updated != 1 || d.Status != "interrupted" || d.Metrics["train/loss"].Last != 7 || d.EndedAt == nil || d.History[len(d.History)-1].Note != "process gone" {
		t.Errorf("merge of a run whose process is gone: %+v, run %+v", m, d)
	}
	m, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	if m.Unchanged != 2 {
		t.Errorf("merge again: %+v", m)
	}
	// Done there: done here, and then nothing that is less replaces it.
	process(run.state.token)
	must(t, run.Finish(ctx, clip.StatusDone, nil))
	m, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	if m.Updated != 1 || dump(t, a) != dump(t, b) {
		t.Errorf("merge of a done run: %+v\n%s", m, cmp.Diff(dump(t, a), dump(t, b)))
	}
	must(t, db.w.task(ctx, func(b *batch) error {
		_, err := b.exec("UPDATE run SET status = 'failed', heartbeat_ms = heartbeat_ms + 1000 WHERE key = ?", run.ID())
		return err
	}))
	if m, err = Merge(ctx, a, b, MergeOptions{}); err != nil || m.Unchanged != 2 {
		t.Errorf("merge of less: %+v, %v", m, err)
	}
}

func TestMergeTakesEvaluationsAfterTheFact(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	laboratory(t, a, 0)
	_, err := Merge(ctx, b, a, MergeOptions{})
	must(t, err)
	record := func(path, name string) {
		t.Helper()
		db, err := Open(path)
		must(t, err)
		defer db.Close()
		runs, err := db.Runs(ctx, Filter{Status: "done"})
		must(t, err)
		must(t, db.RecordEvaluation(ctx, runs[0].ID, Evaluation{Name: name, Step: 2, SHA256: "sha", Suite: "suite"}, []clip.Metric{{Name: "eval/" + name + "/top1", Value: .5}}, nil))
	}
	record(b, "later")
	m, err := Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	if m.Updated != 1 || len(m.Notes) != 0 || dump(t, a) != dump(t, b) {
		t.Errorf("merge of an evaluated run: %+v\n%s", m, cmp.Diff(dump(t, a), dump(t, b)))
	}
	record(a, "here")
	if m, err = Merge(ctx, a, b, MergeOptions{}); err != nil || m.Unchanged != 2 || len(m.Notes) != 0 {
		t.Errorf("merge of less: %+v, %v", m, err)
	}
	record(b, "there")
	before := dump(t, a)
	if m, err = Merge(ctx, a, b, MergeOptions{}); err != nil || m.Unchanged != 2 || len(m.Notes) != 1 || dump(t, a) != before {
		t.Errorf("merge of a run that both evaluated: %+v, %v", m, err)
	}
}

func TestMergeFindsCheckpointsThatMoved(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	laboratory(t, b, 0)
	r, err := OpenReader(b)
	must(t, err)
	defer r.Close()
	runs, err := r.Runs(ctx, Filter{})
	must(t, err)
	moved := filepath.Join(dir, "runs", runs[0].ID, "step-00000002")
	must(t, os.MkdirAll(moved, 0o755))
	_, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	ours, err := OpenReader(a)
	must(t, err)
	defer ours.Close()
	for i, want := range []string{moved, "/gone/runs/" + runs[1].ID + "/step-00000002"} {
		c, err := ours.Checkpoints(ctx, runs[i].ID)
		must(t, err)
		if len(c) != 1 || c[0].Dir != want {
			t.Errorf("checkpoint %+v, want %s", c, want)
		}
	}
}

func TestMergeOfOlderAndNewerSchemas(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a.db")
	old := older(t, 3)
	before, err := os.ReadFile(old)
	must(t, err)
	m, err := Merge(ctx, a, old, MergeOptions{})
	must(t, err)
	after, err := os.ReadFile(old)
	must(t, err)
	if m.Added != 2 || string(before) != string(after) {
		t.Errorf("merge of an older schema: %+v, file changed: %v", m, string(before) != string(after))
	}
	r, err := OpenReader(a)
	must(t, err)
	defer r.Close()
	d, err := r.Get(ctx, "aaaaaaaaaa")
	must(t, err)
	if d.Spec != "name: e" || d.Params["lr"] != 0.001 {
		t.Errorf("run is %+v", d)
	}

	newer := filepath.Join(dir, "newer.db")
	laboratory(t, newer, 0)
	db, err := Open(newer)
	must(t, err)
	must(t, db.w.task(ctx, func(b *batch) error { return b.w.exec("PRAGMA user_version = 99") }))
	must(t, db.Close())
	_, err = Merge(ctx, a, newer, MergeOptions{})
	wantKind(t, err, fault.Unavailable)

	_, err = Merge(ctx, a, filepath.Join(dir, "none.db"), MergeOptions{})
	wantKind(t, err, fault.NotFound)
	_, err = Merge(ctx, a, dir, MergeOptions{})
	wantKind(t, err, fault.Invalid)
	must(t, os.Symlink(a, filepath.Join(dir, "link.db")))
	_, err = Merge(ctx, a, filepath.Join(dir, "link.db"), MergeOptions{})
	wantKind(t, err, fault.Invalid)
	empty := filepath.Join(dir, "empty.db")
	must(t, os.WriteFile(empty, nil, 0o644))
	_, err = Merge(ctx, a, empty, MergeOptions{})
	wantKind(t, err, fault.Invalid)
}

func TestMergeRefusesOneIDForTwoRuns(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	laboratory(t, a, 0)
	_, err := Merge(ctx, b, a, MergeOptions{})
	must(t, err)
	db, err := Open(b)
	must(t, err)
	defer db.Close()
	must(t, db.w.task(ctx, func(b *batch) error {
		_, err := b.exec("UPDATE run SET identity = 'another' WHERE status = 'failed'")
		return err
	}))
	before := dump(t, a)
	_, err = Merge(ctx, a, b, MergeOptions{})
	wantKind(t, err, fault.Conflict)
	if dump(t, a) != before {
		t.Error("a refused merge changed something")
	}
}

func TestMergeKeepsAPlanWithOtherFactors(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	laboratory(t, a, 0)
	laboratory(t, b, 1)
	db, err := Open(a)
	must(t, err)
	defer db.Close()
	must(t, db.Plan(ctx, Experiment{Name: "pooling", Factors: []results.Factor{{Name: "width", Levels: []string{"1"}}}}, []Cell{{Variant: "w"}}))
	m, err := Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	e, err := db.Experiment(ctx, "pooling")
	must(t, err)
	if m.Cells != 0 || len(m.Notes) != 1 || e.Factors[0].Name != "width" || e.Baseline != "attention" {
		t.Errorf("merge: %+v, experiment %+v", m, e)
	}
}

func TestTheNewestRunIsTheOneBegunLast(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	laboratory(t, b, 0) // begun first, merged last
	laboratory(t, a, 0)
	db, err := Open(a)
	must(t, err)
	defer db.Close()
	latest, err := db.FindRun(ctx, Latest)
	must(t, err)
	cells, err := db.Cells(ctx, "pooling")
	must(t, err)
	_, err = Merge(ctx, a, b, MergeOptions{})
	must(t, err)
	for i := range 2 {
		again, err := db.Cells(ctx, "pooling")
		must(t, err)
		if again[i].RunID != cells[i].RunID {
			t.Errorf("cell %+v, want run %s", again[i], cells[i].RunID)
		}
	}
	if id, _ := db.FindRun(ctx, Latest); id != latest {
		t.Errorf("latest is %s, want %s", id, latest)
	}
}

func TestMergeWhileAnotherProcessWrites(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	for seed := range int64(3) {
		laboratory(t, b, seed)
	}
	c := writerProcess(t, a)
	for {
		m, err := Merge(ctx, a, b, MergeOptions{})
		must(t, err)
		if m.Unchanged == 6 {
			break
		}
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	r, err := OpenReader(a)
	must(t, err)
	defer r.Close()
	checkSummaries(t, r)
	runs, err := r.Runs(ctx, Filter{})
	must(t, err)
	if len(runs) != 7 {
		t.Errorf("%d runs, want 7", len(runs))
	}
}

// TestMergeKnowsEveryColumn fails when a migration adds a table or a column that Merge does not copy.
func TestMergeKnowsEveryColumn(t *testing.T) {
	db := open(t)
	table, err := db.Query(ctx, `SELECT s.name, c.name FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%'`)
	must(t, err)
	copied := map[string]string{"run": copiedRunColumns, "experiment": "name description baseline metric created_ms design factors noise settings",
		"trial": "experiment_id variant seed identity levels position phase", "student_t": "df t975"}
	for _, query := range copies {
		m := regexp.MustCompile(`INSERT INTO main\.(\w+) \(([^)]*)\)`).FindStringSubmatch(query)
		copied[m[1]] = m[2]
	}
	for _, row := range table.Rows {
		name, column := row[0].(string), row[1].(string)
		words := regexp.MustCompile(`\w+`).FindAllString(copied[name], -1)
		if column != "id" && !slices.Contains(words, column) && (name != "run" || column != "experiment_id") {
			t.Errorf("merge does not copy %s.%s", name, column)
		}
	}
	for _, name := range runTables {
		if copied[name] == "" {
			t.Errorf("merge deletes %s of a run and does not copy it", name)
		}
	}
}
