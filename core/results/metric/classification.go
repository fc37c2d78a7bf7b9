// Package metric knows the metrics. It turns scores into them (Classification, Retrieval), and knows of each by its name
// where it comes from, which way it is good, its unit and its place in lists.
//
// It is pure: no files, no clocks, no randomness. What metrics over seeds show is core/results/stat's to say.
//
// A NaN score ranks below every number.
package metric

import (
	"fmt"
)

// Value holds a measure and its name: top1, R@5, mean_rank.
type Value struct {
	Name  string
	Value float64
}

// ranksBefore reports whether score a of index i ranks before score b of index j: the greater score does, and among equal
// scores the lower index.
func ranksBefore(a float32, i int, b float32, j int) bool {
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

// TopK returns the indices of the k greatest scores, best first; ties go to the lower index. It returns
// all of them when there are fewer than k.
func TopK(scores []float32, k int) []int {
	k = min(k, len(scores))
	if k <= 0 {
		return nil
	}
	top := make([]int, 0, k)
	for i, s := range scores {
		if len(top) == k && !ranksBefore(s, i, scores[top[k-1]], top[k-1]) {
			continue
		}
		at := len(top)
		for at > 0 && ranksBefore(s, i, scores[top[at-1]], top[at-1]) {
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

// Rank returns the place of index label among scores, from 1, in the order of TopK.
func Rank(scores []float32, label int) int {
	rank := 1
	for i, s := range scores {
		if i != label && ranksBefore(s, i, scores[label], label) {
			rank++
		}
	}
	return rank
}

// The measures of Classification.
const (
	top1               = "top1"
	top5               = "top5"
	meanPerClassRecall = "mean_per_class_recall"
)

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

// N returns the number of examples added.
func (c *Classification) N() int { return c.n }

// Metrics returns fractions of 1: top1; top5 when there are five classes or more; mean_per_class_recall, which is the share of
// a class's examples that rank first, averaged over the classes that have examples. It returns nothing without examples.
func (c *Classification) Metrics() []Value {
	if c.n == 0 {
		return nil
	}
	values := []Value{{top1, float64(c.top1) / float64(c.n)}}
	if len(c.examples) >= 5 {
		values = append(values, Value{top5, float64(c.top5) / float64(c.n)})
	}
	recall, present := 0.0, 0
	for class, n := range c.examples {
		if n > 0 {
			recall += float64(c.right[class]) / float64(n)
			present++
		}
	}
	return append(values, Value{meanPerClassRecall, recall / float64(present)})
}
