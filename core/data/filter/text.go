// Package filter judges the texts and pictures that were found for a set of pairs. A filter is a few numbers and a rule
// that returns the reason for which something is refused: the same few words for all that is refused for it, "" for what may
// stay. Filters know no pages and no sets: what needs all candidates (repeated captions, duplicates) is decided by who has them.
package filter

import (
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The reasons for which texts are refused.
const (
	TooShort        = "too short"
	TooLong         = "too long"
	FewLetters      = "few letters"
	IsBoilerplate   = "boilerplate"
	IsFileName      = "a file name"
	AnotherLanguage = "another language"
)

// Length refuses texts by their length. Texts in scripts without blanks between words count two characters for a word.
type Length struct {
	MinWords int `yaml:"min_words" json:"min_words"`
	MaxWords int `yaml:"max_words" json:"max_words"`
	MinChars int `yaml:"min_chars" json:"min_chars"`
	MaxChars int `yaml:"max_chars" json:"max_chars"`
}

// DefaultLength keeps what says more than a word and fits into CLIP's context.
var DefaultLength = Length{MinWords: 2, MaxWords: 64, MinChars: 5, MaxChars: 400}

// Refuse returns the reason to refuse a text.
func (l Length) Refuse(text string) string {
	words, chars := Words(text), utf8.RuneCountInString(text)
	switch {
	case words < l.MinWords || chars < l.MinChars:
		return TooShort
	case words > l.MaxWords || chars > l.MaxChars:
		return TooLong
	}
	return ""
}

// Words counts the words of a text: runs of letters and digits between blanks, and each two characters of scripts that write
// words together.
func Words(text string) int {
	words, together := 0, 0
	for field := range strings.FieldsSeq(text) {
		word := false
		for _, c := range field {
			switch {
			case unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
				together++
			case unicode.IsLetter(c) || unicode.IsDigit(c):
				word = true
			}
		}
		if word {
			words++
		}
	}
	return words + (together+1)/2
}

// Letters refuses texts of which a smaller share than Share are letters, blanks left out: codes, tables, addresses.
type Letters struct {
	Share float64 `yaml:"share" json:"share"`
}

// DefaultLetters lets dates and years pass in a text.
var DefaultLetters = Letters{Share: 0.6}

// Refuse returns the reason to refuse a text.
func (l Letters) Refuse(text string) string {
	letters, all := 0, 0
	for _, c := range text {
		if unicode.IsSpace(c) {
			continue
		}
		all++
		if unicode.IsLetter(c) || unicode.IsMark(c) {
			letters++
		}
	}
	if float64(letters) < l.Share*float64(all) || all == 0 {
		return FewLetters
	}
	return ""
}

// Boilerplate refuses texts that pages have everywhere and that describe no picture.
type Boilerplate struct {
	Phrases []string `yaml:"phrases" json:"phrases"` // more texts that are refused as a whole, in lower case
}

// Texts of nothing but these words and numbers say nothing of a picture.
var emptyWords = words(`image images img picture pictures pic photo photos photograph photography figure fig logo logos icon icons banner
	thumbnail thumb avatar placeholder screenshot screen shot graphic illustration diagram untitled alt text no none null undefined
	default blank spacer loading lazy pixel button arrow bullet background header footer home next prev previous back top up down
	menu search close open more read click here enlarge zoom view full size original download print share email mail rss feed
	facebook twitter instagram youtube linkedin pinterest whatsapp github profile user author admin advertisement ad ads sponsored
	the a an of to for this is and in on with our your page site website link file attachment tip note warning caution important
	bild abbildung foto logo startseite zurück weiter imagen figura foto imagem accueil suivant précédent`)

// Texts with one of these say something of the page.
var pagePhrases = []string{"click here", "click to", "click for", "click on the image", "click image", "read more", "learn more", "all rights reserved", "copyright",
	"©", "cookie", "javascript", "lorem ipsum", "your browser", "not available", "no image", "image may contain", "opens in new", "sign up",
	"log in", "subscribe", "add to cart", "creative commons license", "valid html", "valid xhtml", "valid css", "powered by", "built with"}

func words(list string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		out[w] = true
	}
	return out
}

// Refuse returns the reason to refuse a text.
func (b Boilerplate) Refuse(text string) string {
	low := strings.ToLower(text)
	for _, p := range b.Phrases {
		if low == strings.ToLower(p) {
			return IsBoilerplate
		}
	}
	for _, p := range pagePhrases {
		if strings.Contains(low, p) {
			return IsBoilerplate
		}
	}
	for word := range strings.FieldsFuncSeq(low, func(c rune) bool { return !unicode.IsLetter(c) }) {
		if !emptyWords[word] && utf8.RuneCountInString(word) > 1 {
			return ""
		}
	}
	return IsBoilerplate
}

// FileName refuses texts that are names of files: those of cameras and programs, and the picture's own.
type FileName struct{}

var (
	ending = regexp.MustCompile(`(?i)\.(jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic)$`)
	camera = regexp.MustCompile(`(?i)^(img|image|dsc[nf]?|dscf|pict?|photo|p|mvi|cimg|screenshot|screen shot|capture|unnamed|untitled|vlcsnap|wp|pxl|sam|gopr|scan|download|file)?[\s_-]*(\(?[0-9]+\)?[\s_x.:-]*)+$`)
	hexes  = regexp.MustCompile(`(?i)^[0-9a-f_-]{8,}$`)
)

// Refuse returns the reason to refuse a text of the picture at an address.
func (FileName) Refuse(text, address string) string {
	name := path.Base(address)
	stem := strings.TrimSuffix(name, path.Ext(name))
	switch {
	case ending.MatchString(text) && !strings.Contains(strings.TrimSpace(text), " "),
		camera.MatchString(text), hexes.MatchString(text) && strings.ContainsAny(text, "0123456789"),
		strings.EqualFold(text, name), strings.EqualFold(text, stem), strings.EqualFold(text, address):
		return IsFileName
	case !strings.Contains(text, " ") && strings.ContainsAny(text, "_/\\"):
		return IsFileName
	}
	return ""
}

// Language refuses texts whose language is guessed to be none of those to keep. Of a text of a few words the guess is worth
// little: below Confidence the text stays.
type Language struct {
	Keep       []string `yaml:"keep" json:"keep"` // ISO 639-1: en, de
	Confidence float64  `yaml:"confidence" json:"confidence"`
}

// DefaultLanguage keeps English and what may be.
var DefaultLanguage = Language{Keep: []string{"en"}, Confidence: 0.5}

// Refuse returns the reason to refuse a text.
func (l Language) Refuse(text string) string {
	code, confidence := Guess(text)
	if code == "" || confidence < l.Confidence {
		return ""
	}
	for _, k := range l.Keep {
		if strings.EqualFold(k, code) {
			return ""
		}
	}
	return AnotherLanguage
}
