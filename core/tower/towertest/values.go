package towertest

// Uniform is number i of the stream of a name, in [-1, 1), and Value the value of element i of a parameter
// or running statistic: those of the generators of golden files.
func Uniform(name string, i int) float64 { return uniform(name, i) }

// Value is explained at Uniform.
func Value(name string, shape []int, i int) float32 { return goldenValue(name, shape, i) }
