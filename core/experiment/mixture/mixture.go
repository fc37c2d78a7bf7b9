// Package mixture makes one training set of several sources: which samples each step has (Plan), and a clip.Dataset
// that gets them from where they lie (Dataset).
//
// A sample of a mixture has an index, those of the first source first, and an epoch: how often its source has been gone
// through before. Both follow from seed and step alone, so that neither the number of workers nor an interruption
// changes what a run sees. One source is a mixture too.
package mixture

import (
	"math"
	"slices"

	"tandem/core/fault"
	"tandem/core/random"
)

// Shuffle says in what order the samples of a source come.
type Shuffle string

// The orders of samples.
const (
	Global Shuffle = "global" // a permutation of all, another in each round
	Shards Shuffle = "shards" // shards in random order, and windows of samples shuffled in them
	None   Shuffle = "none"   // as they lie
)

// DefaultWindow is the number of samples that Shards shuffles together where nothing else is said.
const DefaultWindow = 10000

// Source describes the samples of one source and its share of a batch.
type Source struct {
	Name    string
	Len     int
	Weight  float64 // its share of what the quotas leave of a batch, among the weights of all sources; 0: see New
	Quota   int     // exactly so many samples of each batch; 0: as Weight says
	Shuffle Shuffle // "": None
	Shards  []int   // as clip.DatasetInfo.Shards, for Shuffle Shards; nil: one shard
	Window  int     // of Shuffle Shards; 0: DefaultWindow
}

// Pick names a sample for a place of a batch.
type Pick struct {
	Source int
	Index  int // in the mixture
	Epoch  int // of the source, from 0
}

// Plan says which samples each step has. It is for one goroutine.
type Plan struct {
	sources []Source
	starts  []int // the index of each source's first sample, and behind them the number of all
	batch   int
	weights []int64 // of the sources without a quota; 0 of the others
	total   int64   // of weights
	rest    int     // samples of a batch that quotas leave

	step   int      // that the walk below stands before
	walks  []walk   // by source
	orders []*order // by source
}

// walk tells how far a source has been gone through.
type walk struct {
	round, place int
	debt         int64 // what weight has promised and the batches so far did not give, in units of 1/total
}

// New plans batches of sources. A source with a quota gives exactly so many samples to each batch; the others share
// the rest by weight, so that after any number of steps none is further than a sample from its share. Where no source
// has a quota or a weight, each has its length as weight. No sample is in a batch twice: a source must have as many as
// a batch takes of it, and the last samples of a round that are fewer are left out; another round leaves out others.
func New(sources []Source, batch int, seed uint64) (*Plan, error) {
	p := &Plan{sources: slices.Clone(sources), starts: make([]int, 1, len(sources)+1), batch: batch, rest: batch,
		weights: make([]int64, len(sources)), walks: make([]walk, len(sources)), orders: make([]*order, len(sources))}
	sum := 0.0
	for i, s := range p.sources {
		if s.Weight == 0 && s.Quota == 0 && !slices.ContainsFunc(sources, func(s Source) bool { return s.Weight != 0 || s.Quota != 0 }) {
			p.sources[i].Weight = float64(s.Len)
		}
		p.starts = append(p.starts, p.starts[i]+s.Len)
		p.rest -= s.Quota
		if s.Quota == 0 {
			sum += p.sources[i].Weight
		}
		orderSeed := seed
		if len(sources) > 1 { // so that no other source changes the order of this one
			orderSeed = random.New(seed, "source "+s.Name).Uint64()
		}
		p.orders[i] = &order{source: &p.sources[i], seed: orderSeed}
	}
	if err := p.checkShares(sum); err != nil {
		return nil, err
	}
	for i, s := range p.sources {
		if s.Quota == 0 {
			p.weights[i] = max(1, int64(math.Round(s.Weight/sum*(1<<32)))) // whole numbers add up the same on every machine
			p.total += p.weights[i]
		}
	}
	for i, s := range p.sources {
		most := s.Quota
		if most == 0 {
			most = int((p.weights[i]*int64(p.rest) + p.total - 1) / p.total)
		}
		if most > s.Len {
			where := fault.New(fault.Invalid, "%d samples of each batch are to be of %s, which has only %d", most, s.Name, s.Len).
				WithPath("train.batch_size").WithHint("give it a smaller weight or quota, or choose a smaller batch: no sample is in a batch twice")
			if len(sources) == 1 {
				where = fault.New(fault.Invalid, "batch_size is %d, but the training set has only %d samples", batch, s.Len).
					WithPath("train.batch_size").WithHint("choose a batch_size of at most %d", s.Len)
				if s.Len < 2 {
					where.WithHint("a batch has 2 samples at least: give more data, or look at what was refused")
				}
			}
			return nil, where
		}
	}
	return p, nil
}

// checkShares reports quotas and weights that do not fit together. Specs are checked for it before.
func (p *Plan) checkShares(sum float64) error {
	bad := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	weighted := 0
	for _, s := range p.sources {
		if s.Len < 1 || s.Quota < 0 || s.Weight < 0 || s.Quota > 0 && s.Weight > 0 || s.Quota == 0 && s.Weight == 0 {
			return bad("%s has %d samples, weight %g and quota %d", s.Name, s.Len, s.Weight, s.Quota)
		}
		if s.Quota == 0 {
			weighted++
		}
	}
	switch {
	case len(p.sources) == 0:
		return bad("there are no sources")
	case p.rest < 0:
		return bad("the quotas are %d together, a batch has %d", p.batch-p.rest, p.batch)
	case p.rest > 0 && weighted == 0:
		return bad("the quotas are %d together, a batch has %d, and no source has a weight", p.batch-p.rest, p.batch)
	case p.rest == 0 && weighted > 0:
		return bad("the quotas leave nothing of a batch of %d to the other sources", p.batch)
	case weighted > 0 && math.IsInf(sum, 0):
		return bad("the weights are too large")
	}
	return nil
}

// Len returns the number of samples of all sources.
func (p *Plan) Len() int { return p.starts[len(p.sources)] }

// Range returns the indices that a source has: from first on, behind excluded.
func (p *Plan) Range(source int) (first, behind int) { return p.starts[source], p.starts[source+1] }

// Find returns the source of an index.
func (p *Plan) Find(index int) int {
	i, found := slices.BinarySearch(p.starts, index)
	if !found {
		i--
	}
	return i
}

// Names returns the names of the sources.
func (p *Plan) Names() []string {
	names := make([]string, len(p.sources))
	for i, s := range p.sources {
		names[i] = s.Name
	}
	return names
}

// Step returns the samples of a step, counted from 0, in the order of their places in the batch. The sources are spread
// over the batch evenly, so that each part of it has its share of each.
func (p *Plan) Step(step int) []Pick {
	if step < p.step {
		p.step = 0
		clear(p.walks)
	}
	for ; p.step < step; p.step++ {
		p.advance(p.counts())
	}
	counts := p.counts()
	type placed struct {
		at     float64
		source int
	}
	places := make([]placed, 0, p.batch)
	for s, n := range counts {
		for j := range n {
			places = append(places, placed{float64(2*j+1) / float64(2*n), s})
		}
	}
	slices.SortStableFunc(places, func(a, b placed) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	p.turn(counts)
	next := make([]int, len(counts))
	picks := make([]Pick, len(places))
	for i, x := range places {
		w := p.walks[x.source]
		picks[i] = Pick{x.source, p.starts[x.source] + p.orders[x.source].at(w.round, w.place+next[x.source]), w.round}
		next[x.source]++
	}
	p.advance(counts)
	p.step++
	return picks
}

// counts returns how many samples each source gives to the next batch, and settles what is owed to them.
func (p *Plan) counts() []int {
	counts := make([]int, len(p.sources))
	left := p.rest
	for i, s := range p.sources {
		if s.Quota > 0 {
			counts[i] = s.Quota
			continue
		}
		w := &p.walks[i]
		w.debt += p.weights[i] * int64(p.rest)
		counts[i] = int(max(0, min(w.debt/p.total, int64(s.Len))))
		left -= counts[i]
	}
	owed := func(i int) int64 { return p.walks[i].debt - int64(counts[i])*p.total }
	for left != 0 {
		best := -1
		for i, s := range p.sources {
			switch {
			case s.Quota > 0, left > 0 && counts[i] == s.Len, left < 0 && counts[i] == 0:
			case best < 0, left > 0 && owed(i) > owed(best), left < 0 && owed(i) < owed(best):
				best = i
			}
		}
		if left > 0 {
			counts[best]++
			left--
		} else {
			counts[best]--
			left++
		}
	}
	for i, s := range p.sources {
		if s.Quota == 0 {
			p.walks[i].debt = owed(i)
		}
	}
	return counts
}

// turn begins another round of the sources that have fewer samples left than a batch takes of them.
func (p *Plan) turn(counts []int) {
	for i, n := range counts {
		if w := &p.walks[i]; w.place+n > p.sources[i].Len {
			w.round, w.place = w.round+1, 0
		}
	}
}

// advance goes past a batch.
func (p *Plan) advance(counts []int) {
	p.turn(counts)
	for i, n := range counts {
		p.walks[i].place += n
	}
}
