package token

import (
	"bytes"
	"encoding/json"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/token/hf"
)

// maxFile bounds a tokenizer.json; the largest in use have some 20 MB.
const maxFile = 256 << 20

// HF tokenizes as a tokenizer.json of Hugging Face says, in everything but the length, which is the caller's: ids equal those
// of the library. What is not known here is refused when the file is read.
type HF struct {
	tok  *hf.Tokenizer
	file json.RawMessage
	memo memo // ids of whole texts with what stands around them
}

// ReadHF makes the tokenizer of a tokenizer.json. A missing file yields fault.NotFound, one of another form fault.Corrupt, one
// with unknown parts fault.Invalid with the part.
func ReadHF(path string) (*HF, error) {
	data, err := files.Read(path, maxFile)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "tokenizer file: %w", err)
	}
	t, err := newHF(data)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "tokenizer file: %w", err).WithFile(path, 0, 0)
	}
	return t, nil
}

func newHF(data []byte) (*HF, error) {
	tok, err := hf.Parse(data)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, err
	}
	return &HF{tok: tok, file: compact.Bytes()}, nil
}

// Encode implements Tokenizer. A text without any token is one padding token.
func (t *HF) Encode(text string, contextLength int) []int32 {
	whole := t.memo.recall(text, func() []int32 { return t.ids(t.tok.Encode(text, 0)) })
	if contextLength >= 1 && len(whole) > contextLength {
		ids := t.ids(t.tok.Encode(text, contextLength))
		return ids[max(0, len(ids)-contextLength):]
	}
	return append([]int32(nil), whole...)
}

func (t *HF) ids(tokens []hf.Token) []int32 {
	if len(tokens) == 0 {
		return []int32{t.tok.Pad()}
	}
	ids := make([]int32, len(tokens))
	for i, token := range tokens {
		ids[i] = token.ID
	}
	return ids
}

// Piece implements Tokenizer.
func (t *HF) Piece(id int32) string { return t.tok.Piece(id) }

// VocabSize implements Tokenizer.
func (t *HF) VocabSize() int { return t.tok.VocabSize() }

// Pad implements Tokenizer.
func (t *HF) Pad() int32 { return t.tok.Pad() }

// EndIsLargest implements Tokenizer.
func (t *HF) EndIsLargest() bool {
	_, after := t.tok.Ends()
	return len(after) > 0 && int(after[len(after)-1].ID) == t.VocabSize()-1
}

// Save implements Tokenizer.
func (t *HF) Save() ([]byte, error) {
	s := savedTokenizer{Format: formatHF, VocabSize: t.VocabSize(), File: t.file, Pad: t.Pad()}
	before, after := t.tok.Ends()
	if len(before) > 0 {
		s.SOT = &before[0].ID
	}
	if n := len(after); n > 0 {
		s.EOT = &after[n-1].ID
	}
	return json.Marshal(s)
}
