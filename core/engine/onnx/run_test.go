package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// array is a value of the interpreter: integers and truth values are float64 too.
type array struct {
	dims []int
	data []float64
}

func (a array) size() int { return product(a.dims) }

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// fields calls f with each field of a message.
func fields(data []byte, f func(n protowire.Number, number uint64, bytes []byte)) {
	for len(data) > 0 {
		n, kind, length := protowire.ConsumeTag(data)
		data = data[length:]
		switch kind {
		case protowire.VarintType:
			v, length := protowire.ConsumeVarint(data)
			f(n, v, nil)
			data = data[length:]
		case protowire.Fixed32Type:
			v, length := protowire.ConsumeFixed32(data)
			f(n, uint64(v), nil)
			data = data[length:]
		default:
			v, length := protowire.ConsumeBytes(data)
			f(n, 0, v)
			data = data[length:]
		}
	}
}

// run computes a file of ONNX by the definitions of its operators, in float64, so that the file is tested without the
// program that wrote it.
func run(file []byte, input string, x array) map[string]array {
	var graph []byte
	fields(file, func(n protowire.Number, _ uint64, b []byte) {
		if n == modelGraph {
			graph = b
		}
	})
	values := map[string]array{input: x}
	var nodes [][]byte
	fields(graph, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case graphNode:
			nodes = append(nodes, b)
		case graphTensor:
			name, a := readTensor(b)
			values[name] = a
		}
	})
	for _, b := range nodes {
		var op string
		var in []array
		var out []string
		attributes := map[string]any{}
		fields(b, func(n protowire.Number, _ uint64, b []byte) {
			switch n {
			case nodeIn:
				a, ok := values[string(b)]
				if !ok {
					panic("no value " + string(b))
				}
				in = append(in, a)
			case nodeOut:
				out = append(out, string(b))
			case nodeOp:
				op = string(b)
			case nodeAttribute:
				name, v := readAttribute(b)
				attributes[name] = v
			}
		})
		values[out[0]] = compute(op, in, attributes)
	}
	return values
}

func readTensor(b []byte) (name string, a array) {
	var kind Type
	var raw []byte
	a.dims = []int{}
	fields(b, func(n protowire.Number, v uint64, b []byte) {
		switch n {
		case tensorDims:
			a.dims = append(a.dims, int(v))
		case tensorType:
			kind = Type(v)
		case tensorName:
			name = string(b)
		case tensorRaw:
			raw = b
		}
	})
	for at := 0; at < len(raw); {
		if kind == Int64 {
			a.data = append(a.data, float64(int64(binary.LittleEndian.Uint64(raw[at:]))))
			at += 8
		} else {
			a.data = append(a.data, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[at:]))))
			at += 4
		}
	}
	if len(a.data) != a.size() {
		panic(fmt.Sprintf("%s: %d elements for %v", name, len(a.data), a.dims))
	}
	return name, a
}

func readAttribute(b []byte) (name string, v any) {
	var list []int
	fields(b, func(n protowire.Number, number uint64, b []byte) {
		switch n {
		case attributeName:
			name = string(b)
		case attributeF:
			v = float64(math.Float32frombits(uint32(number)))
		case attributeI:
			v = int(int64(number))
		case attributeInts:
			list = append(list, int(int64(number)))
		}
	})
	if list != nil {
		v = list
	}
	return name, v
}

var unary = map[string]func(float64) float64{
	"Erf": math.Erf, "Tanh": math.Tanh, "Exp": math.Exp, "Sqrt": math.Sqrt, "Identity": func(x float64) float64 { return x },
	"Sigmoid": func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, "Relu": func(x float64) float64 { return max(x, 0) },
	"Softplus": func(x float64) float64 { return math.Log1p(math.Exp(x)) }, "Not": func(x float64) float64 { return 1 - x },
	"Cast": func(x float64) float64 { return x },
}

var pairwise = map[string]func(a, b float64) float64{
	"Add": func(a, b float64) float64 { return a + b }, "Sub": func(a, b float64) float64 { return a - b }, "Mul": func(a, b float64) float64 { return a * b },
	"Div": func(a, b float64) float64 { return a / b }, "Max": math.Max, "Less": func(a, b float64) float64 { return truth(a < b) },
	"Equal": func(a, b float64) float64 { return truth(a == b) },
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// at returns the place in dims, right-aligned, of an index of a larger shape; axes of 1 repeat.
func at(index, dims []int) int {
	place := 0
	for i, d := range dims {
		place *= d
		if d > 1 {
			place += index[len(index)-len(dims)+i]
		}
	}
	return place
}

// each calls f with every index of a shape, in order.
func each(dims []int, f func(index []int)) {
	index := make([]int, len(dims))
	for range product(dims) {
		f(index)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < dims[i] {
				break
			}
			index[i] = 0
		}
	}
}

func broadcast(a, b []int) []int {
	out := slices.Clone(a)
	if len(b) > len(a) {
		out = slices.Clone(b)
	}
	for i := range out {
		for _, dims := range [][]int{a, b} {
			if j := i - len(out) + len(dims); j >= 0 && dims[j] != 1 {
				out[i] = dims[j]
			}
		}
	}
	return out
}

// fill makes an array by its elements.
func fill(dims []int, f func(index []int) float64) array {
	out := array{dims: slices.Clone(dims)}
	each(dims, func(index []int) { out.data = append(out.data, f(index)) })
	return out
}

func integers(a array) []int {
	out := make([]int, len(a.data))
	for i, v := range a.data {
		out[i] = int(v)
	}
	return out
}
