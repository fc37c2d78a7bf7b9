package propose

import (
	"math"
	"slices"
	"testing"
)

// suggestions returns n suggestions for x, the cost of each known before the next.
func suggestions(x problem, seed uint64, n int) (points []Point) {
	x.search(n, func(n int, results []Result) Point {
		p, _ := x.space.Next(seed, n, results)
		points = append(points, p)
		return p
	})
	return points
}

func TestASearchFindsBetterPointsThanChance(t *testing.T) {
	const seeds, points = 8, 40
	for _, x := range problems {
		found, drawn, wins := 0.0, 0.0, 0
		for seed := range uint64(seeds) {
			a := slices.Min(x.search(points, func(n int, results []Result) Point { p, _ := x.space.Next(seed, n, results); return p }))
			b := slices.Min(x.search(points, func(n int, _ []Result) Point { return x.space.Random(seed+100, n) }))
			found, drawn = found+a/seeds, drawn+b/seeds
			if a < b {
				wins++
			}
		}
		if wins < 6 || found >= drawn {
			t.Errorf("%s: best of %d points %.3f on average, of random ones %.3f; better %d times of %d", x.name, points, found, drawn, wins, seeds)
		}
	}
}

func TestEqualResultsGiveEqualSuggestions(t *testing.T) {
	x := problems[2]
	a, b := suggestions(x, 3, 25), suggestions(x, 3, 25)
	if !slices.EqualFunc(a, b, Point.Equal) {
		t.Errorf("the same search twice:\n%v\n%v", a, b)
	}
	if c := suggestions(x, 4, 25); slices.EqualFunc(a, c, Point.Equal) {
		t.Error("another seed changes nothing")
	}
}

func TestADimensionHasAValueWhereItAppliesOnly(t *testing.T) {
	for i, p := range suggestions(problems[2], 1, 40) {
		siglip := p[2] == 1
		if math.IsNaN(p[3]) == siglip || math.IsNaN(p[4]) != siglip {
			t.Errorf("point %d: %v", i+1, p)
		}
		if p[0] < 1e-5 || p[0] > 1e-1 || p[1] != math.Round(p[1]) || p[1] < 16 || p[1] > 256 {
			t.Errorf("point %d out of bounds: %v", i+1, p)
		}
	}
}

// Where everything beyond 0.5 fails, the search goes elsewhere.
func TestFailedPointsAreBad(t *testing.T) {
	s := Space{{Name: "x", High: 1}}
	var results []Result
	beyond := 0
	for n := 1; n <= 40; n++ {
		p, _ := s.Next(5, n, results)
		r := Result{Point: p, Cost: -p[0]} // better and better towards the edge
		if p[0] > .5 {
			r = Result{Point: p, State: Failed}
			if n%2 == 0 {
				r = Result{Point: p, Cost: math.NaN()}
			}
			if n > 20 {
				beyond++
			}
		}
		results = append(results, r)
	}
	if beyond > 8 {
		t.Errorf("%d of the last 20 points are where all fail", beyond)
	}
}

func TestPendingPointsKeepApart(t *testing.T) {
	x := problems[0]
	var results []Result
	for n := 1; n <= 20; n++ {
		p, _ := x.space.Next(2, n, results)
		results = append(results, Result{Point: p, Cost: x.cost(p)})
	}
	for n := 21; n <= 24; n++ {
		p, ok := x.space.Next(2, n, results)
		if !ok || suggested(results, p) {
			t.Fatalf("point %d: %v, %v", n, p, ok)
		}
		results = append(results, Result{Point: p, State: Pending})
	}
}

func TestASpaceThatIsUsedUpHasNoNextPoint(t *testing.T) {
	s := Space{{Name: "a", Choices: 2}, {Name: "b", Choices: 3, Applies: func(p Point) bool { return p[0] == 1 }}}
	var results []Result
	for n := 1; ; n++ {
		p, ok := s.Next(1, n, results)
		if !ok {
			if n != 5 {
				t.Errorf("%d points, want 4", n-1)
			}
			return
		}
		results = append(results, Result{Point: p, Cost: float64(n)})
	}
}

func TestTheFirstPointsAreSpreadEvenly(t *testing.T) {
	x := problems[1]
	points := suggestions(x, 7, startup)
	for i := range x.space {
		seen := map[int]bool{}
		for _, p := range points {
			seen[int(p[i]*startup)] = true
		}
		if len(seen) != startup {
			t.Errorf("dimension %d: the points are in %d tenths of the range", i, len(seen))
		}
	}
}

// Whatever the costs are, a suggestion is new, inside its bounds, and the same when asked again.
func TestAnyHistoryHasANextPoint(t *testing.T) {
	x := problems[2]
	costs := map[string]func(i int) Result{
		"equal":       func(int) Result { return Result{Cost: 3} },
		"huge":        func(i int) Result { return Result{Cost: []float64{1e30, -1e30, 1}[i%3]} },
		"huger":       func(i int) Result { return Result{Cost: []float64{math.MaxFloat64, -math.MaxFloat64}[i%2]} },
		"tiny":        func(i int) Result { return Result{Cost: float64(i) * 5e-324} },
		"none":        func(int) Result { return Result{State: Failed} },
		"no number":   func(int) Result { return Result{Cost: math.NaN()} },
		"infinite":    func(i int) Result { return Result{Cost: math.Inf(1 - i%2*2)} },
		"all pending": func(int) Result { return Result{State: Pending} },
		"one": func(i int) Result {
			if i == 5 {
				return Result{Cost: 1}
			}
			return Result{State: Failed}
		},
		"two, the others pending": func(i int) Result {
			if i > 1 {
				return Result{State: Pending}
			}
			return Result{Cost: float64(i)}
		},
	}
	for name, of := range costs {
		var results []Result
		for i := range 30 {
			r := of(i)
			r.Point = x.space.Random(3, i/2) // each of them twice
			results = append(results, r)
		}
		p, ok := x.space.Next(3, len(results)+1, results)
		if !ok || suggested(results, p) || !(p[0] >= 1e-5 && p[0] <= .1 && p[1] >= 16 && p[1] <= 256) {
			t.Errorf("%s: %v, %v", name, p, ok)
		}
		if q, _ := x.space.Next(3, len(results)+1, results); !p.Equal(q) {
			t.Errorf("%s: %v, and again %v", name, p, q)
		}
	}
}

func TestALongHistoryHasANextPoint(t *testing.T) {
	x := problems[2]
	var results []Result
	for i := range 3000 {
		p := x.space.Random(3, i)
		results = append(results, Result{Point: p, Cost: x.cost(p)})
	}
	p, ok := x.space.Next(3, 1<<40, results)
	if q, _ := x.space.Next(3, 1<<40, results); !ok || !p.Equal(q) {
		t.Errorf("%v, %v, and again %v", p, ok, q)
	}
	if x.cost(p) > .5 {
		t.Errorf("%v costs %v after 3000 points", p, x.cost(p))
	}
}
