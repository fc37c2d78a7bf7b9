package store

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Statuses lists the statuses that Filter takes.
var Statuses = []string{string(clip.StatusRunning), string(clip.StatusDone), string(clip.StatusFailed), string(clip.StatusInterrupted), string(clip.StatusStopped)}

// Check reports a filter that names what is not there: the empty list of its runs would say that there were none. Errors:
// fault.Invalid for a status, fault.NotFound for an experiment or a variant.
func (r *Reader) Check(ctx context.Context, f Filter) error {
	if f.Status != "" && !slices.Contains(Statuses, f.Status) {
		return unknownWord(fault.Invalid, "status", f.Status, Statuses)
	}
	if f.Experiment != "" {
		if _, err := r.Experiment(ctx, f.Experiment); err != nil {
			return err
		}
	}
	if f.Variant == "" {
		return nil
	}
	names, err := r.Variants(ctx, f.Experiment)
	if err != nil || slices.Contains(names, f.Variant) {
		return err
	}
	return unknownWord(fault.NotFound, "variant", f.Variant, names)
}

// unknownWord reports a word that is none of names.
func unknownWord(kind fault.Kind, what, word string, names []string) error {
	e := fault.New(kind, "there is no %s %q", what, word)
	const most = 12
	switch near := fault.Nearest(word, names); {
	case near != "":
		e.WithHint("did you mean %s?", near)
	case len(names) > most:
		e.WithHint("there are %s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	case len(names) > 0:
		e.WithHint("there are %s", strings.Join(names, ", "))
	}
	return e
}

var noSuch = regexp.MustCompile(`no such (column|table): ([\w.]+)`)

// hintNames adds to an error of SQL the column or the view that may be meant.
func (r *Reader) hintNames(ctx context.Context, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	m := noSuch.FindStringSubmatch(f.Error())
	if m == nil {
		return err
	}
	query := "SELECT name FROM sqlite_master WHERE type IN ('view', 'table')"
	if m[1] == "column" {
		query = "SELECT DISTINCT p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'view'"
	}
	names, queryErr := collect(ctx, r, scanName, query)
	if queryErr != nil {
		return err
	}
	if near := fault.Nearest(m[2][strings.LastIndexByte(m[2], '.')+1:], names); near != "" {
		f.WithHint("did you mean %s?", near)
	}
	return f
}
