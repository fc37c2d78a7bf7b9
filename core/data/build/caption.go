package build

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"

	"tandem/core/data/build/ledger"
	"tandem/core/data/pages"
	"tandem/core/fault"
)

// chunk is how many rows are read at a time.
const chunk = 2000

// judgeText returns the filter that refuses a text, and why; "" for none. It leaves repeated captions to who has counted them.
func (f *Filters) judgeText(t ledger.Text, address string) (name, reason string) {
	for _, rule := range []struct {
		name string
		on   bool
		run  func() string
	}{
		{"length", f.Length.On, func() string { return f.Length.Value.Refuse(t.Text) }},
		{"letters", f.Letters.On, func() string { return f.Letters.Value.Refuse(t.Text) }},
		{"boilerplate", f.Boilerplate.On, func() string { return f.Boilerplate.Value.Refuse(t.Text) }},
		{"filename", f.FileName.On && t.Kind != pages.FileName, func() string { return f.FileName.Value.Refuse(t.Text, address) }},
		{"language", f.Language.On, func() string { return f.Language.Value.Refuse(t.Text) }},
	} {
		if rule.on {
			if reason := rule.run(); reason != "" {
				return rule.name, reason
			}
		}
	}
	return "", ""
}

// choice is what was made of a candidate's texts.
type choice struct {
	*ledger.Candidate
	good    []ledger.Text // that no filter refuses, the best first
	filter  string        // that refused the best
	reason  string
	refused []ledger.Count // by the kind of the text and the reason
}

// choose judges the texts of a candidate.
func (c *Config) choose(cand *ledger.Candidate) choice {
	out := choice{Candidate: cand}
	kinds := append([]string{pages.Given}, c.Captions...)
	for _, kind := range kinds {
		for _, t := range cand.Texts {
			if t.Kind != kind {
				continue
			}
			name, reason := c.Filters.judgeText(t, cand.URLs[0])
			if name == "" {
				out.good = append(out.good, t)
				continue
			}
			out.refused = append(out.refused, ledger.Count{Filter: t.Kind, Reason: reason})
			if out.filter == "" {
				out.filter, out.reason = name, reason
			}
		}
	}
	if out.filter == "" && len(out.good) == 0 {
		out.filter, out.reason = "captions", "no caption"
	}
	return out
}

// repeats counts for how many pictures each caption is meant.
type repeats struct {
	seed     maphash.Seed
	pictures map[uint64][]uint64 // hashes of captions and addresses; no more than are needed to refuse
	most     int
}

func (r *repeats) key(caption string) uint64 {
	return maphash.String(r.seed, strings.ToLower(caption))
}

func (r *repeats) add(caption, address string) {
	k, a := r.key(caption), maphash.String(r.seed, address)
	if s := r.pictures[k]; len(s) <= r.most && !slices.Contains(s, a) {
		r.pictures[k] = append(s, a)
	}
}

func (r *repeats) refuses(caption string) bool { return len(r.pictures[r.key(caption)]) > r.most }

// caption chooses a caption for each candidate and finds where its picture lies.
func (b *builder) caption(ctx context.Context) error {
	seen := &repeats{seed: maphash.MakeSeed(), pictures: map[uint64][]uint64{}, most: b.config.Filters.Repeated.Value.Most}
	if b.config.Filters.Repeated.On {
		if err := b.candidates(ctx, "counting captions", func(_ *ledger.Tx, all []choice) error {
			for _, c := range all {
				for _, t := range c.good {
					seen.add(t.Text, c.URLs[0])
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	refused := map[ledger.Count]int{}
	var order []ledger.Count
	count := func(kind, reason string) {
		k := ledger.Count{Filter: kind, Reason: reason}
		if refused[k]++; refused[k] == 1 {
			order = append(order, k)
		}
	}
	if err := b.candidates(ctx, "choosing captions", func(tx *ledger.Tx, all []choice) error {
		for i := range all {
			c := &all[i]
			for _, r := range c.refused {
				count(r.Filter, r.Reason)
			}
			if b.config.Filters.Repeated.On {
				c.good = slices.DeleteFunc(c.good, func(t ledger.Text) bool {
					again := seen.refuses(t.Text)
					if again {
						count(t.Kind, "repeated caption")
						if c.filter == "" {
							c.filter, c.reason = "repeated", "repeated caption"
						}
					}
					return again
				})
			}
			if err := b.decideText(tx, c); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return b.ledger.Update(ctx, func(tx *ledger.Tx) error {
		tx.ClearSkips("captions")
		for _, k := range order {
			tx.Skip("captions", k.Filter+": "+k.Reason, refused[k], "")
		}
		tx.SetMeta("stage", stageCaptioned)
		return nil
	})
}

// candidates passes all candidates to f in chunks, each with a transaction.
func (b *builder) candidates(ctx context.Context, doing string, f func(*ledger.Tx, []choice) error) error {
	total, done := b.total(), 0
	for after := int64(0); ; {
		found, err := b.ledger.Candidates(after, "", chunk)
		if err != nil || len(found) == 0 {
			return err
		}
		after = found[len(found)-1].ID
		done += len(found)
		var all []choice
		for _, c := range found {
			if c.Filter != "directives" || c.Caption != "" { // the page itself is not reserved
				all = append(all, b.config.choose(c))
			}
		}
		if err := b.ledger.Update(ctx, func(tx *ledger.Tx) error { return f(tx, all) }); err != nil {
			return err
		}
		b.watch.Progress(doing, int64(done), int64(total))
	}
}

// decideText sets the caption of a candidate and the picture that it wants, or refuses it.
func (b *builder) decideText(tx *ledger.Tx, c *choice) error {
	cand := c.Candidate
	cand.Picture, cand.Caption, cand.Kind, cand.Captions, cand.Twin = 0, "", "", nil, 0
	if len(c.good) == 0 {
		cand.State, cand.Filter, cand.Reason = ledger.Refused, c.filter, c.reason
		tx.SetCandidate(cand)
		return nil
	}
	cand.Caption, cand.Kind, cand.Captions = c.good[0].Text, c.good[0].Kind, c.good[1:]
	address, at, filter, reason, err := b.locate(tx, cand.URLs)
	if err != nil {
		return err
	}
	if reason != "" {
		cand.State, cand.Filter, cand.Reason = ledger.Refused, filter, reason
	} else {
		cand.State, cand.Filter, cand.Reason = ledger.Wanted, "", ""
		cand.Picture = tx.WantPicture(address, at)
	}
	tx.SetCandidate(cand)
	return nil
}

// locate returns the first address under which a picture can be had, and where; otherwise the filter and reason to refuse it.
func (b *builder) locate(tx *ledger.Tx, addresses []string) (address string, at ledger.Place, filter, reason string, err error) {
	reason = "not in the archive"
	for _, a := range addresses {
		if at, refused, ok := tx.Body(a); ok {
			if refused != "" {
				return "", at, "directives", refused, nil
			}
			return a, at, "", "", nil
		}
		for _, s := range b.sources {
			at, known, err := s.find(a)
			var e *fault.Error
			switch {
			case err != nil && errors.As(err, &e):
				reason = fault.ReasonOf(err)
			case err != nil:
				return "", at, "", "", err
			case known:
				return a, at, "", "", nil
			}
		}
	}
	if b.config.Fetch != nil {
		for _, a := range addresses {
			if strings.HasPrefix(a, "http://") || strings.HasPrefix(a, "https://") {
				return a, ledger.Place{Kind: "web"}, "", "", nil
			}
		}
	}
	return "", at, "source", reason, nil
}
