package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// languages gives the codes of the languages by the table's abbreviations.
var languages = map[string]string{
	"A": "as", "B": "bn", "E": "en", "Common": "en", "G": "gu", "H": "hi", "Kan": "kn", "Kash": "ks", "Kh": "kha", "Kon": "kok", "M": "mni", "Mal": "ml",
	"Mar": "mr", "N": "ne", "O": "or", "P": "pa", "S": "sa", "Tam": "ta", "Tel": "te", "U": "ur",
}

// scientific names the "language" of scientific names.
const scientific = "scientific"

// food describes a row of the table.
type food struct {
	code, group string
	names       map[string][]string // by language; English first in "en"
}

// header lists the columns that are read.
var header = []string{"Food Code; code", "Food Name; name", "Scientific Name; scie", "Local Name; lang", "Food Group; grup"}

// readFoods reads the table of foods below root.
func readFoods(root string) ([]food, error) {
	file := filepath.Join(root, "compositions", "index.csv")
	data, err := files.Read(file, 64<<20)
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) && f.Kind == fault.NotFound {
			return nil, f.WithPath("with.root").WithHint(hint)
		}
		return nil, err
	}
	r := csv.NewReader(bytes.NewReader(data))
	first, err := r.Read()
	if err != nil {
		return nil, fault.New(fault.Corrupt, "%w", err).WithFile(file, 0, 0)
	}
	at := make([]int, len(header))
	for i, name := range header {
		if at[i] = slices.Index(first, name); at[i] < 0 {
			return nil, fault.New(fault.Corrupt, "no column %q", name).WithFile(file, 1, 0).WithHint(hint)
		}
	}
	var out []food
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fault.New(fault.Corrupt, "%w", err).WithFile(file, 0, 0)
		}
		cell := func(i int) string { return strings.Join(strings.Fields(row[at[i]]), " ") }
		f := food{code: cell(0), group: cell(4), names: localNames(cell(3))}
		f.names["en"] = append([]string{cell(1)}, f.names["en"]...)
		if s := cell(2); s != "" {
			f.names[scientific] = []string{s}
		}
		out = append(out, f)
	}
}

var (
	abbreviations = regexp.MustCompile(`^((?:[A-Z][a-z]*\.,? *)+)(.*)$`)
	abbreviation  = regexp.MustCompile(`[A-Z][a-z]*`)
	brackets      = regexp.MustCompile(`\[[^\]]*\]`)
)

// localNames reads names such as "A., Kash. Baajra; E. Pearl millet, Bajra; [Place of collection: Goa]".
func localNames(text string) map[string][]string {
	out := map[string][]string{}
	for part := range strings.SplitSeq(brackets.ReplaceAllString(text, ""), ";") {
		m := abbreviations.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			continue
		}
		for _, a := range abbreviation.FindAllString(m[1], -1) {
			code, known := languages[a]
			if !known {
				continue
			}
			for name := range strings.SplitSeq(m[2], ",") {
				if name = strings.Trim(name, " ."); name != "" && !slices.Contains(out[code], name) {
					out[code] = append(out[code], name)
				}
			}
		}
	}
	return out
}

// spoken returns the English name as one says it: "black amaranth seed" for "Amaranth seed, black".
func spoken(name string) string {
	parts := strings.Split(name, ", ")
	slices.Reverse(parts)
	return strings.ToLower(strings.Join(parts, " "))
}

// kind returns what comes before the first comma of the English name: the varieties of a thing share it.
func (f food) kind() string {
	name, _, _ := strings.Cut(f.names["en"][0], ",")
	return strings.ToLower(name)
}

// captions returns the names in the languages.
func (f food) captions(codes []string) []string {
	var out []string
	for _, code := range codes {
		for i, name := range f.names[code] {
			if code == "en" && i == 0 {
				name = spoken(name)
			}
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// unknownLanguage returns a fault for a language that the table lacks.
func unknownLanguage(code string) error {
	known := []string{scientific}
	for _, c := range languages {
		known = append(known, c)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	if slices.Contains(known, code) {
		return nil
	}
	return fault.New(fault.Invalid, "no language %q", code).WithPath("with.languages").WithHint("%s", fmt.Sprint("one of ", strings.Join(known, " ")))
}
