package train

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
)

// lengths remembers how many tokens captions have.
type lengths struct {
	seed   maphash.Seed
	tokens map[uint64]int32
	limit  int // the most tokens that are not cut; 0: not known yet
}

// mostLengths limits what is remembered; captions beyond it are counted every time.
const mostLengths = 1 << 20

// tokenCounts tells what became of the captions of some micro-batches.
type tokenCounts struct {
	Captions, Cut, Blank int    // as in Counts, of these alone
	Longest, Context     int    // as in Counts, of all so far
	Text                 string // the longest, when it is longer than those before; else ""
}

// countTokens counts the captions of micro-batches that are cut and those that are blank. Negatives count as captions.
// It returns nil where the encoder does not know.
func (t *Trainer) countTokens(ctx context.Context, micros microBatches) (*tokenCounts, error) {
	counter, ok := t.parts.Text.(clip.TokenCounter)
	if !ok || t.uncounted {
		return nil, nil
	}
	if t.lengths.tokens == nil {
		t.lengths = lengths{maphash.MakeSeed(), map[uint64]int32{}, t.state.Context}
	}
	c := &tokenCounts{Longest: t.state.Longest, Context: t.lengths.limit}
	var unknown []string
	add := func(caption string, n int) {
		c.Captions++
		if n > c.Context {
			c.Cut++
		}
		if n <= 2 {
			c.Blank++
		}
		if n > c.Longest {
			c.Longest, c.Text = n, caption
		}
	}
	for _, m := range micros {
		for _, caption := range slices.Concat(m.Captions, slices.Concat(m.Negatives...)) {
			if n, ok := t.lengths.tokens[maphash.String(t.lengths.seed, caption)]; ok {
				add(caption, int(n))
			} else {
				unknown = append(unknown, caption)
			}
		}
	}
	if len(unknown) > 0 {
		tokens, limit, err := counter.CountTokens(ctx, nil, unknown)
		if fault.KindOf(err) == fault.Unavailable {
			t.uncounted = true
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if limit <= 0 {
			limit = int(^uint(0) >> 1)
		}
		c.Context, t.lengths.limit = limit, limit
		for i, caption := range unknown {
			add(caption, tokens[i])
			if len(t.lengths.tokens) < mostLengths {
				t.lengths.tokens[maphash.String(t.lengths.seed, caption)] = int32(tokens[i])
			}
		}
	}
	return c, nil
}

// countMeanwhile counts the captions of the step's batch, once. It is called when the text tower has embedded a micro-batch and
// would wait for the image tower.
func (t *Trainer) countMeanwhile(ctx context.Context) (err error) {
	if micros := t.uncountedMicros; micros != nil {
		t.uncountedMicros = nil
		t.counted, err = t.countTokens(ctx, micros)
	}
	return err
}

// addTokens counts the captions of a batch. It warns of those that are blank or cut.
func (t *Trainer) addTokens(n tokenCounts) error {
	c := &t.state.Counts
	before := *c
	c.Captions, c.Cut, c.Blank = c.Captions+n.Captions, c.Cut+n.Cut, c.Blank+n.Blank
	c.Longest, c.Context = n.Longest, n.Context
	if isDue(before.Blank, c.Blank) {
		message := fmt.Sprintf("%s say nothing to the text encoder: no token is left of them", clip.CountOf(c.Blank, c.Captions, "captions so far"))
		if err := t.rec.Event("warning", "captions_empty", message, ""); err != nil {
			return err
		}
	}
	if c.CutTold || c.Cut == 0 || float64(c.Cut) <= fewCut*float64(c.Captions) {
		return nil
	}
	c.CutTold = true
	return t.rec.Event("warning", "captions_cut", fmt.Sprintf("%s are longer than the context of %d tokens and are cut; the longest has %d (raise text.with.context_length, or shorten them)",
		clip.CountOf(c.Cut, c.Captions, "captions so far"), c.Context, c.Longest), n.Text)
}
