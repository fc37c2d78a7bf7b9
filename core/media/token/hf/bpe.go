package hf

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
)

// bpe joins pairs in the order of the merges (Sennrich et al. 2016).
type bpe struct {
	vocab        map[string]int32
	pieces       map[int32]string
	merges       map[[2]int32]merge
	prefix       string // of symbols within a word
	suffix       string // of the last symbol of a word
	unk          *Token
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
}

// merge says when a pair is joined and what it becomes.
type merge struct{ rank, id int32 }

func newBPE(c modelConfig, vocab map[string]int32) (*bpe, error) {
	if c.Dropout != nil && *c.Dropout > 0 {
		return nil, fault.New(fault.Invalid, "dropout %g would give other ids every time", *c.Dropout).WithPath("model.dropout")
	}
	m := &bpe{vocab: vocab, pieces: map[int32]string{}, merges: make(map[[2]int32]merge, len(c.Merges)), prefix: c.Prefix, suffix: c.Suffix,
		fuseUnk: c.FuseUnk, byteFallback: c.ByteFallback, ignoreMerges: c.IgnoreMerges}
	for text, id := range vocab {
		m.pieces[id] = text
	}
	if c.UnkToken != nil {
		unk, err := unknown(c, vocab, "")
		if err != nil {
			return nil, err
		}
		m.unk = &unk
	}
	for rank, raw := range c.Merges {
		left, right, ok := parseMerge(raw)
		joined := left + strings.TrimPrefix(right, c.Prefix)
		a, okA := vocab[left]
		b, okB := vocab[right]
		id, okID := vocab[joined]
		if !ok || !okA || !okB || !okID {
			return nil, fault.New(fault.Corrupt, "merge %d, %s, joins what the vocabulary does not have", rank, raw).WithPath("model.merges")
		}
		m.merges[[2]int32{a, b}] = merge{int32(rank), id}
	}
	return m, nil
}

// parseMerge reads "a b" or ["a", "b"].
func parseMerge(raw json.RawMessage) (left, right string, ok bool) {
	var line string
	if json.Unmarshal(raw, &line) == nil {
		left, right, ok = strings.Cut(line, " ")
		return left, right, ok && !strings.Contains(right, " ")
	}
	var both []string
	if json.Unmarshal(raw, &both) != nil || len(both) != 2 {
		return "", "", false
	}
	return both[0], both[1], true
}

func (m *bpe) vocabulary() map[string]int32 { return m.vocab }

func (m *bpe) tokenize(out []Token, word string) []Token {
	if id, ok := m.vocab[word]; ok && m.ignoreMerges {
		return append(out, Token{id, word})
	}
	for _, id := range m.join(m.symbols(word)) {
		out = append(out, Token{id, m.pieces[id]})
	}
	return out
}

// symbols returns the ids of a word's characters.
func (m *bpe) symbols(word string) []int32 {
	ids := make([]int32, 0, len(word))
	pending := false // an unknown token that is yet to be written
	flush := func() {
		if pending {
			ids, pending = append(ids, m.unk.ID), false
		}
	}
	for i, r := range word {
		s := word[i : i+utf8.RuneLen(r)]
		if i > 0 {
			s = m.prefix + s
		}
		if i+utf8.RuneLen(r) == len(word) {
			s += m.suffix
		}
		if id, ok := m.vocab[s]; ok {
			flush()
			ids = append(ids, id)
			continue
		}
		if m.byteFallback {
			if bytes, ok := byteTokens(nil, s, m.vocab); ok {
				for _, b := range bytes {
					ids = append(ids, b.ID)
				}
				continue
			}
		}
		if m.unk != nil {
			if !m.fuseUnk {
				flush()
			}
			pending = true
		}
	}
	flush()
	return ids
}

// byteTokens appends the tokens <0x00> … of a text's bytes, or says that the vocabulary lacks one.
func byteTokens(out []Token, text string, vocab map[string]int32) ([]Token, bool) {
	for i := range len(text) {
		name := fmt.Sprintf("<0x%02X>", text[i])
		id, ok := vocab[name]
		if !ok {
			return nil, false
		}
		out = append(out, Token{id, name})
	}
	return out, true
}

// node is a symbol in the list of those that are left.
type node struct {
	id         int32
	prev, next int
	gone       bool
}

// join merges the pair of the lowest rank, the leftmost first, until none is left.
func (m *bpe) join(ids []int32) []int32 {
	nodes := make([]node, len(ids))
	for i, id := range ids {
		nodes[i] = node{id: id, prev: i - 1, next: i + 1}
	}
	var queue pairs
	push := func(at int) {
		if at < 0 || nodes[at].next >= len(nodes) {
			return
		}
		if j, ok := m.merges[[2]int32{nodes[at].id, nodes[nodes[at].next].id}]; ok {
			heap.Push(&queue, pairAt{j, at})
		}
	}
	for i := range nodes {
		push(i)
	}
	for len(queue) > 0 {
		top := heap.Pop(&queue).(pairAt)
		left := &nodes[top.at]
		if left.gone || left.next >= len(nodes) {
			continue
		}
		right := &nodes[left.next]
		if j, ok := m.merges[[2]int32{left.id, right.id}]; !ok || j.id != top.id {
			continue // what was there when the pair was noted has been joined with something else
		}
		left.id, right.gone = top.id, true
		if left.next = right.next; left.next < len(nodes) {
			nodes[left.next].prev = top.at
		}
		push(left.prev)
		push(top.at)
	}
	out := ids[:0]
	for i := 0; i < len(nodes); i = nodes[i].next {
		out = append(out, nodes[i].id)
	}
	return out
}

// pairAt is a pair to be joined, at the place of its left symbol.
type pairAt struct {
	merge
	at int
}

// pairs is a heap by rank and place.
type pairs []pairAt

func (p pairs) Len() int { return len(p) }
func (p pairs) Less(i, j int) bool {
	return p[i].rank < p[j].rank || p[i].rank == p[j].rank && p[i].at < p[j].at
}
func (p pairs) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *pairs) Push(x any)   { *p = append(*p, x.(pairAt)) }
func (p *pairs) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}
