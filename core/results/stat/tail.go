package stat

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// tailT returns P(|T| ≥ |t|) of Student's t with df degrees of freedom, by the incomplete beta function, which
// keeps its digits far out where 1 − CDF loses them (Abramowitz and Stegun 1964, 26.7.1).
func tailT(t, df float64) float64 {
	return mathext.RegIncBeta(df/2, 0.5, df/(df+t*t))
}

// tailF returns P(F ≥ f) of the F distribution (Abramowitz and Stegun 1964, 26.6.2).
func tailF(f, df1, df2 float64) float64 {
	return mathext.RegIncBeta(df2/2, df1/2, df2/(df2+df1*f))
}

// quantileT returns the half width, in standard errors, of a two-sided interval at a level in (0, 1).
func quantileT(level, df float64) float64 {
	return distuv.StudentsT{Sigma: 1, Nu: df}.Quantile((1 + level) / 2)
}

// tailNormal returns P(|Z| ≥ |z|).
func tailNormal(z float64) float64 { return math.Erfc(math.Abs(z) / math.Sqrt2) }
