package propose

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
)

// A problem has a known space and cost.
type problem struct {
	name  string
	space Space
	cost  func(Point) float64
}

// branin has three minima of 0.397887 (Dixon and Szegő 1978).
func branin(p Point) float64 {
	x, y := p[0], p[1]
	return math.Pow(y-5.1/(4*math.Pi*math.Pi)*x*x+5/math.Pi*x-6, 2) + 10*(1-1/(8*math.Pi))*math.Cos(x) + 10
}

// hartmann has a minimum of −3.32237 in six dimensions (Dixon and Szegő 1978).
func hartmann(p Point) float64 {
	a := [4][6]float64{{10, 3, 17, 3.5, 1.7, 8}, {.05, 10, 17, .1, 8, 14}, {3, 3.5, 1.7, 10, 17, 8}, {17, 8, .05, 10, .1, 14}}
	at := [4][6]float64{{.1312, .1696, .5569, .0124, .8283, .5886}, {.2329, .4135, .8307, .3736, .1004, .9991}, {.2348, .1451, .3522, .2883, .3047, .6650}, {.4047, .8828, .8732, .5743, .1091, .0381}}
	sum := 0.0
	for i, w := range []float64{1, 1.2, 3, 3.2} {
		e := 0.0
		for j := range p {
			e += a[i][j] * math.Pow(p[j]-at[i][j], 2)
		}
		sum -= w * math.Exp(-e)
	}
	return sum
}

// mixed has a minimum of 0 where lr is 1e-3, width 160, the loss the second and its bias −8.
func mixed(p Point) float64 {
	lr, width, loss, bias, temperature := p[0], p[1], p[2], p[3], p[4]
	v := math.Pow(math.Log10(lr)+3, 2) + math.Pow((width-160)/100, 2) + []float64{.3, 0, .6}[int(loss)]
	if loss == 1 {
		return v + math.Pow((bias+8)/4, 2)
	}
	return v + 20*math.Pow(temperature-.07, 2)
}

var problems = []problem{
	{"branin", Space{{Name: "x", Low: -5, High: 10}, {Name: "y", Low: 0, High: 15}}, branin},
	{"hartmann6", Space{{Name: "x0", High: 1}, {Name: "x1", High: 1}, {Name: "x2", High: 1}, {Name: "x3", High: 1}, {Name: "x4", High: 1}, {Name: "x5", High: 1}}, hartmann},
	{"mixed", Space{
		{Name: "lr", Low: 1e-5, High: 1e-1, Log: true}, {Name: "width", Low: 16, High: 256, Whole: true}, {Name: "loss", Choices: 3},
		{Name: "bias", Low: -12, High: 0, Applies: func(p Point) bool { return p[2] == 1 }},
		{Name: "temperature", Low: .01, High: .5, Log: true, Applies: func(p Point) bool { return p[2] != 1 }},
	}, mixed},
}

// search returns the costs of a search of n points, with suggestions by next.
func (x problem) search(n int, next func(n int, results []Result) Point) (costs []float64) {
	var results []Result
	for i := 1; i <= n; i++ {
		p := next(i, results)
		results = append(results, Result{Point: p, Cost: x.cost(p)})
		costs = append(costs, results[i-1].Cost)
	}
	return costs
}

// The figures of docs/adr/0025-search.md: PROPOSE_REPEATS=30 go test ./core/experiment/propose -run Figures -v
func TestFigures(t *testing.T) {
	repeats, _ := strconv.Atoi(os.Getenv("PROPOSE_REPEATS"))
	if repeats == 0 {
		t.Skip("PROPOSE_REPEATS asks for them")
	}
	for _, x := range problems {
		for _, how := range []string{"random", "search"} {
			best := map[int][]float64{}
			for r := range repeats {
				costs := x.search(100, func(n int, results []Result) Point {
					if how == "random" {
						return x.space.Random(uint64(1000+r), n)
					}
					p, _ := x.space.Next(uint64(r), n, results)
					return p
				})
				for _, n := range []int{20, 40, 100} {
					best[n] = append(best[n], slices.Min(costs[:n]))
				}
			}
			line := ""
			for _, n := range []int{20, 40, 100} {
				slices.Sort(best[n])
				mean := 0.0
				for _, v := range best[n] {
					mean += v / float64(repeats)
				}
				line += fmt.Sprintf("  %d: %.4f (%.4f)", n, mean, best[n][repeats/2])
			}
			t.Logf("%-9s %-6s%s", x.name, how, line)
		}
	}
}
