package ablation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

const top1, loss = "eval/emoji/top1", "train/loss"

// study has a baseline of these values over seeds 0, 1, …, and variants that differ from it by given amounts.
func study(baseline []float64, variants map[string][]float64) Experiment {
	e := Experiment{Name: "pooling", Design: "one-at-a-time", Baseline: "baseline", Metrics: []Metric{{Name: top1, Direction: metric.Up}}}
	e.Cells = cellsOf("baseline", baseline)
	for _, v := range sorted(variants) {
		values := slices.Clone(variants[v])
		for i := range values {
			values[i] += baseline[i]
		}
		e.Cells = append(e.Cells, cellsOf(v, values)...)
	}
	return e
}

func sorted(m map[string][]float64) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func cellsOf(variant string, values []float64) (cells []Cell) {
	for seed, v := range values {
		cells = append(cells, Cell{Cell: results.Cell{Variant: variant, Seed: int64(seed), RunID: fmt.Sprint(variant, seed), Status: "done", Done: true}, Values: map[string]float64{top1: v, loss: 1 - v}})
	}
	return cells
}

func analyse(t *testing.T, e Experiment) *Table {
	t.Helper()
	table, err := Analyse(e, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func find(t *testing.T, table *Table, variant string) Row {
	t.Helper()
	for _, r := range table.Rows {
		if r.Variant == variant {
			return r
		}
	}
	t.Fatalf("no row %q", variant)
	return Row{}
}

var (
	base    = []float64{0.50, 0.54, 0.46, 0.52, 0.48}
	gain    = []float64{0.100, 0.105, 0.095, 0.102, 0.098}
	unclear = []float64{0.1, -0.1, 0.05, -0.04, 0.02}
)

func TestAVariantIsComparedSeedBySeed(t *testing.T) {
	table := analyse(t, study(base, map[string][]float64{"gain": gain, "unclear": unclear}))
	if len(table.Rows) != 3 || table.Rows[0].Variant != "baseline" || table.Rows[0].Columns[0].Comparison != nil {
		t.Fatalf("rows %+v", table.Rows)
	}
	c := find(t, table, "gain").Columns[0]
	want := stat.Compare(bySeed(c.Values), stat.BySeed{0: .5, 1: .54, 2: .46, 3: .52, 4: .48}, 0.95, 0)
	if *c.Comparison != want || c.Judgement.Verdict != stat.Better || c.Judgement.P != 2*want.P || !c.Best {
		t.Errorf("gain: %+v, %+v; want %+v", c.Comparison, c.Judgement, want)
	}
	if u := find(t, table, "unclear").Columns[0]; u.Judgement.Verdict != stat.NoDifference || u.Best {
		t.Errorf("unclear: %+v", u.Judgement)
	}
	if table.Tests != 2 || !slices.Equal(table.Seeds, []int64{0, 1, 2, 3, 4}) || math.Abs(table.Alpha-0.05) > 1e-15 {
		t.Errorf("%d tests over seeds %v at %g", table.Tests, table.Seeds, table.Alpha)
	}
}

func TestHolmIsOverAllComparedMetricsWhicheverWayTheyAreGood(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	e.Metrics = append(e.Metrics, Metric{Name: loss, Direction: metric.Down, Compared: true}, Metric{Name: "train/lr", Direction: metric.Up})
	table := analyse(t, e)
	r := find(t, table, "gain")
	if table.Tests != 2 || r.Columns[1].Judgement.Verdict != stat.Better || r.Columns[1].Comparison.Delta > 0 || !r.Columns[1].Best {
		t.Errorf("%d tests; loss %+v %+v", table.Tests, r.Columns[1].Comparison, r.Columns[1].Judgement)
	}
	if r.Columns[2].Comparison != nil || r.Columns[2].Summary.N != 0 {
		t.Errorf("a metric without values: %+v", r.Columns[2])
	}
}

func TestTwoSeedsAreNotEnoughToTell(t *testing.T) {
	table := analyse(t, study(base[:2], map[string][]float64{"gain": gain[:2]}))
	if j := find(t, table, "gain").Columns[0].Judgement; j.Verdict != stat.NotEnough || table.Tests != 0 {
		t.Errorf("%+v, %d tests", j, table.Tests)
	}
}

func TestCellsThatDoNotCountAreNamed(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	spoil := func(i int, c Cell) {
		c.Variant, c.Seed, c.Values = e.Cells[i].Variant, e.Cells[i].Seed, e.Cells[i].Values
		e.Cells[i] = c
	}
	spoil(4, Cell{Cell: results.Cell{RunID: "t", Status: "done"}})
	spoil(5, Cell{Cell: results.Cell{RunID: "s", Status: "stopped", Note: "below the median"}})
	spoil(6, Cell{})
	spoil(7, Cell{Cell: results.Cell{RunID: "f", Status: "failed", Note: "out of memory"}})
	e.Cells[8].Values = map[string]float64{top1: math.Inf(1)}
	table := analyse(t, e)
	want := []Absent{
		{"baseline", 4, Tainted, "t", ""},
		{"gain", 0, Stopped, "s", "below the median"},
		{"gain", 1, Missing, "", ""},
		{"gain", 2, Failed, "f", "out of memory"},
		{"gain", 3, NoValue, "gain3", ""},
	}
	if !slices.Equal(table.Absent, want) {
		t.Errorf("absent %+v", table.Absent)
	}
	r := find(t, table, "gain")
	if c := r.Columns[0]; c.Summary.N != 1 || c.Comparison.N != 0 || c.Judgement.Verdict != stat.Lost || r.Stopped != 1 || r.Lost != 3 || r.Waiting != 1 || r.Cells != 5 ||
		c.Judgement.Why != "1 of 5 seeds of the baseline tainted, 1 of 5 seeds failed, 1 of 5 seeds stopped early, 1 of 5 seeds without a finite value: those that are left are a choice, not a sample" {
		t.Errorf("%+v, %+v of %+v", c.Comparison, c.Judgement, r)
	}
}

func TestTheSameRunsUnderTwoNamesAreOneTest(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	for _, c := range slices.Clone(e.Cells) {
		c.Variant += " too"
		e.Cells = append(e.Cells, c)
	}
	table := analyse(t, e)
	again, same := find(t, table, "gain too"), find(t, table, "gain")
	if !again.HasSame || again.Same != "gain" || table.Tests != 1 || again.Columns[0].Judgement != same.Columns[0].Judgement || again.Columns[0].Judgement == nil {
		t.Errorf("%d tests, %+v", table.Tests, again)
	}
	if b := find(t, table, "baseline too"); b.Same != "baseline" || b.Columns[0].Comparison != nil {
		t.Errorf("%+v", b)
	}
}

func TestWithoutABaselineTheTableIsARanking(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain, "unclear": unclear})
	e.Baseline, e.Design = "", "random"
	e.Factors = []results.Factor{{Name: "train.lr"}}
	e.Cells = append(e.Cells, Cell{Cell: results.Cell{Variant: "a never run one"}})
	table := analyse(t, e)
	var order []string
	for _, r := range table.Rows {
		order = append(order, fmt.Sprint(r.Rank, " ", r.Variant))
		if r.Columns[0].Comparison != nil {
			t.Errorf("%s is compared", r.Variant)
		}
	}
	if got := strings.Join(order, ", "); got != "1 gain, 2 unclear, 3 baseline, 0 a never run one" {
		t.Error(got)
	}
	if len(table.Notes) != 1 || table.Effects.Why == "" || table.Effects.Terms != nil {
		t.Errorf("notes %q, effects %+v", table.Notes, table.Effects)
	}
}

func TestABaselineWithoutCellsIsSaid(t *testing.T) {
	e := study(base, nil)
	e.Baseline = "nobody"
	if table := analyse(t, e); table.HasBaseline || len(table.Notes) != 1 || !strings.Contains(table.Notes[0], "nobody") {
		t.Errorf("%+v", table)
	}
}

func TestTheNoiseFloorIsTheBaselinesOwnSpread(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	e.Noise = "again"
	for seed, v := range []float64{0.49, 0.53, 0.51} {
		e.Cells = append(e.Cells, Cell{Cell: results.Cell{Variant: "again", Seed: int64(100 + seed), Done: true, RunID: fmt.Sprint(seed)}, Values: map[string]float64{top1: v}})
	}
	table := analyse(t, e)
	want := stat.NoiseOf([]float64{.5, .54, .46, .52, .48}, []float64{0.49, 0.53, 0.51})
	if table.Noise.Noise != want || table.Noise.Floor != want.Floor(5, 5, 0.95) {
		t.Errorf("%+v, want %+v", table.Noise, want)
	}
	if got := find(t, table, "gain").Columns[0].Floor; got != want.Floor(5, 5, 0.95) {
		t.Errorf("floor of gain %g", got)
	}
	r := table.Rows[len(table.Rows)-1]
	if r.Role != IsRepeat || r.Columns[0].Comparison != nil || r.Rank != 0 || r.Columns[0].Best || len(table.Seeds) != 5 {
		t.Errorf("repeat %+v, seeds %v", r, table.Seeds)
	}
	e.Cells = e.Cells[:10]
	if table = analyse(t, e); !math.IsNaN(table.Noise.Floor) || len(table.Notes) != 1 {
		t.Errorf("without cells %+v, %q", table.Noise, table.Notes)
	}
}

func TestTablesWithoutAnyEffectSeldomClaimOne(t *testing.T) {
	const tables = 2000
	stream, claims, compared := rand.New(rand.NewPCG(1, 2)), 0, 0
	for range tables {
		values := func() []float64 {
			return []float64{stream.NormFloat64(), stream.NormFloat64(), stream.NormFloat64(), stream.NormFloat64(), stream.NormFloat64()}
		}
		e := study(values(), map[string][]float64{"a": values(), "b": values(), "c": values()})
		table, claimed := analyse(t, e), false
		for _, r := range table.Rows[1:] {
			compared++
			if v := r.Columns[0].Judgement.Verdict; v == stat.Better || v == stat.Worse {
				claimed = true
			} else if v != stat.NoDifference {
				t.Fatalf("verdict %s", v)
			}
		}
		if claimed {
			claims++
		}
	}
	// At most 5 % of tables, however many variants they have; less by Holm's caution, and more than none.
	if share := float64(claims) / tables; share > 0.06 || share < 0.02 || compared != 3*tables {
		t.Errorf("%.1f %% of tables claim something", 100*share)
	}
}

func TestAnUnusableQuestionIsRefused(t *testing.T) {
	e := study(base, nil)
	for _, level := range []float64{0, 1, math.NaN()} {
		if _, err := Analyse(e, level); fault.KindOf(err) != fault.Invalid {
			t.Errorf("level %g: %v", level, err)
		}
	}
	if _, err := Analyse(Experiment{Metrics: e.Metrics}, 0.95); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no cells: %v", err)
	}
	e.Metrics = nil
	if _, err := Analyse(e, 0.95); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no metrics: %v", err)
	}
}

func TestSurvivorsGetNoPlainVerdict(t *testing.T) {
	for state, spoilt := range map[stat.Verdict]Cell{
		stat.Lost:       {Cell: results.Cell{RunID: "x", Status: "stopped"}},
		stat.Unfinished: {},
	} {
		for _, of := range []string{"gain", "baseline"} {
			e := study(base, map[string][]float64{"gain": gain, "other": gain})
			i := slices.IndexFunc(e.Cells, func(c Cell) bool { return c.Variant == of })
			spoilt.Variant, spoilt.Seed = of, e.Cells[i].Seed
			e.Cells[i] = spoilt
			table := analyse(t, e)
			c, other := find(t, table, "gain").Columns[0], find(t, table, "other").Columns[0]
			if c.Judgement.Verdict != state || c.Judgement.Why == "" || (c.Comparison.Interval.Method == stat.NoMethod) != (state == stat.Lost) || other.Comparison.Interval.Method == "" && state != stat.Lost {
				t.Errorf("%s: %+v", of, c.Judgement)
			}
			if want := map[string]stat.Verdict{"gain": stat.Better, "baseline": state}[of]; other.Judgement.Verdict != want || table.Tests != 2 {
				t.Errorf("%s of %s: the other is %s, of %d tests", state, of, other.Judgement.Verdict, table.Tests)
			}
		}
	}
}

func TestPlannedLooksLeaveOutWhatTheyDoNotSee(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	e.Looks = []int{3, 5}
	e.Cells[4], e.Cells[8] = Cell{Cell: results.Cell{Variant: "baseline", Seed: 4}}, Cell{Cell: results.Cell{Variant: "gain", Seed: 3, RunID: "r", Status: "running"}}
	table := analyse(t, e)
	c := find(t, table, "gain").Columns[0]
	if l := *table.Look; l.Number != 1 || l.Seeds != 3 || l.Next != 5 || l.Left != 4 || c.Comparison.N != 3 || c.Judgement.P != c.Comparison.P/l.Share {
		t.Errorf("%+v, %+v %+v", l, c.Comparison, c.Judgement)
	}
	e.Cells[1] = Cell{Cell: results.Cell{Variant: "baseline", Seed: 1}}
	if table = analyse(t, e); table.Look.Number != 0 || find(t, table, "gain").Columns[0].Judgement.Verdict != stat.Unfinished {
		t.Errorf("before the first look: %+v", table.Look)
	}
}

func TestChosenPairsAnswerForAllPairs(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	e.Chosen, e.All = true, 6
	if table := analyse(t, e); table.Tests != 15 {
		t.Errorf("%d tests, want 15", table.Tests)
	}
}

func TestAMetricThatIsGoodNeitherWayHasNoRank(t *testing.T) {
	e := study(base, map[string][]float64{"gain": gain})
	e.Metrics[0].Direction = metric.None
	table := analyse(t, e)
	if r := find(t, table, "gain"); r.Rank != 0 || r.Columns[0].Best || r.Columns[0].Judgement.Verdict != stat.Differs {
		t.Errorf("%+v", r)
	}
}

func TestPoolingTakesTheSpreadOfAllVariants(t *testing.T) {
	e := study(base[:3], map[string][]float64{"gain": gain[:3], "unclear": unclear[:3]})
	e.Analysis = Pooled
	c := find(t, analyse(t, e), "gain").Columns[0].Comparison
	if c.Test != stat.PooledT || c.DF != 4 {
		t.Errorf("%+v", c)
	}
}
