package eval

import (
	"context"
	"fmt"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// Samples holds what is known of the samples of a dataset that can be read, in its order: N of them.
type Samples struct {
	Keys      []string
	Groups    []int64
	Captions  [][]string         // all of each sample
	Labels    map[string][]int32 // by target; -1 for none
	Negatives [][]string         // texts that do not describe the sample; nil unless a measure needs them
}

// Features holds what one set of weights makes of a dataset.
type Features struct {
	*Samples
	Info   clip.DatasetInfo // with the class names of the evaluation
	Images *Matrix          // [N, D], unit rows
	Train  *Features        // of the samples that measures learn from, by the same weights; nil: there are none

	job      Job
	ranks    *Ranks // nil: this one alone
	place    place  // in the plan
	set      *set
	source   Source
	averaged bool
	count    *Texts          // nil: nobody wants to know
	counted  map[string]bool // lists of texts that are in count
	kept     Embedded
	known    map[string]bool // the texts in kept
}

// Target returns a labelling of the dataset by its name; fault.Invalid, with the path given, when there is none.
func (f *Features) Target(name, path string) (clip.Target, error) {
	return findTarget(f.Info, name, path)
}

// set holds a dataset as it was embedded.
type set struct {
	Samples
	images   Matrix // [N, D]
	averaged Matrix // the same by averaged weights, where these are measured
	texts    map[string]*embedded
	starts   []int // of each batch of the dataset, how many samples that can be read are before it

	tally      clip.Tally
	unreadable []clip.SampleFault // the first few
	reasons    []clip.Skip
}

// mostTold limits the unreadable samples that a result names.
const mostTold = 3

// features returns what an evaluation measures.
func (s *set) features(j Job, ranks *Ranks, at place, count *Texts) *Features {
	source := j.Source
	if at.Train {
		source = *j.Train
	}
	f := &Features{Samples: &s.Samples, Info: source.Info, Images: &s.images, job: j, ranks: ranks, place: at, set: s, source: source,
		averaged: at.Averaged, count: count, counted: map[string]bool{}, known: map[string]bool{}}
	if f.averaged && j.Average.Image {
		f.Images = &s.averaged
	}
	f.kept = Embedded{Samples: &s.Samples, Images: f.Images, TextFeatures: &Matrix{}, Ranks: map[string][]int{}}
	return f
}

// image returns the tower of pictures with the weights that the features are of.
func (f *Features) image() clip.Encoder {
	if f.averaged && f.job.Average.Image {
		return WithAverage(f.job.Image)
	}
	return f.job.Image
}

// Change changes a picture before it is embedded. Ranks send one another what it holds (see Changed).
type Change interface {
	// Apply changes the picture of the sample with a key, whose place among the N is i: u8 [side, side, 3], RGB, row-major.
	Apply(i int, key string, pixels []byte, side int)
}

// Changed embeds the pictures once more, each changed before. It returns [N, D], unit rows. Several ranks share the work; the type of
// the change is then registered with encoding/gob.
func (f *Features) Changed(ctx context.Context, change Change) (*Matrix, error) {
	if err := f.ranks.ask(request{Of: f.place, Change: change}); err != nil {
		return nil, err
	}
	return f.changed(ctx, change)
}

// changed embeds this rank's share of the pictures, changed, and returns those of all.
func (f *Features) changed(ctx context.Context, change Change) (*Matrix, error) {
	out := &Matrix{}
	one := func(number int, b *clip.Batch) (m Matrix, err error) {
		places, _ := readable(b, number*f.job.BatchSize)
		at := f.set.starts[number]
		if n := f.set.starts[number+1] - at; len(places) != n {
			return m, fault.New(fault.Unavailable, "%d samples could be read, and %d when the pictures were read again", n, len(places))
		}
		if len(places) == 0 {
			return m, nil
		}
		pictures := tensor.New(tensor.U8, b.Images.Shape...)
		copy(pictures.Data, b.Images.Data)
		n := len(pictures.Data) / pictures.Shape[0]
		for k, place := range places {
			if b.Keys[place] != f.Keys[at+k] {
				return m, fault.New(fault.Unavailable, "other samples can be read than before: %s", b.Keys[place])
			}
			change.Apply(at+k, f.Keys[at+k], pictures.Data[place*n:(place+1)*n], pictures.Shape[1])
		}
		emb, _, err := f.image().Forward(ctx, clip.ForwardRequest{Images: pictures, Mode: clip.Eval})
		if err != nil {
			return m, err
		}
		m.pick(emb, places)
		emb.Free()
		return m, nil
	}
	err := shared(f.ranks, batchesOf(f.source.size(), f.job.BatchSize), func(numbers []int, done func(Matrix) error) error {
		return eachBatch(ctx, f.source, f.job.BatchSize, numbers, clip.BatchRequest{}, func(number int, b *clip.Batch) error {
			m, err := one(number, b)
			if err != nil {
				return err
			}
			return done(m)
		})
	}, func(m Matrix) error { out.join(&m); return nil })
	return out, err
}

// size returns how many samples a source has.
func (s Source) size() int {
	if s.MaxSamples > 0 {
		return min(s.Info.Len, s.MaxSamples)
	}
	return s.Info.Len
}

// embedAll embeds every picture of a source; the last batch may be shorter. It leaves out what cannot be read. Several ranks share the
// batches, and all get everything.
func embedAll(ctx context.Context, j Job, source Source, needs Needs, ranks *Ranks, progress func(done, total int)) (*set, error) {
	n := source.size()
	s := &set{Samples: Samples{Labels: map[string][]int32{}}, texts: map[string]*embedded{}, starts: []int{0}}
	err := shared(ranks, batchesOf(n, j.BatchSize), func(numbers []int, done func(*piece) error) error {
		return eachBatch(ctx, source, j.BatchSize, numbers, clip.BatchRequest{Negatives: needs.Negatives}, func(number int, b *clip.Batch) error {
			p, err := embedPiece(ctx, j, b, number*j.BatchSize)
			if err == nil {
				err = done(p)
			}
			if err == nil && progress != nil {
				progress(number*j.BatchSize+p.Asked, n)
			}
			return err
		})
	}, func(p *piece) error { return s.take(p, j, n) })
	if err == nil && len(s.Keys) == 0 && len(s.unreadable) > 0 {
		f := s.unreadable[0]
		err = fault.New(fault.Corrupt, "none of the %d samples can be read; sample %d (%s): %s", n, f.Index, f.Key, f.Msg)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// piece holds a batch of a dataset as it was embedded.
type piece struct {
	Samples
	Asked            int
	Bad              []clip.SampleFault // of the samples that cannot be read
	Images, Averaged Matrix             // of the others; Averaged where that is measured
}

// embedPiece embeds the pictures of a batch that can be read. first is the index of its first sample.
func embedPiece(ctx context.Context, j Job, b *clip.Batch, first int) (*piece, error) {
	places, bad := readable(b, first)
	p := &piece{Samples: Samples{Labels: map[string][]int32{}}, Asked: len(b.Keys), Bad: bad}
	if len(places) == 0 {
		return p, nil
	}
	p.add(b, places)
	emb, _, err := j.Image.Forward(ctx, clip.ForwardRequest{Images: b.Images, Mode: clip.Eval})
	if err != nil {
		return nil, err
	}
	p.Images.pick(emb, places)
	emb.Free()
	if !j.Average.Image {
		return p, nil
	}
	if emb, _, err = WithAverage(j.Image).Forward(ctx, clip.ForwardRequest{Images: b.Images, Mode: clip.Eval}); err != nil {
		return nil, err
	}
	p.Averaged.pick(emb, places)
	emb.Free()
	return p, nil
}

// readable returns the places of a batch whose samples could be read, and what is wrong with the others. first is the index
// of the batch's first sample.
func readable(b *clip.Batch, first int) (places []int, bad []clip.SampleFault) {
	faults := map[int]clip.SampleFault{}
	for _, f := range b.Faults {
		faults[f.Index] = f
	}
	for at := range b.Keys {
		if f, isBad := faults[first+at]; isBad {
			bad = append(bad, f)
		} else {
			places = append(places, at)
		}
	}
	return places, bad
}

// take takes the next piece of so many samples. fault.Corrupt when more of them cannot be read than the evaluation allows, unless it
// is all of them.
func (s *set) take(p *piece, j Job, samples int) error {
	s.tally.Asked += p.Asked
	for _, f := range p.Bad {
		s.tally.Bad++
		s.reasons = clip.AddSkips(s.reasons, clip.Skip{Reason: f.Reason, Count: 1, First: fmt.Sprintf("sample %d (%s): %s", f.Index, f.Key, f.Msg)})
		if len(s.unreadable) < mostTold {
			s.unreadable = append(s.unreadable, f)
		}
	}
	if f := s.unreadable; s.tally.Exceeds(j.MaxBadShare, samples, false) && s.tally.Bad < samples {
		return fault.New(fault.Corrupt, "%s cannot be read (%s), and max_bad_share is %g; sample %d (%s): %s",
			clip.CountOf(s.tally.Bad, s.tally.Asked, "samples"), clip.SayReasons(s.reasons), j.MaxBadShare, f[0].Index, f[0].Key, f[0].Msg).
			WithPath("max_bad_share").WithHint("mend the data, or allow more with the evaluation's max_bad_share: %.2g", min(1, 1.2*s.tally.Share()))
	}
	s.Samples.join(&p.Samples)
	s.images.join(&p.Images)
	s.averaged.join(&p.Averaged)
	s.starts = append(s.starts, len(s.Keys))
	return nil
}

// join appends other samples.
func (s *Samples) join(o *Samples) {
	s.Keys, s.Groups, s.Captions = append(s.Keys, o.Keys...), append(s.Groups, o.Groups...), append(s.Captions, o.Captions...)
	s.Negatives = append(s.Negatives, o.Negatives...)
	for name, labels := range o.Labels {
		s.Labels[name] = append(s.Labels[name], labels...)
	}
}

// add takes the samples at places of a batch.
func (s *Samples) add(b *clip.Batch, places []int) {
	for _, at := range places {
		s.Keys = append(s.Keys, b.Keys[at])
		s.Groups = append(s.Groups, b.Groups[at])
		s.Captions = append(s.Captions, b.All[at])
		if b.Negatives != nil {
			s.Negatives = append(s.Negatives, b.Negatives[at])
		}
		for name, labels := range b.Labels {
			s.Labels[name] = append(s.Labels[name], labels[at])
		}
	}
}

// batchesOf returns how many batches of a size so many samples are.
func batchesOf(samples, size int) int { return (samples + size - 1) / size }

// eachBatch gives f batches of a source, by their numbers, and frees their pictures; it fetches one while f works on another. ask says
// what is wanted beside what evaluations always read.
func eachBatch(ctx context.Context, source Source, size int, numbers []int, ask clip.BatchRequest, f func(number int, b *clip.Batch) error) error {
	type fetched struct {
		b   *clip.Batch
		err error
	}
	start := func(number int) chan fetched {
		out := make(chan fetched, 1)
		q := ask
		for i := number * size; i < min((number+1)*size, source.size()); i++ {
			q.Indices = append(q.Indices, i)
		}
		go func() {
			var got fetched
			got.err = fault.Safely(func() (err error) {
				got.b, err = source.Data.Batch(ctx, q)
				return err
			})()
			out <- got
		}()
		return out
	}
	var ahead chan fetched
	for k, number := range numbers {
		if k == 0 {
			ahead = start(number)
		}
		got := <-ahead
		if got.err != nil {
			return got.err
		}
		if k+1 < len(numbers) {
			ahead = start(numbers[k+1])
		}
		err := f(number, got.b)
		got.b.Images.Free()
		if err != nil {
			return err
		}
	}
	return nil
}
