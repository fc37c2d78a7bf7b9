package main

import (
	"cmp"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/plugin/catalog"
)

// pluginFlags gives a command that looks for plugins the flags that say which files they are.
func (a *app) pluginFlags(c *cobra.Command) {
	dev := c.Flags().StringArray("dev-plugin", nil, "use a file instead of the plugin of that name, as `losses/mine=PATH`, and taint the runs; $"+catalog.EnvDev+" has more, separated by commas")
	c.PreRunE = func(*cobra.Command, []string) error { return a.replacePlugins(*dev) }
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
