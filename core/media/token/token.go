// Package token turns captions into token ids: CLIP's byte-level BPE from its published merges file,
// a BPE trained on the captions at hand, and plain bytes.
//
// All tokenizers clean the text first (Clean), wrap it in a start (SOT) and an end (EOT) token and pad
// with id 0. SOT and EOT are the two largest ids of the vocabulary, so that the position of the EOT is
// the argmax of the ids, as text encoders of CLIP's kind rely on.
//
// The package knows nothing of encoders, spec files or checkpoints; Save gives bytes to store and Load
// takes them back.
package token

import (
	"encoding/json"

	"tandem/core/fault"
)

// Tokenizer maps texts to ids in [0, VocabSize). Implementations are safe for concurrent use.
type Tokenizer interface {
	// Encode returns SOT, the ids of the text and EOT. When they are more than contextLength it cuts them
	// there and makes the last id EOT; a contextLength under 1 means no limit. The caller owns the slice.
	Encode(text string, contextLength int) []int32
	// Decode returns the cleaned text that ids stand for, without SOT, EOT and what follows the EOT. It
	// leaves out ids out of range; bytes that are not UTF-8 become U+FFFD.
	Decode(ids []int32) string
	// VocabSize returns the number of rows that a token embedding needs. Some ids may be unused.
	VocabSize() int
	// SOT and EOT return VocabSize()-2 and VocabSize()-1.
	SOT() int32
	EOT() int32
	// Save returns the whole tokenizer as JSON, for Load.
	Save() ([]byte, error)
}

// savedTokenizer has the JSON form of every tokenizer. Merges holds pairs of ids, flattened.
type savedTokenizer struct {
	Format    string  `json:"format"`
	VocabSize int     `json:"vocab_size"`
	Merges    []int32 `json:"merges,omitempty"`
}

// The values of savedTokenizer.Format. The number changes when the same file would give other ids.
const (
	formatBPE   = "bpe/1"
	formatBytes = "bytes/1"
)

// Load makes the tokenizer that Save described. Data that Save did not write yields fault.Corrupt.
func Load(data []byte) (Tokenizer, error) {
	var s savedTokenizer
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fault.New(fault.Corrupt, "tokenizer: %w", err)
	}
	var t Tokenizer
	var err error
	switch s.Format {
	case formatBPE:
		t, err = newBPE(s.VocabSize, s.Merges)
	case formatBytes:
		t, err = NewBytes(s.VocabSize)
	default:
		return nil, fault.New(fault.Corrupt, "tokenizer: unknown format %q", s.Format)
	}
	if err != nil {
		return nil, fault.New(fault.Corrupt, "tokenizer: %w", err)
	}
	return t, nil
}

// wrap puts SOT and EOT around the ids of a text and cuts to contextLength.
func wrap(body []int32, sot, eot int32, contextLength int) []int32 {
	n := len(body) + 2
	if contextLength >= 1 {
		n = min(n, contextLength)
	}
	out := make([]int32, n)
	out[0] = sot
	copy(out[1:], body)
	out[n-1] = eot
	return out
}
