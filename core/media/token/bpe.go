package token

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"tandem/core/fault"
)

const (
	base    = 512 // ids of single symbols: 256 bytes, then the same 256 at the end of a word
	wordEnd = 256 // added to a byte's id at the end of a word
	maxWord = 1 << 16
)

// byteID gives the id of each byte in CLIP's order: the printable ones of Latin-1 first, then the others.
// byteRune gives the character that stands for each byte in a merges file.
var (
	byteID   [256]int32
	byteRune [256]rune
	idByte   [256]byte
	runeByte = map[rune]byte{}
)

func init() {
	next := int32(0)
	add := func(b int, r rune) {
		byteID[b], byteRune[b], idByte[next], runeByte[r] = next, r, byte(b), byte(b)
		next++
	}
	printable := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae }
	for b := range 256 {
		if printable(b) {
			add(b, rune(b))
		}
	}
	other := rune(256)
	for b := range 256 {
		if !printable(b) {
			add(b, other)
			other++
		}
	}
}

// BPE tokenizes by byte-level byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) with CLIP's layout of
// ids: 0–255 stand for bytes, 256–511 for bytes that end a word, then come the merges in order, ids that are
// not used up to the size of the vocabulary, and SOT and EOT last. Every text has an encoding: there is no
// unknown token.
type BPE struct {
	size    int
	merges  []int32          // pairs of ids, flattened, by rank
	symbols []symbol         // by id
	ranks   map[uint64]int32 // pair of ids → rank
	made    []int32          // rank → id of the merged symbol
	byText  map[symbol]int32 // inverse of symbols

	memo memo // ids of texts as given, without SOT and EOT
}

// symbol holds the bytes of an id, and whether a word ends after them.
type symbol struct {
	text string
	end  bool
}

func pair(left, right int32) uint64 { return uint64(left)<<32 | uint64(right) }

// newBPE replays merges (pairs of ids, flattened) and checks them. A pair whose joined symbol exists
// already leads to that symbol and takes no new id.
func newBPE(vocabSize int, merges []int32) (*BPE, error) {
	if vocabSize < base+2 {
		return nil, fault.New(fault.Invalid, "vocab_size %d, a byte-level BPE needs %d", vocabSize, base+2)
	}
	if len(merges)%2 != 0 {
		return nil, fault.New(fault.Invalid, "%d ids do not make pairs", len(merges))
	}
	t := emptyBPE(vocabSize)
	for i := 0; i < len(merges); i += 2 {
		left, right := merges[i], merges[i+1]
		if left < 0 || right < 0 || int(max(left, right)) >= len(t.symbols) || t.symbols[left].end {
			return nil, fault.New(fault.Invalid, "merge %d joins %d and %d", i/2, left, right)
		}
		if _, twice := t.ranks[pair(left, right)]; twice {
			return nil, fault.New(fault.Invalid, "merge %d repeats the pair %d %d", i/2, left, right)
		}
		t.addMerge(left, right)
	}
	if len(t.symbols) > vocabSize-2 {
		return nil, fault.New(fault.Invalid, "%d symbols in a vocabulary of %d", len(t.symbols)+2, vocabSize)
	}
	return t, nil
}

// emptyBPE returns a BPE without merges.
func emptyBPE(vocabSize int) *BPE {
	t := &BPE{
		size:  vocabSize,
		ranks: map[uint64]int32{}, byText: map[symbol]int32{},
	}
	for _, end := range []bool{false, true} {
		for _, b := range idByte {
			t.define(symbol{string([]byte{b}), end})
		}
	}
	return t
}

func (t *BPE) define(s symbol) int32 {
	id := int32(len(t.symbols))
	t.symbols = append(t.symbols, s)
	t.byText[s] = id
	return id
}

// addMerge appends a merge and returns the id of the joined symbol.
func (t *BPE) addMerge(left, right int32) int32 {
	joined := symbol{t.symbols[left].text + t.symbols[right].text, t.symbols[right].end}
	id, exists := t.byText[joined]
	if !exists {
		id = t.define(joined)
	}
	t.ranks[pair(left, right)] = int32(len(t.made))
	t.made = append(t.made, id)
	t.merges = append(t.merges, left, right)
	return id
}

// Encode implements Tokenizer. Texts met before come from a bounded cache.
func (t *BPE) Encode(text string, contextLength int) []int32 {
	ids := t.memo.recall(text, func() (ids []int32) {
		split(Clean(text), func(word string) { ids = t.encodeWord(ids, word) })
		return ids
	})
	return wrap(ids, t.SOT(), t.EOT(), contextLength)
}

// encodeWord appends the ids of one match of the pattern. Merging takes time quadratic in the length, so words
// of more than maxWord bytes are encoded in pieces; the reference does not cut them and takes very long.
func (t *BPE) encodeWord(ids []int32, word string) []int32 {
	switch word {
	case startText:
		return append(ids, t.SOT())
	case endText:
		return append(ids, t.EOT())
	}
	for len(word) > maxWord {
		ids = append(ids, t.merge(byteIDs(word[:maxWord], false))...)
		word = word[maxWord:]
	}
	return append(ids, t.merge(byteIDs(word, true))...)
}

// byteIDs returns the ids of a word's bytes. When the word ends there, the last one is marked so.
func byteIDs(word string, end bool) []int32 {
	ids := make([]int32, len(word))
	for i := range len(word) {
		ids[i] = byteID[word[i]]
	}
	if end {
		ids[len(ids)-1] += wordEnd
	}
	return ids
}

// merge joins the pair of the lowest rank, everywhere from left to right, until none is left. It
// works in place.
func (t *BPE) merge(ids []int32) []int32 {
	const none, stale = math.MaxInt32, -1
	rank := func(i int) int32 {
		if i+1 < len(ids) {
			if r, ok := t.ranks[pair(ids[i], ids[i+1])]; ok {
				return r
			}
		}
		return none
	}
	ranks := make([]int32, len(ids)) // of the pair that starts at each position
	for i := range ids {
		ranks[i] = rank(i)
	}
	for {
		best := slices.Min(ranks)
		if best == none {
			return ids
		}
		out := 0
		for in := 0; in < len(ids); out++ {
			if ranks[in] != best {
				ids[out], ranks[out] = ids[in], ranks[in]
				in++
				continue
			}
			ids[out], ranks[out] = t.made[best], stale
			if out > 0 {
				ranks[out-1] = stale
			}
			in += 2
		}
		ids, ranks = ids[:out], ranks[:out]
		for i := range ranks {
			if ranks[i] == stale {
				ranks[i] = rank(i)
			}
		}
	}
}

// Piece implements Tokenizer, with </w> at the end of a word as in a merges file. Bytes that are no UTF-8 by themselves show as
// \xe2.
func (t *BPE) Piece(id int32) string {
	switch {
	case id == t.SOT():
		return startText
	case id == t.EOT():
		return endText
	case id < 0 || int(id) >= len(t.symbols):
		return ""
	}
	s := t.symbols[id]
	text := fault.ValidUTF8(s.text)
	if s.end {
		text += "</w>"
	}
	return text
}

// Pad implements Tokenizer.
func (t *BPE) Pad() int32 { return 0 }

// EndIsLargest implements Tokenizer.
func (t *BPE) EndIsLargest() bool { return true }

// Decode returns the cleaned text that ids stand for, without SOT, EOT and what follows the EOT. It leaves out ids out of
// range; bytes that are not UTF-8 become U+FFFD.
func (t *BPE) Decode(ids []int32) string {
	var text strings.Builder
	for _, id := range ids {
		if id == t.EOT() {
			break
		}
		if id < 0 || int(id) >= len(t.symbols) {
			continue
		}
		s := t.symbols[id]
		text.WriteString(s.text)
		if s.end {
			text.WriteByte(' ')
		}
	}
	return strings.ToValidUTF8(strings.TrimSuffix(text.String(), " "), "\uFFFD")
}

// VocabSize implements Tokenizer.
func (t *BPE) VocabSize() int { return t.size }

// Used returns how many ids are in use: bytes, merges, SOT and EOT.
func (t *BPE) Used() int { return len(t.symbols) + 2 }

// SOT returns the id that begins every text, VocabSize()-2.
func (t *BPE) SOT() int32 { return int32(t.size - 2) }

// EOT returns the id that ends every text, VocabSize()-1.
func (t *BPE) EOT() int32 { return int32(t.size - 1) }

// Save implements Tokenizer.
func (t *BPE) Save() ([]byte, error) {
	return json.Marshal(savedTokenizer{Format: formatBPE, VocabSize: t.size, Merges: t.merges})
}
