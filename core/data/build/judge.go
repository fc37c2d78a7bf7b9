package build

import (
	"context"
	"slices"

	"tandem/core/data/alike"
	"tandem/core/data/build/ledger"
	"tandem/core/data/filter"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// judgePicture returns the filter that refuses a picture, and why; "" for none.
func (f *Filters) judgePicture(p *ledger.Picture) (name, reason string) {
	m := filter.Measures{W: p.W, H: p.H, Animated: p.Animated, Entropy: p.Entropy, Commonest: p.Commonest}
	for _, rule := range []struct {
		name string
		on   bool
		run  func(filter.Measures) string
	}{
		{"size", f.Size.On, f.Size.Value.Refuse}, {"aspect", f.Aspect.On, f.Aspect.Value.Refuse},
		{"flat", f.Flat.On, f.Flat.Value.Refuse}, {"animated", f.Animated.On, f.Animated.Value.Refuse},
	} {
		if rule.on {
			if reason := rule.run(m); reason != "" {
				return rule.name, reason
			}
		}
	}
	return "", ""
}

// judge decides of each candidate whether it stays. All that it goes by is in the ledger and in the order of the candidates, so
// that a build that was killed decides the same.
func (b *builder) judge(ctx context.Context) error {
	leaks, err := b.readLeaks(ctx)
	if err != nil {
		return err
	}
	f := &b.config.Filters
	var (
		decided []*ledger.Candidate
		kept    []ledger.Pair
		exact   = map[string]int{} // place in kept
		near    alike.Index
	)
	total, done := b.total(), 0
	for p, err := range b.ledger.Pairs(ctx, ledger.Wanted, ledger.Fetched) {
		if err != nil {
			return err
		}
		if done++; done%chunk == 0 {
			b.watch.Progress("judging", int64(done), int64(total))
		}
		decided = append(decided, p.Candidate)
		p.State = ledger.Refused
		if p.Image.State != ledger.Fetched {
			p.Filter, p.Reason = "picture", p.Image.Reason
			if p.Image.Place.Kind == "web" {
				p.Filter = "fetch"
			}
			continue
		}
		if p.Filter, p.Reason = f.judgePicture(p.Image); p.Reason != "" {
			continue
		}
		twin := func(i int, name, reason string) {
			p.Twin, p.Filter, p.Reason = kept[i].ID, name, reason
			merge(kept[i].Candidate, p.Candidate)
		}
		if i, ok := exact[p.Image.Exact]; ok && f.Exact.On {
			twin(i, "exact", "same picture")
			continue
		}
		if f.Perceptual.On {
			if like := near.Near(p.Image.Alike, f.Perceptual.Value.Distance); len(like) > 0 {
				twin(like[0], "perceptual", "looks the same")
				continue
			}
		}
		if f.Leakage.On && leaks.has(p.Image, f.Leakage.Value.Distance) {
			p.Filter, p.Reason = "leakage", "in an evaluation set"
			continue
		}
		p.State = ledger.Kept
		exact[p.Image.Exact] = len(kept)
		near.Add(p.Image.Alike, len(kept))
		kept = append(kept, p)
	}
	b.watch.Progress("judging", int64(done), int64(total))
	if f.Similarity.On {
		if err := b.similar(ctx, kept); err != nil {
			return err
		}
	}
	return b.ledger.Update(ctx, func(tx *ledger.Tx) error {
		for _, c := range decided {
			tx.SetCandidate(c)
		}
		tx.SetMeta("stage", stageJudged)
		return nil
	})
}

// maxMerged bounds the further captions of one picture.
const maxMerged = 20

// merge adds the captions of a twin to those of the candidate that stays.
func merge(stays, twin *ledger.Candidate) {
	for _, t := range append([]ledger.Text{{Kind: twin.Kind, Text: twin.Caption}}, twin.Captions...) {
		known := func(o ledger.Text) bool { return o.Text == t.Text }
		if t.Text != stays.Caption && !slices.ContainsFunc(stays.Captions, known) && len(stays.Captions) < maxMerged {
			stays.Captions = append(stays.Captions, t)
		}
	}
}

// similarBatch is how many pairs are compared at a time.
const similarBatch = 64

// similar refuses pairs whose embeddings are too far apart. Scores that are known from before are not computed again.
func (b *builder) similar(ctx context.Context, kept []ledger.Pair) error {
	if b.score == nil {
		return fault.New(fault.Unavailable, "similarities need a trained run").WithPath("filters.similarity")
	}
	done := 0
	for batch := range slices.Chunk(kept, similarBatch) {
		var todo []ledger.Pair
		for _, p := range batch {
			if p.Score == nil {
				todo = append(todo, p)
			}
		}
		if len(todo) > 0 {
			pictures, captions := make([]vision.Picture, len(todo)), make([]string, len(todo))
			for i, p := range todo {
				data, err := b.bytesOf(ctx, p.Image)
				if err != nil {
					return err
				}
				if pictures[i], err = vision.Decode(data, vision.Options{}); err != nil {
					return err
				}
				captions[i] = p.Caption
			}
			scores, err := b.score(ctx, pictures, captions)
			if err != nil {
				return err
			}
			if err := b.ledger.Update(ctx, func(tx *ledger.Tx) error {
				for i, p := range todo {
					v := float64(scores[i])
					p.Score = &v
					tx.SetScore(p.ID, v)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		for _, p := range batch {
			if *p.Score < b.config.Filters.Similarity.Value.Min {
				p.State, p.Filter, p.Reason = ledger.Refused, "similarity", "caption and picture differ"
			}
		}
		done += len(batch)
		b.watch.Progress("comparing captions with pictures", int64(done), int64(len(kept)))
	}
	return nil
}
