// Package hf tokenizes as Hugging Face's tokenizers does, from a tokenizer.json: added tokens, normalizers,
// pre-tokenizers, the models BPE, WordPiece, Unigram and WordLevel, and post-processors. Ids equal those of the library
// (tokenizers 0.23) on the texts of testdata. A file with a part that is not known here is refused with the part's name.
package hf

import (
	"encoding/json"
	"strings"

	"tandem/core/fault"
)

// Token is an id and the text that stands for it in the vocabulary.
type Token struct {
	ID   int32
	Text string
}

// Tokenizer holds what a tokenizer.json describes. It is safe for concurrent use.
type Tokenizer struct {
	added  added
	norm   normalizer   // nil for none
	pre    preTokenizer // nil for none
	model  model
	prefix []Token // what post-processors put before a text
	suffix []Token // and after it
	pad    int32
	limit  int // truncation's max_length, 0 for none
	left   bool
	pieces map[int32]string
	size   int
}

// model turns a piece of text, in which nothing is left to split, to tokens.
type model interface {
	tokenize(out []Token, text string) []Token
	// vocabulary returns the ids of all pieces.
	vocabulary() map[string]int32
}

// file has the top level of a tokenizer.json.
type file struct {
	Truncation *struct {
		MaxLength int    `json:"max_length"`
		Strategy  string `json:"strategy"`
		Direction string `json:"direction"`
	} `json:"truncation"`
	Padding *struct {
		Direction string `json:"direction"`
		PadID     int32  `json:"pad_id"`
	} `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         json.RawMessage `json:"model"`
}

// Parse makes the tokenizer of a tokenizer.json. Data of another form yields fault.Corrupt, a part that is not known
// here fault.Invalid with its name; both say in Path where it is.
func Parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fault.New(fault.Corrupt, "tokenizer.json: %w", err)
	}
	t := &Tokenizer{}
	var err error
	if t.model, err = parseModel(f.Model); err != nil {
		return nil, err
	}
	if t.norm, err = parseNormalizer(f.Normalizer, "normalizer"); err != nil {
		return nil, err
	}
	if t.pre, err = parsePreTokenizer(f.PreTokenizer, "pre_tokenizer"); err != nil {
		return nil, err
	}
	if err = t.parsePostProcessor(f.PostProcessor, "post_processor"); err != nil {
		return nil, err
	}
	if err = t.setVocabulary(f.AddedTokens); err != nil {
		return nil, err
	}
	if err = t.setLimits(f); err != nil {
		return nil, err
	}
	return t, nil
}

// setVocabulary collects the pieces of the model and the added tokens.
func (t *Tokenizer) setVocabulary(tokens []addedToken) error {
	t.pieces = map[int32]string{}
	put := func(id int32, text string) error {
		if id < 0 {
			return fault.New(fault.Corrupt, "the id of %q is %d", text, id)
		}
		t.pieces[id], t.size = text, max(t.size, int(id)+1)
		return nil
	}
	for text, id := range t.model.vocabulary() {
		if err := put(id, text); err != nil {
			return err
		}
	}
	for _, a := range tokens {
		if err := put(a.ID, a.Content); err != nil {
			return err
		}
	}
	for _, list := range [][]Token{t.prefix, t.suffix} {
		for _, a := range list {
			if err := put(a.ID, a.Text); err != nil {
				return err
			}
		}
	}
	t.added = newAdded(tokens, t.norm)
	return nil
}

// setLimits takes the settings of padding and truncation.
func (t *Tokenizer) setLimits(f file) error {
	if p := f.Padding; p != nil {
		if !strings.EqualFold(p.Direction, "right") && p.Direction != "" {
			return unsupported("padding", p.Direction)
		}
		if p.PadID < 0 {
			return fault.New(fault.Corrupt, "the padding's id is %d", p.PadID).WithPath("padding.pad_id")
		}
		t.pad = p.PadID
		t.size = max(t.size, int(p.PadID)+1)
	} else {
		for id, text := range t.pieces {
			if text == "<pad>" || text == "[PAD]" {
				t.pad = id
			}
		}
	}
	if c := f.Truncation; c != nil {
		if c.Strategy == "OnlySecond" {
			return unsupported("truncation", c.Strategy)
		}
		t.limit, t.left = c.MaxLength, strings.EqualFold(c.Direction, "left")
	}
	return nil
}

func unsupported(path, name string) error {
	return fault.New(fault.Invalid, "%s %q is not known here", strings.SplitN(path, ".", 2)[0], name).WithPath(path)
}

// Encode returns the tokens of a text, cut to limit tokens with those that post-processors add; a limit under 1 means none.
// Bytes that are not UTF-8 become U+FFFD.
func (t *Tokenizer) Encode(text string, limit int) []Token {
	body := t.body(strings.ToValidUTF8(text, "\uFFFD"))
	if room := limit - len(t.prefix) - len(t.suffix); limit > 0 && len(body) > max(room, 0) {
		if room = max(room, 0); t.left {
			body = body[len(body)-room:]
		} else {
			body = body[:room]
		}
	}
	out := make([]Token, 0, len(t.prefix)+len(body)+len(t.suffix))
	return append(append(append(out, t.prefix...), body...), t.suffix...)
}

// body returns the tokens of a text without those that post-processors add.
func (t *Tokenizer) body(text string) []Token {
	var out []Token
	for _, s := range t.added.extract(text, t.norm) {
		if s.token != nil {
			out = append(out, *s.token)
			continue
		}
		parts := []part{s.part}
		if t.pre != nil {
			parts = t.pre.split(parts)
		}
		for _, p := range parts {
			if p.text != "" {
				out = t.model.tokenize(out, p.text)
			}
		}
	}
	return out
}

// Pad returns the id that texts are padded with: that of padding in the file, else that of a piece <pad> or [PAD], else 0.
func (t *Tokenizer) Pad() int32 { return t.pad }

// VocabSize returns the largest id plus one.
func (t *Tokenizer) VocabSize() int { return t.size }

// Limit returns the length that the file wants texts to be cut to, 0 for none.
func (t *Tokenizer) Limit() int { return t.limit }

// Piece returns the text of an id in the vocabulary, "" for one that is none.
func (t *Tokenizer) Piece(id int32) string { return t.pieces[id] }

// Ends returns the tokens that stand before and after every text.
func (t *Tokenizer) Ends() (before, after []Token) { return t.prefix, t.suffix }
