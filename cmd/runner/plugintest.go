package main

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/trial"
	"tandem/core/results/report"
)

// maxWithFile limits the size of a file of options.
const maxWithFile = 4 << 20

func (a *app) pluginTestCommand() *cobra.Command {
	var o trial.Options
	var with string
	c := &cobra.Command{
		Use: "test PLUGIN", Short: "check that a plugin keeps the rules", Args: args(cobra.ExactArgs(1)),
		Long: "Check a plugin, in any language, with the conformance kit: gradients, determinism, checkpoints, shapes, errors.\n" +
			"PLUGIN is vit, encoders/vit, or the path of a program or of a plugin's folder. The exit code is 1 when a rule is broken.",
		Example: "  runner plugin test ./mine --with '{\"margin\": 0.3}'\n  runner plugin test encoders/vit --json",
	}
	a.formatFlags(c, false)
	a.trialFlags(c, &o, &with)
	c.Flags().StringArrayVar(&o.Skip, "skip", nil, "leave a `rule` out, as often as wanted: gradient for networks with kinks everywhere")
	c.Flags().StringArrayVar(&o.Only, "rule", nil, "check only a `rule` and those that it needs, as often as wanted")
	c.RunE = func(c *cobra.Command, given []string) error {
		if err := a.completeTrial(&o, given[0], with); err != nil {
			return err
		}
		if !a.asJSON {
			say(a.stdout, "%s %s (protocol %d)\n%s\nsha256 %s\n\n", o.Binary.Ref(), o.Descriptor.Version, o.Descriptor.Protocol, o.Binary.Path, o.Binary.SHA256)
			o.Observe = func(f conformance.Finding) { a.sayFinding(trial.ResultOf(f)) }
		}
		r, err := trial.Run(c.Context(), o)
		if err != nil {
			return err
		}
		if a.asJSON {
			if err := report.Value(a.stdout, r); err != nil {
				return err
			}
		} else {
			say(a.stdout, "\n%d rules hold, %d are broken, %d were not checked, in %.1f s, with %s\n", r.Passed, r.Failed, r.Skipped, r.Seconds, r.With)
		}
		if r.Failed > 0 {
			return alreadySaid{exitFailed}
		}
		return nil
	}
	return c
}

// trialFlags adds the flags that test and bench share.
func (a *app) trialFlags(c *cobra.Command, o *trial.Options, with *string) {
	c.Flags().StringVar(with, "with", "", "options of the plugin, as `JSON` or a file of YAML or JSON; otherwise small ones")
	c.Flags().StringVar(&o.Device, "device", "cpu", "`device` that it computes on: cpu, host, cuda:N")
	c.Flags().IntVar(&o.Threads, "threads", 1, "threads that it computes with")
	c.Flags().IntVar(&o.EmbedDim, "embed-dim", 0, "width of the embeddings (8)")
	c.Flags().StringVar((*string)(&o.Modality), "modality", "", "image or text, of an encoder that can be either (image)")
	c.Flags().IntVar(&o.Batch, "batch", 0, "samples of a batch (5 or 6)")
	c.Flags().IntVar(&o.ImageSize, "image-size", 0, "side of a dataset's pictures (24)")
}

// completeTrial finds the plugin and reads its options.
func (a *app) completeTrial(o *trial.Options, ref, with string) (err error) {
	o.Catalog = a.catalog
	if o.Descriptor, o.Binary, err = a.findPlugin(ref); err != nil {
		return err
	}
	if with != "" {
		o.With, err = readWith(with, o.Descriptor)
	}
	return err
}

// readWith returns options from JSON, or from a file. Paths among them are relative to the file, or to the
// working folder.
func readWith(text string, d clip.Descriptor) (json.RawMessage, error) {
	dir := "."
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		content, err := files.Read(text, maxWithFile)
		if err != nil {
			return nil, err
		}
		dir, text = filepath.Dir(text), string(content)
	}
	with := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &with); err != nil { // JSON is YAML
		return nil, fault.New(fault.Invalid, "--with: %w", err).WithHint(`pass an object: --with '{"width": 32}'`)
	}
	for _, f := range d.Schema {
		path, ok := with[f.Name].(string)
		if !ok || f.Type != clip.TypePath || path == "" || filepath.IsAbs(path) {
			continue
		}
		abs, err := filepath.Abs(filepath.Join(dir, path))
		if err != nil {
			return nil, fault.New(fault.Invalid, "--with: %w", err)
		}
		with[f.Name] = abs
	}
	out, err := json.Marshal(with)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--with: %w", err)
	}
	return out, nil
}

// sayFinding prints the outcome of a rule.
func (a *app) sayFinding(r trial.Result) {
	const indent = "\n        "
	switch r.Outcome {
	case trial.Passed:
		say(a.stdout, "ok    %-24s %s\n", r.Rule, r.Promise)
	case trial.Skipped:
		say(a.stdout, "skip  %-24s not checked: %s\n", r.Rule, r.Why)
	case trial.Failed:
		say(a.stdout, "FAIL  %-24s %s%swhy:    %s%sremedy: %s\n", r.Rule, r.Promise, indent, strings.ReplaceAll(r.Why, "\n", indent), indent, r.Remedy)
	}
}
