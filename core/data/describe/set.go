package describe

import (
	"math"
)

// Set tells what a set is like.
type Set struct {
	Name string `json:"name"`
	// The following are of the dataset: its plugin, how many samples and what else Configure said.
	Plugin  string   `json:"plugin"`
	Note    string   `json:"note"`
	Digest  string   `json:"digest"`
	Samples int      `json:"samples"`
	Refused []Count  `json:"refused"` // records, by reason, when the set was opened
	Remarks []string `json:"remarks"`

	Looked     int     `json:"looked_at"`  // samples that the rest is about
	Unreadable []Count `json:"unreadable"` // of them, by reason

	Widths  *Spread `json:"widths"` // of the originals; null: unknown
	Heights *Spread `json:"heights"`
	Aspects []Count `json:"aspects"` // width over height, in classes
	Shapes  int     `json:"distinct_sizes"`

	Captions    int      `json:"captions"`
	Distinct    int      `json:"captions_distinct"`
	PerSample   *Spread  `json:"captions_per_sample"`
	Characters  *Spread  `json:"characters"`
	Words       *Spread  `json:"words"`
	Tokens      *Spread  `json:"tokens"` // of the distinct captions; null: unknown
	Context     int      `json:"context_length"`
	Cut         int      `json:"captions_cut"` // distinct captions of more tokens than the context
	MostCommon  []Count  `json:"most_common_captions"`
	Languages   []Count  `json:"languages"` // guessed
	Classes     []Target `json:"targets"`
	Brightness  *Spread  `json:"brightness"` // mean luma of a picture, 0 … 255
	Contrast    *Spread  `json:"contrast"`   // standard deviation of its luma
	Flat        int      `json:"flat"`       // pictures of hardly more than one colour
	ExactTwins  Twins    `json:"exact_duplicates"`
	NearTwins   Twins    `json:"near_duplicates"` // not exact ones
	NearWithin  int      `json:"near_bits"`
	NearSkipped int      `json:"near_skipped"` // flat pictures, which have no hash that says anything
}

// Target tells how the samples that were looked at spread over the classes of a labelling.
type Target struct {
	Name     string  `json:"name"`
	Classes  int     `json:"classes"`
	Present  int     `json:"present"` // classes with a sample
	Labelled int     `json:"labelled"`
	Largest  []Count `json:"largest"`
	Smallest []Count `json:"smallest"`
	// Effective is the number of classes of equal size that would be as even: the exponential of the entropy.
	Effective float64 `json:"effective"`
}

// Place is a sample of a set.
type Place struct {
	Set     string `json:"set"`
	Index   int    `json:"index"`
	Key     string `json:"key"`
	Caption string `json:"caption"`
}

// Pair is two pictures that are the same or nearly.
type Pair struct {
	A     Place `json:"a"`
	B     Place `json:"b"`
	Exact bool  `json:"exact"`
	Bits  int   `json:"bits"` // by which their perceptual hashes differ
}

// Twins counts pictures that are there more than once.
type Twins struct {
	Groups   int    `json:"groups"`
	Pictures int    `json:"pictures"` // in all groups
	Extra    int    `json:"extra"`    // beyond one of each group
	Examples []Pair `json:"examples"`
}

const (
	mostCaptions  = 10
	mostLanguages = 12
	mostClasses   = 3
	// MostExamples limits the pairs that are kept of each sort.
	MostExamples = 12
)

// aspectClasses are the upper bounds of classes of width over height.
var aspectClasses = []struct {
	below float64
	name  string
}{{.5, "under 1:2"}, {.77, "1:2 to 3:4"}, {.98, "3:4 to 1:1"}, {1.02, "square"}, {1.3, "1:1 to 4:3"}, {2, "4:3 to 2:1"}, {math.Inf(1), "over 2:1"}}

// Set computes what the collected samples are like. near is in how many bits the perceptual hashes of pictures may differ that
// look alike.
func (c *Collector) Set(near int) *Set {
	s := &Set{Name: c.name, Looked: c.looked, Unreadable: mostCommon(c.broken, len(c.broken)), Widths: spreadOf(c.widths), Heights: spreadOf(c.heights),
		Shapes: len(c.shapes), Captions: len(c.chars), Distinct: len(c.captions), PerSample: spreadOf(c.perSample), Characters: spreadOf(c.chars),
		Words: spreadOf(c.words), Tokens: spreadOf(c.tokens), Context: c.context, Languages: mostCommon(c.languages, mostLanguages),
		Brightness: spreadOf(c.luma), Contrast: spreadOf(c.contrast), NearWithin: near}
	for _, n := range c.tokens {
		if c.context > 0 && int(n) > c.context {
			s.Cut++
		}
	}
	for _, x := range mostCommon(c.captions, mostCaptions) {
		if x.Count > 1 {
			s.MostCommon = append(s.MostCommon, x)
		}
	}
	s.Aspects = c.aspectCounts()
	for t := range c.targets {
		s.Classes = append(s.Classes, c.target(t))
	}
	for _, p := range c.pictures {
		if p.flat {
			s.Flat++
		}
	}
	s.NearSkipped = s.Flat
	s.ExactTwins, s.NearTwins = c.twins(near)
	return s
}

func (c *Collector) aspectCounts() (out []Count) {
	counts := make([]int, len(aspectClasses))
	for _, a := range c.aspects {
		for i, class := range aspectClasses {
			if a < class.below {
				counts[i]++
				break
			}
		}
	}
	for i, n := range counts {
		if n > 0 {
			out = append(out, Count{aspectClasses[i].name, n})
		}
	}
	return out
}

func (c *Collector) target(t int) Target {
	out := Target{Name: c.targets[t].Name, Classes: len(c.targets[t].Classes)}
	counts := map[string]int{}
	for id, n := range c.counts[t] {
		out.Labelled += n
		if n > 0 {
			out.Present++
		}
		counts[c.targets[t].Classes[id]] += n
	}
	if out.Labelled == 0 {
		return out
	}
	entropy := 0.0
	for _, n := range c.counts[t] {
		if n > 0 {
			p := float64(n) / float64(out.Labelled)
			entropy -= p * math.Log(p)
		}
	}
	out.Effective = math.Exp(entropy)
	all := mostCommon(counts, len(counts))
	out.Largest, out.Smallest = all[:min(mostClasses, len(all))], all[max(0, len(all)-mostClasses):]
	return out
}
