package assemble

import (
	"context"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/probe"
	"tandem/core/experiment/spec"
	"tandem/core/plugin/catalog"
	"tandem/core/results/store"
)

// Measures returns what an evaluation of a spec measures, in the order of its figures. seed draws the samples that measures hold
// out and the random numbers of spoilt pictures.
func Measures(e spec.Eval, seed uint64) []eval.Measure {
	var all []eval.Measure
	var prompts eval.ZeroShot
	if z := e.ZeroShot; z != nil {
		prompts = eval.ZeroShot{Target: z.Classes, Templates: z.Templates}
		all = append(all, prompts)
	}
	if e.Retrieval {
		all = append(all, eval.Retrieval{EqualCaptions: e.EqualCaptions})
	}
	if m := e.LinearProbe; m != nil {
		all = append(all, eval.LinearProbe{Target: m.Classes, HeldOut: m.HeldOut, Seed: seed})
	}
	if m := e.KNN; m != nil {
		all = append(all, eval.Nearest{Target: m.Classes, Nearest: probe.Nearest{K: m.K, Temperature: m.Temperature}})
	}
	if m := e.FewShot; m != nil {
		few := eval.FewShot{Target: m.Classes, Shots: m.Shots, Draws: m.Draws, Seed: seed}
		if m.Classifier == spec.LinearClassifier {
			few.C = m.C
		}
		all = append(all, few)
	}
	if e.Choices {
		all = append(all, eval.Choices{})
	}
	if e.Calibration {
		all = append(all, eval.Calibration{ZeroShot: prompts, Seed: seed})
	}
	if m := e.Robustness; m != nil {
		all = append(all, eval.Robustness{ZeroShot: prompts, Kinds: m.Corruptions, Severities: m.Severities, Seed: seed})
	}
	return all
}

// placeEvals tells every evaluation its data.
func (m *Model) placeEvals() {
	for _, d := range m.data {
		if d.entry < 0 {
			continue
		}
		e, source := d.entry, eval.Source{Data: d.Dataset, Info: d.Info, Key: d.key()}
		if d.learned {
			source.MaxSamples = m.Spec.Eval[e].Train.MaxSamples
			m.Evals[e].Train = &source
			continue
		}
		source.MaxSamples = m.Spec.Eval[e].MaxSamples
		m.Evals[e].Source = source
	}
}

// EvalSpec returns the spec of the processes that evaluate while training goes on (train.eval_device).
func EvalSpec(s *spec.Spec) *spec.Spec {
	out := *s
	if d := s.Train.EvalDevice; d != "auto" && d != "" {
		out.Device, out.Image.Device, out.Text.Device, out.Losses = d, d, d, slices.Clone(s.Losses)
		for i := range out.Losses {
			out.Losses[i].Device = d
		}
	}
	return &out
}

// OpenEvaluator starts towers and losses of s, and the data of its evaluations, of the binaries given.
func OpenEvaluator(ctx context.Context, c *catalog.Catalog, s *spec.Spec, plugins Plugins) (*Model, error) {
	m, err := openTowers(ctx, c, s, plugins)
	if err != nil {
		return nil, err
	}
	if err := m.OpenEvaluations(ctx); err != nil {
		_ = m.Close() // the first error counts
		return nil, err
	}
	return m, nil
}

// OpenEvaluations starts the data of the spec's evaluations for a model that OpenTowers made. Evaluations that ask for the same
// share one plugin.
func (m *Model) OpenEvaluations(ctx context.Context) error {
	for _, d := range datasets(m.Spec, m.threads) {
		if d.entry >= 0 {
			m.data = append(m.data, d)
		}
	}
	var calls []func(context.Context) error
	first := make([]int, len(m.data)) // that asks for the same
	for i := range m.data {
		first[i] = slices.IndexFunc(m.data, func(o Dataset) bool { return m.data[i].sameAs(o, 0) })
		if first[i] == i {
			calls = append(calls, func(ctx context.Context) error { return m.open(ctx, &m.data[i], m.Summary.Image.ImageSize) })
		}
	}
	if err := atOnce(ctx, calls...); err != nil {
		return err
	}
	for i, f := range first {
		if f == i {
			continue
		}
		d, o := &m.data[i], m.data[f]
		d.Dataset, d.Process, d.config, d.own, d.kept = o.Dataset, o.Process, o.config, o.own, true
		if err := d.configure(ctx, m.Starter, m.Summary.Image.ImageSize); err != nil {
			return err
		}
	}
	m.Evals = make([]eval.Parts, len(m.Spec.Eval))
	for i := range m.Evals {
		m.Evals[i].Image, m.Evals[i].Text = m.Image, m.Text
	}
	m.placeEvals()
	return nil
}

// evalSeed draws what measures draw. It is the same for runs of other seeds, so that they are judged by the same samples.
const evalSeed = 0

// EvalJob returns evaluation i of the model's spec, by the weights that training evaluates.
func (m *Model) EvalJob(i int) eval.Job {
	e := m.Spec.Eval[i]
	cfg := eval.Config{Name: e.Name, BatchSize: e.BatchSize, Measures: Measures(e, evalSeed), MaxBadShare: e.MaxBadShare}
	cfg.Average.Image, cfg.Average.Text = m.Spec.Averages(RoleImage), m.Spec.Averages(RoleText)
	j := eval.Job{Config: cfg, Parts: m.Evals[i]}
	j.LogitScale = func(ctx context.Context) (float64, error) {
		l, err := m.Logits(ctx)
		return l.Scale, err
	}
	return j
}

// EvalPlan plans the evaluations of the model's spec for its parameters as they are.
func (m *Model) EvalPlan() *eval.Plan {
	jobs := make([]eval.Job, len(m.Spec.Eval))
	for i := range jobs {
		jobs[i] = m.EvalJob(i)
	}
	return eval.NewPlan(jobs)
}

// DataDigests returns the digests of the data that the model is trained and evaluated with, by role.
func (m *Model) DataDigests() map[string]string {
	digests := map[string]string{store.DataRole: m.Summary.Data.Digest}
	for i, e := range m.Spec.Eval {
		digests[RoleEval+e.Name] = m.Evals[i].Info.Digest
		if t := m.Evals[i].Train; t != nil {
			digests[RoleEvalTrain+e.Name] = t.Info.Digest
		}
	}
	return digests
}

// EvalRemarks returns what is to be told of an evaluation: what it left out, what was wrong with its texts. info describes its
// dataset.
func EvalRemarks(e spec.Eval, info clip.DatasetInfo, found eval.Result) []eval.Note {
	var notes []eval.Note
	tell := func(level, kind, format string, args ...any) {
		notes = append(notes, eval.Note{Level: level, Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if n := found.Samples; n.Bad > 0 {
		f := found.Unreadable[0]
		tell("warning", "samples_left_out", "%s cannot be read and are left out of the figures, n = %d: %s; sample %d (%s): %s",
			clip.CountOf(n.Bad, n.Asked, "samples"), n.Asked-n.Bad, clip.SayReasons(found.Reasons), f.Index, f.Key, f.Msg)
	}
	if t := found.Texts; t.Cut > 0 {
		tell("warning", "captions_cut", "%s are longer than the context of %d tokens and are cut; the longest has %d",
			clip.CountOf(t.Cut, t.N, "prompts and captions"), t.Context, t.Longest)
	}
	if t := found.Texts; t.Blank > 0 {
		tell("warning", "captions_empty", "%s say nothing to the text encoder: no token is left of them",
			clip.CountOf(t.Blank, t.N, "prompts and captions"))
	}
	if t := found.Texts; t.Equal > 0 {
		how := "and each counts for its own picture alone (equal_captions: true counts them as positives of each other)"
		if e.EqualCaptions {
			how = "and count as positives of each other"
		}
		tell("info", "equal_captions", "%s are those of another picture too, %s", clip.CountOf(t.Equal, t.Captions, "captions"), how)
	}
	notes = append(notes, found.Notes...)
	if pairs := twinNames(e, info, found.Alike); pairs != nil {
		tell("warning", "class_names", "classes have the same text features, and no picture is ever taken for the second of them: %s", FirstFew(pairs))
	}
	return notes
}

// twinNames names classes that have other names, and the same features all the same.
func twinNames(e spec.Eval, info clip.DatasetInfo, twins []eval.Twins) (pairs []string) {
	var classes []string
	for _, t := range info.Targets {
		if e.ZeroShot != nil && t.Name == e.ZeroShot.Classes {
			classes = t.Classes
		}
	}
	for _, x := range twins {
		a, b := classes[x.First], classes[x.Second]
		if SameNames([]string{a, b}) == "" {
			pairs = append(pairs, fmt.Sprintf("%q and %q", a, b))
		}
	}
	return pairs
}
