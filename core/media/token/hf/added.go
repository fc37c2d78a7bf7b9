package hf

import (
	"strings"
	"unicode/utf8"
)

// addedToken is a token that is found in texts before anything else happens to them.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// part is a piece of text on its way to the model. first says that it begins where the whole text does.
type part struct {
	text  string
	first bool
}

// segment is a part or, when token is not nil, an added token in its place.
type segment struct {
	part
	token *Token
}

// added finds the added tokens of a text: some in the text as given, the others in its normalised form.
type added struct{ raw, normalized patterns }

// patterns holds what to look for, by first byte.
type patterns map[byte][]pattern

type pattern struct {
	text string
	addedToken
}

func newAdded(tokens []addedToken, n normalizer) added {
	a := added{patterns{}, patterns{}}
	for _, t := range tokens {
		if t.Content == "" {
			continue
		}
		if to, text := a.raw, t.Content; !t.Normalized {
			to[text[0]] = append(to[text[0]], pattern{text, t})
			continue
		}
		text := t.Content
		if n != nil {
			text = n.normalize(text)
		}
		if text != "" {
			a.normalized[text[0]] = append(a.normalized[text[0]], pattern{text, t})
		}
	}
	return a
}

// extract cuts a text at its added tokens and normalises what lies between them.
func (a added) extract(text string, n normalizer) []segment {
	var out []segment
	for _, s := range a.raw.find(part{text, true}) {
		if s.token != nil {
			out = append(out, s)
			continue
		}
		if n != nil {
			s.text = n.normalize(s.text)
		}
		out = append(out, a.normalized.find(s.part)...)
	}
	return out
}

// find cuts a part at the longest patterns, from left to right.
func (p patterns) find(in part) []segment {
	var out []segment
	text, start := in.text, 0
	keep := func(end int) {
		if start < end {
			out = append(out, segment{part: part{text[start:end], in.first && start == 0}})
		}
	}
	for i := 0; i < len(text); {
		best := p.longest(text[i:])
		if best == nil {
			i++
			continue
		}
		from, to := i, i+len(best.text)
		i = to
		if best.SingleWord && (endsWithWord(text[:from]) || startsWithWord(text[to:])) {
			continue
		}
		if best.LStrip {
			from = max(len(strings.TrimRightFunc(text[:from], isSpace)), start)
		}
		if best.RStrip {
			to = len(text) - len(strings.TrimLeftFunc(text[to:], isSpace))
		}
		keep(from)
		out = append(out, segment{token: &Token{best.ID, best.Content}})
		start, i = to, max(i, to)
	}
	keep(len(text))
	return out
}

// longest returns the longest pattern that text starts with.
func (p patterns) longest(text string) (best *pattern) {
	list := p[text[0]]
	for i := range list {
		if strings.HasPrefix(text, list[i].text) && (best == nil || len(list[i].text) > len(best.text)) {
			best = &list[i]
		}
	}
	return best
}

func endsWithWord(text string) bool {
	r, n := utf8.DecodeLastRuneInString(text)
	return n > 0 && isWord(r)
}

func startsWithWord(text string) bool {
	r, n := utf8.DecodeRuneInString(text)
	return n > 0 && isWord(r)
}
