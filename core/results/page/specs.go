package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/core/results/report"
	"tandem/core/results/store"
)

// Specs holds the settings of an experiment: of one variant in full, of the others where they differ from it.
type Specs struct {
	Variant string
	Run     string
	YAML    string
	Others  []Difference
}

// Difference says what a variant sets otherwise.
type Difference struct {
	Variant  string
	Settings []Setting
}

// Setting holds a key of a spec and its two values; "–" where it is not set.
type Setting struct{ Key, Base, Own string }

// specs compares the first run of each variant with that of the first variant of the table.
func specs(ctx context.Context, src Source, p *Page) (s Specs, err error) {
	first := map[string]string{}
	for _, r := range p.Runs {
		if first[r.Variant] == "" {
			first[r.Variant] = r.ID
		}
	}
	var variants, ids []string
	for _, row := range p.Table.Rows {
		if id := first[row.Variant]; id != "" {
			variants, ids = append(variants, row.Variant), append(ids, id)
		}
	}
	if len(ids) == 0 {
		return s, nil
	}
	base, err := src.Get(ctx, ids[0])
	if err != nil {
		return s, err
	}
	params, err := src.ParamsOf(ctx, ids[1:])
	if err != nil {
		return s, err
	}
	s = Specs{Variant: variants[0], Run: base.ID, YAML: base.Spec}
	for i, v := range variants[1:] {
		s.Others = append(s.Others, Difference{v, differences(base.Params, params[ids[i+1]])})
	}
	return s, nil
}

// incidental lists the keys by which runs of one variant differ, or that name it.
var incidental = []string{"name", "description", "variant", "seed"}

func differences(base, own map[string]any) (all []Setting) {
	keys := maps.Clone(base)
	maps.Copy(keys, own)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		b, o := setting(base, k), setting(own, k)
		if b != o && !slices.Contains(incidental, k) {
			all = append(all, Setting{k, b, o})
		}
	}
	return all
}

func setting(params map[string]any, key string) string {
	v, has := params[key]
	switch v := v.(type) {
	case nil:
		if !has {
			return "–"
		}
		return "null"
	case json.RawMessage:
		var b bytes.Buffer
		if json.Compact(&b, v) == nil {
			return b.String()
		}
		return string(v)
	case float64:
		return report.Number(v)
	default:
		return fmt.Sprint(v)
	}
}

// Place holds one line of the environment.
type Place struct {
	Name   string
	Values []PlaceValue // the most frequent first
}

// PlaceValue holds what so many runs have.
type PlaceValue struct {
	Text string
	Runs int
}

// environment returns the environment of all runs, and warnings of what should not differ between them.
func environment(runs []Run) (all []Place, warnings []string) {
	var done []Run
	for _, r := range runs {
		if r.Done {
			done = append(done, r)
		}
	}
	if len(done) == 0 {
		done = runs
	}
	add := func(name, warning string, of func(*store.RunDetail) string) {
		counts := map[string]int{}
		var order []string
		for _, r := range done {
			text := of(r.detail)
			if text == "" {
				continue
			}
			if counts[text] == 0 {
				order = append(order, text)
			}
			counts[text]++
		}
		if len(order) == 0 {
			return
		}
		p := Place{Name: name}
		slices.SortStableFunc(order, func(x, y string) int { return counts[y] - counts[x] })
		for _, text := range order {
			p.Values = append(p.Values, PlaceValue{text, counts[text]})
		}
		all = append(all, p)
		if warning != "" && len(order) > 1 {
			warnings = append(warnings, fmt.Sprintf(warning, len(order)))
		}
	}
	add("host", "", func(d *store.RunDetail) string {
		if d.Host == "" {
			return ""
		}
		return fmt.Sprintf("%s, %d cores", d.Host, d.Cores)
	})
	add("device", "The runs computed on %d different devices or libraries: small differences may come from there.", func(d *store.RunDetail) string { return d.Device })
	add("libraries", "", func(d *store.RunDetail) string { return pairs(d.Libraries) })
	add("threads", "", func(d *store.RunDetail) string { return pairs(d.Threads) })
	add("git commit", "The runs are of %d different commits.", func(d *store.RunDetail) string {
		if d.GitDirty {
			return d.GitCommit + " with uncommitted changes"
		}
		return d.GitCommit
	})
	add("training data", "", func(d *store.RunDetail) string { return d.DatasetDigest })
	for _, role := range roles(done) {
		add("plugin: "+role, "", func(d *store.RunDetail) string { return plugin(d, role) })
	}
	if n := rebuiltPlugins(done); len(n) > 0 {
		warnings = append(warnings, fmt.Sprintf("Not all runs used the same build of %s.", strings.Join(n, ", ")))
	}
	return all, warnings
}

// pairs writes a JSON object as "a 1, b 2".
func pairs(raw json.RawMessage) string {
	var m map[string]any
	if json.Unmarshal(raw, &m) != nil {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %v", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

func roles(runs []Run) (names []string) {
	for _, r := range runs {
		for _, p := range r.detail.Plugins {
			if !slices.Contains(names, p.Role) {
				names = append(names, p.Role)
			}
		}
	}
	return names
}

func plugin(d *store.RunDetail, role string) string {
	for _, p := range d.Plugins {
		if p.Role == role {
			return strings.TrimSpace(fmt.Sprintf("%s %s", p.Name, p.Version)) + fmt.Sprintf(", sha256 %.12s", p.SHA256)
		}
	}
	return ""
}

// rebuiltPlugins returns the plugins of which the runs used several builds.
func rebuiltPlugins(runs []Run) []string {
	builds := map[string]map[string]bool{}
	for _, r := range runs {
		for _, p := range r.detail.Plugins {
			if builds[p.Name] == nil {
				builds[p.Name] = map[string]bool{}
			}
			builds[p.Name][p.SHA256] = true
		}
	}
	var names []string
	for _, n := range slices.Sorted(maps.Keys(builds)) {
		if len(builds[n]) > 1 {
			names = append(names, n)
		}
	}
	return names
}
