package assemble

import (
	"fmt"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// Announce tells, before anything is trained, what is wrong with the data: records that were refused, what the
// datasets remark, classes of the same name. More refused records than the spec allows are fault.Corrupt.
func (m *Model) Announce(rec clip.Recorder) error {
	var failure error
	for i, x := range m.data {
		e := x.entry
		limit, key, section := m.Spec.Data.MaxBadShare, "data.max_bad_share", x.section
		if e >= 0 {
			limit, key = m.Spec.Eval[e].MaxBadShare, EvalSection(e)+".max_bad_share"
		}
		refused := clip.Tally{Asked: x.Info.Len + x.Info.Skipped, Bad: x.Info.Skipped}
		if refused.Bad > 0 {
			message := fmt.Sprintf("%s: %s are refused%s", section, clip.CountOf(refused.Bad, refused.Asked, "records"), because(x.Info.Skips))
			if first := clip.SayFirst(x.Info.Skips); first != "" {
				message += "; " + first
			}
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
			e := fault.New(fault.Corrupt, "%s: %s are refused%s, and %g is allowed", section, clip.CountOf(refused.Bad, refused.Asked, "records"), because(x.Info.Skips), limit).
				WithPath(key).WithDetail(strings.Join(slices.DeleteFunc(append([]string{clip.SayFirst(x.Info.Skips), x.Info.Note}, x.Info.Remarks...), func(s string) bool { return s == "" }), "\n")).
				WithHint("mend the data, or allow more: %s: %.2g", key, min(1, 1.2*refused.Share()))
			if o := m.Spec.Locate(key); o.Line > 0 {
				e.WithFile(o.Source, o.Line, o.Column)
			}
			failure = e
		}
		if e < 0 {
			if err := m.announceOrder(rec, i, x.Info); err != nil {
				return err
			}
			continue
		}
		if m.Spec.Eval[e].ZeroShot == nil || x.learned {
			continue
		}
		for _, t := range x.Info.Targets {
			if t.Name != m.Spec.Eval[e].ZeroShot.Classes {
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

// because lists the reasons for which records are refused, as a clause; "" where nobody told them.
func because(skips []clip.Skip) string {
	if len(skips) == 0 {
		return ""
	}
	return " (" + clip.SayReasons(skips) + ")"
}

// announceOrder tells that a source which is to be read shard by shard has none.
func (m *Model) announceOrder(rec clip.Recorder, i int, info clip.DatasetInfo) error {
	if i >= len(m.Spec.Data.Train) {
		return nil
	}
	t := m.Spec.Data.Train[i]
	if t.Shuffle != spec.ShuffleShards || len(info.Shards) > 0 {
		return nil
	}
	return rec.Event("info", "data_remark", fmt.Sprintf("%s: the dataset has no shards, so that shuffle: shards shuffles each %d samples in the order of the file",
		m.Spec.TrainSection(i), t.ShuffleWindow), "")
}
