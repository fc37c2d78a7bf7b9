package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"tandem/core/plugin/sdk/sample"
)

var (
	by        = regexp.MustCompile(`(?i)^clipart by .* - `)
	number    = regexp.MustCompile(`_\d*$`)
	version   = regexp.MustCompile(`(?i)[-_](md[-_])?v?\d+(\.\d+)*$`)
	hash      = regexp.MustCompile(`(?i)^(hash(\(0x[0-9a-f]*\))?|0x[0-9a-f]+)$`)
	camelCase = regexp.MustCompile(`([a-z])([A-Z])`)
)

// plain returns text in lower case with spaces for underscores, dashes and the like, without brackets.
func plain(text string) string {
	text = camelCase.ReplaceAllString(text, "$1 $2")
	words := strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(`_-#()[]{}|/\"<>:;.,`, r)
	})
	return strings.ToLower(strings.Join(words, " "))
}

// title returns what a title says of the drawing alone: "jigsaw red 10" for "Clipart by Nicu Buculei - jigsaw_red_10".
func title(text string) string { return plain(by.ReplaceAllString(text, "")) }

// fileName returns the words of a file's name, without the author, of whom the archive put the first letters behind it,
// and without the number: "armadillo" for "armadillo_architetto_fra_01.svg".
func fileName(file, creator string) string {
	name := strings.TrimSuffix(path.Base(file), path.Ext(file))
	bare := number.ReplaceAllString(name, "")
	author := strings.ToLower(strings.ReplaceAll(creator, " ", "_"))
	for n := len(author); n >= 2 && bare != name; n-- { // names with an author end in _ or a number
		if cut, ok := strings.CutSuffix(strings.ToLower(bare), "_"+author[:n]); ok {
			bare = bare[:len(cut)]
			break
		}
	}
	return plain(version.ReplaceAllString(bare, ""))
}

// isWord reports whether a text has three letters in a row, so that it can tell something.
func isWord(text string) bool {
	n := 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			if n++; n == 3 {
				return true
			}
		} else {
			n = 0
		}
	}
	return false
}

// keywords returns the keywords that tell something of a drawing, and the names of its folders.
func keywords(m metadata, folders []string) []string {
	var out sample.Distinct
	for _, k := range slices.Concat(m.keywords, folders) {
		if hash.MatchString(strings.TrimSpace(k)) || strings.EqualFold(k, m.creator) {
			continue
		}
		if k = plain(k); isWord(k) && k != "unsorted" {
			out.Add(k)
		}
	}
	return out.List
}

// variants are words that tell the drawings of one thing apart.
var variants = []string{"bw", "b", "w", "black", "white", "and", "red", "green", "blue", "yellow", "orange", "purple", "pink", "grey", "gray", "brown", "cyan",
	"dark", "light", "colour", "color", "outline", "shaded", "small", "large", "big", "left", "right", "up", "down", "open", "closed", "the", "a", "an"}

// stem returns what the names of the drawings of one thing have in common: its words without numbers, colours and the
// like. Drawings with an equal stem are kept in one split.
func stem(name string) string {
	var out []string
	for _, w := range strings.Fields(name) {
		w = strings.TrimFunc(w, func(r rune) bool { return !unicode.IsLetter(r) })
		if w != "" && !slices.Contains(variants, w) {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}
