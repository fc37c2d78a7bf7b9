package page

import (
	"fmt"

	"tandem/core/results/store"
)

// recordedWarnings returns the warnings that runs recorded, one for each kind: the last of the first run that has one, and how
// many runs have some.
func recordedWarnings(runs []Run) []string {
	type kind struct {
		run     string
		message string
		runs    int
	}
	var order []string
	kinds := map[string]*kind{}
	for _, r := range runs {
		last := map[string]store.Event{}
		for _, e := range r.detail.Events {
			if e.Level != "info" {
				last[e.Kind] = e
			}
		}
		if _, summed := last["samples"]; summed { // the end of the run says it all
			delete(last, "samples_refused")
			delete(last, "samples_replaced")
		}
		for _, e := range r.detail.Events {
			if last[e.Kind] != e {
				continue
			}
			delete(last, e.Kind)
			if kinds[e.Kind] == nil {
				order = append(order, e.Kind)
				kinds[e.Kind] = &kind{run: r.detail.ID, message: e.Message}
			}
			kinds[e.Kind].runs++
		}
	}
	var out []string
	for _, k := range order {
		x := kinds[k]
		where := "run " + x.run
		if x.runs > 1 {
			where += fmt.Sprintf(" and %d more", x.runs-1)
		}
		out = append(out, fmt.Sprintf("%s: %s.", where, x.message))
	}
	return out
}
