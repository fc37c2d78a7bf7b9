package towertest

import (
	"hash/fnv"
	"math"
	"strings"

	"tandem/core/tensor"
)

// Uniform returns number i of the stream of a name, in [-1, 1): splitmix64 of FNV-1a(name) and i, as the generators of
// golden files have it.
func Uniform(name string, i int) float64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	z := h.Sum64() + uint64(i)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return float64(z>>11)/(1<<52) - 1
}

// Value returns what the generators of golden files give to element i of a parameter or running statistic.
func Value(name string, shape []int, i int) float32 {
	u := Uniform(name, i)
	switch {
	case len(shape) > 1:
		return float32(u * math.Sqrt(3/float64(tensor.Shape(shape[1:]).Elements())))
	case strings.HasSuffix(name, "bn3.weight") && strings.Contains(name, ".layer"):
		return float32(.2 * (1 + .3*u)) // residual branches start at 0 in training and stay small
	case strings.HasSuffix(name, "weight") || strings.HasSuffix(name, "running_var"):
		return float32(1 + .3*u)
	}
	return float32(.3 * u)
}

// pictures makes u8 [b, s, s, 3] as the generators of golden files do.
func pictures(b, s int) *tensor.Tensor {
	x := tensor.New(tensor.U8, b, s, s, 3)
	for i := range x.U8() {
		x.U8()[i] = byte((Uniform("pictures", i) + 1) * 128)
	}
	return x
}
