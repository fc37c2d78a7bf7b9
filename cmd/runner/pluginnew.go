package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/plugin/scaffold"
)

func (a *app) pluginNewCommand() *cobra.Command {
	p := scaffold.Plugin{Tags: buildTags()}
	var modality string
	c := &cobra.Command{
		Use: "new KIND NAME", Short: "write the folder of a new plugin", Args: args(cobra.ExactArgs(2)),
		Long: "Write the folder of a new plugin: a small working example, its test, and an experiment that uses it. KIND is\n" +
			strings.Join(scaffold.Kinds, ", ") + ". Inside tandem's tree the folder is plugins/<kind>s/NAME, elsewhere ./NAME,\n" +
			"a module or script of its own.",
		Example: "  runner plugin new loss my-loss --lang python\n  runner plugin new encoder-image mine --dir ~/research/mine",
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) == 0 {
				return scaffold.Kinds, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringVar(&p.Language, "lang", "go", "`language`: go or python")
	c.Flags().StringVar(&p.Dir, "dir", "", "the `folder` to make")
	c.Flags().StringVar(&p.Tandem, "tandem", "", "`folder` of tandem's sources, for plugins in Go outside of it; otherwise it is looked for")
	c.Flags().StringVar(&modality, "modality", "image", "with the kind encoder: image or text")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if p.Kind, p.Name = given[0], given[1]; p.Kind == "encoder" {
			p.Kind += "-" + modality
		}
		w, err := scaffold.Write(p)
		if err != nil {
			return err
		}
		say(a.stdout, "%s has %s\n\nNext:\n\n", w.Dir, strings.Join(w.Files, ", "))
		for i, command := range w.Next {
			if w.Comment[i] == "" {
				say(a.stdout, "  %s\n", command)
				continue
			}
			say(a.stdout, "  %-44s # %s\n", command, w.Comment[i])
		}
		say(a.stdout, "\nA spec names it %s. docs/writing-a-plugin.md goes on from here.\n", w.Ref)
		return nil
	}
	return c
}

// buildTags returns the build tags of this program.
func buildTags() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return s.Value
		}
	}
	return ""
}
