// Package starter writes a first spec for pictures of one's own: it looks at what a folder or a table holds, guesses a
// recipe that suits the amount, and explains both in comments.
package starter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// Part holds one source of samples: a table, or a folder of pictures.
type Part struct {
	Path     string // absolute, of the table or the folder
	Pictures int
	Root     string // of a table, the folder that its paths are relative to; "": the table's own
}

// Data tells what was found. Train is a table when Table is true, else a folder.
type Data struct {
	Name string // what the experiment is called
	Table
	IsTable  bool
	Plugin   string // of a set with a form of its own: hf-parquet, webdataset, coco; "" for tables and folders
	Split    string // of such a set, the part that Eval is
	Train    Part
	Eval     *Part    // what is kept apart already, such as a folder val beside train; nil: part of Train
	Classes  []string // names of class folders, or of a table's labels; at most maxClasses are kept
	NClasses int
	Captions bool // pictures have captions of their own
	Loose    int  // pictures without class and caption, which are left out
	Words    int  // of the longest caption, of those looked at
	// PictureWidth and PictureHeight hold the medians of the pictures looked at; 0: none could be read.
	PictureWidth, PictureHeight int
	Remarks                     []string

	looked int // captions so far
}

// maxClasses bounds the number of class names that are kept.
const maxClasses = 8

// trainNames and evalNames list the names that parts of a set usually have.
var (
	trainNames = []string{"train", "training"}
	evalNames  = []string{"val", "valid", "validation", "dev", "test", "testing", "eval"}
)

// Look finds out what a folder or a table of pictures holds. What cannot be trained on is a fault that says why.
func Look(ctx context.Context, path string) (*Data, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, files.Error(path, err)
	}
	d := &Data{Name: nameOf(path)}
	if is, err := d.set(ctx, path, info.IsDir()); is || err != nil {
		return d, err
	}
	if !info.IsDir() {
		return d, d.table(ctx, path)
	}
	tables, err := tablesIn(path)
	if err != nil {
		return nil, err
	}
	switch len(tables) {
	case 0:
		return d, d.folder(ctx, path)
	case 1:
		return d, d.table(ctx, tables[0])
	}
	train, eval := pick(tables, trainNames), pick(tables, evalNames)
	if train == "" {
		return nil, fault.New(fault.Invalid, "%d tables, none of them called train", len(tables)).WithFile(path, 0, 0).
			WithHint("name the one to train on: --data %s", tables[0])
	}
	if err := d.table(ctx, train); err != nil || eval == "" {
		return d, err
	}
	held := &Data{}
	if err := held.table(ctx, eval); err != nil {
		return nil, err
	}
	if held.Table.Image != d.Table.Image || !slices.Equal(held.Table.Texts, d.Table.Texts) {
		d.Remarks = append(d.Remarks, fmt.Sprintf("%s has other columns than %s and is passed over", filepath.Base(eval), filepath.Base(train)))
		return d, nil
	}
	d.Eval = &held.Train
	return d, nil
}

// tablesIn lists the tables directly in a folder.
func tablesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, files.Error(dir, err)
	}
	var out []string
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if !files.Hidden(e.Name()) && !e.IsDir() && slices.Contains([]string{".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}, ext) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// pick returns the first path whose name is one of those wanted, or contains it as a word; "" when none is. Earlier
// names count more.
func pick(paths, wanted []string) string {
	for _, name := range wanted {
		for _, p := range paths {
			words := strings.FieldsFunc(strings.ToLower(strings.TrimSuffix(filepath.Base(p), filepath.Ext(p))), func(r rune) bool {
				return strings.ContainsRune("-_. 0123456789", r)
			})
			if slices.Contains(words, name) {
				return p
			}
		}
	}
	return ""
}

// nameOf returns a name for an experiment on the data at a path.
func nameOf(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if slices.Contains(slices.Concat(trainNames, []string{"captions", "data", "images", "pictures"}), strings.ToLower(base)) {
		if above := filepath.Base(filepath.Dir(path)); strings.ContainsFunc(above, isNameRune) {
			base = above
		}
	}
	name := strings.Map(func(r rune) rune {
		if isNameRune(r) || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, base)
	if name = strings.TrimLeft(name, ".-_"); name == "" {
		return "mine"
	}
	return name[:min(len(name), 60)]
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// Found returns what was found, as lines for a person.
func (d *Data) Found() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if d.Plugin != "" {
		say("a set for the plugin %s with %s", d.Plugin, count(d.Train.Pictures, "picture"))
		if d.NClasses > 0 {
			say("classes: %s", d.classList())
		}
	} else if d.IsTable {
		say("a table of %s with captions in %s", count(d.Train.Pictures, "picture"), strings.Join(d.Table.Texts, ", "))
		if d.Table.Label != "" {
			say("classes in the column %s: %s", d.Table.Label, d.classList())
		}
		if d.Train.Root != "" {
			say("paths relative to %s", d.Train.Root)
		}
	} else if d.NClasses > 0 {
		say("%s in %s: %s", count(d.Train.Pictures, "picture"), count(d.NClasses, "class folder"), d.classList())
	} else {
		say("a folder of %s", count(d.Train.Pictures, "picture"))
	}
	if d.Captions && !d.IsTable && d.Plugin == "" {
		say("captions in text files beside the pictures")
	}
	if d.Words > 0 {
		say("captions of up to %s", count(d.Words, "word"))
	}
	if d.PictureWidth > 0 {
		say("pictures of %d × %d pixels in the median", d.PictureWidth, d.PictureHeight)
	}
	if d.Eval != nil {
		say("%s with %s, kept apart for evaluation", d.Eval.Path, count(d.Eval.Pictures, "picture"))
	}
	if d.Loose > 0 {
		say("%s without class and caption are left out", count(d.Loose, "picture"))
	}
	return append(out, d.Remarks...)
}

func (d *Data) classList() string {
	text := strings.Join(d.Classes, ", ")
	if d.NClasses > len(d.Classes) {
		text += fmt.Sprintf(", … (%d)", d.NClasses)
	}
	return text
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	if strings.HasSuffix(what, "sss") {
		what = strings.TrimSuffix(what, "s") + "es"
	}
	return fmt.Sprintf("%d %s", n, what)
}
