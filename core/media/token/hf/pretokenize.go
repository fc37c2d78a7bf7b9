package hf

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"tandem/core/fault"
)

// preTokenizer cuts parts of a text to smaller ones, within which the model works.
type preTokenizer interface{ split(parts []part) []part }

// splitFunc is a preTokenizer of each part by itself.
type splitFunc func(part) []part

func (f splitFunc) split(parts []part) (out []part) {
	for _, p := range parts {
		if p.text != "" {
			out = append(out, f(p)...)
		}
	}
	return out
}

// preTokenizers apply one after the other.
type preTokenizers []preTokenizer

func (list preTokenizers) split(parts []part) []part {
	for _, p := range list {
		parts = p.split(parts)
	}
	return parts
}

// preTokenizerConfig has the fields of every pre-tokenizer.
type preTokenizerConfig struct {
	Type          string            `json:"type"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`

	AddPrefixSpace *bool  `json:"add_prefix_space"`
	UseRegex       *bool  `json:"use_regex"`
	Replacement    string `json:"replacement"`
	PrependScheme  string `json:"prepend_scheme"`
	Split          *bool  `json:"split"`

	Pattern          json.RawMessage `json:"pattern"`
	Behavior         behaviour       `json:"behavior"`
	Invert           bool            `json:"invert"`
	IndividualDigits bool            `json:"individual_digits"`
	Delimiter        string          `json:"delimiter"`
}

// parsePreTokenizer makes the pre-tokenizer of a JSON object; nil for null.
func parsePreTokenizer(raw json.RawMessage, path string) (preTokenizer, error) {
	var c preTokenizerConfig
	if err := parsePart(raw, &c, path); err != nil || isNull(raw) {
		return nil, err
	}
	cut := func(b behaviour, f finder) (preTokenizer, error) {
		switch b {
		case removed, isolated, withPrevious, withNext, contiguous:
			return splitFunc(func(p part) []part { return b.apply(p, f) }), nil
		}
		return nil, unsupported(path+".behavior", string(b))
	}
	switch c.Type {
	case "Sequence":
		list := preTokenizers{}
		for i, r := range c.PreTokenizers {
			p, err := parsePreTokenizer(r, fmt.Sprintf("%s.%d", path, i))
			if err != nil {
				return nil, err
			}
			if p != nil {
				list = append(list, p)
			}
		}
		return list, nil
	case "Whitespace":
		return cut(removed, inverted{whitespace{}})
	case "WhitespaceSplit":
		return cut(removed, runeFinder(isSpace))
	case "BertPreTokenizer":
		spaces, _ := cut(removed, runeFinder(isSpace))
		marks, _ := cut(isolated, runeFinder(isPunctuation))
		return preTokenizers{spaces, marks}, nil
	case "Punctuation":
		if c.Behavior == "" {
			c.Behavior = isolated
		}
		return cut(c.Behavior, runeFinder(isPunctuation))
	case "Digits":
		if c.IndividualDigits {
			return cut(isolated, runeFinder(isNumeric))
		}
		return cut(contiguous, runeFinder(isNumeric))
	case "CharDelimiterSplit":
		d, _ := utf8.DecodeRuneInString(c.Delimiter)
		return cut(removed, runeFinder(func(r rune) bool { return r == d }))
	case "Split":
		p, err := parsePattern(c.Pattern, path)
		if err != nil {
			return nil, err
		}
		if c.Invert {
			return cut(c.Behavior, inverted{p})
		}
		return cut(c.Behavior, p)
	case "ByteLevel":
		return newByteLevel(c), nil
	case "Metaspace":
		return newMetaspace(c, path)
	}
	return nil, unsupported(path, c.Type)
}

// whitespace finds runs of word characters and runs of what is neither that nor space.
type whitespace struct{}

func (whitespace) find(text string) (out []piece) {
	kind := func(r rune) int {
		switch {
		case isWord(r):
			return 1
		case isSpace(r):
			return 0
		}
		return 2
	}
	last, from := -1, 0
	for i, r := range text {
		if k := kind(r); k != last {
			if last >= 0 {
				out = append(out, piece{from, i, last > 0})
			}
			last, from = k, i
		}
	}
	if last >= 0 {
		out = append(out, piece{from, len(text), last > 0})
	}
	return out
}

// gpt2 is the pattern of GPT-2's tokenizer.
var gpt2 = &regex{re: regexp2.MustCompile(`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, regexp2.None)}

func newByteLevel(c preTokenizerConfig) preTokenizer {
	prefix, useRegex := c.AddPrefixSpace == nil || *c.AddPrefixSpace, c.UseRegex == nil || *c.UseRegex
	return splitFunc(func(p part) []part {
		if prefix && !strings.HasPrefix(p.text, " ") {
			p.text = " " + p.text
		}
		parts := []part{p}
		if useRegex {
			parts = isolated.apply(p, gpt2)
		}
		for i := range parts {
			parts[i].text = byteLevel(parts[i].text)
		}
		return parts
	})
}

func newMetaspace(c preTokenizerConfig, path string) (preTokenizer, error) {
	mark, _ := utf8.DecodeRuneInString(c.Replacement)
	if c.Replacement == "" {
		return nil, fault.New(fault.Corrupt, "no replacement").WithPath(path)
	}
	scheme := strings.ToLower(c.PrependScheme)
	if scheme == "" {
		if scheme = "always"; c.AddPrefixSpace != nil && !*c.AddPrefixSpace {
			scheme = "never"
		}
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return nil, unsupported(path+".prepend_scheme", c.PrependScheme)
	}
	split := c.Split == nil || *c.Split
	return splitFunc(func(p part) []part {
		p.text = strings.ReplaceAll(p.text, " ", string(mark))
		if !strings.HasPrefix(p.text, string(mark)) && (scheme == "always" || scheme == "first" && p.first) {
			p.text = string(mark) + p.text
		}
		if !split {
			return []part{p}
		}
		return withNext.apply(p, runeFinder(func(r rune) bool { return r == mark }))
	}), nil
}

// byteRunes gives the character that stands for each byte in byte-level vocabularies: itself when it is printable.
var byteRunes = func() (table [256]rune) {
	next := rune(256)
	for b := range table {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			table[b] = rune(b)
		} else {
			table[b] = next
			next++
		}
	}
	return table
}()

// byteLevel writes the bytes of a text by the characters that stand for them.
func byteLevel(text string) string {
	var out strings.Builder
	for i := range len(text) {
		out.WriteRune(byteRunes[text[i]])
	}
	return out.String()
}
