package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"tandem/core/data/parquet"
	"tandem/core/fault"
)

// The names of columns that are looked for where the settings name none.
var (
	imageNames   = []string{"image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp"}
	captionNames = []string{"caption", "captions", "text", "texts", "txt", "sentences", "alt"}
)

// columns holds the leaves of a file that are read.
type columns struct {
	bytes, path *parquet.Leaf // of the picture; one of them may be nil
	texts       []parquet.Leaf
	captions    int // so many of texts are captions; negatives follow
	negatives   int
	label       int      // the place of the label in texts, -1 for none
	pathAt      int      // that of the picture's path, -1 for none
	names       []string // of the classes by their number
	numbers     bool     // labels are numbers
}

// feature is what Hugging Face's datasets says of a column.
type feature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

// features returns what a file declares of its columns, under the key "huggingface".
func features(f *parquet.File) map[string]feature {
	text, _ := f.Metadata("huggingface")
	var meta struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(text), &meta) != nil {
		return nil
	}
	out := map[string]feature{}
	for name, raw := range meta.Info.Features {
		var x feature
		if json.Unmarshal(raw, &x) == nil { // lists and structures have no type of their own
			out[name] = x
		}
	}
	return out
}

// declared returns the first column, in the order of the file, that is declared to be of a type.
func declared(f *parquet.File, of map[string]feature, kind string) string {
	i := slices.IndexFunc(f.Columns(), func(c string) bool { return of[c].Type == kind })
	if i < 0 {
		return ""
	}
	return f.Columns()[i]
}

// columns finds the columns of a file.
func (c Config) columns(f *parquet.File) (*columns, error) {
	known := features(f)
	out := &columns{label: -1, pathAt: -1, names: c.Classes}
	if err := c.findPicture(f, known, out); err != nil {
		return nil, err
	}
	add := func(column, setting string) (parquet.Leaf, error) {
		leaf, err := f.Texts(column)
		if e, ok := err.(*fault.Error); ok {
			return leaf, e.WithPath("with." + setting)
		}
		out.texts = append(out.texts, leaf)
		return leaf, nil
	}
	captions := c.CaptionColumns
	if len(captions) == 0 {
		for _, name := range captionNames {
			if slices.Contains(f.Columns(), name) {
				captions = append(captions, name)
			}
		}
	}
	for _, name := range captions {
		if _, err := add(name, "caption_columns"); err != nil {
			return nil, err
		}
	}
	if len(captions) == 0 && len(c.Templates) == 0 {
		return nil, fault.New(fault.Invalid, "no column of captions").WithPath("with.caption_columns").WithFile(f.Name(), 0, 0).
			WithHint("name one of %s; or give templates, which make captions of classes", strings.Join(f.Columns(), ", "))
	}
	out.captions = len(captions)
	for _, name := range c.Negatives {
		if _, err := add(name, "negatives"); err != nil {
			return nil, err
		}
	}
	out.negatives = len(c.Negatives)
	label := c.LabelColumn
	if label == "" {
		label = declared(f, known, "ClassLabel")
	}
	if label != "" {
		leaf, err := add(label, "label_column")
		if err != nil {
			return nil, err
		}
		out.label, out.numbers = len(out.texts)-1, !leaf.Bytes
		if len(out.names) == 0 {
			out.names = known[label].Names
		}
	} else if len(c.Templates) > 0 {
		return nil, fault.New(fault.Invalid, "no column of classes for the templates").WithPath("with.label_column").WithFile(f.Name(), 0, 0).
			WithHint("name one of %s", strings.Join(f.Columns(), ", "))
	}
	if out.path != nil {
		out.pathAt = len(out.texts)
		out.texts = append(out.texts, *out.path)
	}
	return out, nil
}

// findPicture finds the column of the pictures.
func (c Config) findPicture(f *parquet.File, known map[string]feature, out *columns) error {
	name := c.ImageColumn
	if name == "" {
		name = declared(f, known, "Image")
	}
	for _, usual := range imageNames {
		if name == "" && slices.Contains(f.Columns(), usual) {
			name = usual
		}
	}
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithPath("with.image_column").WithFile(f.Name(), 0, 0).
			WithHint("the columns are %s", strings.Join(f.Columns(), ", "))
	}
	if name == "" {
		return bad("no column of pictures")
	}
	leaves := f.Under(name)
	if len(leaves) == 0 {
		_, err := f.Texts(name)
		if e, ok := err.(*fault.Error); ok {
			return e.WithPath("with.image_column")
		}
	}
	for _, l := range leaves {
		last := l.Path[len(l.Path)-1]
		switch {
		case l.Repeated:
			return bad("a row has several pictures in %q, want one", name)
		case !l.Bytes:
			continue
		case last == "path" || last == "uri" || l.Text:
			out.path = &l
		case out.bytes == nil || last == "bytes":
			out.bytes = &l
		}
	}
	if out.bytes == nil && out.path == nil {
		return bad("%q holds neither bytes nor paths of pictures", name)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
