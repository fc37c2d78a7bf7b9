package describe

import (
	"fmt"
	"io"
	"strings"

	"tandem/core/fault"
)

// Text writes a report for people, one block for each set and one for what evaluations share with training data.
func (r *Report) Text(w io.Writer) error {
	var out strings.Builder
	for _, s := range r.Sets {
		s.text(&out)
	}
	if len(r.Leaks) > 0 {
		out.WriteString("leakage: what evaluations have in common with training data\n")
	}
	for _, l := range r.Leaks {
		l.text(&out)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// row writes a line of a block.
func row(out *strings.Builder, name, format string, args ...any) {
	fmt.Fprintf(out, "  %-14s %s\n", name, fault.PrintableLine(fmt.Sprintf(format, args...)))
}

func share(n, of int) string {
	if of == 0 {
		return "none"
	}
	return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(of))
}

func (s *Spread) text() string {
	return fmt.Sprintf("%.4g … %.4g, median %.4g, 5 to 95 %%: %.4g to %.4g", s.Min, s.Max, s.Median, s.P5, s.P95)
}

func list(counts []Count, of int) string {
	var parts []string
	for _, c := range counts {
		if of > 0 {
			parts = append(parts, fmt.Sprintf("%s %.1f %%", c.What, 100*float64(c.Count)/float64(of)))
		} else {
			parts = append(parts, fmt.Sprintf("%s %d", c.What, c.Count))
		}
	}
	return strings.Join(parts, ", ")
}

func total(counts []Count) int {
	n := 0
	for _, c := range counts {
		n += c.Count
	}
	return n
}

func (s *Set) text(out *strings.Builder) {
	fmt.Fprintf(out, "%s: %s\n", fault.PrintableLine(s.Name), fault.PrintableLine(s.Plugin))
	row(out, "samples", "%d; looked at %s", s.Samples, share(s.Looked, s.Samples))
	if s.Note != "" {
		row(out, "", "%s", s.Note)
	}
	if len(s.Refused) > 0 {
		row(out, "refused", "%s", list(s.Refused, 0))
	}
	if len(s.Unreadable) > 0 {
		row(out, "unreadable", "%s", list(s.Unreadable, 0))
	}
	if s.Widths != nil {
		row(out, "widths", "%s", s.Widths.text())
		row(out, "heights", "%s", s.Heights.text())
		row(out, "aspect", "%s (width to height; %d distinct sizes)", list(s.Aspects, s.Widths.Count), s.Shapes)
	} else if total(s.Unreadable) < s.Looked {
		row(out, "sizes", "unknown: the dataset does not tell them, or draws pictures in the size that is asked for")
	}
	if s.Captions > 0 {
		row(out, "captions", "%d, of them %s distinct; %.3g to %.3g a picture", s.Captions, share(s.Distinct, s.Captions), s.PerSample.Min, s.PerSample.Max)
		row(out, "characters", "%s", s.Characters.text())
		row(out, "words", "%s", s.Words.text())
	}
	if s.Tokens != nil {
		row(out, "tokens", "%s; %s are over the context of %d and cut", s.Tokens.text(), share(s.Cut, s.Tokens.Count), s.Context)
	}
	if len(s.MostCommon) > 0 {
		var parts []string
		for _, c := range s.MostCommon[:min(5, len(s.MostCommon))] {
			parts = append(parts, fmt.Sprintf("%q × %d", c.What, c.Count))
		}
		row(out, "most common", "%s", strings.Join(parts, ", "))
	}
	if len(s.Languages) > 0 {
		row(out, "languages", "%s (a guess)", list(s.Languages, s.Captions))
	}
	for _, t := range s.Classes {
		if t.Labelled == 0 {
			row(out, t.Name, "%d classes, no sample labelled", t.Classes)
			continue
		}
		row(out, t.Name, "%d of %d classes in %d samples, as even as %.1f; largest %s; smallest %s", t.Present, t.Classes, t.Labelled, t.Effective,
			list(t.Largest, 0), list(t.Smallest, 0))
	}
	if s.Brightness != nil {
		row(out, "brightness", "%s (mean luma, 0 … 255)", s.Brightness.text())
		row(out, "contrast", "%s; %s hardly more than one colour", s.Contrast.text(), share(s.Flat, s.Brightness.Count))
		row(out, "the same", "%s", s.ExactTwins.text("pixel by pixel"))
		row(out, "alike", "%s", s.NearTwins.text(fmt.Sprintf("within %d bits of pHash", s.NearWithin)))
		examples(out, s.ExactTwins.Examples[:min(2, len(s.ExactTwins.Examples))])
		examples(out, s.NearTwins.Examples[:min(3, len(s.NearTwins.Examples))])
	}
	for _, r := range s.Remarks {
		row(out, "note", "%s", r)
	}
	out.WriteString("\n")
}

func (t Twins) text(how string) string {
	if t.Groups == 0 {
		return "none " + how
	}
	return fmt.Sprintf("%d pictures in %d groups %s: %d are there again", t.Pictures, t.Groups, how, t.Extra)
}

func examples(out *strings.Builder, pairs []Pair) {
	for _, p := range pairs {
		what := fmt.Sprintf("%d bits", p.Bits)
		if p.Exact {
			what = "the same"
		}
		row(out, "", "%s and %s (%s)", p.A.Key, p.B.Key, what)
	}
}

func (l *Leak) text(out *strings.Builder) {
	if !l.Different {
		row(out, l.Eval, "the same samples as %s", l.Train)
		return
	}
	row(out, l.Eval, "of %d pictures %s are in %s pixel by pixel, %s more look like one of its %d; %s have a caption of it", l.LookedAt[1], share(l.Exact, l.LookedAt[1]), l.Train,
		share(l.Near, l.LookedAt[1]), l.LookedAt[0], share(l.Captions, l.LookedAt[1]))
	examples(out, l.Examples[:min(5, len(l.Examples))])
}
