package hf

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"tandem/core/fault"
)

// A piece is a stretch of a text that a pattern matches or that lies between matches.
type piece struct {
	from, to int
	match    bool
}

// pattern cuts a text to pieces that cover it.
type finder interface {
	find(text string) []piece
}

// runeFinder matches single characters.
type runeFinder func(rune) bool

func (f runeFinder) find(text string) (out []piece) {
	last := 0
	for i, r := range text {
		if f(r) {
			if last < i {
				out = append(out, piece{last, i, false})
			}
			last = i + utf8.RuneLen(r)
			out = append(out, piece{i, last, true})
		}
	}
	if last < len(text) {
		out = append(out, piece{last, len(text), false})
	}
	return out
}

// regex matches a regular expression of the library's dialect (Oniguruma's).
type regex struct {
	literal string          // what is matched, when re is nil
	re      *regexp2.Regexp // of runes
}

// parsePattern makes the finder of {"String": …} or {"Regex": …}.
func parsePattern(raw json.RawMessage, path string) (*regex, error) {
	var c struct{ String, Regex *string }
	if err := parsePart(raw, &c, path); err != nil {
		return nil, err
	}
	switch {
	case c.String != nil && *c.String != "":
		return &regex{literal: *c.String}, nil
	case c.Regex != nil:
		re, err := regexp2.Compile(translate(*c.Regex), regexp2.None)
		if err != nil {
			return nil, fault.New(fault.Invalid, "the pattern %q is not understood here: %w", *c.Regex, err).WithPath(path)
		}
		return &regex{re: re}, nil
	}
	return nil, fault.New(fault.Corrupt, "no pattern").WithPath(path)
}

// wordClass is what Oniguruma's \w matches; .NET's, which package regexp2 follows, matches less.
const wordClass = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}²³¹¼½¾Ⓐ-ⓩ🄰-🅉🅐-🅩🅰-🆉`

// translate writes a pattern of Oniguruma in package regexp2's dialect.
func translate(pattern string) string {
	var out strings.Builder
	inClass := 0
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			switch next := pattern[i]; {
			case next == 'w' && inClass > 0:
				out.WriteString(wordClass)
			case next == 'w':
				out.WriteString("[" + wordClass + "]")
			case next == 'W' && inClass == 0:
				out.WriteString("[^" + wordClass + "]")
			default:
				out.WriteByte(c)
				out.WriteByte(next)
			}
			continue
		case c == '[':
			inClass++
		case c == ']' && inClass > 0:
			inClass--
		}
		out.WriteByte(c)
	}
	return out.String()
}

// find returns the matches and what lies between them. Empty matches are passed over.
func (p *regex) find(text string) (out []piece) {
	last := 0
	add := func(from, to int) {
		if last < from {
			out = append(out, piece{last, from, false})
		}
		out = append(out, piece{from, to, true})
		last = to
	}
	if p.re == nil {
		for at := 0; ; {
			i := strings.Index(text[at:], p.literal)
			if i < 0 {
				break
			}
			add(at+i, at+i+len(p.literal))
			at = last
		}
	} else {
		runes := []rune(text)
		places := make([]int, 0, len(runes)+1) // of each rune in text
		for i := range text {
			places = append(places, i)
		}
		places = append(places, len(text))
		for m, err := p.re.FindRunesMatch(runes); m != nil && err == nil; m, err = p.re.FindNextMatch(m) {
			if m.Length > 0 {
				add(places[m.Index], places[m.Index+m.Length])
			}
		}
	}
	if last < len(text) {
		out = append(out, piece{last, len(text), false})
	}
	return out
}

// replace puts content in the place of every match.
func (p *regex) replace(text, content string) string {
	if p.re == nil {
		return strings.ReplaceAll(text, p.literal, content)
	}
	var out strings.Builder
	for _, s := range p.find(text) {
		if s.match {
			out.WriteString(content)
		} else {
			out.WriteString(text[s.from:s.to])
		}
	}
	return out.String()
}

// inverted swaps what matches and what does not.
type inverted struct{ finder }

func (p inverted) find(text string) []piece {
	out := p.finder.find(text)
	for i := range out {
		out[i].match = !out[i].match
	}
	return out
}

// behaviour says what becomes of the matches when a text is split.
type behaviour string

const (
	removed      behaviour = "Removed"
	isolated     behaviour = "Isolated"
	withPrevious behaviour = "MergedWithPrevious"
	withNext     behaviour = "MergedWithNext"
	contiguous   behaviour = "Contiguous"
)

// apply cuts a part at the matches of f.
func (b behaviour) apply(in part, f finder) []part {
	var out []part
	pieces := f.find(in.text)
	add := func(p piece) {
		if p.from < p.to {
			out = append(out, part{in.text[p.from:p.to], in.first && p.from == 0})
		}
	}
	var last *piece
	merge := func(p piece, join bool) { // p follows last, or replaces it together with it
		if last != nil && join {
			last.to = p.to
			return
		}
		if last != nil {
			add(*last)
		}
		last = &p
	}
	switch before := false; b {
	case removed:
		for _, p := range pieces {
			if !p.match {
				add(p)
			}
		}
	case isolated:
		for _, p := range pieces {
			add(p)
		}
	case contiguous:
		for i, p := range pieces {
			merge(p, i > 0 && pieces[i-1].match == p.match)
		}
	case withPrevious:
		for _, p := range pieces {
			merge(p, p.match && !before)
			before = p.match
		}
	case withNext: // a match joins what follows unless that is a match
		for i, p := range pieces {
			merge(p, i > 0 && pieces[i-1].match && !p.match)
		}
	}
	if last != nil {
		add(*last)
	}
	return out
}
