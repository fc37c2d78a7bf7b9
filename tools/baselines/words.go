package main

import (
	"math"
	"strings"
	"unicode"
)

// words weighs words by how rare they are among the captions of training.
type words struct {
	weight map[string]float64
	rare   float64 // of words that training lacks
}

// newWords counts the pictures whose captions have each word.
func newWords(captions [][]string) *words {
	count := map[string]int{}
	for _, list := range captions {
		seen := map[string]bool{}
		for _, c := range list {
			for _, w := range split(c) {
				if !seen[w] {
					seen[w] = true
					count[w]++
				}
			}
		}
	}
	n := float64(len(captions))
	x := &words{weight: make(map[string]float64, len(count)), rare: math.Log(n + 1)}
	for w, k := range count {
		x.weight[w] = math.Log((n + 1) / float64(k+1))
	}
	return x
}

// split returns the words of a text in lower case.
func split(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// vector returns the weights of a text's words, of length 1.
func (x *words) vector(text string) map[string]float64 {
	out := map[string]float64{}
	for _, w := range split(text) {
		if weight, ok := x.weight[w]; ok {
			out[w] += weight
		} else {
			out[w] += x.rare
		}
	}
	sum := 0.0
	for _, v := range out {
		sum += v * v
	}
	for w := range out {
		out[w] /= math.Sqrt(max(sum, 1e-12))
	}
	return out
}

// vectors returns the vectors of texts.
func (x *words) vectors(texts []string) []map[string]float64 {
	out := make([]map[string]float64, len(texts))
	for i, t := range texts {
		out[i] = x.vector(t)
	}
	return out
}

// like returns how like a vector is to the most like of others, 0 … 1.
func like(v map[string]float64, others []map[string]float64) float64 {
	best := 0.0
	for _, o := range others {
		sum := 0.0
		a, b := v, o
		if len(b) < len(a) {
			a, b = b, a
		}
		for w, x := range a {
			sum += x * b[w]
		}
		best = max(best, sum)
	}
	return best
}
