package export

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/store"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

// study makes a database of two experiments, with NaN, infinities and everything else that a view has.
func study(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	cells := []store.Cell{{Variant: "base", Seed: 0, Identity: "a"}, {Variant: "base", Seed: 1, Identity: "b"}, {Variant: "new", Seed: 0, Identity: "c"}, {Variant: "new", Seed: 1, Identity: "d"}, {Variant: "never", Seed: 0, Identity: "e"}}
	must(t, db.Plan(ctx, store.Experiment{Name: "first", Baseline: "base", Design: "list"}, cells))
	must(t, db.Plan(ctx, store.Experiment{Name: "second", Baseline: "base"}, cells[:1]))
	for i, c := range cells[:4] {
		run, err := db.Begin(ctx, store.RunMeta{Experiment: "first", Variant: c.Variant, Seed: c.Seed, Identity: c.Identity, Device: "cpu", GitDirty: i == 0,
			Params: map[string]any{"lr": 0.1, "steps": 3, "name": "first", "none": nil}, Plugins: []store.Plugin{{Role: "loss", Name: "losses/clip", Version: "1", SHA256: "ab"}}})
		must(t, err)
		must(t, run.SetFacts(map[string]any{"total": int64(7), "share": 0.25, "what": "text"}))
		for step, v := range []float64{math.NaN(), math.Inf(1), 1.5 + float64(i)} {
			must(t, run.Metrics(step, []clip.Metric{{Name: "train/loss", Value: v}, {Name: "train/nan", Value: math.NaN()}}))
		}
		must(t, run.Predictions(2, "e", "label", []clip.Prediction{{Key: "k", Label: 1, Top: []int32{1}}, {Key: "l", Label: 2}}))
		must(t, run.SetSources([]store.Source{{Role: "data.train", Samples: 8, Seen: 20, Digest: "ab"}}))
		must(t, run.SetSkips("data.train", store.StageRefused, []clip.Skip{{Reason: "no caption", Count: 2, First: "a.png"}}))
		must(t, run.Event("info", "note", "a message", ""))
		must(t, run.Finish(ctx, clip.StatusDone, nil))
		must(t, db.RecordEvaluation(ctx, run.ID(), store.Evaluation{Name: "late", Step: 2, Suite: "s", Samples: 2}, nil, nil))
	}
	run, err := db.Begin(ctx, store.RunMeta{Experiment: "second", Variant: "other"})
	must(t, err)
	must(t, run.Finish(ctx, clip.StatusFailed, fault.New(fault.PluginDied, "gone").WithPlugin("losses/clip")))
	_, err = db.Begin(ctx, store.RunMeta{Experiment: "second", Variant: "running"})
	must(t, err)
	return db
}

// read gives the rows of a Parquet file by column name: nil, int64, float64, bool, string or time.Time.
func read(t *testing.T, path string) (columns []string, rows []map[string]any) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	p, err := parquet.OpenFile(f, info.Size())
	must(t, err)
	fields := p.Schema().Fields()
	for _, field := range fields {
		columns = append(columns, field.Name())
	}
	for _, group := range p.RowGroups() {
		r := group.Rows()
		buffer := make([]parquet.Row, 16)
		for {
			n, err := r.ReadRows(buffer)
			for _, values := range buffer[:n] {
				row := map[string]any{}
				for _, v := range values {
					row[columns[v.Column()]] = plain(v, fields[v.Column()])
				}
				rows = append(rows, row)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
		}
		must(t, r.Close())
	}
	return columns, rows
}

func plain(v parquet.Value, f parquet.Field) any {
	switch {
	case v.IsNull():
		return nil
	case v.Kind() == parquet.Boolean:
		return v.Boolean()
	case v.Kind() == parquet.Double:
		return v.Double()
	case v.Kind() == parquet.Int64 && strings.HasPrefix(f.Type().String(), "TIMESTAMP"):
		return time.UnixMilli(v.Int64()).UTC()
	case v.Kind() == parquet.Int64:
		return v.Int64()
	}
	return string(v.ByteArray())
}

// TestEveryViewComesBackFromParquet compares each file with what SQL says of the view.
func TestEveryViewComesBackFromParquet(t *testing.T) {
	db := study(t)
	dir := filepath.Join(t.TempDir(), "new", "export")
	files, err := Parquet(ctx, db.Reader, dir, Options{})
	must(t, err)
	if len(files) != len(store.Views()) {
		t.Fatalf("%d files, want %d", len(files), len(store.Views()))
	}
	for i, v := range store.Views() {
		columns, rows := read(t, files[i].Path)
		var want []string
		for _, c := range v.Columns {
			want = append(want, c.Name)
		}
		if diff := cmp.Diff(want, columns); diff != "" {
			t.Errorf("%s: columns %s", v.Name, diff)
		}
		table, err := db.Query(ctx, "SELECT * FROM v_"+v.Name)
		must(t, err)
		if len(rows) != len(table.Rows) || len(rows) == 0 || files[i].Rows != int64(len(rows)) {
			t.Errorf("%s: %d rows, said to be %d, want %d", v.Name, len(rows), files[i].Rows, len(table.Rows))
			continue
		}
		for j, values := range table.Rows {
			for k, name := range table.Columns {
				for _, c := range v.Columns {
					if c.Name == name && c.Name != "value" {
						compare(t, v.Name, c, rows[j][name], values[k])
					}
				}
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// compare holds a value of a file against that of the database.
func compare(t *testing.T, view string, c store.ViewColumn, got, stored any) {
	t.Helper()
	var want any
	switch c.Type {
	case store.Time:
		if text, ok := stored.(string); ok {
			at, err := time.Parse(time.RFC3339, text)
			must(t, err)
			want = at.UTC()
		}
	case store.Bool:
		want = stored.(int64) != 0
	case store.Float:
		switch v := stored.(type) {
		case int64:
			want = float64(v)
		case nil:
			if !c.Optional {
				want = math.NaN()
			}
		default:
			want = v
		}
	default:
		want = stored
	}
	if !cmp.Equal(got, want, cmpopts.EquateNaNs()) {
		t.Errorf("%s.%s is %v, want %v", view, c.Name, got, want)
	}
}

func TestValuesKeepTheirMeaning(t *testing.T) {
	db := study(t)
	dir := t.TempDir()
	_, err := Parquet(ctx, db.Reader, dir, Options{})
	must(t, err)
	_, metrics := read(t, filepath.Join(dir, "metrics.parquet"))
	nan, infinite := 0, 0
	for _, m := range metrics {
		if v := m["value"].(float64); math.IsNaN(v) {
			nan++
		} else if math.IsInf(v, 1) {
			infinite++
		}
	}
	if len(metrics) != 24 || nan != 16 || infinite != 4 {
		t.Errorf("%d points, %d NaN, %d infinite; want 24, 16, 4", len(metrics), nan, infinite)
	}
	_, params := read(t, filepath.Join(dir, "params.parquet"))
	got := map[any][2]any{}
	for _, p := range params {
		got[p["key"]] = [2]any{p["value"], p["number"]}
	}
	want := map[any][2]any{"lr": {"0.1", 0.1}, "steps": {"3", 3.0}, "name": {"first", nil}, "none": {nil, nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, runs := read(t, filepath.Join(dir, "runs.parquet"))
	for _, r := range runs {
		if (r["ended_at"] == nil) != (r["status"] == "running") {
			t.Errorf("run %v", r)
		}
		if at := r["started_at"].(time.Time); time.Since(at) > time.Hour || time.Since(at) < 0 {
			t.Errorf("started at %v", at)
		}
	}
}

func TestAnExportOfOneExperimentHasTheRunsOfItsCells(t *testing.T) {
	db := study(t)
	dir := t.TempDir()
	files, err := Parquet(ctx, db.Reader, dir, Options{Experiment: "second"})
	must(t, err)
	rows := map[string]int64{}
	for _, f := range files {
		rows[filepath.Base(f.Path)] = f.Rows
	}
	// Two runs of its own, and the one of the first experiment that fills its planned cell.
	want := map[string]int64{"runs.parquet": 3, "metrics.parquet": 6, "final.parquet": 2, "params.parquet": 4, "facts.parquet": 3, "plugins.parquet": 1, "sources.parquet": 1, "skips.parquet": 1,
		"events.parquet": 1, "failures.parquet": 1, "predictions.parquet": 1, "evaluations.parquet": 1, "cells.parquet": 3, "seed_stats.parquet": 1, "deltas.parquet": 0}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
	if _, err := Parquet(ctx, db.Reader, dir, Options{Experiment: "third"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no experiment: %v", err)
	}
	file := filepath.Join(dir, "runs.parquet")
	if _, err := Parquet(ctx, db.Reader, file, Options{}); err == nil || fault.KindOf(err) == fault.Internal {
		t.Errorf("into a file: %v", err)
	}
}

func TestRowGroupsAreBounded(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "x.parquet"))
	must(t, err)
	defer out.Close()
	w := newTable(out, store.View{Name: "x", Columns: []store.ViewColumn{{Name: "step", Type: store.Int}}})
	for i := range int64(rowsPerGroup + 5) {
		must(t, w.add([]any{i}))
	}
	must(t, w.close())
	info, err := out.Stat()
	must(t, err)
	p, err := parquet.OpenFile(out, info.Size())
	must(t, err)
	if groups := p.RowGroups(); len(groups) != 2 || groups[0].NumRows() != rowsPerGroup || groups[1].NumRows() != 5 {
		t.Errorf("%d row groups", len(groups))
	}
}
