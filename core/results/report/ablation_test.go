package report

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/fault"
	"tandem/core/random"
	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

var update = flag.Bool("update", false, "rewrite the wanted outputs of testdata")

const top1, loss = "eval/emoji/top1", "train/loss"

// pooling makes an experiment in which everything happens that a table can show.
func pooling() ablation.Experiment {
	e := ablation.Experiment{
		Name: "pool_study", Description: "attention & averages, 50 % each", Design: "one-at-a-time", Baseline: "baseline", Noise: "baseline again",
		Factors:   []results.Factor{{Name: "pool", Levels: []string{"attention", "average", "max"}}, {Name: "down|sample", Levels: []string{"avgpool", "stride_2", "blur"}}},
		Metrics:   []ablation.Metric{{Name: top1, Direction: metric.Up}, {Name: loss, Direction: metric.Down, Compared: true}, {Name: "eval/emoji/median_rank", Direction: metric.Down}, {Name: "eval/emoji/eval_ms", Direction: metric.Down}},
		Predicted: "emoji/label",
	}
	add := func(variant, pool, down string, first int64, values ...float64) {
		for i, v := range values {
			c := ablation.Cell{Cell: results.Cell{Variant: variant, Seed: first + int64(i), Levels: map[string]string{"pool": pool, "down|sample": down}, RunID: fmt.Sprintf("%s-%d", pool+down, i), Status: "done", Done: true}, Values: map[string]float64{top1: v, loss: 3.2 - 2*v, "eval/emoji/median_rank": math.Round(30 * (1 - v)), "eval/emoji/eval_ms": 12.3 + v}, Right: make([]bool, 200), Examples: 1}
			for x := range int(v * 200) {
				c.Right[(x*7+i)%200] = true
			}
			e.Cells = append(e.Cells, c)
		}
	}
	add("baseline", "attention", "avgpool", 0, 0.502, 0.533, 0.478, 0.518, 0.491, 0.525)
	add("pool=average", "average", "avgpool", 0, 0.551, 0.586, 0.524, 0.571, 0.537, 0.580)
	add("pool=max", "max", "avgpool", 0, 0.481, 0.544, 0.47, 0.505, 0.512, 0.517)
	add("down|sample=stride_2", "attention", "stride_2", 0, 0.393, 0.432, 0.369, 0.412, 0.382, 0.409)
	add("down|sample=blur", "attention", "blur", 0, 0.51, 0.53)
	e.Cells = append(e.Cells, slices.Clone(e.Cells[6:12])...)
	for i := range 6 {
		e.Cells[len(e.Cells)-6+i].Variant = "the same <average>"
	}
	add("baseline again", "attention", "avgpool", 100, 0.515, 0.497, 0.508)
	spoil := func(variant string, seed int64, status, note string) {
		e.Cells = append(e.Cells, ablation.Cell{Cell: results.Cell{Variant: variant, Seed: seed, Levels: map[string]string{"pool": "attention", "down|sample": "blur"}, Status: status, Note: note}})
		if status != "" {
			e.Cells[len(e.Cells)-1].RunID = "run-" + fmt.Sprint(seed)
		}
	}
	spoil("down|sample=blur", 2, "failed", "numeric: the loss is NaN at step 130")
	spoil("down|sample=blur", 3, "failed", "exhausted: 512 MiB\nof memory")
	spoil("down|sample=blur", 4, "", "")
	spoil("down|sample=blur", 5, "", "")
	return e
}

func analysed(t testing.TB, e ablation.Experiment) *ablation.Table {
	t.Helper()
	table, err := ablation.Analyse(e, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// ranking makes an experiment without a baseline.
func ranking() ablation.Experiment {
	e := ablation.Experiment{Name: "search", Design: "random", Factors: []results.Factor{{Name: "train.lr"}}, Metrics: []ablation.Metric{{Name: top1, Direction: metric.Up}, {Name: loss, Direction: metric.Down}}}
	for i, v := range []float64{0.31, 0.37, 0.305, 0.37} {
		e.Cells = append(e.Cells, ablation.Cell{Cell: results.Cell{Variant: fmt.Sprintf("train.lr=%de-4", i+1), Seed: 7, RunID: fmt.Sprint(i), Status: "done", Done: true}, Values: map[string]float64{top1: v, loss: 2 - v}})
	}
	return e
}

// stopping makes an experiment whose rule stopped two trials of one variant after 20 of 200 steps.
func stopping() ablation.Experiment {
	e := ablation.Experiment{Name: "width", Design: "one-at-a-time", Baseline: "baseline", Stops: true, Check: "1 epoch", Factors: []results.Factor{{Name: "width", Levels: []string{"64", "128", "32"}}},
		Metrics: []ablation.Metric{{Name: top1, Direction: metric.Up}}}
	for i, variant := range []string{"baseline", "width=128", "width=32"} {
		for seed := range 5 {
			end := 0.5 + []float64{0, 0.04, -0.09}[i] + 0.01*float64((seed*7+i*3)%5)
			c := ablation.Cell{Cell: results.Cell{Variant: variant, Seed: int64(seed), Levels: map[string]string{"width": []string{"64", "128", "32"}[i]}, RunID: fmt.Sprintf("%d-%d", i, seed), Status: "done", Done: true}, Values: map[string]float64{top1: end}, AtCheck: &results.Point{Step: 20, Value: end/3 + 0.002*float64((seed*3+i)%4)}}
			if i == 2 && seed < 2 {
				c.Status, c.Done, c.Values, c.Note = "stopped", false, nil, "below the median"
			}
			e.Cells = append(e.Cells, c)
		}
	}
	return e
}

func wanted(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", name, diff)
	}
}

func TestAnAblationInEveryFormat(t *testing.T) {
	full, rank, stopped := analysed(t, pooling()), analysed(t, ranking()), analysed(t, stopping())
	for format, extension := range map[Format]string{Text: "txt", Markdown: "md", LaTeX: "tex", CSV: "csv", JSON: "json", HTML: "html"} {
		for name, table := range map[string]*ablation.Table{"ablation": full, "ranking": rank, "stopped": stopped} {
			var b strings.Builder
			if err := Ablation(&b, format, table); err != nil {
				t.Fatal(err)
			}
			wanted(t, name+"."+extension, b.String())
		}
	}
	if err := Ablation(&strings.Builder{}, "yaml", full); fault.KindOf(err) != fault.Invalid {
		t.Errorf("yaml: %v", err)
	}
}

func TestAnAblationFitsItsTerminal(t *testing.T) {
	table := analysed(t, pooling())
	for _, width := range []int{64, 80, 140} {
		var b, coloured strings.Builder
		if err := ablationTextAt(&b, table, width, false); err != nil {
			t.Fatal(err)
		}
		wanted(t, fmt.Sprintf("ablation-%d.txt", width), b.String())
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimRight(line, " \n"))); n > width {
				t.Errorf("%d characters of %d: %s", n, width, line)
			}
		}
		if err := ablationTextAt(&coloured, table, width, true); err != nil {
			t.Fatal(err)
		}
		plain := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(coloured.String(), "")
		trim := regexp.MustCompile(`(?m) +$`)
		if diff := cmp.Diff(trim.ReplaceAllString(b.String(), ""), trim.ReplaceAllString(plain, "")); diff != "" || plain == coloured.String() {
			t.Errorf("%d characters in colour: -plain +coloured\n%s", width, diff)
		}
	}
}

func TestAnAblationIsWholeAsJSONAndCSV(t *testing.T) {
	table := analysed(t, pooling())
	var b strings.Builder
	if err := Ablation(&b, JSON, table); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Variants []struct {
			Variant string
			Metrics []struct{ Values []struct{ Value float64 } }
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if v := back.Variants[1]; v.Variant != "pool=average" || len(v.Metrics) != 4 || len(v.Metrics[0].Values) != 6 || v.Metrics[0].Values[1].Value != 0.586 {
		t.Errorf("%+v", v)
	}
	b.Reset()
	if err := Ablation(&b, CSV, table); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != 1+7*4 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// claims finds what a line of a report says that only a significant result may.
var claims = regexp.MustCompile(`\b(better|worse|effect)\b|†|\\dagger`)

// notClaims removes the words around claims that are none: legends and negations.
var notClaims = strings.NewReplacer("no effect shown", "", "need not be better", "", "Effect of each factor", "")

func TestNoWordingClaimsMoreThanHolmsP(t *testing.T) {
	claimed := 0
	for trial := range 40 {
		stream := random.New(uint64(trial), "wording")
		e := pooling()
		e.Cells = slices.DeleteFunc(e.Cells, func(c ablation.Cell) bool { return strings.HasPrefix(c.Variant, "the same") })
		for i := range e.Cells {
			if c := &e.Cells[i]; c.Done {
				shift := 0.0
				if trial%2 == 0 && c.Variant != "baseline" {
					shift = 0.1 * stream.Float64()
				}
				c.Values = map[string]float64{top1: 0.5 + shift + 0.03*stream.Float64(), loss: 2 - stream.Float64()}
			}
		}
		table := analysed(t, e)
		nothing := true
		for _, r := range table.Rows {
			for _, c := range r.Columns {
				nothing = nothing && (c.Judgement == nil || !(c.Judgement.P <= 0.05))
			}
			nothing = nothing && (r.Predictions == nil || !(r.Predictions.BothP <= 0.05))
		}
		for _, term := range table.Effects.Terms {
			nothing = nothing && !(term.P <= 0.05)
		}
		for _, format := range []Format{Text, Markdown, LaTeX, CSV, HTML} {
			var b strings.Builder
			if err := Ablation(&b, format, table); err != nil {
				t.Fatal(err)
			}
			said := claims.FindString(notClaims.Replace(b.String()))
			if nothing && said != "" {
				t.Errorf("trial %d says %q as %s where nothing was shown", trial, said, format)
			}
			if !nothing && said != "" {
				claimed++
			}
		}
	}
	if claimed == 0 {
		t.Error("no trial claimed anything: this test sees nothing")
	}
}

func TestAnInteractionIsSaidToSpoilWhatFactorsDoAlone(t *testing.T) {
	e := ablation.Experiment{Name: "g", Design: "grid", Baseline: "00", Metrics: []ablation.Metric{{Name: top1, Direction: metric.Up}},
		Factors: []results.Factor{{Name: "a", Levels: []string{"0", "1"}}, {Name: "b", Levels: []string{"0", "1"}}}}
	for i := range 12 {
		a, b, seed := i/3%2, i/6, i%3
		e.Cells = append(e.Cells, ablation.Cell{Cell: results.Cell{Variant: fmt.Sprint(a, b), Seed: int64(seed), RunID: fmt.Sprint(i), Done: true, Levels: map[string]string{"a": fmt.Sprint(a), "b": fmt.Sprint(b)}}, Values: map[string]float64{top1: 0.3 + 0.1*float64(a^b) + 0.001*float64(i*i%7)}})
	}
	s := effectSheet(analysed(t, e))
	if len(s.Rows) != 3 || s.Rows[2].Entries[6].Text != "effect" || len(s.Notes) != 2 || !strings.HasPrefix(s.Notes[1], "Factors interact") {
		t.Errorf("%+v", s)
	}
}

func TestABaselineAloneHasNoColumnsOfDifferences(t *testing.T) {
	e := pooling()
	e.Cells = e.Cells[:6]
	if s := mainSheets(analysed(t, e)); len(s) != 1 || slices.ContainsFunc(s[0].Columns, func(c column) bool { return c.Name == "verdict" }) {
		t.Errorf("%+v", s)
	}
}

func TestNumbersOfAColumnShareTheirDecimals(t *testing.T) {
	column := func(name string, means, stds []float64) scale {
		table := &ablation.Table{Metrics: []ablation.Metric{{Name: name, Direction: metric.Up}}}
		for i := range means {
			table.Rows = append(table.Rows, ablation.Row{Columns: []ablation.Column{{Summary: stat.Summary{N: 3, Mean: means[i], Std: stds[i]}}}})
		}
		return scaleOf(table, 0)
	}
	nan := math.NaN()
	for _, c := range []struct{ got, want string }{
		{column(top1, []float64{0.5}, []float64{0.03}).spread(stat.Summary{N: 3, Mean: 0.5, Std: 0.031}), "50.0 ± 3.1"},
		{column(top1, []float64{0.5}, []float64{0.0003}).spread(stat.Summary{N: 3, Mean: 0.5, Std: 0.00031}), "50.000 ± 0.031"},
		{column(top1, []float64{0.5}, []float64{nan}).spread(stat.Summary{N: 1, Mean: 0.512, Std: nan}), "51.2"},
		{column(loss, []float64{2.5, 3}, []float64{0.12, 0.01}).value(2.5), "2.50"},
		{column(loss, []float64{12345}, []float64{nan}).value(12345.678), "12346"},
		{column(loss, []float64{2.5}, []float64{nan}).signed(-0.0001), "0.000"},
		{column(loss, []float64{2.5}, []float64{nan}).signed(0.25), "+0.250"},
		{column(loss, []float64{nan}, []float64{nan}).value(nan), "–"},
		{pValue(0.0004), "<0.001"}, {pValue(0.0496), "0.050"}, {pValue(nan), "–"}, {pValue(1), "1.000"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestAVerdictBesideStoppedTrialsHasNoInterval(t *testing.T) {
	e := pooling()
	for i := range e.Cells {
		if e.Cells[i].Status == "failed" {
			e.Cells[i].Status = "stopped"
		}
	}
	var b strings.Builder
	if err := Ablation(&b, Markdown, analysed(t, e)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LOST, 2 of 36 cells (2 stopped early)", "| +5.0 † |", "They have no intervals: a rule stops trials early here", "2 of 6 seeds stopped early: those that are left are a choice"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
