package metric

import (
	"fmt"
	"math"
	"slices"
)

// Bin counts the predictions whose confidence lies in an interval.
type Bin struct {
	Low, High  float64 // Low < confidence ≤ High; the first bin of equal widths has 0 too
	N          int
	Confidence float64 // their mean; 0 without any
	Accuracy   float64 // the share of them that are right; 0 without any
}

// Calibration accumulates how far a classifier's probabilities can be believed, one example at a time. The confidence of a
// prediction is the probability of the likeliest class, of equal ones the first.
type Calibration struct {
	confidence []float64
	right      []bool
	brier, nll float64
}

// Add takes the logits of one example, one per class, and its true class; temperature divides them. It panics when the label is
// none of the classes.
func (c *Calibration) Add(logits []float32, temperature float64, label int) {
	if label < 0 || label >= len(logits) {
		panic(fmt.Sprintf("metric: label %d of %d classes", label, len(logits)))
	}
	top := TopK(logits, 1)[0]
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v-logits[top]) / temperature)
	}
	for j, v := range logits {
		p := math.Exp(float64(v-logits[top])/temperature) / sum
		if j == label {
			p--
		}
		c.brier += p * p
	}
	c.nll += math.Log(sum) - float64(logits[label]-logits[top])/temperature
	c.confidence = append(c.confidence, 1/sum)
	c.right = append(c.right, top == label)
}

// N returns the number of examples added.
func (c *Calibration) N() int { return len(c.right) }

// EqualWidths returns n bins of equal widths.
func (c *Calibration) EqualWidths(n int) []Bin {
	bins := make([]Bin, n)
	for i := range bins {
		bins[i].Low, bins[i].High = float64(i)/float64(n), float64(i+1)/float64(n)
	}
	for i, p := range c.confidence {
		at := max(0, int(math.Ceil(p*float64(n)))-1)
		for at > 0 && p <= bins[at].Low { // the product above is rounded
			at--
		}
		for at < n-1 && p > bins[at].High {
			at++
		}
		c.count(&bins[at], i)
	}
	return finish(bins)
}

// EqualCounts returns n bins with as many examples each, or one less, as Nguyen and O'Connor 2015 bin. Bins without an
// example are left out.
func (c *Calibration) EqualCounts(n int) []Bin {
	order := make([]int, c.N())
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := c.confidence[a], c.confidence[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var bins []Bin
	at := 0
	for i := range n { // the first bins have one more, as numpy.array_split deals
		size := len(order) / n
		if i < len(order)%n {
			size++
		}
		if size == 0 {
			break
		}
		b := Bin{High: c.confidence[order[at+size-1]]}
		if at > 0 {
			b.Low = c.confidence[order[at-1]]
		}
		for _, j := range order[at : at+size] {
			c.count(&b, j)
		}
		bins = append(bins, b)
		at += size
	}
	return finish(bins)
}

func (c *Calibration) count(b *Bin, i int) {
	b.N++
	b.Confidence += c.confidence[i]
	if c.right[i] {
		b.Accuracy++
	}
}

func finish(bins []Bin) []Bin {
	for i := range bins {
		if n := float64(bins[i].N); n > 0 {
			bins[i].Confidence /= n
			bins[i].Accuracy /= n
		}
	}
	return bins
}

// calibrationBins is the number of bins of Guo et al. 2017.
const calibrationBins = 15

// The measures of Calibration.
const (
	ece         = "ece"
	adaptiveECE = "adaptive_ece"
	brier       = "brier"
	nll         = "nll"
)

// chance is what guessing would give.
const chance = "chance"

// Metrics returns ece, the expected calibration error Σ (n_b/n)·|accuracy_b - confidence_b| over 15 bins of equal widths
// (Guo et al. 2017, "On Calibration of Modern Neural Networks", §2); adaptive_ece, the same over 15 bins of equal counts;
// brier, the mean squared distance of the probabilities from the truth, 0 … 2 (Brier 1950); and nll, the mean negative
// logarithm of the true class's probability, in nats. It returns nothing without examples.
func (c *Calibration) Metrics() []Value {
	n := float64(c.N())
	if n == 0 {
		return nil
	}
	gap := func(bins []Bin) (sum float64) {
		for _, b := range bins {
			sum += float64(b.N) / n * math.Abs(b.Accuracy-b.Confidence)
		}
		return sum
	}
	return []Value{{ece, gap(c.EqualWidths(calibrationBins))}, {adaptiveECE, gap(c.EqualCounts(calibrationBins))}, {brier, c.brier / n}, {nll, c.nll / n}}
}

// Reliability returns the bins of ece.
func (c *Calibration) Reliability() []Bin { return c.EqualWidths(calibrationBins) }

// Temperature returns the temperature with the smallest negative log-likelihood of labels, 0 < T (Guo et al. 2017, §4.2): logits
// gives those of example i, which is the caller's to write again at the next call. The likelihood is log-concave in 1/T, so the
// sign of its slope tells on which side the best lies. Where it has no end, as where all are right, the result is at a border:
// 10⁻³ or 10³ times what the logits came with.
func Temperature(n int, logits func(i int) (row []float32, label int)) float64 {
	// slope is that of the log-likelihood by 1/T: Σ (logit of the truth - expected logit).
	slope := func(inverse float64) (total float64) {
		for i := range n {
			row, label := logits(i)
			best := row[TopK(row, 1)[0]]
			sum, mean := 0.0, 0.0
			for _, v := range row {
				p := math.Exp(float64(v-best) * inverse)
				sum += p
				mean += p * float64(v-best)
			}
			total += float64(row[label]-best) - mean/sum
		}
		return total
	}
	low, high := math.Log(1e-3), math.Log(1e3)
	for range 60 {
		middle := (low + high) / 2
		if slope(math.Exp(middle)) >= 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp(-(low + high) / 2)
}
