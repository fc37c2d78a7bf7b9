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

// Decode implements Tokenizer.
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

// SOT implements Tokenizer.
func (b *Bytes) SOT() int32 { return int32(b.size - 2) }

// EOT implements Tokenizer.
func (b *Bytes) EOT() int32 { return int32(b.size - 1) }

// Save implements Tokenizer.
func (b *Bytes) Save() ([]byte, error) {
	return json.Marshal(savedTokenizer{Format: formatBytes, VocabSize: b.size})
}
