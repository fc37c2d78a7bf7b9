// Package metric turns scores into figures: classification accuracy, retrieval recall. It is pure: no
// files, no clocks, no randomness. What figures over seeds show is core/results/stat's.
//
// A NaN score ranks below every number.
package metric

import (
	"fmt"
	"math"
)

// Value is a named figure: top1, R@5, mean_rank.
type Value struct {
	Name  string
	Value float64
}

// above tells whether score a of index i ranks before score b of index j: the greater score, among
// equal ones the lower index.
func above(a float32, i int, b float32, j int) bool {
	switch {
	case a > b:
		return true
	case a < b:
		return false
	case a != a && b == b:
		return false
	case b != b && a == a:
		return true
	}
	return i < j
}

// TopK gives the indices of the k greatest scores, best first; ties go to the lower index. It gives
// all of them when there are fewer than k.
func TopK(scores []float32, k int) []int {
	k = min(k, len(scores))
	if k <= 0 {
		return nil
	}
	top := make([]int, 0, k)
	for i, s := range scores {
		if len(top) == k && !above(s, i, scores[top[k-1]], top[k-1]) {
			continue
		}
		at := len(top)
		for at > 0 && above(s, i, scores[top[at-1]], top[at-1]) {
			at--
		}
		if len(top) < k {
			top = append(top, 0)
		}
		copy(top[at+1:], top[at:])
		top[at] = i
	}
	return top
}

// Rank is the place of index label among scores, from 1, by the order of TopK.
func Rank(scores []float32, label int) int {
	rank := 1
	for i, s := range scores {
		if i != label && above(s, i, scores[label], label) {
			rank++
		}
	}
	return rank
}

// Classification accumulates the accuracy of a classifier, one example at a time.
type Classification struct {
	n, top1, top5 int
	examples      []int // by true class
	right         []int // of these, by true class
}

// NewClassification starts over a number of classes.
func NewClassification(classes int) *Classification {
	return &Classification{examples: make([]int, classes), right: make([]int, classes)}
}

// Add takes the scores of one example, one per class, and its true class. It panics when there are
// not as many scores as classes or the label is none of them.
func (c *Classification) Add(scores []float32, label int) {
	if len(scores) != len(c.examples) || label < 0 || label >= len(scores) {
		panic(fmt.Sprintf("metric: %d scores and label %d for %d classes", len(scores), label, len(c.examples)))
	}
	rank := Rank(scores, label)
	c.n++
	c.examples[label]++
	if rank == 1 {
		c.top1++
		c.right[label]++
	}
	if rank <= 5 {
		c.top5++
	}
}

// N is the number of examples added.
func (c *Classification) N() int { return c.n }

// Metrics gives, as fractions of 1: top1; top5 when there are five classes or more;
// mean_per_class_recall, the mean over the classes that have examples of the share of them that
// ranks first. Nothing without examples.
func (c *Classification) Metrics() []Value {
	if c.n == 0 {
		return nil
	}
	values := []Value{{"top1", float64(c.top1) / float64(c.n)}}
	if len(c.examples) >= 5 {
		values = append(values, Value{"top5", float64(c.top5) / float64(c.n)})
	}
	recall, present := 0.0, 0
	for class, n := range c.examples {
		if n > 0 {
			recall += float64(c.right[class]) / float64(n)
			present++
		}
	}
	return append(values, Value{"mean_per_class_recall", recall / float64(present)})
}

// PerClass gives the recall of every class, NaN for one without examples.
func (c *Classification) PerClass() []float64 {
	recall := make([]float64, len(c.examples))
	for class, n := range c.examples {
		recall[class] = math.NaN()
		if n > 0 {
			recall[class] = float64(c.right[class]) / float64(n)
		}
	}
	return recall
}
