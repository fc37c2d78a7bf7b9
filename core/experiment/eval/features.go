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

	tally      clip.Tally
	unreadable []clip.SampleFault // the first few
	reasons    []clip.Skip
}

// mostTold limits the unreadable samples that a result names.
const mostTold = 3

// features returns what an evaluation measures.
func (s *set) features(j Job, source Source, averaged bool, count *Texts) *Features {
	f := &Features{Samples: &s.Samples, Info: source.Info, Images: &s.images, job: j, set: s, source: source, averaged: averaged, count: count,
		counted: map[string]bool{}, known: map[string]bool{}}
	if averaged && j.Average.Image {
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

// Changed embeds the pictures once more, each changed before: change is given the place of a sample among the N and its
// pixels, u8 [S, S, 3], RGB, row-major, which are its to write. It returns [N, D], unit rows.
func (f *Features) Changed(ctx context.Context, change func(i int, pixels []byte, side int)) (*Matrix, error) {
	out, at := &Matrix{}, 0
	first := 0
	next := fetchAhead(ctx, f.source.Data, f.source.size(), f.job.BatchSize, clip.BatchRequest{})
	again := &set{Samples: Samples{Labels: map[string][]int32{}}}
	for {
		b, err := next()
		if err != nil || b == nil {
			if err == nil && at != len(f.Keys) {
				err = fault.New(fault.Unavailable, "%d samples could be read, and %d when the pictures were read again", len(f.Keys), at)
			}
			return out, err
		}
		keep := again.readablePlaces(b, first)
		first += len(b.Keys)
		if len(keep) == 0 {
			b.Images.Free()
			continue
		}
		pictures := tensor.New(tensor.U8, b.Images.Shape...)
		copy(pictures.Data, b.Images.Data)
		b.Images.Free()
		n := len(pictures.Data) / pictures.Shape[0]
		for _, place := range keep {
			if at >= len(f.Keys) || b.Keys[place] != f.Keys[at] {
				return nil, fault.New(fault.Unavailable, "other samples can be read than before: %s", b.Keys[place])
			}
			change(at, pictures.Data[place*n:(place+1)*n], pictures.Shape[1])
			at++
		}
		emb, _, err := f.image().Forward(ctx, clip.ForwardRequest{Images: pictures, Mode: clip.Eval})
		if err != nil {
			return nil, err
		}
		out.pick(emb, keep)
		emb.Free()
	}
}

// size returns how many samples a source has.
func (s Source) size() int {
	if s.MaxSamples > 0 {
		return min(s.Info.Len, s.MaxSamples)
	}
	return s.Info.Len
}

// embedAll embeds every picture of a source; the last batch may be shorter. It leaves out what cannot be read.
func embedAll(ctx context.Context, j Job, source Source, needs Needs, progress func(done, total int)) (*set, error) {
	n := source.size()
	s := &set{Samples: Samples{Labels: map[string][]int32{}}, texts: map[string]*embedded{}}
	next := fetchAhead(ctx, source.Data, n, j.BatchSize, clip.BatchRequest{Negatives: needs.Negatives})
	for {
		b, err := next()
		if err != nil {
			return nil, err
		}
		if b == nil {
			if len(s.Keys) == 0 && len(s.unreadable) > 0 {
				f := s.unreadable[0]
				return nil, fault.New(fault.Corrupt, "none of the %d samples can be read; sample %d (%s): %s", n, f.Index, f.Key, f.Msg)
			}
			return s, nil
		}
		keep := s.readablePlaces(b, s.tally.Asked)
		if f := s.unreadable; s.tally.Exceeds(j.MaxBadShare, n, false) && s.tally.Bad < n {
			b.Images.Free()
			return nil, fault.New(fault.Corrupt, "%s cannot be read (%s), and max_bad_share is %g; sample %d (%s): %s",
				clip.CountOf(s.tally.Bad, s.tally.Asked, "samples"), clip.SayReasons(s.reasons), j.MaxBadShare, f[0].Index, f[0].Key, f[0].Msg).
				WithPath("max_bad_share").WithHint("mend the data, or allow more with the evaluation's max_bad_share: %.2g", min(1, 1.2*s.tally.Share()))
		}
		if len(keep) == 0 {
			b.Images.Free()
			continue
		}
		err = s.embed(ctx, j, b, keep)
		b.Images.Free()
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress(s.tally.Asked, n)
		}
	}
}

// embed embeds the pictures of a batch and takes the samples at places of it.
func (s *set) embed(ctx context.Context, j Job, b *clip.Batch, places []int) error {
	emb, _, err := j.Image.Forward(ctx, clip.ForwardRequest{Images: b.Images, Mode: clip.Eval})
	if err != nil {
		return err
	}
	s.add(b, places)
	s.images.pick(emb, places)
	emb.Free()
	if !j.Average.Image {
		return nil
	}
	if emb, _, err = WithAverage(j.Image).Forward(ctx, clip.ForwardRequest{Images: b.Images, Mode: clip.Eval}); err != nil {
		return err
	}
	s.averaged.pick(emb, places)
	emb.Free()
	return nil
}

// readablePlaces returns the places of a batch whose samples could be read, and counts the others. first is the index
// of the batch's first sample.
func (s *set) readablePlaces(b *clip.Batch, first int) []int {
	bad := map[int]clip.SampleFault{}
	for _, f := range b.Faults {
		bad[f.Index] = f
	}
	keep := make([]int, 0, len(b.Keys))
	for at := range b.Keys {
		s.tally.Asked++
		f, isBad := bad[first+at]
		if !isBad {
			keep = append(keep, at)
			continue
		}
		s.tally.Bad++
		s.reasons = clip.AddSkips(s.reasons, clip.Skip{Reason: f.Reason, Count: 1, First: fmt.Sprintf("sample %d (%s): %s", f.Index, f.Key, f.Msg)})
		if len(s.unreadable) < mostTold {
			s.unreadable = append(s.unreadable, f)
		}
	}
	return keep
}

// add takes the samples at places of a batch.
func (s *set) add(b *clip.Batch, places []int) {
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

// fetchAhead fetches one batch while the caller works on another; nil marks the end. ask says what is wanted beside what
// evaluations always read.
func fetchAhead(ctx context.Context, data clip.Dataset, n, size int, ask clip.BatchRequest) func() (*clip.Batch, error) {
	type fetched struct {
		b   *clip.Batch
		err error
	}
	start := func(at int) chan fetched {
		out := make(chan fetched, 1)
		if at >= n {
			out <- fetched{}
			return out
		}
		q := ask
		q.Indices = make([]int, min(size, n-at))
		for i := range q.Indices {
			q.Indices[i] = at + i
		}
		go func() {
			var f fetched
			f.err = fault.Safely(func() (err error) {
				f.b, err = data.Batch(ctx, q)
				return err
			})()
			out <- f
		}()
		return out
	}
	at := 0
	ahead := start(at)
	return func() (*clip.Batch, error) {
		f := <-ahead
		at += size
		if f.b != nil && f.err == nil {
			ahead = start(at)
		}
		return f.b, f.err
	}
}
