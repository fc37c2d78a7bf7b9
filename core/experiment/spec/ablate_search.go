package spec

import (
	"gopkg.in/yaml.v3"

	"tandem/core/clip"
)

// Budget says when a search has tried enough: whichever comes first.
type Budget struct {
	Trials int     `json:"trials,omitempty"` // points, each under every seed; 0: no such limit
	Hours  float64 `json:"hours,omitempty"`  // that its trials took together, side by side or not; 0: no such limit
}

// confirmSeeds is the number of fresh seeds that confirm the winner of a search where the spec says nothing.
const confirmSeeds = 3

var budgetKeys = []Key{
	key("trials", clip.TypeInt, nil, "the number of points to try, each under every seed").min(1).max(10000),
	key("hours", clip.TypeFloat, nil, "no further point is tried once the trials of the search took so many hours together").min(0.001).max(100000),
}

var confirmKeys = []Key{
	key("seeds", clip.TypeInt, int64(confirmSeeds), "how many fresh seeds, the smallest that are not in `seeds`; 3 when left out, 0 for none").min(0).max(1000),
}

// search reads the budget of a search and how its winner is confirmed. None of it is part of a run's identity.
func (x *ablater) search(at path) {
	if x.a.Design != Search {
		return
	}
	x.a.Confirm = confirmSeeds
	if e, given := x.keys["confirm"]; given {
		if m, ok := x.section(e, confirmKeys, "write confirm: {seeds: 3}"); ok {
			n, _ := m["seeds"].(int64)
			x.a.Confirm = int(n)
		}
	}
	e, given := x.keys["budget"]
	if !given {
		x.reportMissing(at.with("budget"), "write budget: {trials: 40}, or budget: {hours: 2}")
		return
	}
	m, ok := x.section(e, budgetKeys, "write budget: {trials: 40}, or budget: {hours: 2}")
	if !ok {
		return
	}
	if len(e.node.Content) == 0 {
		x.say(e.o, e.p, "no limit").WithHint("write budget: {trials: 40}, or budget: {hours: 2}")
	}
	trials, _ := m["trials"].(int64)
	x.a.Budget.Trials = int(trials)
	x.a.Budget.Hours, _ = m["hours"].(float64)
	if whole, isInt := m["hours"].(int64); isInt {
		x.a.Budget.Hours = float64(whole)
	}
}

// section reads a map of these keys. It returns false where there is none.
func (x *ablater) section(e pair, keys []Key, hint string) (map[string]any, bool) {
	if e.node.Kind != yaml.MappingNode {
		x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("%s", hint)
		return nil, false
	}
	m := x.converter.mapping(e.node, e.p)
	short := append([]Key(nil), keys...)
	for i := range short {
		short[i].Help = "" // too long for a hint
	}
	x.checker.section(m, short, e.p, e.key)
	return m, true
}
