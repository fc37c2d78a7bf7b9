package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"tandem/core/data/object"
	"tandem/core/data/table"
	"tandem/core/fault"
	"tandem/core/plugin/sdk/sample"
)

// rows holds the samples that the rows of the tables make, in little memory. It is a sample.List.
type rows struct {
	cfg       Config
	set       *sample.Set
	tables    []string
	base      string   // the folder that pictures are relative to
	prefixes  []string // by table: from base to its folder
	columns   []table.Column
	sentences []sentence
	places    [][]int // by sentence: where its columns are in columns
	negative  int     // where the columns of negatives begin; the label's stands last

	texts     *sample.Texts
	names     *sample.Names // of the pictures
	first     []int32       // by picture: its first sample, -1 for one of the other split
	label     []int32       // by picture: the number of its class plus one, 0 for none
	labelLine []int32       // by picture
	pictures  []int32       // by sample: its picture
	lines     []int32       // by sample
	begins    []int         // by table: its first sample
	captions  *sample.Lists // by sample
	negatives *sample.Lists // by sample

	classes   []string
	kept      []int32 // the samples that remain, nil for all
	unopposed []int   // samples without a negative
	files     []int32 // the pictures of the samples
	file      []int32 // by picture: its place in files

	total, refused, merged, elsewhere int
	refusals                          []*fault.Error // the first
}

func newRows(c Config, set *sample.Set, tables []string, sentences []sentence) *rows {
	texts := sample.NewTexts()
	r := &rows{cfg: c, set: set, tables: tables, sentences: sentences, texts: texts, names: sample.NewNames(texts), captions: sample.NewLists(texts),
		negatives: sample.NewLists(texts), base: c.Root, prefixes: make([]string, len(tables))}
	if c.Root == "" {
		r.base = object.Common(tables)
		for i, t := range tables {
			if r.prefixes[i] = object.Dir(t); r.base != "." {
				r.prefixes[i] = strings.TrimPrefix(strings.TrimPrefix(r.prefixes[i], r.base), "/")
			}
		}
	}
	place := func(name, setting string) int {
		i := slices.IndexFunc(r.columns, func(c table.Column) bool { return c.Name == name && !c.Picture })
		if i < 0 {
			i = len(r.columns)
			r.columns = append(r.columns, table.Column{Name: name, Setting: setting})
		}
		return i
	}
	r.columns = []table.Column{{Name: c.ImageColumn, Setting: "with.image_column", Picture: true}}
	setting := "with.caption_columns"
	if len(c.Captions) > 0 {
		setting = "with.captions"
	}
	for _, s := range sentences {
		var at []int
		for _, name := range s.columns {
			at = append(at, place(name, setting))
		}
		r.places = append(r.places, at)
	}
	r.negative = len(r.columns)
	for _, name := range c.Negatives {
		r.columns = append(r.columns, table.Column{Name: name, Setting: "with.negatives"})
	}
	if c.LabelColumn != "" {
		r.columns = append(r.columns, table.Column{Name: c.LabelColumn, Setting: "with.label_column"})
	}
	return r
}

// read reads table t.
func (r *rows) read(ctx context.Context, store *object.Store, t int) error {
	in, err := table.Open(ctx, store, r.tables[t], table.Options{Format: r.cfg.Format, Delimiter: r.cfg.Delimiter, Columns: r.columns})
	if err != nil {
		return err
	}
	defer in.Close()
	r.begins = append(r.begins, len(r.pictures))
	classes := map[string]int32{}
	for i, c := range r.classes {
		classes[c] = int32(i + 1)
	}
	for {
		row, err := in.Next(ctx)
		if err == io.EOF {
			return nil
		}
		var bad *table.Refusal
		if err != nil && !errors.As(err, &bad) {
			return err
		}
		r.total++
		if err == nil {
			bad = r.add(t, row, classes)
		}
		if bad == nil {
			continue
		}
		e := fault.New(fault.Corrupt, "%w", bad).WithFile(r.tables[t], row.Line, 0).WithReason(bad.Reason)
		if r.cfg.Fail() {
			return e.WithHint("mend the row, or set on_error: skip")
		}
		r.refused++
		r.set.SkipError(e)
		if len(r.refusals) < maxRefusals {
			r.refusals = append(r.refusals, e)
		}
	}
}

func refuse(reason, format string, args ...any) *table.Refusal {
	return &table.Refusal{Reason: reason, Msg: fmt.Sprintf(format, args...)}
}

// add takes in a row, or says why it is refused.
func (r *rows) add(t int, row *table.Row, classes map[string]int32) *table.Refusal {
	image := row.Cells[0].Text()
	switch {
	case image == "":
		return refuse("no picture", "no picture")
	case len(row.Cells[0]) > 1:
		return refuse("corrupt record", "%d pictures, want one", len(row.Cells[0]))
	case object.IsWeb(image):
		return refuse("missing picture", "the picture is an address, %s; download it first", excerpt(image))
	}
	said := 0
	for i, s := range r.sentences {
		s.fill(row.Cells, r.places[i], func(string) { said++ })
	}
	if said == 0 {
		return refuse("no caption", "no caption")
	}
	key := image
	if !object.IsAddress(key) {
		if !path.IsAbs(key) {
			key = path.Join(r.prefixes[t], key)
		}
		key = path.Clean(key)
	}
	p, known := r.names.Number(key)
	if !known {
		r.first = append(r.first, -2)
		if r.cfg.LabelColumn != "" {
			r.label, r.labelLine = append(r.label, 0), append(r.labelLine, 0)
		}
	}
	if r.cfg.LabelColumn != "" {
		if bad := r.setLabel(p, row, classes); bad != nil {
			return bad
		}
	}
	if r.first[p] == -2 {
		if r.first[p] = -1; r.cfg.Has(r.names.Get(p)) {
			r.first[p] = int32(len(r.pictures))
		}
	}
	if r.first[p] < 0 {
		r.elsewhere++
		return nil
	}
	n := len(r.pictures)
	if r.cfg.SameImage == "merge" && int(r.first[p]) < n {
		n = int(r.first[p])
		r.merged++
	} else {
		r.pictures, r.lines = append(r.pictures, int32(p)), append(r.lines, int32(row.Line))
	}
	for i, s := range r.sentences {
		s.fill(row.Cells, r.places[i], func(text string) { r.captions.Add(n, text) })
	}
	for _, cell := range row.Cells[r.negative:][:len(r.cfg.Negatives)] {
		for _, text := range cell {
			r.negatives.Add(n, text)
		}
	}
	return nil
}

// setLabel notes the label of a picture. One that contradicts an earlier row is refused.
func (r *rows) setLabel(p int, row *table.Row, classes map[string]int32) *table.Refusal {
	label := row.Cells[len(row.Cells)-1].Text()
	if label == "" {
		return nil
	}
	if had := r.label[p]; had != 0 {
		if name := r.classes[had-1]; name != label {
			return refuse("contradicting label", "its label %q contradicts %q of line %d, for the same picture", label, name, r.labelLine[p])
		}
		return nil
	}
	n, known := classes[label]
	if !known {
		r.classes = append(r.classes, strings.Clone(label))
		n = int32(len(r.classes))
		classes[r.classes[n-1]] = n
	}
	r.label[p], r.labelLine[p] = n, int32(row.Line)
	return nil
}

// finish brings the samples into their final form when all tables are read.
func (r *rows) finish() {
	r.names.Done()
	// The same ids for a training and a test table with the same classes.
	sorted := slices.Sorted(slices.Values(r.classes))
	for p, n := range r.label {
		if n > 0 {
			at, _ := slices.BinarySearch(sorted, r.classes[n-1])
			r.label[p] = int32(at + 1)
		}
	}
	r.classes = sorted
	if r.set.Negatives > 0 {
		for i := range r.pictures {
			if len(r.At0(i).Negatives) == 0 {
				r.unopposed = append(r.unopposed, i)
			} else {
				r.kept = append(r.kept, int32(i))
			}
		}
		if len(r.unopposed) == 0 {
			r.kept = nil
		}
	}
	r.file = make([]int32, len(r.first))
	for p := range r.first {
		if r.first[p] >= 0 {
			r.file[p] = int32(len(r.files))
			r.files = append(r.files, int32(p))
		}
	}
}

// Len implements sample.List.
func (r *rows) Len() int {
	if r.unopposed != nil {
		return len(r.kept)
	}
	return len(r.pictures)
}

// At implements sample.List.
func (r *rows) At(i int) sample.Sample { return r.At0(r.whole(i)) }

// whole returns the number of sample i among all, those without a negative too.
func (r *rows) whole(i int) int {
	if r.unopposed != nil {
		return int(r.kept[i])
	}
	return i
}

// At0 returns a sample by its number among all.
func (r *rows) At0(i int) sample.Sample {
	p := r.pictures[i]
	x := sample.Sample{Key: r.names.Get(int(p)), Group: int64(i), Captions: r.captions.List(i)}
	if first := r.first[p]; int(first) != i {
		t := r.table(i)
		x.Key = fmt.Sprintf("%s#%d", x.Key, r.lines[i])
		if t > 0 {
			x.Key = fmt.Sprintf("%s#%d:%d", r.names.Get(int(p)), t+1, r.lines[i])
		}
		if r.cfg.SameImage == "group" {
			x.Group = int64(first)
		}
	}
	if r.cfg.LabelColumn != "" {
		x.Labels = []int32{r.label[p] - 1}
	}
	if r.set.Negatives > 0 {
		x.Negatives = slices.DeleteFunc(r.negatives.List(i), func(text string) bool { return slices.Contains(x.Captions, text) })
	}
	return x
}

// table returns the number of the table that sample i comes from.
func (r *rows) table(i int) int {
	t, _ := slices.BinarySearch(r.begins, i+1)
	return t - 1
}

// path returns where file k lies.
func (r *rows) path(k int) string { return r.place(r.names.Get(int(r.files[k]))) }

// place returns where a picture lies.
func (r *rows) place(image string) string {
	return object.Join(r.base, image)
}

// fileOf returns the number of the file of sample i.
func (r *rows) fileOf(i int) int { return int(r.file[r.pictures[r.whole(i)]]) }

// excerpt returns the beginning of a text, quoted, for a message.
func excerpt(text string) string {
	const most = 30
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
