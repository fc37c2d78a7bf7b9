// Package compare makes the page that sets runs side by side: the settings that differ, their metrics, their curves, where they ran.
package compare

import (
	"context"
	"embed"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"tandem/core/fault"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/curves"
)

//go:embed compare.html compare.css
var files embed.FS

var _ = web.AddStatic(files, "compare.css")

var body = web.NewBody(files, "compare.html", curves.Functions)

// mostRuns limits the runs that are compared, and listed limits those that the picker offers.
const (
	mostRuns = 256
	listed   = 200
)

// Add adds the page to a site.
func Add(s *web.Site) {
	s.Page("GET /compare", body, func(r *http.Request) (*web.View, error) {
		ids, err := chosen(r.Context(), s.Reader(), r.URL.Query())
		if err != nil {
			return nil, err
		}
		p, err := gather(r.Context(), s.Reader(), ids, r.URL.Query()["metric"])
		if err != nil {
			return nil, err
		}
		return &web.View{Title: "Compare", Place: web.Place{Tab: "compare"}, Data: p, Final: p.isFinal()}, nil
	})
}

// chosen returns the ids of the runs that an address names. An address that names them otherwise, or adds some, is sent to the one that
// names them so.
func chosen(ctx context.Context, reader *store.Reader, q url.Values) ([]string, error) {
	var ids []string
	add := func(id string) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, ref := range append(slices.Clone(q["run"]), q["add"]...) {
		if ref == "" {
			continue
		}
		id, err := reader.FindRun(ctx, ref)
		if err != nil {
			return nil, err
		}
		add(id)
	}
	if experiment := q.Get("experiment"); experiment != "" {
		more, err := ofExperiment(ctx, reader, experiment, q.Get("variant"))
		if err != nil {
			return nil, err
		}
		for _, id := range more {
			add(id)
		}
	} else if variant := q.Get("variant"); variant != "" {
		return nil, fault.New(fault.Invalid, "variant is %q, and there is no experiment", variant).WithHint("name its experiment too")
	}
	if len(ids) > mostRuns {
		return nil, fault.New(fault.Invalid, "%d runs are to be compared", len(ids)).WithHint("%d at most: name a variant, or fewer runs", mostRuns)
	}
	if !slices.Equal(ids, q["run"]) || q.Has("add") || q.Has("experiment") || q.Has("variant") {
		kept := maps.Clone(q)
		for _, name := range []string{"add", "experiment", "variant"} {
			kept.Del(name)
		}
		return nil, web.Elsewhere(address(ids, kept))
	}
	return ids, nil
}

// ofExperiment returns the runs that fill the cells of an experiment, those of one variant unless that is "".
func ofExperiment(ctx context.Context, reader *store.Reader, experiment, variant string) (ids []string, err error) {
	if err := reader.Check(ctx, store.Filter{Experiment: experiment, Variant: variant}); err != nil {
		return nil, err
	}
	cells, err := reader.Cells(ctx, experiment)
	for _, c := range cells {
		if c.RunID != "" && (variant == "" || c.Variant == variant) {
			ids = append(ids, c.RunID)
		}
	}
	if err == nil && len(ids) == 0 {
		return nil, fault.New(fault.NotFound, "no run of them is recorded yet")
	}
	return ids, err
}

// address returns the page's address for runs; of the other values those of q stay.
func address(ids []string, q url.Values) string {
	kept := maps.Clone(q)
	kept["run"] = ids
	if len(kept) == 1 && len(ids) == 0 {
		return "/compare"
	}
	return "/compare?" + kept.Encode()
}
