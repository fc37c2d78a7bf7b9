package probe

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/optimize"
)

// Linear is a linear classifier: the scores of x are W·x + B.
type Linear struct {
	Classes, Dim int
	W            []float64 // [Classes, Dim]
	B            []float64 // [Classes]
}

// Stop says when a fit ends.
type Stop struct {
	Gradient   float64 // at this largest component of the gradient, per example
	Iterations int
	Done       <-chan struct{} // once it is closed; nil: never
}

// DefaultStop has the 1,000 iterations of Radford et al. 2021, §A.3. The gradient is a hundredth of scikit-learn's default, 1e-4, at which
// fits with a weak penalty that begin at each other would not move.
var DefaultStop = Stop{Gradient: 1e-6, Iterations: 1000}

// Fitted is a classifier and how it was found.
type Fitted struct {
	Linear
	Loss       float64 // the objective, per example
	Iterations int
	Converged  bool // the gradient is as small as was asked for
}

// Fit returns the multinomial logistic regression of the examples, which minimises
//
//	Σᵢ -log softmax(W·xᵢ + B)[yᵢ] + ‖W‖²/(2·c)
//
// as scikit-learn's LogisticRegression(C=c) does: the larger c, the weaker the penalty, and none on B. L-BFGS in double precision
// begins at from, or at zero where it is nil. It works on features less their mean, which has the same minimum, as B is free,
// and is better conditioned: features of CLIP lie in a narrow cone (Liang et al. 2022).
func Fit(e Examples, c float64, from *Linear, stop Stop) Fitted {
	x, mean := e.wide()
	return newFit(x, mean, e).run(c, from, stop)
}

// fit holds what fits with several strengths share.
type fit struct {
	x      blas64.General
	mean   []float64
	e      Examples
	scores []float64 // [N, K]
	at     []float64 // where value and slope are of
	value  float64
	slope  []float64
	weight float64 // of the penalty, per example: 1/(c·N)
}

func newFit(x blas64.General, mean []float64, e Examples) *fit {
	return &fit{x: x, mean: mean, e: e, scores: make([]float64, e.Len()*e.Classes)}
}

func (f *fit) run(c float64, from *Linear, stop Stop) Fitted {
	k, d := f.e.Classes, f.e.Dim
	f.weight, f.at = 1/(c*float64(f.e.Len())), nil
	start := make([]float64, k*(d+1))
	if from != nil {
		copy(start, from.W)
		for j := range k {
			start[k*d+j] = from.B[j] + dot(from.W[j*d:(j+1)*d], f.mean)
		}
	}
	problem := optimize.Problem{
		Func: func(p []float64) float64 { f.evaluate(p); return f.value },
		Grad: func(into, p []float64) { f.evaluate(p); copy(into, f.slope) },
		Status: func() (optimize.Status, error) {
			select {
			case <-stop.Done:
				return optimize.RuntimeLimit, nil
			default:
				return optimize.NotTerminated, nil
			}
		},
	}
	// An error tells that no better point was found on a line, at the end of precision: what was found so far counts.
	found, _ := optimize.Minimize(problem, start, &optimize.Settings{GradientThreshold: stop.Gradient, MajorIterations: stop.Iterations,
		Converger: optimize.NeverTerminate{}}, &optimize.LBFGS{Store: 10, Linesearcher: &optimize.MoreThuente{}})
	out := Fitted{Linear: Linear{Classes: k, Dim: d, W: start[:k*d], B: start[k*d:]}}
	if found == nil {
		f.evaluate(start)
	} else {
		f.evaluate(found.X)
		copy(start, found.X)
		out.Iterations = found.MajorIterations
	}
	out.Loss, out.Converged = f.value, largest(f.slope) <= stop.Gradient
	for j := range k {
		out.B[j] -= dot(out.W[j*d:(j+1)*d], f.mean)
	}
	return out
}

// evaluate computes the objective per example and its gradient at p, which holds W and then B.
func (f *fit) evaluate(p []float64) {
	if slices.Equal(f.at, p) {
		return
	}
	n, k, d := f.e.Len(), f.e.Classes, f.e.Dim
	f.at = append(f.at[:0], p...)
	if f.slope == nil {
		f.slope = make([]float64, len(p))
	}
	clear(f.slope)
	w := blas64.General{Rows: k, Cols: d, Stride: d, Data: p[:k*d]}
	s := blas64.General{Rows: n, Cols: k, Stride: k, Data: f.scores}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, f.x, w, 0, s)
	loss := 0.0
	bias := f.slope[k*d:]
	for i := range n {
		row := f.scores[i*k : (i+1)*k]
		y := f.e.Y[i]
		for j := range row {
			row[j] += p[k*d+j]
		}
		at := row[y]
		loss += softmax(row) - at
		row[y]--
		for j, v := range row {
			bias[j] += v
		}
	}
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, s, f.x, 0, blas64.General{Rows: k, Cols: d, Stride: d, Data: f.slope[:k*d]})
	scale := 1 / float64(n)
	norm := 0.0
	for i, v := range p[:k*d] {
		f.slope[i] = f.slope[i]*scale + f.weight*v
		norm += v * v
	}
	for j := range bias {
		bias[j] *= scale
	}
	f.value = loss*scale + f.weight*norm/2
}

// softmax turns scores into probabilities and returns the logarithm of the sum of their exponentials.
func softmax(row []float64) float64 {
	best := math.Inf(-1)
	for _, v := range row {
		best = math.Max(best, v)
	}
	sum := 0.0
	for j, v := range row {
		row[j] = math.Exp(v - best)
		sum += row[j]
	}
	for j := range row {
		row[j] /= sum
	}
	return best + math.Log(sum)
}

// Scores fills out, [Classes], with the scores of x.
func (l Linear) Scores(x []float32, out []float32) {
	for k := range l.Classes {
		sum := l.B[k]
		for j, w := range l.W[k*l.Dim : (k+1)*l.Dim] {
			sum += w * float64(x[j])
		}
		out[k] = float32(sum)
	}
}

// judge returns the share of examples that l classifies rightly, and its loss without penalty, per example.
func (l Linear) judge(e Examples) (accuracy, loss float64) {
	out, wide := make([]float32, l.Classes), make([]float64, l.Classes)
	right := 0
	for i, y := range e.Y {
		l.Scores(e.Row(i), out)
		best := 0
		for j, v := range out {
			wide[j] = float64(v)
			if v > out[best] {
				best = j
			}
		}
		at := wide[y]
		loss += softmax(wide) - at
		if best == int(y) {
			right++
		}
	}
	n := float64(max(e.Len(), 1))
	return float64(right) / n, loss / n
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func largest(v []float64) float64 {
	most := 0.0
	for _, x := range v {
		most = math.Max(most, math.Abs(x))
	}
	return most
}
