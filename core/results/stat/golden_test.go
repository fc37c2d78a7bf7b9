package stat

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"tandem/core/results"
)

// golden reads testdata/golden.json, which tools/goldens/stats/generate.py makes with scipy and statsmodels.
type golden struct {
	Paired []struct {
		A, B                     []float64
		Delta, Std, Low, High, P float64
		Low99, High99            float64
	}
	PairedP []struct {
		A, B []float64
		P    float64
	} `json:"paired_p"`
	Bootstrap []struct {
		Values           []float64
		Seed             uint64
		Level, Low, High float64
	}
	McNemar []struct {
		A          int `json:"only_a"`
		B          int `json:"only_b"`
		Exact, Mid float64
	} `json:"mcnemar"`
	SignFlips []struct {
		Differences []float64
		Seed        uint64
		P           float64
	} `json:"sign_flips"`
	Holm  struct{ P, Adjusted []float64 }
	Anova []struct {
		Shape []int
		Seeds int
		Y     []float64
		Terms map[string]struct {
			SS, F, P, Eta, Partial float64
			DF                     int
		}
	}
	Blocks []struct {
		Y         [][]float64
		DF        int
		MS        float64
		Contrasts []struct{ Delta, P, Low, High float64 }
	}
	Noise []struct {
		First, Second  []float64
		P, Std, Floor5 float64
	}
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// near holds a number to 1e-6 of a published or golden one, absolute, and relative for small ones such
// as p-values in the tail.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*min(1, math.Abs(want))) && got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func bySeed(values []float64) BySeed {
	b := BySeed{}
	for i, v := range values {
		b[uint64(i)] = v
	}
	return b
}

func TestPairedComparisonIsSciPys(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Paired {
		got := Compare(bySeed(c.A), bySeed(c.B), 0.95, 0)
		near(t, "delta", got.Delta, c.Delta)
		near(t, "std", got.Std, c.Std)
		near(t, "low", got.Interval.Low, c.Low)
		near(t, "high", got.Interval.High, c.High)
		near(t, "p", got.P, c.P)
		wide := Compare(bySeed(c.A), bySeed(c.B), 0.99, 0).Interval
		near(t, "99 % low", wide.Low, c.Low99)
		near(t, "99 % high", wide.High, c.High99)
	}
	for _, c := range g.PairedP {
		near(t, "p", Compare(bySeed(c.A), bySeed(c.B), 0.95, 0).P, c.P)
	}
}

func TestStudentisedBootstrapIsNumPys(t *testing.T) {
	for _, c := range readGolden(t).Bootstrap {
		got := MeanInterval(c.Values, c.Level, c.Seed)
		near(t, "low", got.Low, c.Low)
		near(t, "high", got.High, c.High)
		if got.Method != StudentisedBootstrap {
			t.Errorf("method %q", got.Method)
		}
	}
}

func TestMcNemarIsStatsmodels(t *testing.T) {
	for _, c := range readGolden(t).McNemar {
		got := mcnemarOf(c.A, c.B)
		near(t, "exact", got.Exact, c.Exact)
		near(t, "mid-p", got.MidP, c.Mid)
	}
}

func TestSignFlipsAreSciPys(t *testing.T) {
	for _, c := range readGolden(t).SignFlips {
		got := signFlip(c.Differences, c.Seed, resamples)
		near(t, "p of "+strconv.Itoa(len(c.Differences)), got.P, c.P)
		if got.Exact != (len(c.Differences) <= 16) {
			t.Errorf("%d units: exact %v", len(c.Differences), got.Exact)
		}
	}
}

func TestHolmIsStatsmodels(t *testing.T) {
	g := readGolden(t).Holm
	for i, p := range Holm(g.P) {
		near(t, "adjusted", p, g.Adjusted[i])
	}
}

func TestAnalysisOfVarianceIsStatsmodels(t *testing.T) {
	for _, c := range readGolden(t).Anova {
		factors, observations := design(c.Shape, c.Seeds, func(cell, seed int) float64 { return c.Y[cell*c.Seeds+seed] })
		got, err := AnalyseVariance(factors, observations)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Terms)+2 != len(c.Terms) {
			t.Errorf("%d terms, want %d", len(got.Terms), len(c.Terms)-2)
		}
		for _, term := range got.Terms {
			want, found := c.Terms[term.Name()]
			if !found || term.DF != want.DF {
				t.Errorf("term %s has %d degrees of freedom, want %d", term.Name(), term.DF, want.DF)
			}
			near(t, term.Name()+" SS", term.SumSquares, want.SS)
			near(t, term.Name()+" F", term.F, want.F)
			near(t, term.Name()+" p", term.P, want.P)
			near(t, term.Name()+" η²", term.EtaSquared, want.Eta)
			near(t, term.Name()+" partial η²", term.PartialEtaSq, want.Partial)
		}
		near(t, "seed SS", got.Seed.SumSquares, c.Terms["seed"].SS)
		near(t, "residual SS", got.Residual.SumSquares, c.Terms["residual"].SS)
		if got.Residual.DF != c.Terms["residual"].DF || got.Seed.DF != c.Terms["seed"].DF {
			t.Errorf("residual and seed have %d and %d degrees of freedom", got.Residual.DF, got.Seed.DF)
		}
	}
}

func TestPooledComparisonsAreStatsmodels(t *testing.T) {
	for _, c := range readGolden(t).Blocks {
		var cells []BySeed
		for _, y := range c.Y {
			cells = append(cells, bySeed(y))
		}
		b := NewBlocks(cells)
		if near(t, "mean square", b.MS, c.MS); b.DF != c.DF {
			t.Errorf("%d degrees of freedom, want %d", b.DF, c.DF)
		}
		for i, want := range c.Contrasts {
			got := b.Pooled(Compare(cells[i+1], cells[0], 0.95, 0), i+1, 0)
			near(t, "delta", got.Delta, want.Delta)
			near(t, "p", got.P, want.P)
			near(t, "low", got.Interval.Low, want.Low)
			near(t, "high", got.Interval.High, want.High)
		}
	}
}

func TestNoiseIsSciPys(t *testing.T) {
	for _, c := range readGolden(t).Noise {
		got := NoiseOf(c.First, c.Second)
		near(t, "p", got.P, c.P)
		near(t, "std", got.Std, c.Std)
		near(t, "floor", got.Floor(5, 5, 0.95), c.Floor5)
	}
}

// design makes the full grid of a shape with factors a, b, c and values by cell and seed.
func design(shape []int, seeds int, value func(cell, seed int) float64) (factors []results.Factor, observations []Observation) {
	cells := 1
	for i, n := range shape {
		f := results.Factor{Name: string(rune('a' + i))}
		for l := range n {
			f.Levels = append(f.Levels, strconv.Itoa(l))
		}
		factors, cells = append(factors, f), cells*n
	}
	for cell := range cells {
		levels, rest := make([]int, len(shape)), cell
		for i := len(shape) - 1; i >= 0; i-- {
			levels[i], rest = rest%shape[i], rest/shape[i]
		}
		for seed := range seeds {
			observations = append(observations, Observation{levels, uint64(seed), value(cell, seed)})
		}
	}
	return factors, observations
}
