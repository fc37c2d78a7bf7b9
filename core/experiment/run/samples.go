package run

import (
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// announce tells, before anything is trained, what is not as it should be with the data: refused records, what the
// datasets remark, classes of one name. Too many refused records are an error.
func (m *model) announce(rec clip.Recorder) error {
	var failure error
	for i, x := range m.data {
		section, limit, key := "data.train", m.spec.Data.MaxBadShare, "data.max_bad_share"
		if i > 0 {
			section, limit = evalSection(i-1), m.spec.Eval[i-1].MaxBadShare
			key = section + ".max_bad_share"
		}
		refused := clip.Tally{Asked: x.info.Len + x.info.Skipped, Bad: x.info.Skipped}
		if refused.Bad > 0 {
			message := fmt.Sprintf("%s: %s are refused", section, clip.CountOf(refused.Bad, refused.Asked, "records"))
			if err := rec.Event("warning", "samples_refused", message, x.info.Note); err != nil {
				return err
			}
		}
		for _, r := range x.info.Remarks {
			if err := rec.Event("warning", "data_remark", section+": "+r, ""); err != nil {
				return err
			}
		}
		if failure == nil && refused.Exceeds(limit, refused.Asked, false) {
			e := fault.New(fault.Corrupt, "%s: %s are refused, and %g is allowed", section, clip.CountOf(refused.Bad, refused.Asked, "records"), limit).
				WithPath(key).WithDetail(strings.Join(append([]string{x.info.Note}, x.info.Remarks...), "\n")).
				WithHint("mend the data, or allow more: %s: %.2g", key, min(1, 1.2*refused.Share()))
			if o := m.spec.Locate(key); o.Line > 0 {
				e.WithFile(o.Source, o.Line, o.Column)
			}
			failure = e
		}
		if i == 0 || m.spec.Eval[i-1].ZeroShot == nil {
			continue
		}
		for _, t := range m.evals[i-1].Info.Targets {
			if t.Name != m.spec.Eval[i-1].ZeroShot.Classes {
				continue
			}
			if text := sameNames(t.Classes); text != "" {
				if err := rec.Event("warning", "class_names", section+": "+text, ""); err != nil {
					return err
				}
			}
		}
	}
	return failure
}

// sameNames says which of the names of classes are the same to a text encoder, which knows neither capitals nor how
// many spaces there are; "" when none are.
func sameNames(names []string) string {
	first := map[string]int{}
	var twins []string
	for i, name := range names {
		key := strings.ToLower(strings.Join(strings.Fields(name), " "))
		j, known := first[key]
		if !known {
			first[key] = i
			continue
		}
		twins = append(twins, fmt.Sprintf("%q (%d and %d)", name, j, i))
	}
	if twins == nil {
		return ""
	}
	return "classes have the same name, and no picture is ever taken for the second of them: " + few(twins)
}

// few joins the first of a list and says how many more there are.
func few(list []string) string {
	const most = 5
	text := strings.Join(list[:min(most, len(list))], ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// named is a dataset's description with the class names of a spec's zero-shot evaluation.
func named(info clip.DatasetInfo, z *spec.ZeroShot, section string) (clip.DatasetInfo, error) {
	if z == nil || z.ClassNames == nil {
		return info, nil
	}
	targets := append([]clip.Target(nil), info.Targets...)
	for i, t := range targets {
		if t.Name != z.Classes {
			continue
		}
		if len(t.Classes) != len(z.ClassNames) {
			return info, fault.New(fault.Invalid, "%d names for the %d classes of %s", len(z.ClassNames), len(t.Classes), t.Name).
				WithPath(section+".zero_shot.class_names").WithHint("one for each class, in the order of their ids: %s", few(t.Classes))
		}
		targets[i].Classes = z.ClassNames
	}
	info.Targets = targets
	return info, nil
}

// judged tells what an evaluation left out and what was wrong with its texts: once, and again when it changes.
func (m *model) judged(rec *teller, i int, r eval.Result) error {
	e := m.spec.Eval[i]
	section := fmt.Sprintf("%s (%s)", evalSection(i), e.Name)
	facts := map[string]any{"n": int64(r.Samples.Asked - r.Samples.Bad), "left_out": int64(r.Samples.Bad)}
	if r.Texts.N > 0 {
		facts["texts_cut"], facts["texts_longest"] = int64(r.Texts.Cut), int64(r.Texts.Longest)
	}
	if e.Retrieval {
		facts["captions"], facts["captions_equal"] = int64(r.Texts.Captions), int64(r.Texts.Equal)
	}
	if err := rec.SetFacts(map[string]any{"eval": map[string]any{e.Name: facts}}); err != nil {
		return err
	}
	tell := func(level, kind, format string, args ...any) error {
		message := section + ": " + fmt.Sprintf(format, args...)
		key := section + kind
		if m.told[key] == message {
			return nil
		}
		if m.told == nil {
			m.told = map[string]string{}
		}
		m.told[key] = message
		return rec.Event(level, kind, message, "")
	}
	if n := r.Samples; n.Bad > 0 {
		f := r.Unreadable[0]
		if err := tell("warning", "samples_left_out", "%s cannot be read and are left out of the figures, n = %d; sample %d (%s): %s",
			clip.CountOf(n.Bad, n.Asked, "samples"), n.Asked-n.Bad, f.Index, f.Key, f.Msg); err != nil {
			return err
		}
	}
	if t := r.Texts; t.Cut > 0 {
		if err := tell("warning", "captions_cut", "%s are longer than the context of %d tokens and are cut; the longest has %d",
			clip.CountOf(t.Cut, t.N, "prompts and captions"), t.Context, t.Longest); err != nil {
			return err
		}
	}
	if t := r.Texts; t.Blank > 0 {
		if err := tell("warning", "captions_empty", "%s say nothing to the text encoder: no token is left of them",
			clip.CountOf(t.Blank, t.N, "prompts and captions")); err != nil {
			return err
		}
	}
	if t := r.Texts; t.Equal > 0 {
		how := "and each counts for its own picture alone (equal_captions: true counts them as positives of each other)"
		if e.EqualCaptions {
			how = "and count as positives of each other"
		}
		if err := tell("info", "equal_captions", "%s are those of another picture too, %s", clip.CountOf(t.Equal, t.Captions, "captions"), how); err != nil {
			return err
		}
	}
	return m.alike(i, r.Alike, tell)
}

// alike tells of classes that have other names, and the same features all the same.
func (m *model) alike(i int, twins []eval.Twins, tell func(level, kind, format string, args ...any) error) error {
	z := m.spec.Eval[i].ZeroShot
	var classes []string
	for _, t := range m.evals[i].Info.Targets {
		if z != nil && t.Name == z.Classes {
			classes = t.Classes
		}
	}
	var pairs []string
	for _, x := range twins {
		a, b := classes[x.First], classes[x.Second]
		if sameNames([]string{a, b}) == "" {
			pairs = append(pairs, fmt.Sprintf("%q and %q", a, b))
		}
	}
	if pairs == nil {
		return nil
	}
	return tell("warning", "class_names", "classes have the same text features, and no picture is ever taken for the second of them: %s", few(pairs))
}

// settle records what became of the samples and captions of a run, and says it once more when not all is well.
func (m *model) settle(rec *teller, c train.Counts) error {
	facts := map[string]any{"refused": int64(m.begin.Data.Skipped), "replaced": int64(c.Replaced), "replaced_share": c.Tally().Share()}
	var bad []string
	if n := m.begin.Data.Skipped; n > 0 {
		all := n + m.begin.Data.Len
		facts["refused_share"] = float64(n) / float64(all)
		bad = append(bad, clip.CountOf(n, all, "records were refused"))
	}
	if c.Replaced > 0 {
		bad = append(bad, clip.CountOf(c.Replaced, c.Samples, "samples could not be read and were replaced"))
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
	if err := rec.SetFacts(map[string]any{"data": facts}); err != nil || bad == nil {
		return err
	}
	return rec.Event("warning", "samples", "of the training data, "+strings.Join(bad, "; "), "")
}
