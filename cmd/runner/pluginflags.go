package main

import (
	"cmp"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/lock"
)

// devFlag gives a command that looks for plugins the flag by which files stand in for them.
func (a *app) devFlag(c *cobra.Command) *[]string {
	dev := c.Flags().StringArray("dev-plugin", nil, "use a file instead of the plugin of that name, as `losses/mine=PATH`, and taint the runs; $"+catalog.EnvDev+" has more, separated by commas")
	c.PreRunE = func(*cobra.Command, []string) error { return a.replacePlugins(*dev) }
	return dev
}

// pluginFlags gives a command that starts plugins the flags that say which files they may be.
func (a *app) pluginFlags(c *cobra.Command) {
	dev := a.devFlag(c)
	locked := c.Flags().Bool("locked", false, "refuse plugins that "+lock.Name+" does not have, or has otherwise (runner plugin lock)")
	file := c.Flags().String("lock-file", "", "the lock `file` (default: "+lock.Name+" beside the spec, else in the current folder)")
	c.PreRunE = func(_ *cobra.Command, given []string) error {
		if err := a.replacePlugins(*dev); err != nil {
			return err
		}
		if *locked && len(a.catalog.Dev) > 0 {
			return usage{fault.New(fault.Invalid, "--locked with a file that stands in for a plugin (--dev-plugin, $%s): no lock has that", catalog.EnvDev).
				WithHint("leave out one of the two")}
		}
		spec := ""
		if len(given) > 0 && strings.HasPrefix(argumentOf(c), "SPEC") {
			spec = given[0]
		}
		return a.guardPlugins(spec, *file, *locked)
	}
}

// argumentOf returns what a command's usage says of its arguments.
func argumentOf(c *cobra.Command) string {
	_, what, _ := strings.Cut(c.Use, " ")
	return what
}

// replacePlugins has files stand in for plugins: those of the environment, and those of a flag, which go before.
func (a *app) replacePlugins(flags []string) error {
	fromEnv := strings.FieldsFunc(os.Getenv(catalog.EnvDev), func(r rune) bool { return r == ',' })
	files, err := catalog.ParseDev(fromEnv)
	named, flagErr := catalog.ParseDev(flags)
	if err := cmp.Or(flagErr, err); err != nil {
		return usage{err}
	}
	maps.Copy(files, named)
	a.catalog.Dev = files
	return nil
}

// guardPlugins holds the plugins that are found from now on against a lock: the file, or else the one of a spec. Without
// strict, those that differ are told, and there need be no lock.
func (a *app) guardPlugins(spec, file string, strict bool) error {
	path, found := lock.Find(spec)
	if file != "" {
		path, found = file, true
	}
	if !found {
		if strict {
			return fault.New(fault.NotFound, "--locked: there is no %s, nor one in the current folder", path).
				WithHint("make one: runner plugin lock SPEC")
		}
		return nil
	}
	f, err := lock.Read(path)
	if err != nil {
		return err
	}
	a.catalog.Accept = (&lock.Guard{File: f, Strict: strict, Tell: func(message string) { a.say(message) }}).Accept
	return nil
}
