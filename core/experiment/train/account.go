package train

import (
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// SourceCounts tells what became of the samples of one source.
type SourceCounts struct {
	Samples  int `json:"asked"`
	Replaced int `json:"replaced,omitempty"` // of Samples, those that could not be read
	// Reasons counts Replaced by reason. A sample that is met again counts again.
	Reasons []clip.Skip `json:"reasons,omitempty"`
}

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
	// Sources tells it of each source, in their order. What an older version counted is missing.
	Sources []SourceCounts `json:"sources,omitempty"`
}

// Counts returns what became of the samples so far: until Run, of those before the checkpoint that it goes on from.
func (t *Trainer) Counts() Counts { return t.state.Counts }

// Reasons returns why samples were replaced, those of all sources together.
func (c Counts) Reasons() (all []clip.Skip) {
	for _, s := range c.Sources {
		all = clip.AddSkips(all, s.Reasons...)
	}
	return all
}

// countSources counts what a batch has of each source. It reports whether there is a reason that was not there before.
func (t *Trainer) countSources(micros microBatches) (news bool) {
	c := &t.state.Counts
	if len(c.Sources) != len(t.cfg.Sources) {
		c.Sources = make([]SourceCounts, len(t.cfg.Sources))
	}
	for _, m := range micros {
		for _, index := range m.indices {
			c.Sources[t.plan.Find(index)].Samples++
		}
		for _, f := range m.lost {
			s := &c.Sources[t.plan.Find(f.Index)]
			s.Replaced++
			before := len(s.Reasons)
			s.Reasons = clip.AddSkips(s.Reasons, clip.Skip{Reason: f.Reason, Count: 1, First: fmt.Sprintf("sample %d (%s): %s", f.Index, f.Key, f.Msg)})
			news = news || len(s.Reasons) > before
		}
	}
	return news
}

// Tally returns the tally of the samples alone.
func (c Counts) Tally() clip.Tally { return clip.Tally{Asked: c.Samples, Bad: c.Replaced} }

// fewCut bounds the share of captions that may be cut without a warning.
const fewCut = 0.01

// account counts what the step's batch is made of. It warns of what is not as it should be, at the first time
// and then ever more rarely, and ends the run when too many samples cannot be read.
func (t *Trainer) account(micros microBatches) error {
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
	news := t.countSources(micros)
	if news && t.hooks.Counted != nil {
		if err := t.hooks.Counted(*c); err != nil {
			return err
		}
	}
	if news || isDue(before.Replaced, c.Replaced) {
		message := fmt.Sprintf("%s could not be read and others stand in their place: %s; sample %d (%s): %s",
			clip.CountOf(c.Replaced, c.Samples, "samples so far"), clip.SayReasons(c.Reasons()), newest.Index, newest.Key, newest.Msg)
		if err := t.rec.Event("warning", "samples_replaced", message, ""); err != nil {
			return err
		}
	}
	if c.Tally().Exceeds(t.cfg.MaxBadShare, t.plan.Len()/t.cfg.BatchSize*t.cfg.BatchSize, t.shuffled()) {
		return t.alike(fault.New(fault.Corrupt, "%s cannot be read (%s), and max_bad_share is %g; sample %d (%s): %s",
			clip.CountOf(c.Replaced, c.Samples, "samples so far"), clip.SayReasons(c.Reasons()), t.cfg.MaxBadShare, newest.Index, newest.Key, newest.Msg).
			WithPath("data.max_bad_share").WithHint("mend the data, or allow more: data.max_bad_share: %.2g", min(1, 1.2*c.Tally().Share())))
	}
	t.uncountedMicros, t.counted = micros, t.ranks.tokens
	if t.ranks.many() { // they were counted when the ranks came together over the batch
		t.uncountedMicros = nil
	}
	return nil
}

// shuffled reports whether the samples seen so far are a random part of the set: not of those that come as they lie, or
// shard by shard.
func (t *Trainer) shuffled() bool {
	return !slices.ContainsFunc(t.cfg.Sources, func(s mixture.Source) bool { return s.Shuffle != mixture.Global })
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
