package run

import (
	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/train"
	"tandem/core/results/store"
)

// recordData records where the samples come from, and what was refused when the data was opened. A run that goes on has
// counts, which stay.
func (r *running) recordData(goesOn bool) error {
	for _, src := range r.Summary.Sources {
		if err := r.rec.SetSkips(src.Role, store.StageRefused, refused(src.Info)); err != nil {
			return err
		}
	}
	for i, e := range r.Spec.Eval {
		if err := r.rec.SetSkips(assemble.RoleEval+e.Name, store.StageRefused, refused(r.Evals[i].Info)); err != nil {
			return err
		}
		if t := r.Evals[i].Train; t != nil {
			if err := r.rec.SetSkips(assemble.RoleEvalTrain+e.Name, store.StageRefused, refused(t.Info)); err != nil {
				return err
			}
		}
	}
	if goesOn {
		return nil
	}
	return r.recordCounts(train.Counts{})
}

// refused returns what a dataset refused, by reason also where it does not tell any.
func refused(info clip.DatasetInfo) []clip.Skip {
	if info.Skipped > 0 && len(info.Skips) == 0 {
		return []clip.Skip{{Reason: clip.ReasonOther, Count: info.Skipped}}
	}
	return info.Skips
}

// recordCounts records what became of the samples of each source until now.
func (r *running) recordCounts(c train.Counts) error {
	rows := make([]store.Source, len(r.Summary.Sources))
	for i, src := range r.Summary.Sources {
		t := r.Spec.Data.Train[i]
		rows[i] = store.Source{Role: src.Role, Name: src.Name, Digest: src.Info.Digest, Samples: src.Info.Len, Weight: t.Weight, Quota: t.Quota}
		var reasons []clip.Skip
		if i < len(c.Sources) {
			rows[i].Seen, rows[i].Replaced, reasons = c.Sources[i].Samples, c.Sources[i].Replaced, c.Sources[i].Reasons
		}
		if err := r.rec.SetSkips(src.Role, store.StageReplaced, reasons); err != nil {
			return err
		}
	}
	return r.rec.SetSources(rows)
}
