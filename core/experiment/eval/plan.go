package eval

import (
	"context"
	"fmt"
	"maps"

	"tandem/core/clip"
	"tandem/core/results/metric"
)

// Job is one evaluation of a Plan.
type Job struct {
	Config
	Parts
}

// Plan runs evaluations of the same towers, with the same parameters, one after another. What several of them read is
// embedded once, and forgotten after the last of them.
type Plan struct {
	jobs []Job
	sets map[string]*set
	// Ranks, when not nil, make the evaluations together: each runs the plan for the same model and data. All but rank 0 get empty results.
	Ranks *Ranks
	uses  map[string]int // evaluations that are still to come, by the set that they use
}

// Left returns how many samples are still to be embedded.
func (p *Plan) Left() int {
	n, seen := 0, map[string]bool{}
	for i := range p.jobs {
		for _, r := range p.reads(i) {
			if p.uses[r.key] > 0 && p.sets[r.key] == nil && !seen[r.key] {
				seen[r.key] = true
				n += r.source.size()
			}
		}
	}
	return n
}

// NewPlan plans evaluations.
func NewPlan(jobs []Job) *Plan {
	p := &Plan{jobs: jobs, sets: map[string]*set{}, uses: map[string]int{}}
	for i := range jobs {
		for _, r := range p.reads(i) {
			p.uses[r.key]++
		}
	}
	return p
}

// reading is a source as an evaluation reads it.
type reading struct {
	key    string
	source Source
}

// reads lists what evaluation i reads: the samples that it measures, then those that its measures learn from, if any does.
func (p *Plan) reads(i int) []reading {
	j := p.jobs[i]
	name := func(what string, s Source) reading {
		if s.Key == "" {
			return reading{fmt.Sprintf("%d %s", i, what), s}
		}
		return reading{fmt.Sprintf("%s\n%d %d %g %v", s.Key, s.MaxSamples, j.BatchSize, j.MaxBadShare, j.Average), s}
	}
	out := []reading{name("test", j.Source)}
	if j.Train != nil && j.needs().Train {
		out = append(out, name("train", *j.Train))
	}
	return out
}

// needs returns what any measure of an evaluation needs.
func (j Job) needs() Needs {
	var all Needs
	for _, m := range j.Measures {
		n := m.Needs()
		all.Negatives, all.Train = all.Negatives || n.Negatives, all.Train || n.Train
	}
	return all
}

// Run makes evaluation i of the plan, at most once. It leaves the towers of a training run as they were, because it uses
// mode Eval only. A dataset that lacks what a measure needs yields fault.Invalid. progress, when not nil, is told the
// number of samples done of those that are to be embedded.
func (p *Plan) Run(ctx context.Context, i int, progress func(done, total int)) (Result, error) {
	var res Result
	j := p.jobs[i]
	var trainInfo *clip.DatasetInfo
	if j.Train != nil {
		trainInfo = &j.Train.Info
	}
	for _, m := range j.Measures {
		if err := m.Check(j.Info, trainInfo); err != nil {
			return res, err
		}
	}
	reads := p.reads(i)
	sets := make([]*set, len(reads))
	defer func() {
		for _, r := range reads {
			if p.uses[r.key]--; p.uses[r.key] <= 0 {
				delete(p.sets, r.key)
			}
		}
	}()
	for k, r := range reads {
		var err error
		if sets[k], err = p.set(ctx, i, r, progress); err != nil {
			return res, err
		}
	}
	if p.Ranks != nil && p.Ranks.Group.Rank() > 0 {
		return res, p.Ranks.serve(ctx, func(at place) *Features { return p.features(sets, at, nil) })
	}
	res, err := p.figures(ctx, i, sets)
	return res, p.Ranks.settle(err)
}

// figures takes the figures of evaluation i of what its sources were embedded to.
func (p *Plan) figures(ctx context.Context, i int, sets []*set) (Result, error) {
	var res Result
	j, s := p.jobs[i], sets[0]
	res.Samples, res.Unreadable, res.Reasons = s.tally, s.unreadable, s.reasons
	if s.tally.Bad > 0 && !j.Plain {
		res.add(j.Name, []metric.Value{{Name: "n", Value: float64(len(s.Keys))}, {Name: "left_out", Value: float64(s.tally.Bad)},
			{Name: "left_out_share", Value: s.tally.Share()}})
	}
	counted := &Texts{}
	found, kept, err := p.measure(ctx, j, sets, place{Evaluation: i}, counted, &res.Figures)
	if err != nil {
		return res, err
	}
	if j.Keep {
		res.Embedded = kept
	}
	for _, f := range found {
		res.Alike, res.Notes = append(res.Alike, f.Alike...), append(res.Notes, f.Notes...)
		if f.Facts != nil && res.Facts == nil {
			res.Facts = map[string]any{}
		}
		maps.Copy(res.Facts, f.Facts)
	}
	if res.Texts = *counted; res.Texts.Cut > 0 && !j.Plain {
		n := res.Texts.Cut
		res.add(j.Name, []metric.Value{{Name: "captions_cut", Value: float64(n)}, {Name: "captions_cut_share", Value: float64(n) / float64(res.Texts.N)}})
	}
	if j.Average.Image || j.Average.Text {
		j.Name, res.Averaged = metric.Averaged(j.Name), &Figures{}
		_, _, err = p.measure(ctx, j, sets, place{Evaluation: i, Averaged: true}, nil, res.Averaged)
	}
	return res, err
}

// set returns what a source was embedded to; it embeds it when nothing has.
func (p *Plan) set(ctx context.Context, i int, r reading, progress func(done, total int)) (*set, error) {
	if s := p.sets[r.key]; s != nil {
		return s, nil
	}
	needs := Needs{}
	for k := range p.jobs { // whoever shares the set finds in it what it needs
		for _, other := range p.reads(k) {
			needs.Negatives = needs.Negatives || other.key == r.key && p.jobs[k].needs().Negatives
		}
	}
	s, err := embedAll(ctx, p.jobs[i], r.source, needs, p.Ranks, progress)
	if err == nil {
		p.sets[r.key] = s
	}
	return s, err
}

// features returns the features at a place, of what the sources of the evaluation were embedded to.
func (p *Plan) features(sets []*set, at place, count *Texts) *Features {
	if at.Train {
		return sets[1].features(p.jobs[at.Evaluation], p.Ranks, at, count)
	}
	return sets[0].features(p.jobs[at.Evaluation], p.Ranks, at, count)
}

// measure takes the figures of a job at a place, by its live weights or by its averaged ones. count, when not nil, is told of the texts.
func (p *Plan) measure(ctx context.Context, j Job, sets []*set, at place, count *Texts, f *Figures) ([]Findings, *Embedded, error) {
	features := p.features(sets, at, count)
	if len(sets) > 1 {
		at.Train = true
		features.Train = p.features(sets, at, nil)
	}
	all := make([]Findings, len(j.Measures))
	for i, m := range j.Measures {
		found, err := m.Measure(ctx, features)
		if err != nil {
			return nil, nil, err
		}
		f.add(j.Name, found.Values)
		f.Outcomes = append(f.Outcomes, found.Outcomes...)
		all[i] = found
	}
	return all, &features.kept, nil
}
