package stat

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Spending says what share of alpha each planned look at a growing table may spend: looks are numbers of seeds, ascending,
// the last the whole. The shares sum to 1, so that whoever looks at every one, and believes the first verdict, errs in
// at most alpha of all tables, whatever the test (Bonferroni over looks). They are the increments of O'Brien and
// Fleming's spending function 2−2Φ(z(1−α/2)/√t) at t = seeds/all (Lan and DeMets 1983): next to nothing early, so that the
// last look loses little.
func Spending(looks []int, alpha float64) []float64 {
	shares, before := make([]float64, len(looks)), 0.0
	z := distuv.UnitNormal.Quantile(1 - alpha/2)
	for i, n := range looks {
		spent := tailNormal(z / math.Sqrt(float64(n)/float64(looks[len(looks)-1])))
		shares[i], before = (spent-before)/alpha, spent
	}
	return shares
}
