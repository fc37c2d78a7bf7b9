package runs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"tandem/core/plugin/journal"
)

// newRecord returns a record as the page shows it.
func newRecord(r journal.Record) record {
	out := record{Level: r.Level, Message: r.Message}
	if !slices.Contains(journal.Levels, r.Level) {
		out.Level = journal.Info
	}
	if !r.Time.IsZero() {
		out.Time = r.Time.UTC().Format("15:04:05.000")
	}
	for _, key := range slices.Sorted(maps.Keys(r.Fields)) {
		out.Message += fmt.Sprintf(" %s=%v", key, r.Fields[key])
	}
	return out
}

// order puts logs with errors first, then by role.
func order(all []log) {
	slices.SortFunc(all, func(a, b log) int {
		if a.Grave != b.Grave {
			if a.Grave {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Role, b.Role)
	})
}
