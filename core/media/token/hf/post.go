package hf

import (
	"encoding/json"
	"fmt"
	"slices"

	"tandem/core/fault"
)

// postConfig has the fields of every post-processor.
type postConfig struct {
	Type       string            `json:"type"`
	Processors []json.RawMessage `json:"processors"`

	Single []struct {
		Sequence     *struct{ ID string }
		SpecialToken *struct{ ID string }
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs    []int32  `json:"ids"`
		Tokens []string `json:"tokens"`
	} `json:"special_tokens"`

	Sep json.RawMessage `json:"sep"`
	Cls json.RawMessage `json:"cls"`
}

// parsePostProcessor takes what a post-processor puts around a text.
func (t *Tokenizer) parsePostProcessor(raw json.RawMessage, path string) error {
	var c postConfig
	if err := parsePart(raw, &c, path); err != nil || isNull(raw) {
		return err
	}
	switch c.Type {
	case "Sequence":
		for i, r := range c.Processors {
			if err := t.parsePostProcessor(r, fmt.Sprintf("%s.%d", path, i)); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel": // changes offsets alone
		return nil
	case "BertProcessing", "RobertaProcessing":
		cls, err := parseToken(c.Cls, path+".cls")
		if err != nil {
			return err
		}
		sep, err := parseToken(c.Sep, path+".sep")
		if err != nil {
			return err
		}
		t.surround([]Token{cls}, []Token{sep})
		return nil
	case "TemplateProcessing":
		return t.parseTemplate(c, path)
	}
	return unsupported(path, c.Type)
}

// surround puts tokens around those that are there already.
func (t *Tokenizer) surround(before, after []Token) {
	t.prefix, t.suffix = slices.Concat(before, t.prefix), slices.Concat(t.suffix, after)
}

// parseTemplate takes the template of a single text, in which the text stands once.
func (t *Tokenizer) parseTemplate(c postConfig, path string) error {
	var around [2][]Token
	texts := 0
	for _, p := range c.Single {
		switch {
		case p.Sequence != nil:
			texts++
		case p.SpecialToken != nil:
			s, ok := c.SpecialTokens[p.SpecialToken.ID]
			if !ok || len(s.IDs) != len(s.Tokens) {
				return fault.New(fault.Corrupt, "the special token %q is not described", p.SpecialToken.ID).WithPath(path)
			}
			for i, id := range s.IDs {
				around[min(texts, 1)] = append(around[min(texts, 1)], Token{id, s.Tokens[i]})
			}
		}
	}
	if texts != 1 {
		return fault.New(fault.Invalid, "a template with the text %d times is not known here", texts).WithPath(path)
	}
	t.surround(around[0], around[1])
	return nil
}

// parseToken reads ["[CLS]", 101].
func parseToken(raw json.RawMessage, path string) (tok Token, err error) {
	pair := [2]any{&tok.Text, &tok.ID}
	if err := json.Unmarshal(raw, &pair); err != nil {
		return tok, fault.New(fault.Corrupt, "tokenizer.json: %w", err).WithPath(path)
	}
	return tok, nil
}
