package eval

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Texts tells what became of prompts and captions.
type Texts struct {
	N       int // counted; 0: the encoder does not count tokens
	Cut     int // longer than Context tokens
	Blank   int // without a token of their own
	Longest int // in tokens
	Context int
	// Equal counts those of the Captions of retrieval that another group has too.
	Equal, Captions int
}

// add adds the counts of other texts.
func (t *Texts) add(o Texts) {
	t.N, t.Cut, t.Blank = t.N+o.N, t.Cut+o.Cut, t.Blank+o.Blank
	t.Longest, t.Context = max(t.Longest, o.Longest), max(t.Context, o.Context)
}

// embedded holds the features of a list of texts.
type embedded struct {
	Features Matrix
	Count    Texts
}

// EmbedTexts returns the features of texts, [len(texts), D], unit rows. The same list is embedded once. Nobody writes to
// the rows.
func (f *Features) EmbedTexts(ctx context.Context, texts []string) (*Matrix, error) {
	list, err := json.Marshal(texts)
	if err != nil {
		panic("eval: texts do not encode: " + err.Error()) // strings always do
	}
	key := fmt.Sprintf("%v %x", f.averaged && f.job.Average.Text, sha256.Sum256(list))
	e := f.set.texts[key]
	if e == nil {
		if err := f.ranks.ask(request{Of: f.place, Texts: texts}); err != nil {
			return nil, err
		}
		if e, err = f.embedTexts(ctx, texts); err != nil {
			return nil, err
		}
		f.set.texts[key] = e
	}
	if f.count != nil && !f.counted[key] {
		f.counted[key] = true
		f.count.add(e.Count)
	}
	if f.job.Keep {
		f.keep(texts, &e.Features)
	}
	return &e.Features, nil
}

// embedTexts embeds this rank's share of texts, and returns all of them.
func (f *Features) embedTexts(ctx context.Context, texts []string) (*embedded, error) {
	text := f.job.Text
	averaged := f.averaged && f.job.Average.Text
	if averaged {
		text = WithAverage(text)
	}
	return encodeTexts(ctx, text, texts, f.job.BatchSize, averaged, f.ranks)
}

// keep takes texts that are new into what is kept.
func (f *Features) keep(texts []string, m *Matrix) {
	for i, t := range texts {
		if f.known[t] {
			continue
		}
		f.known[t] = true
		f.kept.Texts = append(f.kept.Texts, t)
		to := f.kept.TextFeatures
		to.Rows, to.Cols, to.Data = to.Rows+1, m.Cols, append(to.Data, m.Row(i)...)
	}
}

// EmbedClasses returns the unit text features of classes, [len(classes), D]: every template filled with the
// class name, forwarded, averaged over the templates and normalised again.
func (f *Features) EmbedClasses(ctx context.Context, classes, templates []string) (*Matrix, error) {
	all, err := f.EmbedTexts(ctx, prompts(classes, templates))
	if err != nil {
		return nil, err
	}
	return ensembles(all, len(classes), len(templates)), nil
}

// prompts fills every template with every class: those of one class stand together.
func prompts(classes, templates []string) []string {
	out := make([]string, 0, len(classes)*len(templates))
	for _, c := range classes {
		for _, t := range templates {
			out = append(out, strings.ReplaceAll(t, "{}", c))
		}
	}
	return out
}

// ensembles returns the mean of the features of each class's prompts, normalised.
func ensembles(all *Matrix, classes, templates int) *Matrix {
	out := &Matrix{Rows: classes, Cols: all.Cols, Data: make([]float32, classes*all.Cols)}
	for c := range classes {
		mean := out.Row(c)
		for t := range templates {
			for d, v := range all.Row(c*templates + t) {
				mean[d] += v
			}
		}
		normalize(mean)
	}
	return out
}

// encodeTexts embeds texts, so many at a time, and counts their tokens unless that is mute. Several ranks share the work.
func encodeTexts(ctx context.Context, text clip.Encoder, texts []string, size int, mute bool, ranks *Ranks) (*embedded, error) {
	out := &embedded{}
	err := shared(ranks, batchesOf(len(texts), size), func(numbers []int, done func(embedded) error) error {
		for _, number := range numbers {
			part := texts[number*size : min((number+1)*size, len(texts))]
			var e embedded
			if !mute {
				var err error
				if e.Count, mute, err = countTokens(ctx, text, part); err != nil {
					return err
				}
			}
			emb, _, err := text.Forward(ctx, clip.ForwardRequest{Texts: part, Mode: clip.Eval})
			if err != nil {
				return err
			}
			e.Features.append(emb)
			emb.Free()
			if err := done(e); err != nil {
				return err
			}
		}
		return nil
	}, func(e embedded) error {
		out.Features.join(&e.Features)
		out.Count.add(e.Count)
		return nil
	})
	return out, err
}

// countTokens counts the tokens of texts; mute says that the encoder does not know.
func countTokens(ctx context.Context, text clip.Encoder, texts []string) (c Texts, mute bool, err error) {
	e, ok := text.(clip.TokenCounter)
	if !ok {
		return c, true, nil
	}
	tokens, limit, err := e.CountTokens(ctx, nil, texts)
	if fault.KindOf(err) == fault.Unavailable {
		return c, true, nil
	}
	c.Context = limit
	for _, n := range tokens {
		c.N++
		c.Longest = max(c.Longest, n)
		if limit > 0 && n > limit {
			c.Cut++
		}
		if n <= 2 {
			c.Blank++
		}
	}
	return c, false, err
}
