package filter

import "github.com/abadojack/whatlanggo"

// Guess guesses the language of a text: an ISO 639-1 code, "" for one without, and how sure the guess is, 0 … 1.
func Guess(text string) (code string, confidence float64) {
	guess := whatlanggo.Detect(text)
	return guess.Lang.Iso6391(), guess.Confidence
}
