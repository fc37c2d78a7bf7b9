package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/spec"
	"tandem/core/results/store"
)

// completion gives the words that may stand at a place of the command line.
type completion = func(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective)

// complete gives every command below c what its arguments and flags may be, by what their names ask for.
func (a *app) complete(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.complete(sub)
	}
	_, what, _ := strings.Cut(c.Use, " ")
	if c.ValidArgsFunction == nil && c.ValidArgs == nil {
		switch {
		case strings.HasPrefix(what, "RUN"):
			c.ValidArgsFunction = a.completeRun
		case strings.HasPrefix(what, "SPEC"), strings.HasPrefix(what, "[SPEC]"):
			c.ValidArgsFunction = firstOnly(a.completeSpec)
		case strings.HasPrefix(what, "[SPEC…]"):
			c.ValidArgsFunction = a.completeSpec
		case strings.HasPrefix(what, "EXPERIMENT"), strings.HasPrefix(what, "[EXPERIMENT"):
			c.ValidArgsFunction = a.completeExperiment
		case strings.HasPrefix(what, "PLUGIN"):
			c.ValidArgsFunction = firstOnly(a.completePlugin)
		}
	}
	for flag, by := range map[string]completion{
		"set": a.completeSet, "metric": a.completeMetric, "status": a.completeStatus, "experiment": firstOnly(a.completeExperiment), "variant": a.completeVariant,
		"run": a.completeRun, "resume": a.completeRun, "spec": a.completeSpec, "as": a.completeSpec, "baseline": a.completeVariant, "report": completeReport, "dev-plugin": a.completeDev,
	} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, by)
		}
	}
}

// firstOnly completes the first argument only.
func firstOnly(by completion) completion {
	return func(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 && c.ValidArgsFunction != nil && !strings.Contains(begun, "=") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return by(c, nil, begun)
	}
}

// completeFrom completes with what a reader of the database finds; nothing is said when there is none.
func (a *app) completeFrom(read func(*store.Reader) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	r, err := store.OpenReader(a.db)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer r.Close()
	words, _ := read(r)
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeRun completes ids of runs, the newest first, and latest.
func (a *app) completeRun(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 && c.Name() != "compare" {
		return nil, cobra.ShellCompDirectiveDefault // pictures
	}
	return a.completeFrom(func(r *store.Reader) ([]string, error) {
		const most = 200
		runs, err := r.Runs(c.Context(), store.Filter{Limit: most})
		words := []string{store.Latest + "\tthe newest run"}
		for _, run := range runs {
			words = append(words, run.ID+"\t"+strings.TrimSpace(run.Experiment+" "+run.Variant+" "+run.Status))
		}
		return words, err
	})
}

func (a *app) completeSpec(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeReport completes trackers, several with commas between them.
func completeReport(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	before := begun[:strings.LastIndex(begun, ",")+1]
	var words []string
	for _, name := range spec.Trackers() {
		if !slices.Contains(strings.Split(before, ","), name) {
			words = append(words, before+name)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completePlugin(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, e := range a.catalog.List() {
		words = append(words, e.Binary.Ref()+"\t"+e.Descriptor.Summary)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeBisect completes two plugins, by name or path, and a spec.
func (a *app) completeBisect(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(given) == 2:
		return a.completeSpec(c, nil, begun)
	case len(given) > 2 || strings.Contains(begun, "."):
		return nil, cobra.ShellCompDirectiveDefault
	}
	words, _ := a.completePlugin(c, nil, begun)
	return words, cobra.ShellCompDirectiveDefault
}

// completeDev completes the name of the plugin that a file is to stand in for; the shell completes the file.
func (a *app) completeDev(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(begun, "=") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var words []string
	for _, e := range a.catalog.List() {
		words = append(words, e.Binary.Ref()+"=")
	}
	return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeMetric(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFrom(func(r *store.Reader) ([]string, error) { return r.Metrics(c.Context(), "") })
}

func (a *app) completeVariant(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	experiment, _ := c.Flags().GetString("experiment")
	if experiment == "" && len(given) > 0 {
		experiment = given[0]
	}
	return a.completeFrom(func(r *store.Reader) ([]string, error) { return r.Variants(c.Context(), experiment) })
}

func (a *app) completeStatus(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return store.Statuses, cobra.ShellCompDirectiveNoFileComp
}

// completeSet completes the keys of the spec that is named, its plugins' settings included; without one that can be read,
// those that every spec has.
func (a *app) completeSet(_ *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	if strings.Contains(begun, "=") {
		return nil, directive
	}
	var words []string
	if len(given) > 0 {
		if s, err := a.lab().Load(given[0], nil); err == nil {
			for _, e := range s.Entries() {
				words = append(words, e.Path+"=")
			}
		}
	}
	var walk func(keys []spec.Key, at string)
	walk = func(keys []spec.Key, at string) {
		for _, k := range keys {
			if walk(k.Sub, at+k.Name+"."); len(k.Sub) == 0 && at+k.Name != "extends" {
				words = append(words, at+k.Name+"=")
			}
		}
	}
	if len(words) == 0 {
		walk(spec.Keys, "")
	}
	return words, directive
}
