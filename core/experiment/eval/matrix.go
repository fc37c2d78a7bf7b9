package eval

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"tandem/core/tensor"
)

// Matrix holds Rows × Cols of float32, row-major.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

// Row returns row i, which is the matrix's own.
func (m *Matrix) Row(i int) []float32 { return m.Data[i*m.Cols : (i+1)*m.Cols] }

func (m *Matrix) append(t *tensor.Tensor) {
	m.Cols = t.Shape[1]
	m.Rows += t.Shape[0]
	m.Data = append(m.Data, t.F32()...)
}

// join appends the rows of another matrix.
func (m *Matrix) join(o *Matrix) {
	if o.Rows > 0 {
		m.Rows, m.Cols, m.Data = m.Rows+o.Rows, o.Cols, append(m.Data, o.Data...)
	}
}

// pick appends rows of a tensor.
func (m *Matrix) pick(t *tensor.Tensor, places []int) {
	d, rows := t.Shape[1], t.F32()
	m.Cols = d
	m.Rows += len(places)
	for _, at := range places {
		m.Data = append(m.Data, rows[at*d:(at+1)*d]...)
	}
}

func (m *Matrix) general() blas32.General {
	return blas32.General{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: m.Data}
}

// normalize scales a vector to length 1.
func normalize(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	scale := float32(1 / math.Max(math.Sqrt(sum), 1e-12))
	for i := range v {
		v[i] *= scale
	}
}

// Similarities computes the rows of a·bᵀ in blocks that stay in cache, and gives f one after another: of row i of a
// [a.Rows], with every row of b. The row is f's until it returns.
func Similarities(a, b *Matrix, f func(i int, row []float32)) {
	const block = 64
	out := make([]float32, block*b.Rows)
	for at := 0; at < a.Rows; at += block {
		n := min(block, a.Rows-at)
		part := Matrix{Rows: n, Cols: a.Cols, Data: a.Data[at*a.Cols : (at+n)*a.Cols]}
		c := blas32.General{Rows: n, Cols: b.Rows, Stride: b.Rows, Data: out[:n*b.Rows]}
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, part.general(), b.general(), 0, c)
		for i := range n {
			f(at+i, c.Data[i*b.Rows:(i+1)*b.Rows])
		}
	}
}

// equalRows returns the rows that equal an earlier one.
func (m *Matrix) equalRows() []Twins {
	var out []Twins
	first := map[string]int{}
	for i := range m.Rows {
		key := fmt.Sprint(m.Row(i)[:min(8, m.Cols)]) // enough to tell most apart; the rest is compared
		if j, ok := first[key]; !ok {
			first[key] = i
		} else if slices.Equal(m.Row(i), m.Row(j)) {
			out = append(out, Twins{j, i})
		}
	}
	return out
}
