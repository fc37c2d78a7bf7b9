package eval_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/fault"
)

// reader counts how often each sample is read.
type reader struct {
	*paints
	reads, negatives int
}

func (r *reader) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	r.reads += len(q.Indices)
	b, err := r.paints.Batch(ctx, q)
	if err == nil && q.Negatives {
		r.negatives += len(q.Indices)
		for range q.Indices {
			b.Negatives = append(b.Negatives, []string{"white"})
		}
	}
	return b, err
}

// learns is a measure that looks at everything that a measure may.
type learns struct {
	t    *testing.T
	seen *eval.Features
	dark *eval.Matrix
}

func (*learns) Needs() eval.Needs { return eval.Needs{Negatives: true, Train: true} }
func (*learns) Check(_ clip.DatasetInfo, train *clip.DatasetInfo) error {
	if train == nil {
		return fault.New(fault.Invalid, "needs samples to learn from").WithPath("train")
	}
	return nil
}
func (l *learns) Measure(ctx context.Context, f *eval.Features) (eval.Findings, error) {
	l.seen = f
	dark, err := f.Changed(ctx, greyed{})
	l.dark = dark
	return eval.Findings{}, err
}

// greyed makes every picture a grey of its own: all point the same way.
type greyed struct{}

func (greyed) Apply(i int, _ string, pixels []byte, _ int) {
	for d := range pixels {
		pixels[d] = byte(i)
	}
	pixels[0] = 255
}

// Evaluations that read the same share it, and give what each gives alone.
func TestEvaluationsOfTheSameSamplesEmbedThemOnce(t *testing.T) {
	p := &reader{paints: &paints{colour: []string{"red", "green", "blue"}, said: []string{"red", "green", "red"}, groups: []int64{0, 1, 2}}}
	image := &tower{}
	job := func(name, key string, limit int, m ...eval.Measure) eval.Job {
		return eval.Job{Config: eval.Config{Name: name, BatchSize: 2, MaxBadShare: 1, Measures: m},
			Parts: eval.Parts{Source: eval.Source{Data: p, Info: p.info(), Key: key, MaxSamples: limit}, Image: image, Text: &tower{}}}
	}
	plan := eval.NewPlan([]eval.Job{job("a", "k", 0, zeroShot("{}")), job("b", "k", 0, eval.Retrieval{}), job("c", "k", 2, zeroShot("{}")),
		job("d", "", 0, zeroShot("{}")), job("e", "k", 0, zeroShot("{}"), eval.Retrieval{})})
	want := []int{3, 3, 5, 8, 8} // samples read until then: c has another limit, d shares with nobody
	for i, n := range want {
		got, err := plan.Run(t.Context(), i, nil)
		if err != nil || p.reads != n {
			t.Fatalf("evaluation %d: %d samples read, want %d (%v)", i, p.reads, n, err)
		}
		if i == 4 {
			alone, err := eval.Run(t.Context(), job("e", "", 0, zeroShot("{}"), eval.Retrieval{}).Config, job("e", "", 0).Parts, nil)
			if err != nil || !reflect.DeepEqual(got, alone) {
				t.Errorf("shared %+v, alone %+v (%v)", got, alone, err)
			}
		}
	}
}

// A measure has the samples that it learns from, embedded by the same weights, texts that do not fit, and the pictures once
// more, changed.
func TestAMeasureFindsWhatItNeeds(t *testing.T) {
	test := &reader{paints: &paints{colour: []string{"red", "green", "blue"}, said: []string{"red", "green", "blue"}, groups: []int64{0, 1, 2}, broken: []int{1}}}
	train := &reader{paints: &paints{colour: []string{"green", "red"}, said: []string{"green", "red"}, groups: []int64{0, 1}}}
	m := &learns{t: t}
	cfg := eval.Config{Name: "paint", BatchSize: 2, MaxBadShare: 1, Measures: []eval.Measure{m}}
	parts := eval.Parts{Source: eval.Source{Data: test, Info: test.info()}, Image: &tower{}, Text: &tower{}}
	if _, err := eval.Run(t.Context(), cfg, parts, nil); fault.KindOf(err) != fault.Invalid || test.reads > 0 {
		t.Errorf("without samples to learn from: %v, %d read", err, test.reads)
	}
	parts.Train = &eval.Source{Data: train, Info: train.info()}
	if _, err := eval.Run(t.Context(), cfg, parts, nil); err != nil {
		t.Fatal(err)
	}
	f := m.seen
	if !slices.Equal(f.Keys, []string{"0", "2"}) || f.Images.Rows != 2 || f.Images.Row(1)[2] < .99 || len(f.Negatives) != 2 {
		t.Errorf("features %+v of %v", f.Images, f.Keys)
	}
	if f.Train.Images.Rows != 2 || f.Train.Images.Row(0)[1] < .99 || !slices.Equal(f.Train.Labels["label"], []int32{1, 0}) {
		t.Errorf("training features %+v", f.Train.Images)
	}
	if m.dark.Rows != 2 || m.dark.Row(0)[0] < .99 || m.dark.Row(1)[1] < .003 || m.dark.Row(1)[1] > .005 {
		t.Errorf("changed pictures %+v", m.dark)
	}
	cfg.Average.Image = true
	if _, err := eval.Run(t.Context(), cfg, parts, nil); err != nil || m.seen.Train.Images.Row(0)[0] < .99 {
		t.Errorf("averaged training features %+v (%v)", m.seen.Train.Images, err)
	}
}
