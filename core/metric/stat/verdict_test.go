package stat

import (
	"math"
	"testing"
)

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
		goal        Goal
		want        Verdict
		reason      string
	}{
		{"nothing in common", nil, HigherIsBetter, NotEnough, "0 seeds in common, and 3 are the least"},
		{"one seed", clear[:1], HigherIsBetter, NotEnough, "1 seed in common, and 3 are the least"},
		{"two seeds, however clear", []float64{2, 2.00001}, HigherIsBetter, NotEnough, "2 seeds in common, and 3 are the least"},
		{"three equal differences", equal(3, 0.01), HigherIsBetter, NotEnough, "the same difference in all 3 seeds, p = 0.250 by sign flips"},
		{"eight equal differences", equal(8, 0.01), HigherIsBetter, Better, "the same difference in all 8 seeds, p = 0.008 by sign flips"},
		{"no difference at all", equal(3, 0), HigherIsBetter, NoDifference, "no difference in any of 3 seeds"},
		{"clear gain", clear, HigherIsBetter, Better, "paired t test over 5 seeds, p = 5.8e-07; 95 % interval by Student's t"},
		{"clear gain of a loss", clear, LowerIsBetter, Worse, "paired t test over 5 seeds, p = 5.8e-07; 95 % interval by Student's t"},
		{"noise", unclear, HigherIsBetter, NoDifference, "paired t test over 5 seeds, p = 0.553; 95 % interval by Student's t"},
	} {
		comparison := compare(c.differences, 0, 0.95, 1, resamples)
		got := Judge([]Comparison{comparison}, 0.05, c.goal)[0]
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
	alone := Judge([]Comparison{c, few}, 0.05, HigherIsBetter)
	if alone[0].Verdict != Better || alone[0].Tests != 1 || alone[0].P != c.P || !math.IsNaN(alone[1].P) {
		t.Errorf("beside one that cannot be tested: %+v", alone)
	}
	among := Judge([]Comparison{c, c, c}, 0.05, HigherIsBetter)
	if among[0].Verdict != NoDifference {
		t.Errorf("among three: %+v", among[0])
	}
	if got, want := among[0].Reason(c), "paired t test over 5 seeds, p = 0.055 after Holm over 3 comparisons; 95 % interval by Student's t"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
}

func TestATableCanBeTooLongForItsSeeds(t *testing.T) {
	equal := compare([]float64{1, 1, 1, 1, 1, 1, 1, 1}, 0, 0.95, 0, 9) // p = 1/128, the least that 8 seeds can give
	six := Judge([]Comparison{equal, equal, equal, equal, equal, equal}, 0.05, HigherIsBetter)
	seven := Judge([]Comparison{equal, equal, equal, equal, equal, equal, equal}, 0.05, HigherIsBetter)
	if six[0].Verdict != Better || seven[0].Verdict != NotEnough {
		t.Errorf("six comparisons: %s, seven: %s", six[0].Verdict, seven[0].Verdict)
	}
}

func TestAnIntervalThatHoldsZeroForbidsAVerdict(t *testing.T) {
	c := Comparison{N: 8, Delta: 1, P: 0.04, Test: PairedT, Interval: Interval{-0.1, 3, 0.95, StudentisedBootstrap}}
	if got := Judge([]Comparison{c}, 0.05, HigherIsBetter)[0]; got.Verdict != NoDifference {
		t.Errorf("%+v", got)
	}
}
