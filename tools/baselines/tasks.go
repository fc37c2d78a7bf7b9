package main

import (
	"fmt"
	"slices"

	"tandem/core/clip"
)

// classify prints the accuracies of guesses of a target.
func classify(t clip.Target, train, test *pictures, nearest []int, index *words) {
	classes := index.vectors(t.Classes)
	labelled := slices.ContainsFunc(train.labels, func(l map[string]string) bool { return l[t.Name] != "" })
	counts := map[string]int{}
	n, right := 0, 0.0
	for i, labels := range test.labels {
		class := labels[t.Name]
		if class == "" {
			continue
		}
		n++
		counts[class]++
		own := train.labels[nearest[i]][t.Name]
		switch {
		case own == class:
			right++
		case own == "": // its source has no such labelling
			said := index.vectors(train.captions[nearest[i]])
			scores := make([]float64, len(classes))
			for k, c := range classes {
				scores[k] = like(c, said)
			}
			right += share(scores, func(k int) bool { return t.Classes[k] == class }, 1)
		}
	}
	if n == 0 {
		fmt.Printf("  %s: no picture has a class\n", t.Name)
		return
	}
	largest, name := 0, ""
	for class, k := range counts {
		if k > largest || k == largest && class < name {
			largest, name = k, class
		}
	}
	by := "its class"
	if !labelled {
		by = "its captions"
	}
	fmt.Printf("  %s, %d classes, %d pictures, top1: chance %s, largest class %s (%s), nearest training picture %s (by %s)\n", t.Name,
		len(t.Classes), n, percent(1/float64(len(t.Classes))), percent(float64(largest)/float64(n)), name, percent(right/float64(n)), by)
}

// retrieve prints recalls of both directions.
func retrieve(equalCaptions bool, train, test *pictures, nearest []int, index *words) {
	var texts []string
	var owners [][]int64 // groups of each text
	at := map[string]int{}
	for i, list := range test.captions {
		for _, c := range list {
			k, known := at[c]
			if !known || !equalCaptions {
				k = len(texts)
				at[c] = k
				texts, owners = append(texts, c), append(owners, nil)
			}
			if !slices.Contains(owners[k], test.groups[i]) {
				owners[k] = append(owners[k], test.groups[i])
			}
		}
	}
	vectors := index.vectors(texts)
	scores := make([][]float64, len(test.pixels)) // picture × text
	for i := range scores {
		said := index.vectors(train.captions[nearest[i]])
		scores[i] = make([]float64, len(texts))
		for k, v := range vectors {
			scores[i][k] = like(v, said)
		}
	}
	fmt.Printf("  retrieval, %d pictures, %d texts: chance, nearest training picture\n", len(test.pixels), len(texts))
	for _, depth := range []int{1, 5, 10} {
		var toText, toImage, chanceText, chanceImage float64
		flat := make([]float64, max(len(texts), len(test.pixels)))
		for i := range test.pixels {
			mine := func(k int) bool { return slices.Contains(owners[k], test.groups[i]) }
			toText += share(scores[i], mine, depth)
			chanceText += share(flat[:len(texts)], mine, depth)
		}
		column := make([]float64, len(test.pixels))
		for k := range texts {
			for i := range column {
				column[i] = scores[i][k]
			}
			mine := func(i int) bool { return slices.Contains(owners[k], test.groups[i]) }
			toImage += share(column, mine, depth)
			chanceImage += share(flat[:len(column)], mine, depth)
		}
		n, m := float64(len(test.pixels)), float64(len(texts))
		fmt.Printf("    R@%-2d image to text %s, %s; text to image %s, %s\n", depth, percent(chanceText/n), percent(toText/n), percent(chanceImage/m), percent(toImage/m))
	}
}

// share returns the probability that one of the right places is among the depth highest scores, equal scores being in any
// order.
func share(scores []float64, right func(int) bool, depth int) float64 {
	best, any := 0.0, false
	for i, s := range scores {
		if right(i) && (!any || s > best) {
			best, any = s, true
		}
	}
	if !any {
		return 0
	}
	above, equal, hits := 0, 0, 0
	for i, s := range scores {
		switch {
		case s > best:
			above++
		case s == best:
			equal++
			if right(i) {
				hits++
			}
		}
	}
	places := depth - above
	if places <= 0 {
		return 0
	}
	missed := 1.0 // no hit among the first places of the equal ones
	for k := range min(places, equal) {
		missed *= max(0, float64(equal-hits-k)) / float64(equal-k)
	}
	return 1 - missed
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
