package store

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gonum.org/v1/gonum/stat/distuv"

	"tandem/core/clip"
	"tandem/core/fault"
)

// documented gives the named queries of docs/results.md.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/results.md")
	must(t, err)
	queries := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```sql ([a-z-]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		queries[m[1]] = m[2]
	}
	if len(queries) != 10 {
		t.Fatalf("docs/results.md asks %d questions, want 10", len(queries))
	}
	return queries
}

// study makes a database with an ablation whose answers can be worked out by hand: variant attention is
// the baseline, average and siglip are compared with it over seeds 0, 1, 2; siglip has no seed 2.
// Accuracy is base + 0.01·seed, and average's deltas are +0.1, +0.2, +0.3.
func study(t *testing.T) (*DB, map[string]string) {
	t.Helper()
	db := open(t)
	ids := map[string]string{}
	var cells []Cell
	for _, v := range []string{"attention", "average", "siglip"} {
		for seed := range int64(3) {
			cells = append(cells, Cell{Variant: v, Seed: seed})
		}
	}
	must(t, db.Plan(ctx, Experiment{Name: "pooling"}, cells))
	top1 := map[string][]float64{"attention": {0.30, 0.31, 0.32}, "average": {0.40, 0.51, 0.62}, "siglip": {0.20, 0.25}}
	for _, v := range []string{"attention", "average", "siglip"} {
		for seed, accuracy := range top1[v] {
			ids[fmt.Sprintf("%s/%d", v, seed)] = trial(t, db, v, int64(seed), accuracy, clip.StatusDone, nil)
		}
	}
	lost := fault.New(fault.PluginDied, "gone").WithPlugin("losses/siglip")
	ids["failed"] = trial(t, db, "siglip", 2, 0.9, clip.StatusFailed, lost)
	// Neither a tainted rerun nor one of another experiment may change the answers.
	tainted := begin(t, db, RunMeta{Experiment: "pooling", Variant: "attention", Seed: 0})
	must(t, tainted.Metrics(20, []clip.Metric{{Name: "eval/emoji/top1", Value: 0.99}}))
	must(t, tainted.Taint("debugger attached"))
	must(t, tainted.Finish(ctx, clip.StatusDone, nil))
	ids["tainted"] = tainted.ID()
	return db, ids
}

func trial(t *testing.T, db *DB, variant string, seed int64, top1 float64, status clip.Status, cause error) string {
	loss, pool := "clip", variant
	if variant == "siglip" {
		loss, pool = "siglip", "attention"
	}
	run := begin(t, db, RunMeta{
		Experiment: "pooling", Baseline: "attention", Metric: "eval/emoji/top1", Variant: variant, Seed: seed,
		Params:    map[string]any{"loss": map[string]any{"plugin": loss}, "image": map[string]any{"with": map[string]any{"pool": pool}}, "seed": seed},
		Plugins:   []Plugin{{"loss", "losses/" + loss, "1." + fmt.Sprint(seed), "sha-" + loss}},
		GitCommit: "commit-" + variant, DatasetDigest: "emoji-digest",
	})
	for step := range 3 {
		must(t, run.Metrics(step*10, []clip.Metric{
			{Name: "train/loss", Value: 4 - top1*float64(step)},
			{Name: "eval/emoji/top1", Value: top1 * float64(step) / 2},
		}))
	}
	must(t, run.Finish(ctx, status, cause))
	// An hour each, so that accuracy per device-hour is the accuracy.
	must(t, db.w.task(ctx, func(b *batch) error {
		_, err := b.exec("UPDATE run SET ended_ms = session_ms + 3600000 WHERE key = ?", run.ID())
		return err
	}))
	return run.ID()
}

func TestTheTenQuestions(t *testing.T) {
	db, ids := study(t)
	half := 4.302653 * 0.1 / math.Sqrt(3)
	shalf := 12.706205 * (0.04 / math.Sqrt2) / math.Sqrt2
	var curves [][]any
	for _, c := range []struct {
		variant string
		seed    int64
		top1    float64
	}{{"attention", 0, .30}, {"attention", 1, .31}, {"attention", 2, .32}, {"average", 0, .40}, {"average", 1, .51}, {"average", 2, .62},
		{"siglip", 0, .20}, {"siglip", 1, .25}, {"siglip", 2, .9}} {
		for step := range 3 {
			curves = append(curves, []any{c.variant, c.seed, int64(10 * step), 4 - c.top1*float64(step)})
		}
	}
	answers := map[string]struct {
		args []any
		want [][]any
	}{
		"best-per-loss":    {nil, [][]any{{"clip", ids["average/2"], .62}, {"siglip", ids["siglip/1"], .25}}},
		"mean-per-variant": {nil, [][]any{{"average", int64(3), .51, .11}, {"attention", int64(3), .31, .01}, {"siglip", int64(2), .225, .05 / math.Sqrt2}}},
		"delta-to-baseline": {nil, [][]any{{"average", int64(3), .2, .2 - half, .2 + half},
			{"siglip", int64(2), -.08, -.08 - shalf, -.08 + shalf}}},
		"config-difference": {[]any{sql.Named("a", ids["attention/0"]), sql.Named("b", ids["siglip/1"])},
			[][]any{{"loss.plugin", "clip", "siglip"}, {"seed", int64(0), int64(1)}}},
		"curves":              {nil, curves},
		"first-step-to-reach": {nil, withSteps(sortedRows(ids["average/1"], ids["average/2"], ids["failed"], ids["tainted"]), 20)},
		"accuracy-per-device-hour": {nil, [][]any{
			{ids["average/2"], "average", .62, 1.0, .62}, {ids["average/1"], "average", .51, 1.0, .51}, {ids["average/0"], "average", .40, 1.0, .40},
			{ids["attention/2"], "attention", .32, 1.0, .32}, {ids["attention/1"], "attention", .31, 1.0, .31}, {ids["attention/0"], "attention", .30, 1.0, .30},
			{ids["siglip/1"], "siglip", .25, 1.0, .25}, {ids["siglip/0"], "siglip", .20, 1.0, .20}}},
		"failures":      {nil, [][]any{{"plugin_died", "losses/siglip", "1.2", int64(1), ids["failed"]}}},
		"missing-cells": {nil, [][]any{{"siglip", int64(2), "failed"}}},
	}
	for _, z := range []string{"sha-siglip", "commit-siglip"} {
		answers["runs-that-used "+z] = struct {
			args []any
			want [][]any
		}{[]any{sql.Named("z", z)}, sortedRows(ids["siglip/0"], ids["siglip/1"], ids["failed"])}
	}
	asked := map[string]bool{}
	queries := documented(t)
	for name, a := range answers {
		question, _, _ := strings.Cut(name, " ")
		asked[question] = true
		table, err := db.Query(ctx, queries[question], a.args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(a.want, table.Rows, cmpopts.EquateApprox(1e-6, 0)); diff != "" {
			t.Errorf("%s: (want -, got +)\n%s", name, diff)
		}
	}
	for name := range queries {
		if !asked[name] {
			t.Errorf("question %s of docs/results.md has no test", name)
		}
	}
}

func sortedRows(ids ...string) [][]any {
	set := map[string]bool{}
	for _, id := range ids {
		set[id] = true
	}
	var rows [][]any
	for _, id := range sortedKeys(set) {
		rows = append(rows, []any{id})
	}
	return rows
}

func withSteps(rows [][]any, step int64) [][]any {
	for i := range rows {
		rows[i] = append(rows[i], step)
	}
	return rows
}

// TestViewsHaveTheirDocumentedColumns holds views and docs/results.md together: every column of
// every view is named in the page, and the page promises none that is missing.
func TestViewsHaveTheirDocumentedColumns(t *testing.T) {
	want := map[string]string{
		"v_runs":         "run_id experiment variant seed status started_at ended_at duration_s device_hours steps samples_seen samples_per_s device host cores git_commit git_dirty dataset_digest identity tainted error_kind error_plugin error_message",
		"v_metrics":      "run_id metric step value",
		"v_final":        "run_id experiment variant seed status metric last last_step best best_step first min max mean n tainted",
		"v_params":       "run_id key value type",
		"v_seed_stats":   "experiment variant metric n mean std min max",
		"v_deltas":       "experiment variant metric baseline n mean baseline_mean delta std ci_low ci_high",
		"v_cells":        "experiment variant seed run_id status done planned levels position identity experiment_id run phase",
		"v_plugins":      "run_id experiment role plugin version sha256",
		"v_sources":      "run_id experiment variant seed position role source plugin samples weight quota seen epochs replaced digest",
		"v_skips":        "run_id experiment variant seed role stage reason n first",
		"v_evaluations":  "run_id experiment variant seed evaluation step suite measured_at version samples left_out dataset sha256 suite_sha256",
		"v_failures":     "run_id experiment variant seed error_kind error_plugin plugin_version plugin_sha256 error_message error_hint error_detail ended_at",
		"v_events":       "run_id event_id at step level kind message detail",
		"v_facts":        "run_id key value",
		"v_predictions":  "run_id step evaluation target n correct top1",
		"v_cell_metrics": "experiment_id variant seed run_id metric_id value experiment metric",
	}
	text, err := os.ReadFile("../../../docs/results.md")
	must(t, err)
	sections := regexp.MustCompile(`(?s)\*\*.(v_[a-z_]+).\*\*(.*?)(?:\n\n\*\*|\n\n.v_seed_stats)`)
	doc := string(text)
	seen := map[string]bool{}
	for at := 0; ; {
		m := sections.FindStringSubmatchIndex(doc[at:])
		if m == nil {
			break
		}
		view, body := doc[at+m[2]:at+m[3]], doc[at+m[4]:at+m[5]]
		seen[view] = true
		for _, column := range strings.Fields(want[view]) {
			if !strings.Contains(body, "`"+column+"`") {
				t.Errorf("docs/results.md: %s lacks column %s", view, column)
			}
		}
		at += m[5]
	}
	db := open(t)
	table, err := db.Query(ctx, "SELECT v.name, group_concat(c.name, ' ' ORDER BY c.cid) FROM sqlite_schema v, pragma_table_info(v.name) c WHERE v.type = 'view' GROUP BY v.name")
	must(t, err)
	for _, row := range table.Rows {
		view := row[0].(string)
		if row[1] != want[view] {
			t.Errorf("%s has columns %s, want %s", view, row[1], want[view])
		}
		if !seen[view] && view != "v_cell_metrics" {
			t.Errorf("docs/results.md does not describe %s", view)
		}
		delete(want, view)
	}
	if len(want) > 0 {
		t.Errorf("views missing: %v", want)
	}
}

func TestStudentTTable(t *testing.T) {
	db := open(t)
	table, err := db.Query(ctx, "SELECT df, t975 FROM student_t")
	must(t, err)
	if len(table.Rows) < 30 {
		t.Fatalf("%d rows", len(table.Rows))
	}
	for _, row := range table.Rows {
		df, got := row[0].(int64), row[1].(float64)
		want := distuv.StudentsT{Sigma: 1, Nu: float64(df)}.Quantile(0.975)
		if math.Abs(got-want) > 2e-6 {
			t.Errorf("%d degrees of freedom: %v, want %v", df, got, want)
		}
	}
}
