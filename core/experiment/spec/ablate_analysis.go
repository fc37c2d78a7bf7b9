package spec

import (
	"gopkg.in/yaml.v3"
)

// minLookSeeds bounds the number of seeds at a planned look from below: fewer show nothing (core/results/stat).
const minLookSeeds = 3

// analysis reads how results are judged: choose, directions, looks and analysis. None of it is part of a run's
// identity.
func (x *ablater) analysis() {
	if e, given := x.keys["choose"]; given {
		x.a.Choose, _ = x.valueOf(e).(string)
	}
	if e, given := x.keys["analysis"]; given {
		x.a.Analysis, _ = x.valueOf(e).(string)
	}
	x.directions()
	x.looks()
}

func (x *ablater) directions() {
	e, given := x.keys["directions"]
	if !given {
		return
	}
	if e.node.Kind != yaml.MappingNode {
		x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("write directions: {eval/test/nll: down}; up, down or none")
		return
	}
	x.a.Directions = map[string]string{}
	direction := fieldOf(e.key)
	direction.Type, direction.Elem = direction.Elem, ""
	for _, c := range x.pairs(e.node, e.p) {
		direction.Name = c.key
		x.a.Places["directions."+c.key] = c.o
		x.a.Directions[c.key], _ = x.scalarOf(c, direction).(string)
	}
}

func (x *ablater) looks() {
	e, given := x.keys["looks"]
	if !given {
		return
	}
	before := len(x.checker.faults)
	numbers := fieldOf(e.key)
	numbers.Min = nil // too few have a message of their own
	list, ok := x.scalarOf(e, numbers).([]any)
	if !ok || len(x.checker.faults) > before {
		return
	}
	seeds := max(1, len(x.a.Seeds))
	for i, v := range list {
		n, p := int(v.(int64)), e.p.with(itoa(i))
		switch {
		case n < minLookSeeds:
			x.say(x.checker.origin(p), p, "a look at %d seeds shows nothing", n).WithHint("%d seeds are the fewest", minLookSeeds)
		case i > 0 && n <= x.a.Looks[i-1]:
			x.say(x.checker.origin(p), p, "%d is not more than the look before", n).WithHint("list numbers of seeds, ascending: [3, 5, 8]")
		case n > seeds:
			x.say(x.checker.origin(p), p, "there are %d seeds", seeds).WithHint("the last look is at all seeds: %d", seeds)
		}
		x.a.Looks = append(x.a.Looks, n)
	}
	if n := len(x.a.Looks); len(x.checker.faults) == before && (n == 0 || x.a.Looks[n-1] != seeds) {
		x.say(e.o, e.p, "the last look is not at all %d seeds", seeds).WithHint("end the list with %d", seeds)
	}
}
