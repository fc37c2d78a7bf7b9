package page

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

const (
	mostModels  = 10 // of a side whose predictions are read
	mostPairs   = 12
	mostExample = 8 // of a group
	mostNames   = 6 // of the retrieval by name
	pictureSide = 96
)

// Outcome says what models predicted, example by example: the baseline's and the best other variant's.
type Outcome struct {
	Evaluation, Target string
	Examples           int
	Classes            int      // that are labels or guesses
	Names              []string // by class id; nil: not known
	Sides              []Side   // one or two
	Pairs              []Pair
	Groups             []Group
	Found              []Found
	FoundBy            string // which model Found is of
	NoPictures         string // why there are none; "" when there are

	pictures *pictures
}

// Side holds one variant's models.
type Side struct {
	Variant string
	Seeds   []int64
	Matrix  *Matrix // nil where there are too many classes for the examples

	rows [][]clip.Prediction // by seed
}

// Pair counts a class taken for another one.
type Pair struct {
	Label, Guess int
	Examples     int       // of the label
	Rates        []float64 // by side: share of the label's predictions that are this guess
}

// Example holds an example that is shown.
type Example struct {
	Index int
	Label int
	Votes [][]Vote // by side
}

// Vote counts the models of a side that made a first guess.
type Vote struct {
	Class, Models int
	Right         bool
}

// Group holds examples that went the same way.
type Group struct {
	Title string
	Of    int // that went this way in all
	Shown []Example
}

// outcome reads the predictions of the deciding metric's evaluation, or of the first one that has any.
func outcome(ctx context.Context, src Source, albums Albums, p *Page) (*Outcome, error) {
	of, found := predicted(p)
	if !found {
		return nil, nil
	}
	o := &Outcome{Evaluation: of.Evaluation, Target: of.Target}
	var keys []clip.Prediction
	for _, v := range sides(p.Table) {
		s := Side{Variant: v}
		for _, r := range p.Runs {
			if r.Variant != v || !r.Done || len(s.Seeds) == mostModels {
				continue
			}
			rows, err := src.Predictions(ctx, r.ID, o.Evaluation, o.Target, -1)
			if fault.KindOf(err) == fault.NotFound && err != nil {
				continue
			}
			if err != nil {
				return nil, err
			}
			if keys == nil {
				keys = rows
			}
			if sameExamples(keys, rows) {
				s.Seeds, s.rows = append(s.Seeds, r.Seed), append(s.rows, rows)
			}
		}
		if len(s.rows) > 0 {
			o.Sides = append(o.Sides, s)
		}
	}
	if len(o.Sides) == 0 || len(keys) == 0 {
		return nil, nil
	}
	o.Examples = len(keys)
	o.Classes = classes(o.Sides)
	confuse(o)
	o.Pairs = mostConfused(o)
	o.Groups = groups(o)
	o.Found, o.FoundBy = foundByName(o)
	o.lookUp(ctx, src, albums, p)
	return o, nil
}

// predicted says which predictions are shown.
func predicted(p *Page) (of store.PredictionInfo, found bool) {
	decides := p.Table.Metrics[0].Name
	for _, r := range p.Runs {
		for _, info := range r.detail.Predictions {
			if !r.Done {
				continue
			}
			if strings.HasPrefix(decides, metric.Evaluated(info.Evaluation, "")) {
				return info, true
			}
			if !found {
				of, found = info, true
			}
		}
	}
	return of, found
}

// sides returns the baseline and the best other variant; without a baseline the best two.
func sides(t *ablation.Table) []string {
	rows := slices.DeleteFunc(slices.Clone(t.Rows), func(r ablation.Row) bool {
		return r.Role == ablation.IsRepeat || r.HasSame || r.Rank == 0
	})
	slices.SortStableFunc(rows, func(x, y ablation.Row) int {
		if b, c := x.Role == ablation.IsBaseline, y.Role == ablation.IsBaseline; b != c {
			if b {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Rank, y.Rank)
	})
	var names []string
	for _, r := range rows[:min(2, len(rows))] {
		names = append(names, r.Variant)
	}
	return names
}

func sameExamples(a, b []clip.Prediction) bool {
	return slices.EqualFunc(a, b, func(x, y clip.Prediction) bool { return x.Key == y.Key && x.Label == y.Label })
}

func classes(all []Side) int {
	n := 0
	for _, s := range all {
		for _, rows := range s.rows {
			for _, p := range rows {
				n = max(n, int(p.Label)+1)
				for _, c := range p.Top {
					n = max(n, int(c)+1)
				}
			}
		}
	}
	return n
}

// guess returns the first guess; -1 without one.
func guess(p clip.Prediction) int {
	if len(p.Top) == 0 {
		return -1
	}
	return int(p.Top[0])
}

func isRight(p clip.Prediction) bool { return p.Label >= 0 && guess(p) == int(p.Label) }

// rate returns the share of a side's models that have an example right.
func (s Side) rate(example int) float64 {
	n := 0
	for _, rows := range s.rows {
		if isRight(rows[example]) {
			n++
		}
	}
	return float64(n) / float64(len(s.rows))
}

// confidence returns the mean cosine of an example with its first guesses.
func (s Side) confidence(example int) float64 {
	sum := 0.0
	for _, rows := range s.rows {
		sum += float64(rows[example].Score)
	}
	return sum / float64(len(s.rows))
}

// votes counts the first guesses for an example, the most frequent first.
func (s Side) votes(example int) (all []Vote) {
	for _, rows := range s.rows {
		g := guess(rows[example])
		at := slices.IndexFunc(all, func(v Vote) bool { return v.Class == g })
		if at < 0 {
			at = len(all)
			all = append(all, Vote{Class: g, Right: isRight(rows[example])})
		}
		all[at].Models++
	}
	slices.SortStableFunc(all, func(x, y Vote) int { return y.Models - x.Models })
	return all
}

// groups choose examples: gained and lost between the sides, then wrong and right with all.
func groups(o *Outcome) (all []Group) {
	type scored struct {
		index int
		score float64
	}
	choose := func(title string, score func(i int) (float64, bool)) {
		var of []scored
		for i := range o.Examples {
			if o.Sides[0].rows[0][i].Label < 0 {
				continue
			}
			if v, is := score(i); is {
				of = append(of, scored{i, v})
			}
		}
		if len(of) == 0 {
			return
		}
		slices.SortStableFunc(of, func(x, y scored) int { return cmp.Compare(y.score, x.score) })
		g := Group{Title: title, Of: len(of)}
		for _, s := range of[:min(mostExample, len(of))] {
			e := Example{Index: s.index, Label: int(o.Sides[0].rows[0][s.index].Label)}
			for _, side := range o.Sides {
				e.Votes = append(e.Votes, side.votes(s.index))
			}
			g.Shown = append(g.Shown, e)
		}
		all = append(all, g)
	}
	all2 := func(i int, want float64) (float64, bool) {
		sure := 0.0
		for _, s := range o.Sides {
			if s.rate(i) != want {
				return 0, false
			}
			sure += s.confidence(i)
		}
		return sure, true
	}
	if len(o.Sides) == 2 {
		base, other := o.Sides[0], o.Sides[1]
		choose(fmt.Sprintf("Right more often with %s", named(other.Variant)), func(i int) (float64, bool) {
			d := other.rate(i) - base.rate(i)
			return d, d > 0
		})
		choose(fmt.Sprintf("Right more often with %s", named(base.Variant)), func(i int) (float64, bool) {
			d := base.rate(i) - other.rate(i)
			return d, d > 0
		})
	}
	choose("Wrong with every model, the surest first", func(i int) (float64, bool) { return all2(i, 0) })
	choose("Right with every model, the surest first", func(i int) (float64, bool) { return all2(i, 1) })
	return all
}

// Found holds the pictures that one model takes for a class, the closest first: a retrieval by the class's name finds them so.
type Found struct {
	Class  int
	Of     int // examples that are of the class
	Taken  int // examples that the model takes for it
	Shown  []Hit
	Missed int // examples of the class that it takes for another
}

// Hit names an example that was found.
type Hit struct {
	Index, Label int
	Right        bool
}

// foundByName looks for names under which the last side's first model has found something right and something wrong.
func foundByName(o *Outcome) ([]Found, string) {
	s := o.Sides[len(o.Sides)-1]
	rows := s.rows[0]
	byClass := map[int]*Found{}
	of := func(class int) *Found {
		if byClass[class] == nil {
			byClass[class] = &Found{Class: class}
		}
		return byClass[class]
	}
	order := make([]int, len(rows))
	for i, p := range rows {
		order[i] = i
		if p.Label >= 0 {
			of(int(p.Label)).Of++
			if !isRight(p) {
				of(int(p.Label)).Missed++
			}
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(rows[y].Score, rows[x].Score) })
	rightOnes := map[int]int{}
	for _, i := range order {
		p := rows[i]
		if p.Label < 0 || guess(p) < 0 {
			continue
		}
		f := of(guess(p))
		f.Taken++
		if isRight(p) {
			rightOnes[f.Class]++
		}
		if len(f.Shown) < mostExample {
			f.Shown = append(f.Shown, Hit{i, int(p.Label), isRight(p)})
		}
	}
	var all []Found
	for _, f := range byClass {
		if len(f.Shown) > 0 && f.Of > 0 {
			all = append(all, *f)
		}
	}
	// What is half right shows most; then the names with most pictures.
	mixed := func(f Found) int {
		n := 0
		for _, h := range f.Shown {
			if h.Right {
				n++
			}
		}
		return min(n, len(f.Shown)-n)
	}
	slices.SortFunc(all, func(x, y Found) int {
		return cmp.Or(mixed(y)-mixed(x), len(y.Shown)-len(x.Shown), x.Class-y.Class)
	})
	return all[:min(mostNames, len(all))], fmt.Sprintf("%s, seed %d", named(s.Variant), s.Seeds[0])
}

// named returns a variant's name as it is shown, and words for runs without one.
func named(variant string) string { return cmp.Or(fault.Printable(variant), "runs without a variant") }
