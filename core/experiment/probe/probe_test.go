package probe

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"tandem/core/random"
)

// golden holds what scikit-learn gives (tools/goldens/probe).
type golden struct {
	Dim, Classes int
	Train, Test  []float32
	Y, Truth     []int32
	Fits         []struct {
		C        float64
		W, B     []float64
		Accuracy float64
	}
	Plain      map[string][]int
	Weighted   map[string][]float64
	Prototypes []float64
}

func loadGolden(t *testing.T) (g golden, train, test Examples) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g, Examples{Dim: g.Dim, Classes: g.Classes, X: g.Train, Y: g.Y}, Examples{Dim: g.Dim, Classes: g.Classes, X: g.Test, Y: g.Truth}
}

func far(a, b []float64) float64 {
	most := 0.0
	for i, v := range a {
		most = max(most, math.Abs(v-b[i])/(1+math.Abs(b[i])))
	}
	return most
}

func TestFitIsScikitLearns(t *testing.T) {
	g, train, test := loadGolden(t)
	for _, want := range g.Fits {
		got := Fit(train, want.C, nil, Stop{Gradient: 1e-9 * max(1, 1/want.C), Iterations: 5000})
		if !got.Converged {
			t.Errorf("C = %g: not converged after %d iterations", want.C, got.Iterations)
		}
		// A constant that all classes have in common changes nothing; scikit-learn's biases need not add up to 0.
		shift := 0.0
		for k, b := range want.B {
			shift += (b - got.B[k]) / float64(len(want.B))
		}
		for k := range got.B {
			got.B[k] += shift
		}
		if w, b := far(got.W, want.W), far(got.B, want.B); w > 1e-4 || b > 1e-4 {
			t.Errorf("C = %g: weights are off by %g, biases by %g", want.C, w, b)
		}
		if accuracy, _ := got.judge(test); math.Abs(accuracy-want.Accuracy) > 1e-9 {
			t.Errorf("C = %g: accuracy %g, want %g", want.C, accuracy, want.Accuracy)
		}
	}
}

func TestFitFromElsewhereEndsAtTheSameMinimum(t *testing.T) {
	_, train, _ := loadGolden(t)
	stop := Stop{Gradient: 1e-9, Iterations: 5000}
	cold, strong := Fit(train, 10, nil, stop), Fit(train, .01, nil, stop)
	warm := Fit(train, 10, &strong.Linear, stop)
	if d := far(warm.W, cold.W); d > 1e-5 {
		t.Errorf("weights differ by %g", d)
	}
	if d := math.Abs(warm.Loss - cold.Loss); d > 1e-10 {
		t.Errorf("losses differ by %g", d)
	}
}

func TestAFitEndsWhenItIsGivenUp(t *testing.T) {
	_, train, _ := loadGolden(t)
	done := make(chan struct{})
	close(done)
	if got := Fit(train, 10, nil, Stop{Gradient: 1e-9, Iterations: 5000, Done: done}); got.Iterations > 1 || got.Converged || len(got.W) != train.Classes*train.Dim {
		t.Errorf("%d iterations, converged %v, %d weights", got.Iterations, got.Converged, len(got.W))
	}
}

func TestSweepChoosesByWhatIsHeldOut(t *testing.T) {
	// Two informative columns among many of noise: a weak penalty learns the noise by heart.
	s := random.New(3, "test")
	e := Examples{Dim: 40, Classes: 2}
	for i := range 120 {
		y := int32(i % 2)
		for j := range e.Dim {
			v := s.Range(-1, 1)
			if j < 2 {
				v += .5 * float64(2*y-1)
			}
			e.X = append(e.X, float32(v))
		}
		e.Y = append(e.Y, y)
	}
	rest, held := e.Split(.2, 1)
	got := Sweep(e, rest, held, DefaultStop)
	best := slices.MaxFunc(got.Tried, func(a, b Tried) int { return int(1e9 * (a.Accuracy - b.Accuracy)) })
	chosen := slices.IndexFunc(got.Tried, func(x Tried) bool { return x.C == got.C })
	if chosen < 0 || got.Tried[chosen].Accuracy != best.Accuracy {
		t.Errorf("chose C = %g of %+v", got.C, got.Tried)
	}
	if len(got.Tried) != 15 || got.HeldOut != len(held) {
		t.Errorf("%d strengths tried, %d held out", len(got.Tried), got.HeldOut)
	}
	if got.C > 1e3 || got.C < 1e-5 {
		t.Errorf("C = %g", got.C)
	}
	if weakest := got.Tried[len(got.Tried)-1]; weakest.Accuracy >= best.Accuracy {
		t.Errorf("the weakest penalty is no worse: %+v", weakest)
	}
}

func TestNearestIsScikitLearnsAndDINOs(t *testing.T) {
	g, train, test := loadGolden(t)
	for k, want := range g.Plain {
		Nearest{K: atoi(k)}.Scores(train, test.X, func(i int, votes []float32) {
			if got := slices.Index(votes, slices.Max(votes)); got != want[i] {
				t.Errorf("k = %s, example %d: class %d, want %d", k, i, got, want[i])
			}
		})
	}
	for k, want := range g.Weighted {
		Nearest{K: atoi(k), Temperature: .07}.Scores(train, test.X, func(i int, votes []float32) {
			sum := float32(0)
			for _, v := range votes {
				sum += v
			}
			for c, v := range votes {
				if d := math.Abs(float64(v/sum) - want[i*g.Classes+c]); d > 1e-5 {
					t.Errorf("k = %s, example %d, class %d: off by %g", k, i, c, d)
				}
			}
		})
	}
}

func atoi(s string) (n int) {
	for _, r := range s {
		n = 10*n + int(r-'0')
	}
	return n
}

func TestPrototypesAreTheMeansOfClasses(t *testing.T) {
	g, train, _ := loadGolden(t)
	train.Classes++ // one that has no examples
	got := Prototypes(train)
	if d := far(got.W[:g.Classes*g.Dim], g.Prototypes); d > 1e-6 {
		t.Errorf("off by %g", d)
	}
	scores := make([]float32, train.Classes)
	got.Scores(train.Row(0), scores)
	if last := scores[g.Classes]; slices.Min(scores) != last || last >= -1 {
		t.Errorf("a class without examples scores %v", scores)
	}
}

func TestDrawsAreNestedAndDiffer(t *testing.T) {
	_, train, _ := loadGolden(t)
	two, short := train.Draw(2, 0, 5)
	if short != 0 || len(two) != 2*train.Classes {
		t.Fatalf("%d places, %d classes are short", len(two), short)
	}
	four, _ := train.Draw(4, 0, 5)
	for _, i := range two {
		if !slices.Contains(four, i) {
			t.Errorf("example %d is not among the draw with more shots", i)
		}
	}
	other, _ := train.Draw(2, 1, 5)
	if slices.Equal(two, other) {
		t.Error("another draw is the same")
	}
	if _, short := train.Draw(1000, 0, 5); short != train.Classes {
		t.Errorf("%d classes are short", short)
	}
}

func TestSplitKeepsClassesOnBothSides(t *testing.T) {
	e := Examples{Dim: 1, Classes: 4, Y: []int32{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2}, X: make([]float32, 13)}
	rest, held := e.Split(.2, 1)
	count := func(places []int) (n [4]int) {
		for _, i := range places {
			n[e.Y[i]]++
		}
		return n
	}
	if count(rest) != [4]int{8, 1, 1, 0} || count(held) != [4]int{2, 1, 0, 0} {
		t.Errorf("%v and %v", count(rest), count(held))
	}
}
