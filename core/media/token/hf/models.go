package hf

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
)

// modelConfig has the fields of every model.
type modelConfig struct {
	Type  string          `json:"type"`
	Vocab json.RawMessage `json:"vocab"`

	UnkToken     *string           `json:"unk_token"`
	Prefix       string            `json:"continuing_subword_prefix"`
	Suffix       string            `json:"end_of_word_suffix"`
	Merges       []json.RawMessage `json:"merges"`
	FuseUnk      bool              `json:"fuse_unk"`
	ByteFallback bool              `json:"byte_fallback"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Dropout      *float64          `json:"dropout"`
	MaxChars     *int              `json:"max_input_chars_per_word"`

	UnkID *int `json:"unk_id"`
}

// parseModel makes the model of a JSON object. Old files leave out the type; it shows in the fields.
func parseModel(raw json.RawMessage) (model, error) {
	if isNull(raw) {
		return nil, fault.New(fault.Corrupt, "tokenizer.json has no model").WithPath("model")
	}
	var c modelConfig
	if err := parsePart(raw, &c, "model"); err != nil {
		return nil, err
	}
	if c.Type == "" {
		switch {
		case c.Merges != nil:
			c.Type = "BPE"
		case c.MaxChars != nil:
			c.Type = "WordPiece"
		case strings.HasPrefix(strings.TrimSpace(string(c.Vocab)), "["):
			c.Type = "Unigram"
		default:
			c.Type = "WordLevel"
		}
	}
	if c.Type == "Unigram" {
		return newUnigram(c)
	}
	vocab := map[string]int32{}
	if err := parsePart(c.Vocab, &vocab, "model.vocab"); err != nil {
		return nil, err
	}
	switch c.Type {
	case "BPE":
		return newBPE(c, vocab)
	case "WordPiece":
		max := 100
		if c.MaxChars != nil {
			max = *c.MaxChars
		}
		unk, err := unknown(c, vocab, "[UNK]")
		return &wordPiece{vocab, unk, c.Prefix, max}, err
	case "WordLevel":
		unk, err := unknown(c, vocab, "<unk>")
		return &wordLevel{vocab, unk}, err
	}
	return nil, unsupported("model", c.Type)
}

// unknown returns the token for what the vocabulary does not have.
func unknown(c modelConfig, vocab map[string]int32, name string) (Token, error) {
	if c.UnkToken != nil {
		name = *c.UnkToken
	}
	id, ok := vocab[name]
	if !ok {
		return Token{}, fault.New(fault.Corrupt, "the token for unknown words, %q, is not in the vocabulary", name).WithPath("model.unk_token")
	}
	return Token{id, name}, nil
}

// wordPiece takes the longest piece of the vocabulary, again and again (BERT). Pieces within a word have a prefix.
type wordPiece struct {
	vocab  map[string]int32
	unk    Token
	prefix string
	max    int // characters of a word
}

func (m *wordPiece) vocabulary() map[string]int32 { return m.vocab }

func (m *wordPiece) tokenize(out []Token, word string) []Token {
	if utf8.RuneCountInString(word) > m.max {
		return append(out, m.unk)
	}
	start := len(out)
	for at := 0; at < len(word); {
		end := len(word)
		for ; end > at; end-- {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			key := word[at:end]
			if at > 0 {
				key = m.prefix + key
			}
			if id, ok := m.vocab[key]; ok {
				out = append(out, Token{id, key})
				break
			}
		}
		if end == at {
			return append(out[:start], m.unk)
		}
		at = end
	}
	return out
}

// wordLevel takes whole words.
type wordLevel struct {
	vocab map[string]int32
	unk   Token
}

func (m *wordLevel) vocabulary() map[string]int32 { return m.vocab }

func (m *wordLevel) tokenize(out []Token, word string) []Token {
	if id, ok := m.vocab[word]; ok {
		return append(out, Token{id, word})
	}
	return append(out, m.unk)
}
