package token

import (
	"encoding/json"
	"strings"

	"tandem/core/fault"
)

// Bytes tokenizes without a vocabulary: the UTF-8 bytes of the cleaned text are its ids.
type Bytes struct{ size int }

// NewBytes makes a byte tokenizer. vocabSize is at least 258 (the bytes, SOT and EOT); 0 means 258, less yields
// fault.Invalid. The id 0, which encoders pad texts with, is that of the
// byte 0, which Clean removes.
func NewBytes(vocabSize int) (*Bytes, error) {
	if vocabSize == 0 {
		vocabSize = 258
	}
	if vocabSize < 258 {
		return nil, fault.New(fault.Invalid, "vocab_size %d, a byte tokenizer needs 258", vocabSize)
	}
	return &Bytes{vocabSize}, nil
}

// Encode implements Tokenizer.
func (b *Bytes) Encode(text string, contextLength int) []int32 {
	text = Clean(text)
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i])
	}
	return wrap(ids, b.SOT(), b.EOT(), contextLength)
}

// Piece implements Tokenizer. Bytes that are no UTF-8 by themselves show as \xe2.
func (b *Bytes) Piece(id int32) string {
	switch {
	case id == b.SOT():
		return startText
	case id == b.EOT():
		return endText
	case id < 0 || id > 255:
		return ""
	}
	return fault.ValidUTF8(string([]byte{byte(id)}))
}

// Pad implements Tokenizer.
func (b *Bytes) Pad() int32 { return 0 }

// EndIsLargest implements Tokenizer.
func (b *Bytes) EndIsLargest() bool { return true }

// Decode returns the cleaned text that ids stand for, as BPE's does.
func (b *Bytes) Decode(ids []int32) string {
	var text []byte
	for _, id := range ids {
		if id == b.EOT() {
			break
		}
		if id >= 0 && id < 256 {
			text = append(text, byte(id))
		}
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// VocabSize implements Tokenizer.
func (b *Bytes) VocabSize() int { return b.size }

// SOT returns the id that begins every text, VocabSize()-2.
func (b *Bytes) SOT() int32 { return int32(b.size - 2) }

// EOT returns the id that ends every text, VocabSize()-1.
func (b *Bytes) EOT() int32 { return int32(b.size - 1) }

// Save implements Tokenizer.
func (b *Bytes) Save() ([]byte, error) {
	return json.Marshal(savedTokenizer{Format: formatBytes, VocabSize: b.size})
}
