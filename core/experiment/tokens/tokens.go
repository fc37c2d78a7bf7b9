// Package tokens shows what a text encoder makes of texts: ids, the pieces that they stand for, and where a text is cut.
package tokens

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/media/token"
	"tandem/core/plugin/catalog"
)

// Token is one token of a text.
type Token struct {
	ID    int32  `json:"id"`
	Piece string `json:"piece"` // as the vocabulary has it
}

// Text is what became of one text.
type Text struct {
	Text   string  `json:"text"`
	Tokens []Token `json:"tokens"` // all of them, also those beyond the context; nil when the encoder only counts
	Count  int     `json:"count"`
	// Cut reports whether they are more than the context holds; Kept are the ids that the encoder gets then.
	Cut  bool    `json:"cut"`
	Kept []int32 `json:"kept,omitempty"`
}

// Result holds the texts in their order, and by what they were tokenized.
type Result struct {
	Tokenizer     string `json:"tokenizer"`
	VocabSize     int    `json:"vocab_size"`     // 0: unknown
	ContextLength int    `json:"context_length"` // 0: none
	Texts         []Text `json:"texts"`
}

// clipContext is the context of the published models.
const clipContext = 77

// Named tokenizes by a name, clip or byte, or by a file: a tokenizer.json, or merges of CLIP's form. A context under 0 means
// the usual one: 77 for clip, none for others.
func Named(name string, context int, texts []string) (*Result, error) {
	t, err := open(name)
	if err != nil {
		return nil, err
	}
	if context < 0 {
		if context = 0; name == "clip" {
			context = clipContext
		}
	}
	return run(t, name, context, texts), nil
}

func open(name string) (token.Tokenizer, error) {
	switch {
	case name == "clip":
		return token.NewCLIP(), nil
	case name == "byte", name == "bytes":
		return token.NewBytes(0)
	case strings.EqualFold(filepath.Ext(name), ".json"):
		return token.ReadHF(name)
	}
	t, err := token.ReadMerges(name)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "%w", err).WithHint("a tokenizer is clip, byte, the path of a tokenizer.json or that of a merges file")
	}
	return t, nil
}

// OfSpec tokenizes as the text encoder of a spec does. Of encoders other than transformer it only counts tokens, where they
// can. A context of 0 or more takes the place of the encoder's.
func OfSpec(ctx context.Context, c *catalog.Catalog, s *spec.Spec, context int, texts []string) (*Result, error) {
	if s.Text.Encoder != "transformer" {
		return count(ctx, c, s, context, texts)
	}
	var with struct {
		Tokenizer     string `json:"tokenizer"`
		Merges        string `json:"merges"`
		TokenizerFile string `json:"tokenizer_file"`
		VocabSize     int    `json:"vocab_size"`
		ContextLength int    `json:"context_length"`
	}
	if err := json.Unmarshal(s.Text.With, &with); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err).WithPath("text.with")
	}
	if context < 0 {
		context = with.ContextLength
	}
	name := with.Tokenizer
	switch {
	case name == "bpe":
		t, err := learn(ctx, c, s, with.VocabSize)
		if err != nil {
			return nil, err
		}
		return run(t, "bpe, learned from the training captions", context, texts), nil
	case name == "byte":
		t, err := token.NewBytes(with.VocabSize)
		if err != nil {
			return nil, err
		}
		return run(t, name, context, texts), nil
	case with.Merges != "":
		name = with.Merges
	case with.TokenizerFile != "":
		name = with.TokenizerFile
	}
	return Named(name, context, texts)
}

// learn makes the tokenizer that a run of the spec would learn.
func learn(ctx context.Context, c *catalog.Catalog, s *spec.Spec, size int) (token.Tokenizer, error) {
	starter, err := assemble.NewStarter(c, s)
	if err != nil {
		return nil, err
	}
	defer starter.Close()
	data, err := starter.TrainingData(ctx, 8) // of pictures that nobody reads
	if err != nil {
		return nil, err
	}
	captions, err := data.Captions(ctx, 0)
	if err != nil {
		return nil, err
	}
	return token.Train(captions, size)
}

// count asks the text encoder's plugin for the numbers of tokens.
func count(ctx context.Context, c *catalog.Catalog, s *spec.Spec, context int, texts []string) (*Result, error) {
	starter, err := assemble.NewStarter(c, s)
	if err != nil {
		return nil, err
	}
	defer starter.Close()
	data, err := starter.TrainingData(ctx, 8)
	if err != nil {
		return nil, err
	}
	counts, limit, ok, err := starter.CountTokens(ctx, data, texts)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Unavailable, "the text encoder %s does not count tokens", s.Text.Encoder).
			WithHint("--tokenizer clip, byte or FILE tokenizes without a spec")
	}
	if context >= 0 {
		limit = context
	}
	r := &Result{Tokenizer: "that of " + s.Text.Encoder + ", which only counts", ContextLength: limit}
	for i, n := range counts {
		r.Texts = append(r.Texts, Text{Text: texts[i], Count: n, Cut: limit > 0 && n > limit})
	}
	return r, nil
}

func run(t token.Tokenizer, name string, context int, texts []string) *Result {
	r := &Result{Tokenizer: name, VocabSize: t.VocabSize(), ContextLength: context}
	for _, text := range texts {
		x := Text{Text: text}
		for _, id := range t.Encode(text, 0) {
			x.Tokens = append(x.Tokens, Token{id, t.Piece(id)})
		}
		x.Count = len(x.Tokens)
		if x.Cut = context > 0 && x.Count > context; x.Cut {
			x.Kept = t.Encode(text, context)
		}
		r.Texts = append(r.Texts, x)
	}
	return r
}
