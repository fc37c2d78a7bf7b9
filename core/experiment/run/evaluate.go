package run

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/train"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// evaluate measures the model by every evaluation of the spec and records what it finds.
func (r *running) evaluate(ctx context.Context, step int) error {
	if r.beside != nil {
		return r.agree(ctx, r.beside.evaluate(ctx, step))
	}
	plan, during, end := shared(ctx, r.Model, r.lab.Ranks)
	defer end()
	for i, e := range r.Spec.Eval {
		r.watch.Doing("evaluating " + e.Name)
		result, err := plan.Run(during, i, func(done, total int) {
			r.watch.Doing(fmt.Sprintf("evaluating %s %d/%d", e.Name, done, total))
		})
		r.watch.Doing("")
		if err != nil {
			err = assemble.PlaceEval(r.Spec, err, i)
		} else {
			err = r.recordEvaluation(step, i, result)
		}
		if err := r.agree(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// agree returns an error on all ranks when any has one.
func (r *running) agree(ctx context.Context, err error) error {
	if !r.lab.Several() {
		return err
	}
	return collective.Agree(ctx, r.lab.Group, err)
}

// recordEvaluation records and tells what evaluation i found at a step.
func (r *running) recordEvaluation(step, i int, found eval.Result) error {
	name := r.Spec.Eval[i].Name
	if err := r.tellEvaluation(i, found); err != nil {
		return err
	}
	if err := r.recordFigures(step, name, found.Figures); err != nil || found.Averaged == nil {
		return err
	}
	return r.recordFigures(step, metric.Averaged(name), *found.Averaged)
}

// recordFigures records and tells what an evaluation found by one set of weights, under a name.
func (r *running) recordFigures(step int, name string, f eval.Figures) error {
	if err := r.rec.Metrics(step, f.Metrics); err != nil {
		return err
	}
	for _, o := range f.Outcomes {
		if o.Of != "" {
			o.Of = "/" + o.Of
		}
		if err := r.rec.Predictions(step, name+o.Of, o.Target, o.Predictions); err != nil {
			return err
		}
	}
	r.watch.Evaluated(step, name, f.Metrics)
	return nil
}

// tellEvaluation records what an evaluation left out and what was wrong with its texts. It tells each thing once, and
// again when it changes.
func (r *running) tellEvaluation(i int, found eval.Result) error {
	e := r.Spec.Eval[i]
	section := fmt.Sprintf("%s (%s)", assemble.EvalSection(i), e.Name)
	facts := map[string]any{"n": int64(found.Samples.Asked - found.Samples.Bad), "left_out": int64(found.Samples.Bad)}
	if found.Texts.N > 0 {
		facts["texts_cut"], facts["texts_longest"] = int64(found.Texts.Cut), int64(found.Texts.Longest)
	}
	if e.Retrieval {
		facts["captions"], facts["captions_equal"] = int64(found.Texts.Captions), int64(found.Texts.Equal)
	}
	maps.Copy(facts, found.Facts)
	if err := r.rec.SetFacts(map[string]any{"eval": map[string]any{e.Name: facts}}); err != nil {
		return err
	}
	if err := r.rec.SetSkips(assemble.RoleEval+e.Name, store.StageLeftOut, found.Reasons); err != nil {
		return err
	}
	for _, n := range assemble.EvalRemarks(e, r.Evals[i].Info, found) {
		message, key := section+": "+n.Text, section+n.Kind
		if r.told[key] == message {
			continue
		}
		r.told[key] = message
		if err := r.rec.Event(n.Level, n.Kind, message, ""); err != nil {
			return err
		}
	}
	return nil
}

// because lists reasons, as a clause; "" where nobody told them.
func because(skips []clip.Skip) string {
	if len(skips) == 0 {
		return ""
	}
	return ": " + clip.SayReasons(skips)
}

// settle records what became of the samples and captions of a run, and tells of it at the end when not all is well.
func (r *running) settle(c train.Counts) error {
	if err := r.recordCounts(c); err != nil {
		return err
	}
	facts := map[string]any{"refused": int64(r.Summary.Data.Skipped), "replaced": int64(c.Replaced), "replaced_share": c.Tally().Share()}
	var bad []string
	if n := r.Summary.Data.Skipped; n > 0 {
		all := n + r.Summary.Data.Len
		facts["refused_share"] = float64(n) / float64(all)
		bad = append(bad, clip.CountOf(n, all, "records were refused")+because(r.Summary.Data.Skips))
	}
	if c.Replaced > 0 {
		bad = append(bad, clip.CountOf(c.Replaced, c.Samples, "samples could not be read and were replaced")+because(c.Reasons()))
	}
	if c.Captions > 0 {
		facts["captions_cut"], facts["captions_cut_share"] = int64(c.Cut), float64(c.Cut)/float64(c.Captions)
		facts["captions_empty"], facts["captions_longest"] = int64(c.Blank), int64(c.Longest)
	}
	if c.CutTold {
		bad = append(bad, clip.CountOf(c.Cut, c.Captions, fmt.Sprintf("captions were cut to %d tokens", c.Context)))
	}
	if c.Blank > 0 {
		bad = append(bad, clip.CountOf(c.Blank, c.Captions, "captions said nothing"))
	}
	all := map[string]any{"data": facts}
	if r.sent > 0 {
		all[factSent] = r.sent
	}
	if err := r.rec.SetFacts(all); err != nil || bad == nil {
		return err
	}
	return r.rec.Event("warning", "samples", "of the training data, "+strings.Join(bad, "; "), "")
}
