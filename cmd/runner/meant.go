package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/store"
)

// The variables that --db and --runs-dir have their defaults from.
const (
	envDB      = "RUNNER_DB"
	envRunsDir = "RUNNER_RUNS_DIR"
)

// usual is a variable's value, or what is usual without it.
func usual(variable, otherwise string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return otherwise
}

// checked refuses a filter that names what there is not: an empty list would say that it had no runs.
func checked(ctx context.Context, r *store.Reader, f store.Filter) error {
	if f.Status != "" && !slices.Contains(statuses, f.Status) {
		return usage{unknown("status", f.Status, statuses)}
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
	e := unknown("variant", f.Variant, names)
	e.Kind = fault.NotFound
	return e
}

// unknown is a fault about a word that is none of a list.
func unknown(what, word string, names []string) *fault.Error {
	e := fault.New(fault.Invalid, "there is no %s %q", what, word)
	const most = 12
	switch near := fault.Near(word, names); {
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

// sqlHint adds to an error of SQL the column or view that may be meant.
func sqlHint(ctx context.Context, r *store.Reader, err error) error {
	f, ok := err.(*fault.Error)
	if !ok {
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
	t, queryErr := r.Query(ctx, query)
	if queryErr != nil {
		return err
	}
	var names []string
	for _, row := range t.Rows {
		if name, ok := row[0].(string); ok {
			names = append(names, name)
		}
	}
	if near := fault.Near(m[2][strings.LastIndexByte(m[2], '.')+1:], names); near != "" {
		f.WithHint("did you mean %s?", near)
	}
	return f
}
