package assemble

import (
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Announce tells, before anything is trained, what is wrong with the data: records that were refused, what the
// datasets remark, classes of the same name. More refused records than the spec allows are fault.Corrupt.
func (m *Model) Announce(rec clip.Recorder) error {
	var failure error
	for i, x := range m.data {
		section, limit, key := "data.train", m.Spec.Data.MaxBadShare, "data.max_bad_share"
		if i > 0 {
			section, limit = EvalSection(i-1), m.Spec.Eval[i-1].MaxBadShare
			key = section + ".max_bad_share"
		}
		refused := clip.Tally{Asked: x.Info.Len + x.Info.Skipped, Bad: x.Info.Skipped}
		if refused.Bad > 0 {
			message := fmt.Sprintf("%s: %s are refused", section, clip.CountOf(refused.Bad, refused.Asked, "records"))
			if err := rec.Event("warning", "samples_refused", message, x.Info.Note); err != nil {
				return err
			}
		}
		for _, r := range x.Info.Remarks {
			if err := rec.Event("warning", "data_remark", section+": "+r, ""); err != nil {
				return err
			}
		}
		if failure == nil && refused.Exceeds(limit, refused.Asked, false) {
			e := fault.New(fault.Corrupt, "%s: %s are refused, and %g is allowed", section, clip.CountOf(refused.Bad, refused.Asked, "records"), limit).
				WithPath(key).WithDetail(strings.Join(append([]string{x.Info.Note}, x.Info.Remarks...), "\n")).
				WithHint("mend the data, or allow more: %s: %.2g", key, min(1, 1.2*refused.Share()))
			if o := m.Spec.Locate(key); o.Line > 0 {
				e.WithFile(o.Source, o.Line, o.Column)
			}
			failure = e
		}
		if i == 0 || m.Spec.Eval[i-1].ZeroShot == nil {
			continue
		}
		for _, t := range x.Info.Targets {
			if t.Name != m.Spec.Eval[i-1].ZeroShot.Classes {
				continue
			}
			if text := SameNames(t.Classes); text != "" {
				if err := rec.Event("warning", "class_names", section+": "+text, ""); err != nil {
					return err
				}
			}
		}
	}
	return failure
}
