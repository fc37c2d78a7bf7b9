package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tandem/core/experiment/schedule"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/lock"
	"tandem/core/results/report"
)

func (a *app) pluginLockCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "lock [SPEC…]", Short: "write which plugins specs use, with their digests, to " + lock.Name,
		Long: `Write the plugins of specs, those of all variants of an ablate block included, to ` + lock.Name + `: name, version, protocol
and the sha256 for this platform. What other specs and other platforms have in the file stays there. The file is the one
beside the first SPEC, or the one in the current folder where only that is there. Without SPEC, every plugin that is found goes in.

Keep the file with the specs. runner plugin verify compares it with the plugins that are found, and --locked of run and
of other commands that start plugins refuses all that differ.`,
		Example: "  runner plugin lock experiments/*.yaml\n  runner run experiments/quickstart.yaml --locked",
	}
	set, file := a.setFlag(c), lockFileFlag(c)
	a.formatFlags(c, true)
	c.RunE = func(_ *cobra.Command, given []string) error {
		plugins, err := a.pluginsOf(given, *set)
		if err != nil {
			return err
		}
		f := &lock.File{Path: lockPath(given, *file)}
		if old, err := lock.Read(f.Path); err == nil {
			f = old
		} else if fault.KindOf(err) != fault.NotFound {
			return err
		}
		states := make([]lock.State, len(plugins))
		for i, p := range plugins {
			states[i], _ = f.Check(lock.Platform(), p)
		}
		f.Lock(lock.Platform(), plugins)
		if err := f.Write(); err != nil {
			return err
		}
		var rows [][]any
		for i, p := range plugins {
			was := map[lock.State]string{lock.Same: "as before", lock.Changed: "changed", lock.Unknown: "new"}[states[i]]
			rows = append(rows, []any{p.Plugin, p.Version, p.Protocol, was, p.SHA256})
		}
		if err := report.Rows(a.stdout, a.format(), []string{"plugin", "version", "protocol", "lock", "sha256"}, rows); err != nil {
			return err
		}
		say(a.stderr, "%s: %d plugins for %s\n", f.Path, len(plugins), lock.Platform())
		return nil
	}
	return c
}

func (a *app) pluginVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "verify [SPEC…]", Short: "compare the plugins of specs with " + lock.Name,
		Long: `Compare the plugins that specs use with those in ` + lock.Name + `: same, changed, missing (not found here), or not locked. The file is
the one beside the first SPEC, else the one in the current folder. Without SPEC, every plugin in it is looked for.

Exit codes: 0 when all are the same, 1 when one is not, 2 for bad input.`,
		Example: "  runner plugin verify experiments/quickstart.yaml",
	}
	set, file := a.setFlag(c), lockFileFlag(c)
	a.formatFlags(c, true)
	c.RunE = func(_ *cobra.Command, given []string) error {
		f, err := lock.Read(lockPath(given, *file))
		if fault.KindOf(err) == fault.NotFound {
			return fault.New(fault.NotFound, "there is no %s", lockPath(given, *file)).WithHint("make it: runner plugin lock SPEC")
		}
		if err != nil {
			return err
		}
		var now []lock.Plugin
		if len(given) > 0 {
			now, err = a.pluginsOf(given, *set)
		} else {
			now = a.lockedPlugins(f)
		}
		if err != nil {
			return err
		}
		good := true
		var rows [][]any
		for _, p := range now {
			state, locked := f.Check(lock.Platform(), p)
			if p.SHA256 == "" {
				state = lock.Missing
			}
			good = good && state == lock.Same
			had := ""
			for i, l := range locked {
				if had += fmt.Sprintf("%.12s", l.SHA256); i < len(locked)-1 {
					had += " or "
				}
			}
			rows = append(rows, []any{p.Plugin, p.Version, string(state), had, fmt.Sprintf("%.12s", p.SHA256)})
		}
		if err := report.Rows(a.stdout, a.format(), []string{"plugin", "version", "state", "locked", "now"}, rows); err != nil {
			return err
		}
		if !good {
			say(a.stderr, "%s: not all plugins are as locked; put them back, or lock them: %s plugin lock SPEC\n", f.Path, program())
			return alreadySaid{exitFailed}
		}
		return nil
	}
	return c
}

func lockFileFlag(c *cobra.Command) *string {
	return c.Flags().StringP("file", "f", "", "the lock `file` (default: "+lock.Name+" beside the first SPEC, without one in the current folder)")
}

// lockPath returns the lock that specs are locked in.
func lockPath(specs []string, file string) string {
	spec := ""
	if len(specs) > 0 {
		spec = specs[0]
	}
	path, _ := lock.Find(spec)
	return cmp.Or(file, path)
}

// pluginsOf returns every plugin that specs use under any variant, or that is found where there is no spec; each once, sorted.
func (a *app) pluginsOf(specs, set []string) ([]lock.Plugin, error) {
	var all []lock.Plugin
	add := func(p lock.Plugin) {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	l := a.lab()
	for _, file := range specs {
		s, err := schedule.Load(l, file, set)
		if err != nil {
			return nil, err
		}
		for _, one := range s.Specs() {
			used, err := l.Plugins(one)
			if err != nil {
				return nil, err
			}
			for _, u := range used {
				add(lock.PluginOf(u.Binary, u.Descriptor))
			}
		}
	}
	if len(specs) == 0 {
		for _, e := range a.catalog.List() {
			if e.Err != nil {
				say(a.stderr, "%s is left out: %s\n", e.Binary.Ref(), fault.Format(e.Err))
				continue
			}
			add(lock.PluginOf(e.Binary, e.Descriptor))
		}
	}
	slices.SortFunc(all, func(x, y lock.Plugin) int {
		return cmp.Or(cmp.Compare(x.Plugin, y.Plugin), cmp.Compare(x.Version, y.Version), cmp.Compare(x.SHA256, y.SHA256))
	})
	return all, nil
}

// lockedPlugins looks for the plugins of a lock. Those that are not found, or say nothing of themselves, have no digest.
func (a *app) lockedPlugins(f *lock.File) []lock.Plugin {
	var all []lock.Plugin
	for _, name := range f.Plugins(lock.Platform()) {
		p := lock.Plugin{Plugin: name}
		for _, kind := range catalog.Kinds {
			if d, b, err := a.catalog.Describe(kind, name); err == nil {
				p = lock.PluginOf(b, d)
			}
		}
		all = append(all, p)
	}
	return all
}
