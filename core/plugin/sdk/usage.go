package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"tandem/core/clip"
)

// usage prints what a plugin is and how it is used.
func usage(w io.Writer, d clip.Descriptor) {
	what := string(d.Kind)
	if d.Modality != "" {
		what = string(d.Modality) + " " + what
	}
	fmt.Fprintf(w, "%s/%s %s: %s\n\n", d.Kind.Dir(), d.Name, d.Version, d.Summary)
	fmt.Fprintf(w, "This is a plugin of tandem (%s, protocol %d). The runner starts it; by hand it does nothing.\n\n",
		what, d.Protocol)
	fmt.Fprintf(w, "In a spec:\n\n%s\n", example(d))
	if len(d.Schema) > 0 {
		fmt.Fprintln(w, "Options of with:")
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range d.Schema {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", f.Name, typeName(f), describeLimits(f), f.Help)
		}
		t.Flush()
		fmt.Fprintln(w)
	}
	for _, r := range d.Relations {
		if r.Rule == "multiple_of" {
			fmt.Fprintf(w, "%s must be a multiple of %s.\n\n", r.Field, r.Of)
		}
	}
	fmt.Fprintf(w, "Commands:\n\n  runner run SPEC.yaml\n  runner plugin describe %s/%s\n\n", d.Kind.Dir(), d.Name)
	fmt.Fprintln(w, "Flags: --describe prints the descriptor as JSON, --manifest the same with this binary's sha256,")
	fmt.Fprintln(w, "--version the version; --serve waits for a runner, in a debugger for example (RUNNER_REATTACH).")
}

func example(d clip.Descriptor) string {
	switch d.Kind {
	case clip.KindEncoder:
		if d.Modality == "" {
			return fmt.Sprintf("  image: {encoder: %s, with: {…}}\n  text: {encoder: %s, with: {…}}\n", d.Name, d.Name)
		}
		return fmt.Sprintf("  %s: {encoder: %s, with: {…}}\n", d.Modality, d.Name)
	case clip.KindLoss:
		return fmt.Sprintf("  loss: {plugin: %s, with: {…}}\n", d.Name)
	}
	return fmt.Sprintf("  data:\n    train: {dataset: %s, with: {…}}\n", d.Name)
}

func typeName(f clip.Field) string {
	switch {
	case f.Type == clip.TypeList && f.Len > 0:
		return fmt.Sprintf("list of %d %s", f.Len, f.Elem)
	case f.Type == clip.TypeList || f.Type == clip.TypeMap:
		return fmt.Sprintf("%s of %s", f.Type, f.Elem)
	}
	return string(f.Type)
}

// describeLimits returns the default and the bounds in a few words: "default 256, 1 to 4096".
func describeLimits(f clip.Field) string {
	var parts []string
	switch {
	case f.Required:
		parts = append(parts, "required")
	case f.Default != nil:
		text, err := json.Marshal(f.Default)
		if err != nil {
			text = fmt.Append(nil, f.Default)
		}
		parts = append(parts, "default "+strings.Trim(string(text), `"`))
	case f.Type == clip.TypeInt || f.Type == clip.TypeFloat:
		parts = append(parts, "default 0")
	case f.Type == clip.TypeBool:
		parts = append(parts, "default false")
	}
	switch {
	case f.Min != nil && f.Max != nil:
		parts = append(parts, fmt.Sprintf("%v to %v", *f.Min, *f.Max))
	case f.Min != nil:
		parts = append(parts, fmt.Sprintf("at least %v", *f.Min))
	case f.Max != nil:
		parts = append(parts, fmt.Sprintf("at most %v", *f.Max))
	}
	if len(f.Enum) > 0 {
		parts = append(parts, "one of "+strings.Join(f.Enum, " "))
	}
	return strings.Join(parts, ", ")
}
