package reference

import "math"

// exp32 computes exp(x) to 2e-7 relative, 0 under 2^-126, infinity from 2^127.5 on. It is three times as
// fast as math.Exp, and the GELU of a float32 needs no more. The polynomial is Cephes' expf
// (S. Moshier) on |r| ≤ ln 2 / 2.
func exp32(x float32) float32 {
	switch {
	case x != x:
		return x
	case x < -88:
		return 0
	case x > 89:
		return float32(math.Inf(1))
	}
	const magic = 12582912 // 1.5·2²³: adding it rounds to a whole number
	t := x*1.44269504 + magic
	n := t - magic
	r := x - n*0.693359375
	r -= n * -2.12194440e-4
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return p * math.Float32frombits((math.Float32bits(t)-0x4b400000+127)<<23)
}

// normal32 computes the density φ(x) and the distribution Φ(x) of the normal distribution, the latter to
// 2e-7 relative where x < 0 also: Φ(−z)/φ(z) is a polynomial in t = 1/(1 + 0.28z), times t, a
// least-maximum fit of its relative error over all z ≥ 0.
func normal32(x float32) (density, distribution float32) {
	density = 0.398942280 * exp32(-0.5*x*x)
	t := 1 / (1 + 0.28*float32(math.Abs(float64(x))))
	p := float32(6.196410684e-02)
	p = p*t - 2.346043272e-01
	p = p*t + 2.316845865e-01
	p = p*t - 1.616690282e-02
	p = p*t + 1.824203773e-01
	p = p*t + 2.096312074e-01
	p = p*t + 2.583949446e-01
	p = p*t + 2.799898834e-01
	p = p*t + 2.800000477e-01
	tail := density * t * p
	if x > 0 {
		return density, 1 - tail
	}
	return density, tail
}

func gelu32(x float32) float32 {
	_, distribution := normal32(x)
	return x * distribution
}

func geluBack32(x float32) float32 {
	density, distribution := normal32(x)
	return distribution + x*density
}

func quick32(x float32) float32 { return x / (1 + exp32(-1.702*x)) }

func quickBack32(x float32) float32 {
	s := 1 / (1 + exp32(-1.702*x))
	return s + 1.702*x*s*(1-s)
}

// The factors of u = a·x + b·x³ = 2√(2/π)·(x + 0.044715x³); tanh's GELU is x·σ(u).
const tanhA, tanhB = 1.5957691216, 0.0713548162726

func tanhGELU32(x float32) float32 { return x / (1 + exp32(-x*(tanhA+tanhB*x*x))) }

func tanhGELUBack32(x float32) float32 {
	s := 1 / (1 + exp32(-x*(tanhA+tanhB*x*x)))
	if s == 0 || s == 1 {
		return s
	}
	return s + x*s*(1-s)*(tanhA+3*tanhB*x*x)
}
