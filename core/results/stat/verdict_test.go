package stat

import (
	"math"
	"slices"
	"testing"

	"tandem/core/results/metric"
)

// judge judges a table of comparisons alone at 5 %.
func judge(way metric.Direction, table ...Comparison) []Judgement {
	var questions []Question
	for _, c := range table {
		questions = append(questions, Question{Comparison: c, Direction: way})
	}
	judged, _ := Family{Alpha: 0.05}.Judge(questions, nil)
	return judged
}

func TestVerdictsSayNoMoreThanTheNumbers(t *testing.T) {
	clear, unclear := []float64{2, 2.1, 1.9, 2.05, 1.95}, []float64{2, -2, 3, -1, 1}
	equal := func(n int, d float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = d
		}
		return v
	}
	for _, c := range []struct {
		what        string
		differences []float64
		way         metric.Direction
		want        Verdict
		reason      string
	}{
		{"nothing in common", nil, metric.Up, NotEnough, "0 seeds in common, and 3 are the least"},
		{"one seed", clear[:1], metric.Up, NotEnough, "1 seed in common, and 3 are the least"},
		{"two seeds, however clear", []float64{2, 2.00001}, metric.Up, NotEnough, "2 seeds in common, and 3 are the least"},
		{"three equal differences", equal(3, 0.01), metric.Up, NotEnough, "the same difference in all 3 seeds, p = 0.250 by sign flips"},
		{"eight equal differences", equal(8, 0.01), metric.Up, Better, "the same difference in all 8 seeds, p = 0.008 by sign flips"},
		{"no difference at all", equal(3, 0), metric.Up, NoDifference, "no difference in any of 3 seeds"},
		{"clear gain", clear, metric.Up, Better, "paired t test over 5 seeds, p = 5.8e-07; 95 % interval by Student's t"},
		{"clear gain of a loss", clear, metric.Down, Worse, "paired t test over 5 seeds, p = 5.8e-07; 95 % interval by Student's t"},
		{"a clear difference of what is good neither way", clear, metric.None, Differs, "paired t test over 5 seeds, p = 5.8e-07; 95 % interval by Student's t"},
		{"noise", unclear, metric.Up, NoDifference, "paired t test over 5 seeds, p = 0.553; 95 % interval by Student's t"},
	} {
		comparison := compare(c.differences, 0, 0.95, 1, resamples)
		got := judge(c.way, comparison)[0]
		if got.Verdict != c.want {
			t.Errorf("%s: %s, want %s", c.what, got.Verdict, c.want)
		}
		if reason := got.Reason(comparison); reason != c.reason {
			t.Errorf("%s: reason %q, want %q", c.what, reason, c.reason)
		}
	}
}

func TestAVerdictAnswersForTheWholeTable(t *testing.T) {
	c := compare([]float64{1, 2.6, 1.4, 3, 0.7}, 0, 0.95, 0, resamples)
	few := compare([]float64{1}, 0, 0.95, 0, resamples)
	if c.P > 0.05 || 3*c.P < 0.05 {
		t.Fatalf("p = %v does not serve this test", c.P)
	}
	alone := judge(metric.Up, c, few)
	if alone[0].Verdict != Better || alone[0].Tests != 1 || alone[0].P != c.P || !math.IsNaN(alone[1].P) {
		t.Errorf("beside one that cannot be tested: %+v", alone)
	}
	among := judge(metric.Up, c, c, c)
	if among[0].Verdict != NoDifference {
		t.Errorf("among three: %+v", among[0])
	}
	if got, want := among[0].Reason(c), "paired t test over 5 seeds, p = 0.055 after Holm over 3 tests; 95 % interval by Student's t"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
}

func TestATableCanBeTooLongForItsSeeds(t *testing.T) {
	equal := compare([]float64{1, 1, 1, 1, 1, 1, 1, 1}, 0, 0.95, 0, 9) // p = 1/128, the least that 8 seeds can give
	six := judge(metric.Up, slices.Repeat([]Comparison{equal}, 6)...)
	seven := judge(metric.Up, slices.Repeat([]Comparison{equal}, 7)...)
	if six[0].Verdict != Better || seven[0].Verdict != NotEnough {
		t.Errorf("six comparisons: %s, seven: %s", six[0].Verdict, seven[0].Verdict)
	}
}

func TestAnIntervalThatHoldsZeroForbidsAVerdict(t *testing.T) {
	c := Comparison{N: 8, Delta: 1, P: 0.04, Test: PairedT, Interval: Interval{-0.1, 3, 0.95, StudentisedBootstrap}}
	if got := judge(metric.Up, c)[0]; got.Verdict != NoDifference {
		t.Errorf("%+v", got)
	}
}

func TestWhatBecameOfAVariantDoesNotHelpTheOthers(t *testing.T) {
	c := compare([]float64{1, 2.6, 1.4, 3, 0.7}, 0, 0.95, 0, resamples)
	lost := Question{Comparison: c, Open: Lost, Why: "1 of 5 seeds failed"}
	judged, others := Family{Alpha: 0.05}.Judge([]Question{{Comparison: c}, lost}, []float64{c.P, math.NaN()})
	if judged[0].Verdict != NoDifference || judged[0].Tests != 3 || judged[0].P != 3*c.P || others[0] != 3*c.P || !math.IsNaN(others[1]) {
		t.Errorf("%+v, %v", judged, others)
	}
	if judged[1].Verdict != Lost || !math.IsNaN(judged[1].P) || judged[1].Reason(c) != "1 of 5 seeds failed" {
		t.Errorf("lost: %+v", judged[1])
	}
	if judged, _ := (Family{Alpha: 0.05, Least: 10}).Judge([]Question{{Comparison: c}}, nil); judged[0].P != 10*c.P || judged[0].Tests != 10 {
		t.Errorf("chosen from ten: %+v", judged)
	}
	if judged, _ := (Family{Alpha: 0.05, Share: 0.25}).Judge([]Question{{Comparison: c}}, nil); judged[0].P != 4*c.P {
		t.Errorf("a look that may spend a quarter: %+v", judged)
	}
}

func TestLooksSpendAlphaOnceOverAll(t *testing.T) {
	shares := Spending([]int{3, 5, 8}, 0.05)
	sum := 0.0
	for i, s := range shares {
		if sum += s; s <= 0 || i > 0 && s < shares[i-1] {
			t.Errorf("shares %v", shares)
		}
	}
	near(t, "sum", sum, 1)
	// 2−2Φ(1.959964/√0.375).
	near(t, "first", 0.05*shares[0], 0.0013713806699)
	if one := Spending([]int{8}, 0.05); math.Abs(one[0]-1) > 1e-9 {
		t.Errorf("one look %v", one)
	}
}

func TestTwoCellsPooledAreThePairedTest(t *testing.T) {
	a, b, c := bySeed([]float64{1, 2, 4, 3}), bySeed([]float64{0.5, 2.2, 3, 1}), bySeed([]float64{5, 1, 2, 2})
	paired := Compare(a, b, 0.95, 0)
	pooled := NewBlocks([]BySeed{b, a}).Pooled(paired, 1, 0)
	near(t, "p", pooled.P, paired.P)
	near(t, "low", pooled.Interval.Low, paired.Interval.Low)
	if three := NewBlocks([]BySeed{b, a, c}); three.DF != 6 || three.Pooled(paired, 1, 0).DF != 6 {
		t.Errorf("%+v", three)
	}
	flat := bySeed([]float64{1, 1, 1, 1})
	if got := NewBlocks([]BySeed{flat, flat}).Pooled(Compare(flat, flat, 0.95, 0), 1, 0); got.Test != SignFlips || got.P != 1 {
		t.Errorf("without spread: %+v", got)
	}
}
