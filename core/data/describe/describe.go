// Package describe tells what a set of pictures and captions is like: sizes, captions and their languages, classes,
// brightness, pictures that are there twice, and what an evaluation shares with the training data. It computes from samples
// that it is given, and keeps a thumbnail of 16 × 16 pixels of each.
package describe

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/data/alike"
	"tandem/core/data/filter"
	"tandem/core/media/vision"
)

// Sample is what a set is described by.
type Sample struct {
	Index    int
	Key      string
	Captions []string
	Picture  vision.Picture // as a model gets it, at least 16 × 16 pixels; the zero value for none
	W, H     int            // of the original; 0: unknown
	Labels   []int32        // class ids by target; -1 for none
}

// Collector collects the samples of one set.
type Collector struct {
	name    string
	targets []clip.Target
	looked  int
	broken  map[string]int // by reason

	pictures  []picture
	widths    []float64
	heights   []float64
	aspects   []float64
	shapes    map[[2]int]bool
	captions  map[string]int // how often each is there
	perSample []float64
	chars     []float64
	words     []float64
	languages map[string]int
	counts    [][]int // by target and class
	luma      []float64
	contrast  []float64

	tokens  []float64 // of the distinct captions
	context int
}

// picture is what is kept of a picture.
type picture struct {
	index   int
	key     string
	exact   [32]byte
	hash    uint64
	spread  float64 // standard deviation of the thumbnail's values about its colour
	flat    bool    // too even for its hash to say anything
	thumb   [thumb * thumb * 3]uint8
	caption string
}

const (
	thumb     = 16
	flatBelow = 5.0 // spread
	// Pictures are not near, whatever their hashes, when the root mean square difference of their thumbnails is larger than either
	// of these: a number of levels, and a part of the spread, so that two small things on one background are told apart.
	unlike     = 12.0
	unlikePart = .45
)

// New makes a collector for a set of a name, whose samples have labels for targets.
func New(name string, targets []clip.Target) *Collector {
	c := &Collector{name: name, targets: targets, broken: map[string]int{}, shapes: map[[2]int]bool{}, captions: map[string]int{}, languages: map[string]int{}}
	for _, t := range targets {
		c.counts = append(c.counts, make([]int, len(t.Classes)))
	}
	return c
}

// Unreadable counts a sample whose picture cannot be read.
func (c *Collector) Unreadable(reason string) {
	c.looked++
	if reason == "" {
		reason = clip.ReasonOther
	}
	c.broken[reason]++
}

// Add takes a sample.
func (c *Collector) Add(s Sample) {
	c.looked++
	if s.W > 0 && s.H > 0 {
		c.widths, c.heights = append(c.widths, float64(s.W)), append(c.heights, float64(s.H))
		c.aspects = append(c.aspects, float64(s.W)/float64(s.H))
		c.shapes[[2]int{s.W, s.H}] = true
	}
	c.perSample = append(c.perSample, float64(len(s.Captions)))
	for _, text := range s.Captions {
		c.captions[text]++
		c.chars = append(c.chars, float64(utf8.RuneCountInString(text)))
		words := len(strings.Fields(text))
		c.words = append(c.words, float64(words))
		c.languages[language(text, words)]++
	}
	for t, id := range s.Labels {
		if t < len(c.counts) && id >= 0 && int(id) < len(c.counts[t]) {
			c.counts[t][id]++
		}
	}
	if s.Picture.W > 0 {
		c.addPicture(s)
	}
}

// The languages of captions that are not guessed.
const (
	TooShort = "too short to tell"
	Unsure   = "unsure"
)

// language guesses the language of a caption, an ISO 639-1 code. A guess from a few Latin words is worth little: texts of
// less than 4 words are not guessed unless their script says it.
func language(text string, words int) string {
	code, confidence := filter.Guess(text)
	switch {
	case words < 4 && isLatin(text):
		return TooShort
	case code == "" || confidence < .5:
		return Unsure
	}
	return code
}

// isLatin reports whether no letter of a text is beyond the Latin ones.
func isLatin(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x370 && r < 0x1e00 || r >= 0x2e80 })
}

func (c *Collector) addPicture(s Sample) {
	p := picture{index: s.Index, key: s.Key, exact: alike.Exact(s.Picture), hash: alike.Perceptual(s.Picture)}
	if len(s.Captions) > 0 {
		p.caption = s.Captions[0]
	}
	small := vision.NewPicture(thumb, thumb)
	new(vision.Resizer).Resize(small.Pix, s.Picture, thumb, thumb)
	copy(p.thumb[:], small.Pix)
	var mean [3]float64
	for i, v := range p.thumb {
		mean[i%3] += float64(v) / (thumb * thumb)
	}
	spread := 0.0
	for i, v := range p.thumb {
		spread += (float64(v) - mean[i%3]) * (float64(v) - mean[i%3]) / float64(len(p.thumb))
	}
	p.spread = math.Sqrt(spread)
	p.flat = p.spread < flatBelow
	c.pictures = append(c.pictures, p)
	var sum, squares float64
	n := float64(s.Picture.W * s.Picture.H)
	for y := range s.Picture.H {
		row := s.Picture.Row(y)
		for x := 0; x < len(row); x += 3 {
			l := .299*float64(row[x]) + .587*float64(row[x+1]) + .114*float64(row[x+2])
			sum += l
			squares += l * l
		}
	}
	c.luma = append(c.luma, sum/n)
	c.contrast = append(c.contrast, math.Sqrt(max(0, squares/n-sum/n*sum/n)))
}

// Captions returns the distinct captions, sorted.
func (c *Collector) Captions() []string { return slices.Sorted(maps.Keys(c.captions)) }

// Tokens takes how many tokens each of Captions has, or the first of them, and how many fit a context.
func (c *Collector) Tokens(counts []int, context int) {
	c.context = context
	for _, n := range counts {
		c.tokens = append(c.tokens, float64(n))
	}
}

// Spread describes numbers by a few of their quantiles.
type Spread struct {
	Count  int     `json:"count"`
	Min    float64 `json:"min"`
	P5     float64 `json:"p5"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    float64 `json:"max"`
	Mean   float64 `json:"mean"`
}

func spreadOf(values []float64) *Spread {
	if len(values) == 0 {
		return nil
	}
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 { return v[int(math.Round(q*float64(len(v)-1)))] }
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return &Spread{len(v), v[0], at(.05), at(.5), at(.95), v[len(v)-1], sum / float64(len(v))}
}

// Count is how often something is there.
type Count struct {
	What  string `json:"what"`
	Count int    `json:"count"`
}

// mostCommon returns counts, the largest first, at most so many.
func mostCommon(counts map[string]int, most int) []Count {
	out := make([]Count, 0, len(counts))
	for what, n := range counts {
		out = append(out, Count{what, n})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.What, b.What)) })
	return out[:min(most, len(out))]
}
