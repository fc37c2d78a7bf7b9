// Package token turns captions into token ids: CLIP's byte-level BPE with its published vocabulary, a BPE trained on the
// captions at hand, plain bytes, and whatever a tokenizer.json of Hugging Face describes.
//
// The first three clean the text first (Clean), wrap it in a start (SOT) and an end (EOT) token and are padded with id 0. SOT
// and EOT are the two largest ids of the vocabulary, so that the position of the EOT is the argmax of the ids, as text
// encoders of CLIP's kind rely on. A tokenizer.json brings its own rules for all of this.
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
	// Encode returns the ids of a text with those that stand around every text, at least one. When they are more than
	// contextLength it cuts the text, so that its end stands last; a contextLength under 1 means no limit. The caller owns
	// the slice.
	Encode(text string, contextLength int) []int32
	// Piece returns what an id stands for, for people; "" for one that stands for nothing.
	Piece(id int32) string
	// VocabSize returns the number of rows that a token embedding needs. Some ids may be unused.
	VocabSize() int
	// Pad returns the id that short texts are filled up with.
	Pad() int32
	// EndIsLargest reports whether every text ends with the largest id.
	EndIsLargest() bool
	// Save returns the whole tokenizer as JSON, for Load.
	Save() ([]byte, error)
}

// savedTokenizer has the JSON form of every tokenizer. Merges holds pairs of ids, flattened.
type savedTokenizer struct {
	Format    string  `json:"format"`
	VocabSize int     `json:"vocab_size"`
	Merges    []int32 `json:"merges,omitempty"`
	// The rest is of tokenizer.json: the file, and the ids that begin, end and fill up texts where there are such.
	File json.RawMessage `json:"file,omitempty"`
	SOT  *int32          `json:"sot,omitempty"`
	EOT  *int32          `json:"eot,omitempty"`
	Pad  int32           `json:"pad,omitempty"`
}

// The values of savedTokenizer.Format. The number changes when the same file would give other ids.
const (
	formatBPE   = "bpe/1"
	formatBytes = "bytes/1"
	formatHF    = "hf/1"
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
	case formatHF:
		t, err = newHF(s.File)
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
