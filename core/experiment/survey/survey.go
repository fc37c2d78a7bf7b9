// Package survey looks through the datasets of a spec and tells what they are like (core/data/describe).
package survey

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/data/describe"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/catalog"
)

// Options say how much is looked at.
type Options struct {
	Samples int // of each set, spread over it; 0: all
	Near    int // bits in which the perceptual hashes of pictures may differ that look alike
	// Progress is told what is looked at, how far it is and how much there is; nil: nobody.
	Progress func(what string, done, of int)
}

const (
	side      = 64 // of the pictures that are looked at
	batchSize = 64
	// maxTexts limits the captions of a set whose tokens are counted.
	maxTexts = 20_000
)

// set is an opened dataset.
type set struct {
	name, plugin string
	data         clip.Dataset
	info         clip.DatasetInfo
}

// Result is a report with the pictures of its examples.
type Result struct {
	describe.Report
	Pictures map[describe.Place]image.Image `json:"-"`
}

// Dataset makes a spec that has one dataset, for Describe. with holds settings as key=value, as --set takes them.
func Dataset(c *catalog.Catalog, name string, with []string) (*spec.Spec, error) {
	quoted, err := json.Marshal(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	text := fmt.Sprintf(`image: {encoder: vit}
text: {encoder: transformer, with: {tokenizer: clip}}
loss: {plugin: clip}
data: {train: {dataset: %s}}
train: {batch_size: 2, max_steps: 1}
`, quoted)
	var set []string
	for _, w := range with {
		set = append(set, "data.train.with."+w)
	}
	here, err := filepath.Abs("spec.yaml") // paths are relative to the folder that the user is in
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return spec.Parse(here, []byte(text), spec.Options{Catalog: assemble.NewCatalog(c), Set: set})
}

// Describe looks at the training data of a spec, source by source, and at its evaluations, and compares each evaluation with
// each source.
func Describe(ctx context.Context, c *catalog.Catalog, s *spec.Spec, o Options) (*Result, error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	plain := *s
	plain.Data.Cache = nil // pictures of this size are of no use to a training
	starter, err := assemble.NewStarter(c, &plain)
	if err != nil {
		return nil, err
	}
	defer starter.Close()
	sets, all, err := open(ctx, starter, &plain, o)
	if err != nil {
		return nil, err
	}
	r := &Result{Pictures: map[describe.Place]image.Image{}}
	collectors := make([]*describe.Collector, len(sets))
	for i, x := range sets {
		if collectors[i], err = x.collect(ctx, o); err != nil {
			return nil, err
		}
		remarks := append([]string{}, x.info.Remarks...) // a list in JSON, not null
		if first := clip.SayFirst(x.info.Skips); first != "" {
			remarks = append(remarks, "of the refused records "+first)
		}
		if err := x.count(ctx, starter, all, collectors[i]); err != nil {
			if fault.KindOf(err) == fault.Canceled {
				return nil, err
			}
			remarks = append(remarks, "the captions' tokens are not counted: "+err.Error())
		}
		o.Progress("comparing the pictures of "+x.name, 0, 0)
		d := collectors[i].Set(o.Near)
		d.Plugin, d.Note, d.Digest, d.Samples, d.Remarks = x.plugin, x.info.Note, x.info.Digest, x.info.Len, remarks
		d.Refused = []describe.Count{}
		for _, k := range x.info.Skips {
			d.Refused = append(d.Refused, describe.Count{What: k.Reason, Count: k.Count})
		}
		if unknown := x.info.Skipped - clip.CountSkips(x.info.Skips); unknown > 0 {
			d.Refused = append(d.Refused, describe.Count{What: clip.ReasonOther, Count: unknown})
		}
		r.Sets = append(r.Sets, d)
	}
	sources := len(s.Data.Train)
	for e := sources; e < len(sets); e++ {
		for t := range sources {
			r.Leaks = append(r.Leaks, describe.Compare(collectors[t], collectors[e], o.Near, sets[t].info.Digest == sets[e].info.Digest))
		}
	}
	return r, r.fetch(ctx, sets)
}

// open starts the datasets of a spec; all is the training data as one.
func open(ctx context.Context, starter *assemble.Starter, s *spec.Spec, o Options) (sets []set, all clip.Dataset, err error) {
	o.Progress("opening the training data", 0, 0)
	training, err := starter.TrainingData(ctx, side)
	if err != nil {
		return nil, nil, err
	}
	if m, ok := training.Dataset.(*mixture.Dataset); ok {
		for i, x := range m.Members() {
			sets = append(sets, set{x.Name, s.Data.Train[i].Dataset, x.Data, x.Info})
		}
	} else {
		sets = append(sets, set{"train", training.Name(), training.Dataset, training.Info})
	}
	for i, e := range s.Eval {
		o.Progress("opening "+e.Name, 0, 0)
		d, err := starter.EvaluationData(ctx, i, side)
		if err != nil {
			return nil, nil, err
		}
		name := e.Name
		if strings.HasPrefix(name, "train") || len(s.Data.Train) > 1 {
			name = "eval " + name
		}
		sets = append(sets, set{name, d.Name(), d.Dataset, d.Info})
	}
	return sets, training.Dataset, nil
}

// collect reads the samples of a set.
func (x set) collect(ctx context.Context, o Options) (*describe.Collector, error) {
	c := describe.New(x.name, x.info.Targets)
	n := x.info.Len
	if o.Samples > 0 {
		n = min(n, o.Samples)
	}
	for at := 0; at < n; at += batchSize {
		o.Progress(x.name, at, n)
		q := clip.BatchRequest{Sizes: true}
		for i := at; i < min(n, at+batchSize); i++ {
			q.Indices = append(q.Indices, int(int64(i)*int64(x.info.Len)/int64(n)))
		}
		b, err := x.data.Batch(ctx, q)
		if err != nil {
			return nil, err
		}
		x.add(c, q.Indices, b)
		b.Images.Free()
	}
	o.Progress(x.name, n, n)
	return c, nil
}

func (x set) add(c *describe.Collector, indices []int, b *clip.Batch) {
	broken := map[int]bool{}
	for _, f := range b.Faults {
		broken[f.Index] = true
		c.Unreadable(f.Reason)
	}
	for i, index := range indices {
		if broken[index] {
			continue
		}
		s := describe.Sample{Index: index, Key: b.Keys[i], Captions: b.All[i], Picture: pictureOf(b, i)}
		if b.Sizes != nil {
			s.W, s.H = b.Sizes[i][0], b.Sizes[i][1]
		}
		for _, t := range x.info.Targets {
			label := int32(-1)
			if ids := b.Labels[t.Name]; i < len(ids) {
				label = ids[i]
			}
			s.Labels = append(s.Labels, label)
		}
		c.Add(s)
	}
}

func pictureOf(b *clip.Batch, i int) vision.Picture {
	const each = 3 * side * side
	return vision.Picture{W: side, H: side, Stride: 3 * side, Pix: b.Images.U8()[i*each : (i+1)*each]}
}

// count asks the text encoder for the tokens of a set's captions. An encoder that does not count leaves them unknown.
func (x set) count(ctx context.Context, starter *assemble.Starter, all clip.Dataset, c *describe.Collector) error {
	texts := c.Captions()
	if len(texts) > maxTexts {
		texts = texts[:maxTexts]
	}
	counts, limit, ok, err := starter.CountTokens(ctx, all, texts)
	if err == nil && ok {
		c.Tokens(counts, limit)
	}
	if fault.KindOf(err) == fault.Unavailable {
		return nil
	}
	return err
}

// fetch reads the pictures of the examples again.
func (r *Result) fetch(ctx context.Context, sets []set) error {
	var pairs []describe.Pair
	for _, s := range r.Sets {
		pairs = append(append(pairs, s.ExactTwins.Examples...), s.NearTwins.Examples...)
	}
	for _, l := range r.Leaks {
		pairs = append(pairs, l.Examples...)
	}
	for _, p := range pairs {
		for _, place := range []describe.Place{p.A, p.B} {
			if r.Pictures[place] != nil {
				continue
			}
			for _, x := range sets {
				if x.name != place.Set {
					continue
				}
				b, err := x.data.Batch(ctx, clip.BatchRequest{Indices: []int{place.Index}})
				if err != nil {
					return err
				}
				r.Pictures[place] = pictureOf(b, 0).Image()
				b.Images.Free()
			}
		}
	}
	return nil
}
