package stat

import (
	"fmt"

	"gonum.org/v1/gonum/stat/distuv"
)

// Disagreement compares two trained models on the same examples.
type Disagreement struct {
	OnlyA, OnlyB int     // examples that only one of them got right
	Exact        float64 // two-sided p of the exact test
	MidP         float64 // two-sided mid-p
}

// McNemar tests whether two models err equally often on rightA and rightB, by example. It panics when the
// lengths differ. See mcnemarOf.
func McNemar(rightA, rightB []bool) Disagreement {
	if len(rightA) != len(rightB) {
		panic(fmt.Sprintf("stat: %d predictions paired with %d", len(rightA), len(rightB)))
	}
	onlyA, onlyB := 0, 0
	for i, a := range rightA {
		switch b := rightB[i]; {
		case a && !b:
			onlyA++
		case b && !a:
			onlyB++
		}
	}
	return mcnemarOf(onlyA, onlyB)
}

// mcnemarOf tests whether two models err equally often, from the examples that only one of them got
// right (McNemar 1947). With k the smaller count, n their sum and X ~ Binomial(n, ½), Exact is
// 2·P(X ≤ k), at most 1, which errs on the safe side; MidP is 2·P(X < k) + P(X = k), nearer to its level
// (Fagerland, Lydersen and Laake 2013, eq. 3 and 4).
//
// It is about these two models on other examples like these. That another seed would give the same
// answer it does not say: for that, Compare or Permute over several seeds.
func mcnemarOf(onlyA, onlyB int) Disagreement {
	d := Disagreement{OnlyA: onlyA, OnlyB: onlyB, Exact: 1, MidP: 1}
	if n := onlyA + onlyB; n > 0 {
		k, x := float64(min(onlyA, onlyB)), distuv.Binomial{N: float64(n), P: 0.5}
		twice := 2 * x.CDF(k)
		d.Exact, d.MidP = min(1, twice), min(1, twice-x.Prob(k))
	}
	return d
}
