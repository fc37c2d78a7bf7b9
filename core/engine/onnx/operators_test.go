package onnx

import (
	"math"
	"slices"
)

// compute applies an operator as https://onnx.ai/onnx/operators defines it for version 17, as far as models here use it.
func compute(op string, in []array, attributes map[string]any) array {
	x := in[0]
	if f := unary[op]; f != nil {
		return fill(x.dims, func(i []int) float64 { return f(x.data[at(i, x.dims)]) })
	}
	if f := pairwise[op]; f != nil {
		y := in[1]
		return fill(broadcast(x.dims, y.dims), func(i []int) float64 { return f(x.data[at(i, x.dims)], y.data[at(i, y.dims)]) })
	}
	axis := func(key string) int {
		n, _ := attributes[key].(int)
		return (n + len(x.dims)) % max(len(x.dims), 1)
	}
	switch op {
	case "Reshape":
		dims, rest := integers(in[1]), 1
		for _, d := range dims {
			rest *= max(d, 1)
		}
		for i, d := range dims {
			if d < 0 {
				dims[i] = x.size() / rest
			}
		}
		if product(dims) != x.size() {
			panic("reshape")
		}
		return array{dims, x.data}
	case "Unsqueeze":
		dims := slices.Clone(x.dims)
		for _, a := range integers(in[1]) {
			dims = slices.Insert(dims, a, 1)
		}
		return array{dims, x.data}
	case "Squeeze":
		return array{[]int{}, x.data}
	case "Shape":
		return fill([]int{len(x.dims)}, func(i []int) float64 { return float64(x.dims[i[0]]) })
	case "Expand":
		return fill(broadcast(x.dims, integers(in[1])), func(i []int) float64 { return x.data[at(i, x.dims)] })
	case "Range":
		return fill([]int{int(in[1].data[0] - x.data[0])}, func(i []int) float64 { return x.data[0] + float64(i[0]) })
	case "Transpose":
		perm := attributes["perm"].([]int)
		dims := make([]int, len(perm))
		for i, p := range perm {
			dims[i] = x.dims[p]
		}
		return fill(dims, func(i []int) float64 {
			from := make([]int, len(i))
			for k, p := range perm {
				from[p] = i[k]
			}
			return x.data[at(from, x.dims)]
		})
	case "Gather":
		dims := append(slices.Clone(in[1].dims), x.dims[1:]...)
		return fill(dims, func(i []int) float64 {
			row := in[1].data[at(i[:len(in[1].dims)], in[1].dims)]
			return x.data[at(append([]int{int(row)}, i[len(in[1].dims):]...), x.dims)]
		})
	case "Concat":
		a := axis("axis")
		dims := slices.Clone(x.dims)
		for _, y := range in[1:] {
			dims[a] += y.dims[a]
		}
		return fill(dims, func(i []int) float64 {
			i = slices.Clone(i)
			for _, y := range in {
				if i[a] < y.dims[a] {
					return y.data[at(i, y.dims)]
				}
				i[a] -= y.dims[a]
			}
			panic("concat")
		})
	case "Slice":
		from, to, a := int(in[1].data[0]), int(in[2].data[0]), int(in[3].data[0])
		dims := slices.Clone(x.dims)
		dims[a] = to - from
		return fill(dims, func(i []int) float64 {
			i = slices.Clone(i)
			i[a] += from
			return x.data[at(i, x.dims)]
		})
	case "MatMul":
		y := in[1]
		m, k, n := x.dims[len(x.dims)-2], x.dims[len(x.dims)-1], y.dims[len(y.dims)-1]
		if y.dims[len(y.dims)-2] != k {
			panic("matmul")
		}
		lead := broadcast(x.dims[:len(x.dims)-2], y.dims[:len(y.dims)-2])
		return fill(append(lead, m, n), func(i []int) (sum float64) {
			a, b := slices.Clone(i), slices.Clone(i)
			for j := range k {
				a[len(a)-1], b[len(b)-2] = j, j
				sum += x.data[at(a, x.dims)] * y.data[at(b, y.dims)]
			}
			return sum
		})
	case "ArgMax":
		return reduce(x, []int{axis("axis")}, false, func(row []float64) float64 { return float64(slices.Index(row, slices.Max(row))) })
	case "ReduceSum":
		return reduce(x, integers(in[1]), attributes["keepdims"] != 0, sum)
	case "ReduceMean":
		return reduce(x, attributes["axes"].([]int), attributes["keepdims"] != 0, func(row []float64) float64 { return sum(row) / float64(len(row)) })
	case "ReduceL2":
		return reduce(x, attributes["axes"].([]int), attributes["keepdims"] != 0, func(row []float64) float64 {
			s := 0.0
			for _, v := range row {
				s += v * v
			}
			return math.Sqrt(s)
		})
	case "Softmax", "LayerNormalization":
		out := array{x.dims, slices.Clone(x.data)}
		n := x.dims[len(x.dims)-1]
		for from := 0; from < len(out.data); from += n {
			row := out.data[from : from+n]
			if op == "Softmax" {
				most := slices.Max(row)
				for i := range row {
					row[i] = math.Exp(row[i] - most)
				}
				total := sum(row)
				for i := range row {
					row[i] /= total
				}
				continue
			}
			mean, variance := sum(row)/float64(n), 0.0
			for _, v := range row {
				variance += (v - mean) * (v - mean) / float64(n)
			}
			for i := range row {
				row[i] = (row[i]-mean)/math.Sqrt(variance+attributes["epsilon"].(float64))*in[1].data[i] + in[2].data[i]
			}
		}
		return out
	case "Conv", "AveragePool", "MaxPool":
		return window(op, in, attributes)
	}
	panic("operator " + op)
}

func sum(row []float64) (s float64) {
	for _, v := range row {
		s += v
	}
	return s
}

// reduce applies f to what lies along one axis.
func reduce(x array, axes []int, keep bool, f func([]float64) float64) array {
	a := (axes[0] + len(x.dims)) % len(x.dims)
	dims := slices.Clone(x.dims)
	dims[a] = 1
	out := fill(dims, func(i []int) float64 {
		i = slices.Clone(i)
		row := make([]float64, x.dims[a])
		for i[a] = range row {
			row[i[a]] = x.data[at(i, x.dims)]
		}
		return f(row)
	})
	if !keep {
		out.dims = slices.Delete(dims, a, a+1)
	}
	return out
}

// window computes convolutions and pooling of x [B, C, H, W].
func window(op string, in []array, attributes map[string]any) array {
	x, size, stride, pad := in[0], attributes["kernel_shape"].([]int), attributes["strides"].([]int), attributes["pads"].([]int)
	out := func(i, axis int) int { return (x.dims[axis]+2*pad[i]-size[i])/stride[i] + 1 }
	dims := []int{x.dims[0], x.dims[1], out(0, 2), out(1, 3)}
	if op == "Conv" {
		dims[1] = in[1].dims[0]
	}
	return fill(dims, func(i []int) float64 {
		total, most, channels := 0.0, math.Inf(-1), 1
		if op == "Conv" {
			channels = x.dims[1]
		}
		for c := range channels {
			for h := range size[0] {
				for w := range size[1] {
					y, z := i[2]*stride[0]+h-pad[0], i[3]*stride[1]+w-pad[1]
					if y < 0 || z < 0 || y >= x.dims[2] || z >= x.dims[3] {
						continue
					}
					if op == "Conv" {
						total += x.data[at([]int{i[0], c, y, z}, x.dims)] * in[1].data[at([]int{i[1], c, h, w}, in[1].dims)]
						continue
					}
					v := x.data[at([]int{i[0], i[1], y, z}, x.dims)]
					total, most = total+v, max(most, v)
				}
			}
		}
		switch op {
		case "Conv":
			return total
		case "MaxPool":
			return most
		}
		return total / float64(size[0]*size[1])
	})
}
