// Package manual writes the pages of docs/plugins: what a plugin's descriptor says, for people.
package manual

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"tandem/core/clip"
)

// Name returns the file name of a plugin's page.
func Name(d clip.Descriptor) string { return d.Kind.Dir() + "-" + d.Name + ".md" }

// Page returns a plugin's page in Markdown: how a spec names it, what it can do, and its settings.
func Page(d clip.Descriptor) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	say("# %s/%s\n\n%s.\n\n", d.Kind.Dir(), d.Name, capital(strings.TrimSuffix(d.Summary, ".")))
	say("%s; version %s, protocol %d.\n\n", kindOf(d), d.Version, d.Protocol)
	say("```yaml\n%s```\n", example(d))
	if rows := abilities(d); len(rows) > 0 {
		say("\nIt can do more than its kind must:\n\n")
		for _, r := range rows {
			say("- %s\n", r)
		}
	}
	say("\n## Settings\n\n")
	if len(d.Schema) == 0 {
		say("It has none.\n")
		return b.String()
	}
	say("| setting | type | default | meaning |\n|---|---|---|---|\n")
	for _, f := range d.Schema {
		say("| `%s` | %s | %s | %s |\n", f.Name, Type(f), defaultOf(f), cell(f.Help))
	}
	for _, r := range d.Relations {
		if r.Rule == "multiple_of" {
			say("\n`%s` must be a multiple of `%s`.\n", r.Field, r.Of)
		}
	}
	if len(d.Sizes) > 0 {
		say("\n| with | samples |\n|---|---|\n")
		for _, s := range d.Sizes {
			say("| `%s` | %d |\n", flow(s.When), s.N)
		}
	}
	return b.String()
}

// Index returns the page that lists those of plugins.
func Index(all []clip.Descriptor) string {
	var b strings.Builder
	b.WriteString("# The plugins that come with tandem\n\nEach page is what `runner plugin describe NAME --markdown` prints; " +
		"`go test ./cmd/runner -run PluginPages -update` writes them.\n\n| plugin | |\n|---|---|\n")
	for _, d := range all {
		fmt.Fprintf(&b, "| [%s/%s](%s) | %s |\n", d.Kind.Dir(), d.Name, Name(d), cell(d.Summary))
	}
	return b.String()
}

// capital returns a text that begins as a sentence does.
func capital(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[n:]
}

func kindOf(d clip.Descriptor) string {
	switch {
	case d.Kind == clip.KindEncoder && d.Modality == "":
		return "An encoder of images or of texts"
	case d.Kind == clip.KindEncoder:
		return fmt.Sprintf("An encoder of %ss", d.Modality)
	}
	return "A " + string(d.Kind)
}

// example returns how a spec names the plugin, with the settings that it must be given.
func example(d clip.Descriptor) string {
	var settings []string
	for _, f := range d.Schema {
		if f.Required {
			settings = append(settings, f.Name+": …")
		}
	}
	with := ""
	if settings != nil {
		with = ", with: {" + strings.Join(settings, ", ") + "}"
	}
	switch {
	case d.Kind == clip.KindLoss:
		return fmt.Sprintf("loss: {plugin: %s%s}\n", d.Name, with)
	case d.Kind == clip.KindDataset:
		return fmt.Sprintf("data:\n  train: {dataset: %s%s}\n", d.Name, with)
	case d.Modality == clip.Text:
		return fmt.Sprintf("text: {encoder: %s%s}\n", d.Name, with)
	}
	return fmt.Sprintf("image: {encoder: %s%s}\n", d.Name, with)
}

// meanings says what capabilities, inputs and outputs are for a person.
var meanings = map[string]string{
	clip.CapVocabulary: "learns its tokenizer from the training captions",
	clip.CapFreeze:     "parts of it can be frozen (`freeze`)",
	clip.CapPrefetch:   "receives its next pictures in advance",
	clip.CapGroups:     "groups of its parameters and its layers can have learning rates of their own (`train.groups`, `train.layer_decay`)",
	clip.CapEMA:        "keeps an average of its parameters (`train.ema`)",
	clip.CapStart:      "parameters can begin to be trained later (`train.groups[].start`)",
	clip.CapLoRA:       "can be fine-tuned by low-rank matrices (`lora`)",
	clip.CapONNX:       "can be exported to ONNX (`runner export --format onnx`)",
	clip.CapExchange:   "can normalise its batches together with those of other ranks (`train.sync_norm`)",
	clip.CapNCCL:       "its GPUs add gradients up over ranks by themselves (NCCL)",
	clip.CapPretrained: "begins with a published model, whose content counts in a run's identity",
	clip.CapNegatives:  "gives negatives to losses that take them",
	clip.CapView2:      "gives a second view of each picture to losses that take it",
	clip.CapAugment:    "augments by colour jitter, grey, blur and RandAugment too (`data.train.augment`)",
	clip.CapBuckets:    "can be trained by several ranks together",
	clip.CapRows:       "each of several ranks can compute its share of a batch",
	clip.CapCache:      "keeps decoded pictures on disk (`data.cache`)",
}

func abilities(d clip.Descriptor) []string {
	var out []string
	for _, c := range d.Capabilities {
		if text := meanings[c]; text != "" {
			out = append(out, text)
		} else {
			out = append(out, "`"+c+"`")
		}
	}
	for _, input := range d.Inputs {
		out = append(out, fmt.Sprintf("takes the input `%s`", input))
	}
	for _, output := range d.Outputs {
		out = append(out, fmt.Sprintf("gives the output `%s`", output))
	}
	return out
}

// Type returns the type of a setting with its bounds.
func Type(f clip.Field) string {
	text := string(f.Type)
	if f.Elem != "" {
		text += " of " + string(f.Elem) + "s"
	}
	if f.Len > 0 {
		text += fmt.Sprintf(" (%d)", f.Len)
	}
	if len(f.Enum) > 0 {
		words := "`" + strings.Join(f.Enum, "`, `") + "`"
		if f.Type == clip.TypeString {
			text = words
		} else {
			text += ": " + words
		}
	}
	switch {
	case f.Min != nil && f.Max != nil:
		text += fmt.Sprintf(", %s … %s", number(*f.Min), number(*f.Max))
	case f.Min != nil:
		text += " ≥ " + number(*f.Min)
	case f.Max != nil:
		text += " ≤ " + number(*f.Max)
	}
	return text
}

func number(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func defaultOf(f clip.Field) string {
	switch {
	case f.Required:
		return "required"
	case f.Default == nil || f.Default == "":
		return ""
	}
	return "`" + flow(f.Default) + "`"
}

var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_/.-]*$`)

// flow writes a value as YAML in one line.
func flow(v any) string {
	switch t := v.(type) {
	case float64:
		return number(t)
	case string:
		if plainWord.MatchString(t) {
			return t
		}
	case []any:
		parts := make([]string, len(t))
		for i, e := range t {
			parts[i] = flow(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(t)) {
			parts = append(parts, key+": "+flow(t[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// cell makes a text fit a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "\n", " ")
}
