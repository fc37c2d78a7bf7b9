package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/manual"
	"tandem/core/results/report"
)

func (a *app) pluginCommand() *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "make, list, describe, test, time, lock, compare and record plugins"}
	c.AddCommand(a.pluginNewCommand(), a.pluginListCommand(), a.pluginDescribeCommand(), a.pluginTestCommand(), a.pluginBenchCommand(), a.pluginLockCommand(), a.pluginVerifyCommand(),
		a.pluginBisectCommand(), a.pluginRecordCommand(), a.pluginReplayCommand())
	a.group(c)
	return c
}

func (a *app) pluginListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the plugins that are found", Args: args(cobra.NoArgs)}
	a.devFlag(c)
	a.formatFlags(c, true)
	c.RunE = func(*cobra.Command, []string) error {
		var rows [][]any
		for _, e := range a.catalog.List() {
			summary := e.Descriptor.Summary
			if e.Err != nil {
				summary = e.Err.Error()
			}
			rows = append(rows, []any{e.Binary.Ref(), e.Descriptor.Version, summary, e.Binary.Path})
		}
		if len(rows) == 0 {
			say(a.stderr, "no plugins in %s\n", strings.Join(a.catalog.Roots, ", "))
		}
		return report.Rows(a.stdout, a.format(), []string{"plugin", "version", "summary", "path"}, rows)
	}
	return c
}

func (a *app) pluginDescribeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "describe PLUGIN", Short: "describe a plugin and its settings", Args: args(cobra.ExactArgs(1)),
		Long: "Describe a plugin and the settings of its with block. PLUGIN is vit, encoders/vit or a path.",
	}
	a.devFlag(c)
	a.formatFlags(c, true)
	markdown := c.Flags().Bool("markdown", false, "print a page of a manual")
	c.MarkFlagsMutuallyExclusive("markdown", "json", "csv")
	c.RunE = func(_ *cobra.Command, given []string) error {
		d, b, err := a.findPlugin(given[0])
		if err != nil {
			return err
		}
		if *markdown {
			_, err := say(a.stdout, "%s", manual.Page(d))
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, map[string]any{"path": b.Path, "sha256": b.SHA256, "descriptor": d})
		}
		var rows [][]any
		for _, f := range d.Schema {
			rows = append(rows, []any{f.Name, fieldType(f), fieldDefault(f), f.Help})
		}
		if !a.asCSV {
			say(a.stdout, "%s %s — %s\n%s\nsha256 %s\n", b.Ref(), d.Version, d.Summary, b.Path, b.SHA256)
			for _, list := range []struct {
				what  string
				names []string
			}{{"takes", d.Inputs}, {"gives", d.Outputs}, {"can", d.Capabilities}} {
				if len(list.names) > 0 {
					say(a.stdout, "%s %s\n", list.what, strings.Join(list.names, ", "))
				}
			}
			say(a.stdout, "\n")
		}
		if len(rows) == 0 {
			_, err := fmt.Fprintln(a.stdout, "It has no settings.")
			return err
		}
		return report.Rows(a.stdout, a.format(), []string{"setting", "type", "default", "meaning"}, rows)
	}
	return c
}

// findPlugin looks a plugin up among all kinds.
func (a *app) findPlugin(ref string) (d clip.Descriptor, b catalog.Binary, err error) {
	if ref == "." || ref == ".." { // the folder that one works in
		if ref, err = filepath.Abs(ref); err != nil {
			return d, b, fault.New(fault.Unavailable, "%w", err)
		}
	}
	if filepath.IsAbs(ref) || strings.HasPrefix(ref, ".") { // what it says of itself tells its kind
		if d, b, err = a.catalog.Describe(catalog.Kinds[0], ref); err != nil && d.Kind != "" && d.Kind != catalog.Kinds[0] {
			d, b, err = a.catalog.Describe(d.Kind, ref)
		}
		return d, b, err
	}
	var first error
	for _, kind := range catalog.Kinds {
		if d, b, err = a.catalog.Describe(kind, ref); err == nil {
			return d, b, nil
		}
		if first == nil || fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
			first = err
		}
	}
	var all []string
	for _, kind := range catalog.Kinds {
		for _, name := range a.catalog.Names(kind) {
			all = append(all, kind.Dir()+"/"+name)
		}
	}
	if fault.KindOf(first) == fault.NotFound || fault.KindOf(first) == fault.Invalid {
		if _, err := os.Stat(ref); err == nil {
			return d, b, fault.New(fault.NotFound, "no plugin is named %q", ref).WithHint("for the file or folder here write ./%s", ref)
		}
		return d, b, fault.New(fault.NotFound, "no plugin %q", ref).WithHint("there are %s", strings.Join(all, ", "))
	}
	return d, b, first
}

func fieldType(f clip.Field) string {
	text := string(f.Type)
	if f.Elem != "" {
		text += " of " + string(f.Elem)
	}
	if f.Len > 0 {
		text += fmt.Sprintf(" (%d)", f.Len)
	}
	if len(f.Enum) > 0 {
		text = strings.Join(f.Enum, " | ")
	}
	if f.Min != nil {
		text += fmt.Sprintf(" ≥ %v", *f.Min)
	}
	if f.Max != nil {
		text += fmt.Sprintf(" ≤ %v", *f.Max)
	}
	return text
}

func fieldDefault(f clip.Field) string {
	switch {
	case f.Required:
		return "required"
	case f.Default == nil:
		return ""
	}
	return fmt.Sprint(f.Default)
}
