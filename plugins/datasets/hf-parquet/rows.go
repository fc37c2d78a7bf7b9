package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/data/parquet"
	"tandem/core/fault"
	"tandem/core/plugin/sdk/sample"
)

// maxText limits the bytes of a caption.
const maxText = 8 << 20

// rows holds the samples that the rows of the files make, in little memory. It is a sample.List.
type rows struct {
	cfg       Config
	set       *sample.Set
	files     []*file
	base      string // the folder that all files lie in
	texts     *sample.Texts
	captions  *sample.Lists // by sample
	negatives *sample.Lists // by sample
	at        []int32       // by sample: its row among those of all files
	label     []int32       // by sample: the number of its class plus one, 0 for none
	paths     []sample.Text // by sample: the path of a picture that is not in the file; nil when all are
	classes   []string
	known     map[string]int32 // classes whose labels are texts
	shared    [][]string       // by class: the captions of samples that have no others
	cache     *parquet.Cache

	total, elsewhere int
}

// file is one of the files.
type file struct {
	*parquet.File
	*columns
	name    string // from base
	version string
	start   int // its first row among those of all files
}

func newRows(c Config, set *sample.Set) *rows {
	texts := sample.NewTexts()
	return &rows{cfg: c, set: set, texts: texts, captions: sample.NewLists(texts), negatives: sample.NewLists(texts), known: map[string]int32{},
		cache: parquet.NewCache(int64(c.PagesMiB) << 20)}
}

// read reads the texts of a file.
func (r *rows) read(ctx context.Context, f *parquet.File, version string) error {
	columns, err := r.cfg.columns(f)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(filepath.ToSlash(f.Name()), strings.TrimSuffix(r.base, "/")+"/")
	x := &file{File: f, columns: columns, name: sample.Key(name), version: version, start: r.total}
	r.files = append(r.files, x)
	if r.total+int(f.Rows()) > 1<<31-1 {
		return fault.New(fault.Exhausted, "more than %d rows", 1<<31-1).WithFile(f.Name(), 0, 0)
	}
	scan := f.Scan(columns.texts)
	defer scan.Close()
	cells := make([][]string, len(columns.texts))
	for group, n := range f.Groups() {
		before := len(r.at)
		for range n {
			if r.total%4096 == 0 && ctx.Err() != nil {
				return fault.New(fault.Canceled, "%w", ctx.Err())
			}
			for i := range cells {
				cells[i] = cells[i][:0]
			}
			if err := scan.Next(cells); err != nil {
				r.set.Shards = append(r.set.Shards, len(r.at)-before)
				return r.giveUp(x, err)
			}
			if err := r.add(x, group, cells); err != nil {
				return err
			}
			r.total++
		}
		r.set.Shards = append(r.set.Shards, len(r.at)-before)
	}
	if err := scan.Next(cells); err != io.EOF {
		return fault.New(fault.Corrupt, "more rows than its row groups say").WithFile(f.Name(), 0, 0).WithReason("corrupt shard")
	}
	return nil
}

// giveUp leaves out the rows of a file from the one on that cannot be read.
func (r *rows) giveUp(f *file, err error) error {
	if r.set.Fail || fault.KindOf(err) != fault.Corrupt {
		return err
	}
	left := int(f.Rows()) - (r.total - f.start)
	r.set.SkipAll(clip.Skip{Reason: "corrupt shard", Count: left, First: err.Error()})
	r.set.Remarks = append(r.set.Remarks, fmt.Sprintf("%d of %d rows of %s are left out: %v", left, f.Rows(), f.Name(), err))
	r.total += left
	return nil
}

// add takes in a row, or counts why it is refused.
func (r *rows) add(f *file, group int, cells [][]string) error {
	refuse := func(reason, format string, args ...any) error {
		e := fault.New(fault.Corrupt, format, args...).WithFile(f.Name(), r.total-f.start+1, 0).WithReason(reason)
		if r.set.Fail {
			return e.WithHint("set on_error: skip to leave such rows out")
		}
		r.set.SkipError(e)
		return nil
	}
	for i := range cells {
		kept := cells[i][:0]
		for _, text := range cells[i] {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			if !utf8.ValidString(text) {
				return refuse("not UTF-8", "%q is not UTF-8", f.columns.texts[i].Name())
			}
			if strings.IndexByte(text, 0) >= 0 {
				return refuse("corrupt record", "%q has a NUL byte", f.columns.texts[i].Name())
			}
			if len(text) > maxText {
				return refuse("corrupt record", "%q has %d bytes, of %d at most", f.columns.texts[i].Name(), len(text), maxText)
			}
			kept = append(kept, text)
		}
		cells[i] = kept
	}
	path := ""
	if f.pathAt >= 0 && len(cells[f.pathAt]) > 0 {
		path = cells[f.pathAt][0]
	}
	inside, err := r.inside(f, group, r.total-f.start)
	if err != nil {
		return refuse("corrupt record", "%v", err)
	}
	switch {
	case !inside && path == "":
		return refuse("no picture", "no picture")
	case !inside && object.IsWeb(path):
		return refuse("missing picture", "the picture is an address, %s; download it first", path)
	}
	class, err := r.class(f, cells)
	if err != nil {
		return refuse("corrupt record", "%v", err)
	}
	said := 0
	for _, list := range cells[:f.columns.captions] {
		said += len(list)
	}
	if said == 0 && (class == 0 || len(r.cfg.Templates) == 0) {
		return refuse("no caption", "no caption")
	}
	var against []string
	for _, list := range cells[f.columns.captions:][:f.columns.negatives] {
		for _, text := range list {
			if !slices.ContainsFunc(cells[:f.columns.captions], func(own []string) bool { return slices.Contains(own, text) }) {
				against = append(against, text)
			}
		}
	}
	if f.columns.negatives > 0 && len(against) == 0 {
		return refuse("no negative", "no negative")
	}
	if r.cfg.TestFraction > 0 && !r.has(r.key(f, r.total)) {
		r.elsewhere++
		return nil
	}
	i := len(r.at)
	r.at = append(r.at, int32(r.total))
	if f.columns.label >= 0 || r.label != nil {
		for len(r.label) < i {
			r.label = append(r.label, 0)
		}
		r.label = append(r.label, class)
	}
	for _, list := range cells[:f.columns.captions] {
		for _, text := range list {
			r.captions.Add(i, text)
		}
	}
	for _, text := range against {
		r.negatives.Add(i, text)
	}
	if !inside || r.paths != nil {
		for len(r.paths) < i {
			r.paths = append(r.paths, 0)
		}
		if inside {
			path = ""
		}
		r.paths = append(r.paths, r.texts.Put(path))
	}
	return nil
}

// has reports whether a sample is in a split that is a random part.
func (r *rows) has(key string) bool {
	return sample.Options{Split: r.cfg.Split, TestFraction: r.cfg.TestFraction, SplitSeed: r.cfg.SplitSeed}.Has(key)
}

// inside reports whether a row's picture is in the file. Only where the file says that some are not, it is looked at.
func (r *rows) inside(f *file, group, row int) (bool, error) {
	if f.bytes == nil {
		return false, nil
	}
	switch nulls := f.Nulls(*f.bytes, group); nulls {
	case 0:
		return true, nil
	case f.Groups()[group]:
		return false, nil
	}
	_, ok, err := f.Bytes(*f.bytes, int64(row), r.cache)
	return ok, err
}

// class returns the number of a row's class plus one; 0 for none.
func (r *rows) class(f *file, cells [][]string) (int32, error) {
	if f.columns.label < 0 || len(cells[f.columns.label]) == 0 {
		return 0, nil
	}
	text := cells[f.columns.label][0]
	if f.numbers && len(f.names) > 0 {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return 0, fmt.Errorf("its label is %s, want the number of a class", text)
		case n == -1: // datasets writes it where a label is hidden
			return 0, nil
		case n < 0 || n >= len(f.names):
			return 0, fmt.Errorf("its label is %d, of %d classes", n, len(f.names))
		}
		text = f.names[n]
	}
	id, ok := r.known[text]
	if !ok {
		id = int32(len(r.classes) + 1)
		r.classes, r.known[text] = append(r.classes, text), id
	}
	return id, nil
}

// finish brings the samples into their final form when all files are read.
func (r *rows) finish() error {
	if r.label == nil {
		return nil
	}
	// The classes that the files declare, in their order; otherwise those that occur, sorted.
	order := slices.Clone(r.classes)
	slices.SortFunc(order, func(a, b string) int {
		n, err := strconv.Atoi(a)
		m, err2 := strconv.Atoi(b)
		if err == nil && err2 == nil && n != m {
			return n - m
		}
		return strings.Compare(a, b)
	})
	for _, f := range r.files {
		if len(f.names) == 0 || !f.numbers {
			continue
		}
		if slices.Equal(order, f.names) || !containsAll(f.names, r.classes) {
			continue
		}
		order = f.names
		break
	}
	place := make(map[string]int32, len(order))
	for i, name := range order {
		if _, twice := place[name]; !twice {
			place[name] = int32(i + 1)
		}
	}
	for i, n := range r.label {
		if n > 0 {
			r.label[i] = place[r.classes[n-1]]
		}
	}
	r.classes = order
	for _, name := range order {
		r.shared = append(r.shared, sample.FillAll(r.cfg.Templates, name))
	}
	r.set.Targets = []clip.Target{{Name: "label", Classes: order}}
	r.set.Remarks = append(r.set.Remarks, sample.Alike(order)...)
	return nil
}

func containsAll(all, some []string) bool {
	have := map[string]bool{}
	for _, a := range all {
		have[a] = true
	}
	return !slices.ContainsFunc(some, func(s string) bool { return !have[s] })
}

// Len implements sample.List.
func (r *rows) Len() int { return len(r.at) }

// At implements sample.List. Pictures of a class that have no captions but those of the class are positives of one another.
func (r *rows) At(i int) sample.Sample {
	f := r.file(int(r.at[i]))
	x := sample.Sample{Key: r.key(f, int(r.at[i])), Group: int64(i), Captions: r.captions.List(i), Negatives: r.negatives.List(i)}
	if r.label == nil {
		return x
	}
	class := int32(0)
	if i < len(r.label) {
		class = r.label[i]
	}
	x.Labels = []int32{class - 1}
	if class > 0 && len(r.cfg.Templates) > 0 {
		if len(x.Captions) == 0 {
			x.Captions, x.Group = r.shared[class-1], int64(len(r.at))+int64(class)
		} else {
			x.Captions = append(x.Captions, r.shared[class-1]...)
		}
	}
	return x
}

// file returns the file that has a row.
func (r *rows) file(row int) *file {
	return r.files[sort.Search(len(r.files), func(i int) bool { return r.files[i].start > row })-1]
}

// key names a sample after its file and its row.
func (r *rows) key(f *file, row int) string { return f.name + "#" + strconv.Itoa(row-f.start) }
