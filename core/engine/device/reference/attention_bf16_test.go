package reference

import (
	"math"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
)

// Attention in bfloat16 rounds what its products multiply, and nothing else: here it is written out, one sum after the other.
func TestAttentionInBF16RoundsWhatItsProductsMultiply(t *testing.T) {
	const tokens, heads, d = 5, 2, 3
	const w = heads * d
	l := lab{t, New[float64](1)}
	rng := rand.New(rand.NewPCG(8, 3))
	round := func(x float64) float64 { return float64(device.RoundBF16(float32(x))) }
	for _, causal := range []bool{false, true} {
		k := device.Attention{B: 1, Tq: tokens, Tk: tokens, Heads: heads, HeadDim: d, Causal: causal, Packed: true, BF16: true}
		qkv, dout := normal(rng, tokens*3*w), normal(rng, tokens*w)
		out, dqkv := make([]float64, tokens*w), make([]float64, tokens*3*w)
		for h := range heads {
			at := func(x []float64, token, part, i int) float64 { return round(x[token*3*w+part*w+h*d+i]) }
			grad := func(token, i int) float64 { return round(dout[token*w+h*d+i]) }
			scale := 1 / math.Sqrt(d)
			for i := range tokens {
				keys := tokens
				if causal {
					keys = i + 1
				}
				p, dp := make([]float64, keys), make([]float64, keys)
				total, delta := 0., 0.
				for j := range p {
					for c := range d {
						p[j] += scale * at(qkv, i, 0, c) * at(qkv, j, 1, c)
						dp[j] += grad(i, c) * at(qkv, j, 2, c)
					}
					p[j] = math.Exp(p[j])
					total += p[j]
				}
				for j := range p {
					p[j] /= total
					delta += p[j] * dp[j]
				}
				for j := range p {
					ds := round(p[j] * (dp[j] - delta))
					for c := range d {
						out[i*w+h*d+c] += round(p[j]) * at(qkv, j, 2, c)
						dqkv[i*3*w+h*d+c] += scale * ds * at(qkv, j, 1, c)
						dqkv[j*3*w+w+h*d+c] += scale * ds * at(qkv, i, 0, c)
						dqkv[j*3*w+2*w+h*d+c] += round(p[j]) * grad(i, c)
					}
				}
			}
		}
		near := func(what string, got, want []float64) {
			for i := range want {
				if !(math.Abs(got[i]-want[i]) <= 1e-12) {
					t.Fatalf("causal %v: %s[%d] is %g, want %g", causal, what, i, got[i], want[i])
				}
			}
		}
		near("out", l.run(k, []any{qkv})[0], out)
		near("dqkv", l.run(device.AttentionBack(k), []any{qkv, dout})[0], dqkv)
		plain := k
		plain.BF16 = false
		if x := l.run(plain, []any{qkv})[0]; math.Abs(x[0]-out[0]) < 1e-9 {
			t.Error("attention without BF16 is the same: nothing was rounded")
		}
	}
}
