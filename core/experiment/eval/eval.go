// Package eval measures a pair of towers without training them: zero-shot classification with prompt
// ensembles and retrieval in both directions (Radford et al. 2021, §3.1).
//
// It works on the interfaces of core/clip; it knows no SQL and no processes.
package eval

import (
	"context"
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/tensor"
)

// ZeroShot configures a classification by text prompts.
type ZeroShot struct {
	Target    string   // the labelling of the dataset: clip.Target.Name
	Templates []string // prompts with one {} for the class name; at least one
}

// Config configures one evaluation.
type Config struct {
	Name       string // metrics are eval/<Name>/…
	BatchSize  int    // samples forwarded at a time, ≥ 1
	MaxSamples int    // the first so many samples only; 0: all
	ZeroShot   *ZeroShot
	Retrieval  bool
	// EqualCaptions makes pictures with an equal caption positives of each other in retrieval.
	EqualCaptions bool
	// MaxBadShare limits the share of samples that cannot be read, 0 … 1; with more there is no result.
	MaxBadShare float64
	// Average measures by averaged weights too: those of the image tower, of the text tower or of both. The other tower's are
	// the live ones.
	Average struct{ Image, Text bool }
}

// Parts holds the plugins of an evaluation, configured.
type Parts struct {
	Data        clip.Dataset
	Info        clip.DatasetInfo
	Image, Text clip.Encoder
}

// Figures holds what was measured by one set of weights.
type Figures struct {
	Metrics     []clip.Metric
	Predictions []clip.Prediction // of the zero-shot classification, in the dataset's order
}

// Result holds what an evaluation found.
type Result struct {
	Figures                       // by the live weights
	Averaged   *Figures           // by averaged weights, named metric.Averaged(Name); nil unless Config.Average asks for them
	Samples    clip.Tally         // Bad ones are left out of every figure
	Unreadable []clip.SampleFault // the first few of them
	Reasons    []clip.Skip        // why they cannot be read, all of them counted
	Texts      Texts
	// Alike lists the classes whose features equal those of an earlier class, so that no picture is ever theirs.
	Alike []Twins
}

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

// Twins names two classes by id.
type Twins struct{ First, Second int }

// Run evaluates. It leaves the towers of a training run as they were, because it uses mode Eval only. A target
// that the dataset lacks yields fault.Invalid. progress, when not nil, is told the number of samples done.
func Run(ctx context.Context, cfg Config, p Parts, progress func(done, total int)) (Result, error) {
	var res Result
	var classes *matrix
	var target clip.Target
	counter := &counter{encoder: p.Text}
	if cfg.ZeroShot != nil {
		var err error
		if target, err = findTarget(p.Info, cfg.ZeroShot.Target); err != nil {
			return res, err
		}
		if classes, err = classFeatures(ctx, p.Text, target.Classes, cfg.ZeroShot.Templates, cfg.BatchSize, counter); err != nil {
			return res, err
		}
		res.Alike = classes.equalRows()
	}
	s, err := encode(ctx, cfg, p, progress)
	if err != nil {
		return res, err
	}
	res.Samples, res.Unreadable, res.Reasons = s.tally, s.unreadable, s.reasons
	if s.tally.Bad > 0 {
		res.add(cfg.Name, []metric.Value{{Name: "n", Value: float64(len(s.keys))}, {Name: "left_out", Value: float64(s.tally.Bad)},
			{Name: "left_out_share", Value: s.tally.Share()}})
	}
	if err := s.measure(ctx, cfg, p.Text, &s.images, classes, target, counter, &res.Figures); err != nil {
		return res, err
	}
	res.Texts = counter.Texts
	if n := res.Texts.Cut; n > 0 {
		res.add(cfg.Name, []metric.Value{{Name: "captions_cut", Value: float64(n)}, {Name: "captions_cut_share", Value: float64(n) / float64(res.Texts.N)}})
	}
	if cfg.Average.Image || cfg.Average.Text {
		res.Averaged = &Figures{}
		err = s.measureAverage(ctx, cfg, p.Text, classes, target, res.Averaged)
	}
	return res, err
}

// measure classifies and retrieves samples whose pictures have these embeddings.
func (s *samples) measure(ctx context.Context, cfg Config, text clip.Encoder, images, classes *matrix, target clip.Target, count *counter, f *Figures) error {
	if classes != nil {
		var values []metric.Value
		f.Predictions, values = s.classify(images, classes, s.labels[target.Name])
		f.add(cfg.Name, values)
	}
	if cfg.Retrieval {
		found, err := s.retrieve(ctx, images, text, cfg, count)
		if err != nil {
			return err
		}
		f.add(cfg.Name, found)
	}
	return nil
}

func (f *Figures) add(evaluation string, values []metric.Value) {
	for _, v := range values {
		f.Metrics = append(f.Metrics, clip.Metric{Name: metric.Evaluated(evaluation, v.Name), Value: v.Value})
	}
}

func findTarget(info clip.DatasetInfo, name string) (clip.Target, error) {
	names := make([]string, len(info.Targets))
	for i, t := range info.Targets {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return clip.Target{}, fault.New(fault.Invalid, "the dataset has no target %q", name).WithPath("zero_shot.classes").
		WithHint("its targets are: %s", strings.Join(names, ", "))
}

// matrix holds rows × cols of float32, row-major.
type matrix struct {
	rows, cols int
	data       []float32
}

func (m *matrix) row(i int) []float32 { return m.data[i*m.cols : (i+1)*m.cols] }

func (m *matrix) append(t *tensor.Tensor) {
	m.cols = t.Shape[1]
	m.rows += t.Shape[0]
	m.data = append(m.data, t.F32()...)
}

func (m *matrix) general() blas32.General {
	return blas32.General{Rows: m.rows, Cols: m.cols, Stride: m.cols, Data: m.data}
}

// samples holds the encoded samples of a dataset.
type samples struct {
	images   matrix // [N, D]
	averaged matrix // the same by averaged weights, where these are measured
	keys     []string
	groups   []int64
	captions [][]string
	labels   map[string][]int32

	tally      clip.Tally
	unreadable []clip.SampleFault // the first few
	reasons    []clip.Skip
}

// mostTold limits the unreadable samples that a result names.
const mostTold = 3

// encode embeds every picture; the last batch may be shorter. It leaves out what cannot be read.
func encode(ctx context.Context, cfg Config, p Parts, progress func(done, total int)) (*samples, error) {
	n := p.Info.Len
	if cfg.MaxSamples > 0 {
		n = min(n, cfg.MaxSamples)
	}
	s := &samples{labels: map[string][]int32{}}
	next := fetchAhead(ctx, p.Data, n, cfg.BatchSize)
	for {
		b, err := next()
		if err != nil {
			return nil, err
		}
		if b == nil {
			if len(s.keys) == 0 && len(s.unreadable) > 0 {
				f := s.unreadable[0]
				return nil, fault.New(fault.Corrupt, "none of the %d samples can be read; sample %d (%s): %s", n, f.Index, f.Key, f.Msg)
			}
			return s, nil
		}
		keep := s.readablePlaces(b, s.tally.Asked)
		if f := s.unreadable; s.tally.Exceeds(cfg.MaxBadShare, n, false) && s.tally.Bad < n {
			b.Images.Free()
			return nil, fault.New(fault.Corrupt, "%s cannot be read (%s), and max_bad_share is %g; sample %d (%s): %s",
				clip.CountOf(s.tally.Bad, s.tally.Asked, "samples"), clip.SayReasons(s.reasons), cfg.MaxBadShare, f[0].Index, f[0].Key, f[0].Msg).
				WithPath("max_bad_share").WithHint("mend the data, or allow more with the evaluation's max_bad_share: %.2g", min(1, 1.2*s.tally.Share()))
		}
		if len(keep) == 0 {
			b.Images.Free()
			continue
		}
		err = s.embed(ctx, cfg, p.Image, b, keep)
		b.Images.Free()
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress(s.tally.Asked, n)
		}
	}
}

// readablePlaces returns the places of a batch whose samples could be read, and counts the others. first is the index
// of the batch's first sample.
func (s *samples) readablePlaces(b *clip.Batch, first int) []int {
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
func (s *samples) add(b *clip.Batch, places []int) {
	for _, at := range places {
		s.keys = append(s.keys, b.Keys[at])
		s.groups = append(s.groups, b.Groups[at])
		s.captions = append(s.captions, b.All[at])
		for name, labels := range b.Labels {
			s.labels[name] = append(s.labels[name], labels[at])
		}
	}
}

// fetchAhead fetches one batch while the caller works on another; nil marks the end.
func fetchAhead(ctx context.Context, data clip.Dataset, n, size int) func() (*clip.Batch, error) {
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
		indices := make([]int, min(size, n-at))
		for i := range indices {
			indices[i] = at + i
		}
		go func() {
			var f fetched
			f.err = fault.Safely(func() (err error) {
				f.b, err = data.Batch(ctx, clip.BatchRequest{Indices: indices})
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

// classFeatures returns the unit text features of classes, [len(classes), D]: every template filled with the
// class name, forwarded, averaged over the templates and normalised again.
func classFeatures(ctx context.Context, text clip.Encoder, classes, templates []string, batchSize int, count *counter) (*matrix, error) {
	prompts := make([]string, 0, len(classes)*len(templates))
	for _, c := range classes {
		for _, t := range templates {
			prompts = append(prompts, strings.ReplaceAll(t, "{}", c))
		}
	}
	all, err := encodeTexts(ctx, text, prompts, batchSize, count)
	if err != nil {
		return nil, err
	}
	out := &matrix{rows: len(classes), cols: all.cols, data: make([]float32, len(classes)*all.cols)}
	for c := range classes {
		mean := out.row(c)
		for t := range templates {
			for d, v := range all.row(c*len(templates) + t) {
				mean[d] += v
			}
		}
		normalize(mean)
	}
	return out, nil
}

func normalize(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	scale := float32(1 / math.Max(math.Sqrt(sum), 1e-12))
	for i := range v {
		v[i] *= scale
	}
}

func encodeTexts(ctx context.Context, text clip.Encoder, texts []string, batchSize int, count *counter) (*matrix, error) {
	m := &matrix{}
	for at := 0; at < len(texts); at += batchSize {
		part := texts[at:min(at+batchSize, len(texts))]
		if err := count.add(ctx, part); err != nil {
			return nil, err
		}
		emb, _, err := text.Forward(ctx, clip.ForwardRequest{Texts: part, Mode: clip.Eval})
		if err != nil {
			return nil, err
		}
		m.append(emb)
		emb.Free()
	}
	return m, nil
}

// similarities computes the rows of a·bᵀ in blocks that stay in cache.
func similarities(a, b *matrix, f func(i int, row []float32)) {
	const block = 64
	out := make([]float32, block*b.rows)
	for at := 0; at < a.rows; at += block {
		n := min(block, a.rows-at)
		part := matrix{rows: n, cols: a.cols, data: a.data[at*a.cols : (at+n)*a.cols]}
		c := blas32.General{Rows: n, Cols: b.rows, Stride: b.rows, Data: out[:n*b.rows]}
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, part.general(), b.general(), 0, c)
		for i := range n {
			f(at+i, c.Data[i*b.rows:(i+1)*b.rows])
		}
	}
}

// classify keeps the five best classes of every sample and counts the right ones. Samples without a
// label (-1) are left out of the figures.
func (s *samples) classify(images, classes *matrix, labels []int32) ([]clip.Prediction, []metric.Value) {
	out := make([]clip.Prediction, images.rows)
	acc := metric.NewClassification(classes.rows)
	similarities(images, classes, func(i int, scores []float32) {
		top := metric.TopK(scores, 5)
		p := clip.Prediction{Key: s.keys[i], Label: labels[i], Score: scores[top[0]]}
		for _, c := range top {
			p.Top = append(p.Top, int32(c))
		}
		out[i] = p
		if p.Label >= 0 {
			acc.Add(scores, int(p.Label))
		}
	})
	return out, acc.Metrics()
}
