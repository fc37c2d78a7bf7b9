package main

import (
	"fmt"
	"slices"
	"strings"
)

// The rules that leave drawings out. Each can be turned off (the setting rules).
const (
	ruleGenerated = "generated" // the 1375 stars of shapes/stars, which a program drew and numbered
	ruleForeign   = "foreign"   // titles in another language than English
	ruleUnsorted  = "unsorted"  // the folder unsorted, whose titles are mostly those of collections
	ruleNameless  = "nameless"  // neither the title nor the file's name has a word
	ruleBlank     = "blank"     // pictures of one colour
	ruleDuplicate = "duplicate" // the pixels of another picture, or a link to it
)

// ruleNames lists the rules in the order in which they are applied: a drawing counts for the first that it breaks.
var ruleNames = []string{ruleDuplicate, ruleGenerated, ruleBlank, ruleForeign, ruleUnsorted, ruleNameless}

// italian names a contributor of 400 drawings with Italian titles, which are marked as English.
const italian = "Architetto Francesco Rollandin"

// broken returns the rule that a drawing breaks, "" for none.
func (d *drawing) broken() string {
	switch {
	case d.duplicate:
		return ruleDuplicate
	case d.generated():
		return ruleGenerated
	case d.blank:
		return ruleBlank
	case d.foreign():
		return ruleForeign
	case strings.HasPrefix(d.path, "unsorted/"):
		return ruleUnsorted
	case !isWord(d.name):
		return ruleNameless
	}
	return ""
}

func (d *drawing) generated() bool { return strings.HasPrefix(d.path, "shapes/stars/star_") }

func (d *drawing) foreign() bool {
	l := strings.ToLower(d.meta.language)
	english := l == "" || strings.HasPrefix(l, "en") || l == "all" || l == "n/a"
	return !english || strings.HasPrefix(d.meta.creator, italian)
}

// filter takes out the drawings that break one of the rules and returns how many broke each.
func filter(drawings []*drawing, rules []string) (kept []*drawing, counts map[string]int) {
	counts = map[string]int{}
	for _, d := range drawings {
		if rule := d.broken(); rule != "" && slices.Contains(rules, rule) {
			counts[rule]++
			continue
		}
		if isWord(d.name) { // without the rule nameless a caption is needed all the same
			kept = append(kept, d)
			continue
		}
		counts[ruleNameless]++
	}
	return kept, counts
}

// told returns counts in words.
func told(counts map[string]int) string {
	var out []string
	for _, rule := range ruleNames {
		if counts[rule] > 0 {
			out = append(out, fmt.Sprintf("%d %s", counts[rule], rule))
		}
	}
	return strings.Join(out, ", ")
}
