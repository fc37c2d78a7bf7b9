package spec

import (
	"fmt"
	"slices"
	"strings"

	"tandem/core/clip"
)

// markdownTable returns the table of every key of a spec, for docs/spec.md.
func markdownTable() string {
	var b strings.Builder
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	writeRows(&b, Keys, "")
	return b.String()
}

func writeRows(b *strings.Builder, keys []Key, prefix string) {
	for _, k := range keys {
		name := prefix + k.Name
		switch k.Type {
		case typeSection:
			writeRows(b, k.Sub, name+".")
			continue
		case typeSections:
			writeRows(b, k.Sub, name+"[].")
			continue
		case typeMixture:
			writeRows(b, k.Alone, name+".")
			writeRows(b, k.Sub[len(k.Alone):], name+"[].")
			continue
		}
		help := k.Help
		if len(k.Enum) > 0 {
			help = strings.TrimPrefix(help+"; ", "; ") + "one of `" + strings.Join(k.Enum, "`, `") + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, typeText(k), defaultText(k), help)
		if k.Type == typeReport {
			writeRows(b, trackerKeys, name+"[].")
		}
	}
}

// blockTable returns the table of the keys of an ablate block, for docs/spec.md.
func blockTable() string {
	var b strings.Builder
	b.WriteString("| key | of designs | meaning |\n|---|---|---|\n")
	for _, k := range blockKeys {
		of := strings.Join(k.of, ", ")
		if k.of != nil && len(k.of) == len(designs)-1 {
			of = "all but " + missing(k.of)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, strings.TrimSpace(of), k.Help)
		for _, sub := range k.Sub {
			if sub.Name != "rule" { // told with the section
				fmt.Fprintf(&b, "| `%s.%s` | | %s |\n", k.Name, sub.Name, sub.Help)
			}
		}
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}

// missing returns the first design that is not in a list.
func missing(of []string) string {
	i := slices.IndexFunc(designs, func(d string) bool { return !slices.Contains(of, d) })
	return designs[i]
}

func typeText(k Key) string {
	switch k.Type {
	case clip.TypeList:
		return "list of " + string(k.Elem) + "s"
	case typePlugin:
		return string(k.Kind) + " plugin"
	}
	text := string(k.Type)
	if k.Type == clip.TypeInt && k.Min != nil && *k.Min > 0 {
		text += fmt.Sprintf(" ≥ %v", *k.Min)
	}
	return text
}

func defaultText(k Key) string {
	switch {
	case k.Required:
		return "required"
	case k.Default == nil || k.Default == "":
		return ""
	}
	if list, ok := k.Default.([]any); ok {
		parts := make([]string, len(list))
		for i, e := range list {
			parts[i] = fmt.Sprintf("%q", e)
		}
		return "`[" + strings.Join(parts, ", ") + "]`"
	}
	return fmt.Sprintf("`%v`", k.Default)
}
