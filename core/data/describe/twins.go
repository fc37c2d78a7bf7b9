package describe

import (
	"math"
	"strings"

	"tandem/core/data/alike"
)

func (c *Collector) place(i int) Place {
	p := c.pictures[i]
	return Place{c.name, p.index, p.key, p.caption}
}

// looksLike reports whether two pictures look alike: by their hashes and by their thumbnails, because hashes of drawings on one
// background are near by chance.
func (p *picture) looksLike(o *picture, near int) bool {
	if p.flat || o.flat || alike.Distance(p.hash, o.hash) > near {
		return false
	}
	sum := 0.0
	for i, v := range p.thumb {
		d := float64(v) - float64(o.thumb[i])
		sum += d * d
	}
	return math.Sqrt(sum/float64(len(p.thumb))) < min(unlike, unlikePart*p.spread, unlikePart*o.spread)
}

// twins finds the pictures that are there more than once, exactly and nearly.
func (c *Collector) twins(near int) (exact, similar Twins) {
	first := map[[32]byte]int{}
	same := newGroups(len(c.pictures))
	like := newGroups(len(c.pictures))
	var index alike.Index
	for i := range c.pictures {
		p := &c.pictures[i]
		if at, ok := first[p.exact]; ok {
			if same.join(at, i) && len(exact.Examples) < MostExamples {
				exact.Examples = append(exact.Examples, Pair{c.place(at), c.place(i), true, 0})
			}
			continue // what it looks like is known
		}
		first[p.exact] = i
		if p.flat {
			continue
		}
		for _, at := range index.Near(p.hash, near) {
			o := &c.pictures[at]
			if o.looksLike(p, near) && like.join(at, i) && len(similar.Examples) < MostExamples {
				similar.Examples = append(similar.Examples, Pair{c.place(at), c.place(i), false, alike.Distance(p.hash, o.hash)})
			}
		}
		index.Add(p.hash, i)
	}
	same.count(&exact)
	like.count(&similar)
	return exact, similar
}

// groups joins numbers that belong together.
type groups []int

func newGroups(n int) groups {
	g := make(groups, n)
	for i := range g {
		g[i] = i
	}
	return g
}

func (g groups) root(i int) int {
	for g[i] != i {
		g[i] = g[g[i]]
		i = g[i]
	}
	return i
}

// join puts two numbers in one group and reports whether they were in two.
func (g groups) join(a, b int) bool {
	a, b = g.root(a), g.root(b)
	if a == b {
		return false
	}
	g[max(a, b)] = min(a, b)
	return true
}

func (g groups) count(t *Twins) {
	members := map[int]int{}
	for i := range g {
		members[g.root(i)]++
	}
	for _, n := range members {
		if n > 1 {
			t.Groups++
			t.Pictures += n
			t.Extra += n - 1
		}
	}
}

// Leak tells what an evaluation has in common with training data.
type Leak struct {
	Train     string `json:"train"`
	Eval      string `json:"eval"`
	LookedAt  [2]int `json:"looked_at"` // pictures of each
	Exact     int    `json:"exact"`     // pictures of the evaluation that are in the training data, pixel by pixel
	Near      int    `json:"near"`      // others that look like one of it
	Captions  int    `json:"captions"`  // pictures of the evaluation whose first caption is one of the training data's
	Examples  []Pair `json:"examples"`  // exact ones first
	Different bool   `json:"different"` // false: the two are the same set
}

// Compare finds the pictures and captions of eval that train has too. digests tell whether they are the same set.
func Compare(train, eval *Collector, near int, same bool) *Leak {
	l := &Leak{Train: train.name, Eval: eval.name, LookedAt: [2]int{len(train.pictures), len(eval.pictures)}, Different: !same}
	exact := map[[32]byte]int{}
	var index alike.Index
	texts := map[string]bool{}
	for text := range train.captions {
		texts[strings.ToLower(text)] = true
	}
	for i := range train.pictures {
		p := &train.pictures[i]
		if _, ok := exact[p.exact]; !ok {
			exact[p.exact] = i
		}
		if !p.flat {
			index.Add(p.hash, i)
		}
	}
	var nearly []Pair
	for i := range eval.pictures {
		p := &eval.pictures[i]
		if texts[strings.ToLower(p.caption)] {
			l.Captions++
		}
		if at, ok := exact[p.exact]; ok {
			if l.Exact++; len(l.Examples) < MostExamples {
				l.Examples = append(l.Examples, Pair{train.place(at), eval.place(i), true, 0})
			}
			continue
		}
		if p.flat {
			continue
		}
		for _, at := range index.Near(p.hash, near) {
			if o := &train.pictures[at]; o.looksLike(p, near) {
				l.Near++
				nearly = append(nearly, Pair{train.place(at), eval.place(i), false, alike.Distance(p.hash, o.hash)})
				break
			}
		}
	}
	l.Examples = append(l.Examples, nearly[:min(len(nearly), MostExamples)]...)
	return l
}

// Report holds everything about the data of a spec.
type Report struct {
	Sets  []*Set  `json:"sets"` // training data first
	Leaks []*Leak `json:"leakage"`
}
