package report

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func TestNumbersReadWell(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct{ got, want string }{
		{Count(151277313), "151.28 M"}, {Count(102007137), "102.01 M"}, {Count(999), "999"}, {Count(12800), "12,800"}, {Count(1234), "1234"},
		{Count(4.41e9), "4.41 G"}, {Count(123456), "123.46 k"}, {Count(99999.9), "100.00 k"}, {Count(0), "0"}, {Count(nan), "NaN"}, {Count(-20000), "-20,000"}, {Count(999_996), "1.00 M"},
		{Number(0.8697), "0.8697"}, {Number(4.852030263919617), "4.852"}, {Number(1e-3), "0.001"}, {Number(5e-7), "5e-07"}, {Number(14.285714), "14.286"}, {Number(100), "100"},
		{Number(nan), "NaN"}, {Number(inf), "∞"}, {Number(-inf), "-∞"}, {Number(123456.789), "123457"}, {Number(0.5), "0.5"}, {Number(0), "0"},
		{Percent(0.4532), "45.3 %"}, {Percent(nan), "NaN"},
		{Duration(0.0123), "12.3 ms"}, {Duration(12.34), "12.3 s"}, {Duration(245), "4 min 05 s"}, {Duration(59.97), "1 min 00 s"}, {Duration(7380), "2 h 03 min"}, {Duration(3 * 86400), "3 d 00 h"}, {Duration(nan), "NaN"},
		{Bytes(512), "512 B"}, {Bytes(35756441), "34.1 MiB"}, {Bytes(1 << 30), "1.0 GiB"}, {Bytes(1<<20 - 1), "1.0 MiB"},
		{Metric("eval/emoji/top1", 0.5), "50.0 %"}, {Metric("eval/emoji/image_to_text_R@5", 1), "100.0 %"}, {Metric("train/loss", 4.5), "4.5"},
		{Metric("train/samples_per_s", 641.26), "641.3 /s"}, {Metric("train/data_wait_ms", 0.016), "0.02 ms"}, {Metric("eval/e/median_rank", 3), "3"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

var (
	columns = []string{"name", "n", "value"}
	rows    = [][]any{{"plain", int64(1), 0.5}, {`with "quotes", comma`, nil, math.NaN()}, {"<&>", 300, math.Inf(-1)}}
)

func write(t *testing.T, format Format) string {
	t.Helper()
	var b strings.Builder
	if err := Rows(&b, format, columns, rows); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRowsAsJSON(t *testing.T) {
	want := `[
  {"name": "plain", "n": 1, "value": 0.5},
  {"name": "with \"quotes\", comma", "n": null, "value": null},
  {"name": "<&>", "n": 300, "value": "-Infinity"}
]
`
	got := write(t, JSON)
	if got != want {
		t.Errorf("got %s", got)
	}
	var back []map[string]any
	if err := json.Unmarshal([]byte(got), &back); err != nil || len(back) != 3 {
		t.Errorf("%v: %v", err, back)
	}
	var b strings.Builder
	if Rows(&b, JSON, columns, nil); b.String() != "[]\n" {
		t.Errorf("no rows are %q, want []", b.String())
	}
}

func TestRowsAsCSV(t *testing.T) {
	want := "name,n,value\nplain,1,0.5\n\"with \"\"quotes\"\", comma\",,NaN\n<&>,300,-Infinity\n"
	if got := write(t, CSV); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRowsAsText(t *testing.T) {
	want := `name                    n  value
────────────────────────────────
plain                   1    0.5
with "quotes", comma    –    NaN
<&>                   300     -∞
`
	if got := write(t, Text); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if strings.Contains(write(t, Text), "\x1b") {
		t.Error("escape codes where there is no terminal")
	}
	var b strings.Builder
	if err := Rows(&b, "yaml", columns, rows); fault.KindOf(err) != fault.Invalid {
		t.Errorf("format yaml: %v, want invalid", err)
	}
}

func TestWideColumnsAreShortenedToTheTerminal(t *testing.T) {
	columns := []string{"id", "message", "detail"}
	cells := [][]string{{"0123456789", strings.Repeat("x", 200), strings.Repeat("y", 25)}}
	limits, fits := columnWidths(columns, cells, 80)
	if !fits || limits[0] != 10 || limits[1] != 41 || limits[2] != 25 {
		t.Errorf("limits are %v, %v; want 10, 41, 25, true", limits, fits)
	}
	if limits, fits := columnWidths(columns, cells, 30); fits || limits == nil {
		t.Errorf("30 characters: %v, %v", limits, fits)
	}
	for _, width := range []int{0, 300} {
		if limits, fits := columnWidths(columns, cells, width); limits != nil || !fits {
			t.Errorf("%d characters: %v, %v; want no limits", width, limits, fits)
		}
	}
	if got := shorten("αβγδεζ", 4); got != "αβγ…" {
		t.Errorf("shortened to %q", got)
	}
}

func TestRowsThatCannotFitAreRecords(t *testing.T) {
	var b strings.Builder
	if err := writeRecords(&b, []string{"a", "longer"}, [][]string{{"1", "x"}, {"2", "y"}}, 0, 2); err != nil {
		t.Fatal(err)
	}
	want := "── 1 of 2\na       1\nlonger  x\n── 2 of 2\na       2\nlonger  y\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestFitLeavesOutEmptyThenSpareColumns(t *testing.T) {
	columns := []string{"run", "variant", "steps", "value"}
	cells := [][]string{{"0123456789", "–", "100", "1"}, {"0123456789", "–", "200", "2"}}
	right := []bool{false, false, true, true}
	for width, want := range map[int]string{0: "run steps value", 80: "run steps value", 20: "run value", 10: "run value"} {
		head, body, align := fitColumns(columns, cells, right, width, "steps")
		if got := strings.Join(head, " "); got != want || len(body[1]) != len(head) || body[1][len(head)-1] != "2" || !align[len(head)-1] {
			t.Errorf("%d characters: %s %v %v, want %s", width, got, body, align, want)
		}
	}
}

func detail() *store.RunDetail {
	steps, seen, rate, ms, params, at := int64(280), 35840.0, 640.0, 200.0, int64(151277313), 280
	early := 200
	return &store.RunDetail{
		RunInfo: store.RunInfo{ID: "0abc", Experiment: "quickstart", Seed: 1, Status: "failed", StartedAt: "2025-11-23T14:05:09.123Z",
			DurationS: 92, Steps: &steps, SamplesSeen: &seen, ImagesPerS: &rate},
		Parameters: &params, StepMS: &ms, Cores: 2, Host: "here", GitCommit: "f00", GitDirty: true,
		Libraries: json.RawMessage(`{"onednn":"2.6"}`), Threads: json.RawMessage(`{}`),
		Facts: map[string]any{"parameters.image": int64(87849216)},
		Metrics: map[string]store.Series{
			"train/loss":      {First: 4.85, Last: 1.5, Best: 1.5, BestStep: &at, LastStep: 280, N: 280, Better: -1},
			"eval/emoji/top1": {First: 0.01, Last: 0.45, Best: 0.47, BestStep: &early, LastStep: 280, N: 3, Better: 1},
		},
		Plugins: []store.Plugin{{Role: "loss", Name: "losses/clip", Version: "1.0.0", SHA256: "0123456789abcdef"}},
		Events:  []store.Event{{Step: 280, Level: "error", Kind: "plugin_died", Message: "gone"}},
		Error:   &store.Failure{Kind: "plugin_died", Message: "losses/clip: gone", Hint: "look", Detail: "line 1\nline 2\n"},
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in\n%s", p, text)
		}
	}
}

func TestShowAndFinalTellTheRun(t *testing.T) {
	var b strings.Builder
	if err := Show(&b, Text, detail()); err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "151.28 M", "2025-11-23 14:05", "f00 (with uncommitted changes)", "onednn 2.6", "eval/emoji/top1",
		"87.85 M", "losses/clip", "0123456789ab", "error (plugin_died): losses/clip: gone\n  hint: look\n    line 1\n    line 2\n")
	b.Reset()
	if err := Final(&b, detail()); err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "45.0 %", "best 47.0 % at 200", "1 min 32 s", "640", "35,840", "151.28 M")
	b.Reset()
	if err := Show(&b, JSON, detail()); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if back["parameters"] != 151277313.0 || back["images_per_s"] != 640.0 || back["step_ms"] != 200.0 || back["status"] != "failed" {
		t.Errorf("JSON is %s", b.String())
	}
}

func TestCompareShowsDifferences(t *testing.T) {
	n := func(v float64) *store.Number { x := store.Number(v); return &x }
	c := &store.Comparison{
		Runs:    []store.RunInfo{{ID: "aaa", Experiment: "e", Status: string(clip.StatusDone)}, {ID: "bbb", Experiment: "e"}},
		Metrics: []store.MetricComparison{{Metric: "train/loss", Values: []*store.Number{n(2), n(1.5)}}, {Metric: "eval/e/top1", Values: []*store.Number{n(.25), n(.5)}}, {Metric: "eval/e/top5", Values: []*store.Number{nil, n(1)}}},
		Params:  []store.ParamComparison{{Key: "pool", Values: []any{"attention", nil}}},
	}
	var b strings.Builder
	if err := Compare(&b, Text, c); err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "eval/e/top1  25.0 %   50.0 %    +25.0 pt", "train/loss        2      1.5        -0.5", "eval/e/top5       –  100.0 %", "pool    attention    –")
	c.Runs = append(c.Runs, store.RunInfo{ID: "ccc"})
	for i := range c.Metrics {
		c.Metrics[i].Values = append(c.Metrics[i].Values, n(.3))
	}
	c.Params = nil
	b.Reset()
	if err := Compare(&b, Text, c); err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "50.0 % (+25.0 pt)", "30.0 % (+5.0 pt)", "The configurations are the same.")
	b.Reset()
	if err := Compare(&b, CSV, c); err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "run_id,experiment,variant,seed,metric,last\naaa,e,,0,train/loss,2\n")
	b.Reset()
	if err := Runs(&b, Text, c.Runs); err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "aaa", "done")
}
