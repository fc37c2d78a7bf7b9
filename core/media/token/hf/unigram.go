package hf

import (
	"encoding/json"
	"math"
	"unicode/utf8"

	"tandem/core/fault"
)

// unigram takes the pieces whose scores, logarithms of probabilities, have the largest sum (Kudo 2018, arXiv 1804.10959).
type unigram struct {
	vocab        map[string]int32
	scores       []float64
	unk          int32
	hasUnk       bool
	unkName      string
	unkScore     float64
	longest      int // bytes of a piece
	byteFallback bool
}

// unknownPenalty is how much less than the worst piece an unknown character scores.
const unknownPenalty = 10

func newUnigram(c modelConfig) (*unigram, error) {
	var entries []json.RawMessage
	if err := parsePart(c.Vocab, &entries, "model.vocab"); err != nil {
		return nil, err
	}
	m := &unigram{vocab: make(map[string]int32, len(entries)), scores: make([]float64, len(entries)), byteFallback: c.ByteFallback}
	least := math.Inf(1)
	for i, raw := range entries {
		var text string
		pair := [2]any{&text, &m.scores[i]}
		if err := json.Unmarshal(raw, &pair); err != nil {
			return nil, fault.New(fault.Corrupt, "piece %d: %w", i, err).WithPath("model.vocab")
		}
		m.vocab[text] = int32(i)
		m.longest = max(m.longest, len(text))
		least = min(least, m.scores[i])
		if c.UnkID != nil && *c.UnkID == i {
			m.unkName = text
		}
	}
	if c.UnkID != nil {
		if m.hasUnk, m.unk = true, int32(*c.UnkID); *c.UnkID < 0 || *c.UnkID >= len(entries) {
			return nil, fault.New(fault.Corrupt, "%d in a vocabulary of %d", *c.UnkID, len(entries)).WithPath("model.unk_id")
		}
	}
	m.unkScore = least - unknownPenalty
	return m, nil
}

func (m *unigram) vocabulary() map[string]int32 { return m.vocab }

// best is the best way that ends at a place of the text.
type best struct {
	id    int32 // of its last piece
	score float64
	from  int // where that begins; -1 for none
}

func (m *unigram) tokenize(out []Token, text string) []Token {
	ends := make([]best, len(text)+1)
	for i := range ends {
		ends[i].from = -1
	}
	for at := 0; at < len(text); {
		_, n := utf8.DecodeRuneInString(text[at:])
		single := false
		offer := func(to int, id int32, score float64) {
			if score += ends[at].score; ends[to].from < 0 || score > ends[to].score {
				ends[to] = best{id, score, at}
			}
		}
		for to := at + 1; to <= min(len(text), at+m.longest); to++ {
			if to < len(text) && !utf8.RuneStart(text[to]) {
				continue
			}
			if id, ok := m.vocab[text[at:to]]; ok {
				offer(to, id, m.scores[id])
				single = single || to == at+n
			}
		}
		if !single {
			offer(at+n, m.unk, m.unkScore)
		}
		at += n
	}
	type span struct{ from, to int }
	var spans []span
	fused := false // the last span is of unknown characters, which those before it join
	for to := len(text); to > 0; {
		b := ends[to]
		if unknown := m.hasUnk && b.id == m.unk; unknown && fused {
			spans[len(spans)-1].from = b.from
		} else {
			spans, fused = append(spans, span{b.from, to}), unknown
		}
		to = b.from
	}
	for i := len(spans) - 1; i >= 0; i-- {
		piece := text[spans[i].from:spans[i].to]
		if id, ok := m.vocab[piece]; ok {
			out = append(out, Token{id, piece})
			continue
		}
		if m.byteFallback {
			if bytes, ok := byteTokens(nil, piece, m.vocab); ok {
				out = append(out, bytes...)
				continue
			}
		}
		if m.hasUnk {
			out = append(out, Token{m.unk, m.unkName})
		}
	}
	return out
}
