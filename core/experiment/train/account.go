package train

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// Counts tells what became of the samples and captions that a run has trained on, an interrupted part included.
type Counts struct {
	Samples  int  `json:"samples_asked"`
	Replaced int  `json:"samples_replaced,omitempty"` // of Samples, those that could not be read
	Captions int  `json:"captions,omitempty"`         // whose tokens were counted; 0: the encoder does not count
	Cut      int  `json:"captions_cut,omitempty"`     // of Captions, those longer than the context
	Blank    int  `json:"captions_blank,omitempty"`   // of Captions, those without a token of their own
	Longest  int  `json:"longest_caption,omitempty"`  // in tokens, with beginning and end
	Context  int  `json:"context,omitempty"`          // the most tokens that are not cut
	CutTold  bool `json:"cut_told,omitempty"`         // the warning has been given
}

// Tally returns the tally of the samples alone.
func (c Counts) Tally() clip.Tally { return clip.Tally{Asked: c.Samples, Bad: c.Replaced} }

// fewCut bounds the share of captions that may be cut without a warning.
const fewCut = 0.01

// account counts what the step's batch is made of. It warns of what is not as it should be, at the first time
// and then ever more rarely, and ends the run when too many samples cannot be read.
func (t *Trainer) account(ctx context.Context, micros microBatches) error {
	c := &t.state.Counts
	before := *c
	c.Samples += t.cfg.BatchSize
	var newest clip.SampleFault
	for _, m := range micros {
		c.Replaced += len(m.lost)
		for _, f := range m.lost {
			newest = f
		}
	}
	if isDue(before.Replaced, c.Replaced) {
		message := fmt.Sprintf("%s could not be read and others stand in their place; sample %d (%s): %s",
			clip.CountOf(c.Replaced, c.Samples, "samples so far"), newest.Index, newest.Key, newest.Msg)
		if err := t.rec.Event("warning", "samples_replaced", message, ""); err != nil {
			return err
		}
	}
	if c.Tally().Exceeds(t.cfg.MaxBadShare, t.stepsPerE*t.cfg.BatchSize, t.cfg.Shuffle) {
		return fault.New(fault.Corrupt, "%s cannot be read, and max_bad_share is %g; sample %d (%s): %s",
			clip.CountOf(c.Replaced, c.Samples, "samples so far"), t.cfg.MaxBadShare, newest.Index, newest.Key, newest.Msg).
			WithPath("data.max_bad_share").WithHint("mend the data, or allow more: data.max_bad_share: %.2g", min(1, 1.2*c.Tally().Share()))
	}
	return t.countTokens(ctx, micros)
}

// isDue reports whether a count has passed 1, 10, 100, … since it was told last.
func isDue(before, now int) bool {
	for at := 1; at <= now; at *= 10 {
		if before < at {
			return true
		}
	}
	return false
}

// lengths remembers how many tokens captions have.
type lengths struct {
	seed   maphash.Seed
	tokens map[uint64]int32
}

// mostLengths limits what is remembered; captions beyond it are counted every time.
const mostLengths = 1 << 20

// countTokens counts the captions of a batch that are cut and those that are blank, where the encoder knows. Negatives
// count as captions.
func (t *Trainer) countTokens(ctx context.Context, micros microBatches) error {
	counter, ok := t.parts.Text.(clip.TokenCounter)
	if !ok || t.uncounted {
		return nil
	}
	if t.lengths.tokens == nil {
		t.lengths = lengths{maphash.MakeSeed(), map[uint64]int32{}}
	}
	c := &t.state.Counts
	before := *c
	var unknown []string
	var longest string
	add := func(caption string, n int) {
		c.Captions++
		if n > c.Context {
			c.Cut++
		}
		if n <= 2 {
			c.Blank++
		}
		if n > c.Longest {
			c.Longest, longest = n, caption
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
			t.uncounted, *c = true, before
			return nil
		}
		if err != nil {
			return err
		}
		if limit <= 0 {
			limit = int(^uint(0) >> 1)
		}
		c.Context = limit
		for i, caption := range unknown {
			add(caption, tokens[i])
			if len(t.lengths.tokens) < mostLengths {
				t.lengths.tokens[maphash.String(t.lengths.seed, caption)] = int32(tokens[i])
			}
		}
	}
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
		clip.CountOf(c.Cut, c.Captions, "captions so far"), c.Context, c.Longest), longest)
}

// metrics returns the counts that are not zero.
func (c Counts) metrics() []clip.Metric {
	var out []clip.Metric
	add := func(name string, n, of int) {
		if n > 0 {
			out = append(out, clip.Metric{Name: metric.Training(name), Value: float64(n)},
				clip.Metric{Name: metric.Training(name + "_share"), Value: float64(n) / float64(of)})
		}
	}
	add("samples_replaced", c.Replaced, c.Samples)
	add("captions_cut", c.Cut, c.Captions)
	add("captions_empty", c.Blank, c.Captions)
	return out
}
