package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	File           string   `with:"file" type:"path" required:"true" help:"the table; its first line names the columns"`
	Root           string   `with:"root" type:"path" help:"folder that the picture paths are relative to; empty: the table's"`
	ImageColumn    string   `with:"image_column" help:"column of the picture paths"`
	CaptionColumns []string `with:"caption_columns" help:"columns of captions; empty cells are passed over"`
	Negatives      []string `with:"negatives" help:"columns of captions that do not fit the picture, for losses that take negatives: as many a sample as columns; rows without any are refused"`
	LabelColumn    string   `with:"label_column" help:"column of class names, for zero-shot classification; empty: none"`
	Delimiter      string   `with:"delimiter" enum:"auto,comma,tab,semicolon,pipe" help:"between cells; auto looks at the first line"`
	SameImage      string   `with:"same_image" enum:"merge,group,separate" help:"rows with the same picture: one sample with several captions, several samples that are positives of one another, or unrelated samples"`
	sample.Options
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{ImageColumn: "image", CaptionColumns: []string{"caption"}, Delimiter: "auto", SameImage: "merge",
	Options: sample.DefaultOptions}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "csv", Version: "1.0.0", Summary: "a CSV or TSV table of picture files and captions",
	Capabilities: []string{clip.CapNegatives, clip.CapView2, clip.CapAugment},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// maxRefusals limits the refused records in a message.
const maxRefusals = 3

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if len(cfg.CaptionColumns) == 0 {
		return nil, fault.New(fault.Invalid, "no columns").WithPath("with.caption_columns")
	}
	t, err := cfg.read(ctx)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: cfg.Fail(), Negatives: len(cfg.Negatives)}
	p, err := cfg.collect(set, t)
	if err != nil {
		return nil, err
	}
	if t.count() > 0 && t.refused == t.count() {
		return nil, fault.New(fault.Corrupt, "all %d rows are refused; the first: %s", t.refused, t.refusals[0].Msg).
			WithFile(cfg.File, t.refusals[0].Line, 0)
	}
	set.Skipped = t.refused
	set.Note = fmt.Sprintf("%s: %d samples of %d rows", cfg.File, len(set.Samples), t.count())
	for _, part := range []struct {
		n    int
		what string
	}{{p.merged, "merged with another of the same picture"}, {p.elsewhere, "of the other split"}, {t.refused, "refused"}} {
		if part.n > 0 {
			set.Note += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	for i, r := range t.refusals {
		set.Note += fmt.Sprintf("%s line %d (%s)", map[bool]string{true: ":", false: ","}[i == 0], r.Line, r.Msg)
	}
	if len(set.Targets) > 0 {
		set.Remarks = append(set.Remarks, sample.Alike(set.Targets[0].Classes)...)
	}
	if err := set.FromFiles(ctx, c, p.paths, cfg.Vision()); err != nil {
		return nil, err
	}
	set.Remarks = append(set.Remarks, cfg.remarkOtherName(set, p)...)
	return set, nil
}

// parts tells where the rows of a table went.
type parts struct {
	paths             []string // of the samples' pictures
	from              []row    // of the samples
	merged, elsewhere int
}

// collect turns the rows of the split into samples.
func (c Config) collect(set *sample.Set, t *table) (*parts, error) {
	labels, err := c.labels(t)
	if err != nil {
		return nil, err
	}
	var classes []string
	for _, l := range labels {
		if l.label != "" {
			classes = append(classes, l.label)
		}
	}
	slices.Sort(classes) // the same ids for a training and a test table with the same classes
	classes = slices.Compact(classes)
	if c.LabelColumn != "" {
		set.Targets = []clip.Target{{Name: "label", Classes: classes}}
	}
	p := &parts{}
	groups := map[string]int{} // picture → number of its first sample
	var merging, against []sample.Distinct
	for _, r := range t.rows {
		key := r.key()
		if !c.Has(key) {
			p.elsewhere++
			continue
		}
		n := len(set.Samples)
		first, again := groups[key]
		if !again {
			first, groups[key] = n, n
		}
		if again && c.SameImage == "merge" {
			p.merged++
			for _, caption := range r.captions {
				merging[first].Add(caption)
			}
			for _, text := range r.negatives {
				against[first].Add(text)
			}
			continue
		}
		x := sample.Sample{Key: key, Group: int64(n), Captions: r.captions}
		if again {
			x.Key = fmt.Sprintf("%s#%d", key, r.line)
			if c.SameImage == "group" {
				x.Group = int64(first)
			}
		}
		if c.LabelColumn != "" {
			at, found := slices.BinarySearch(classes, labels[key].label)
			if !found {
				at = -1
			}
			x.Labels = []int32{int32(at)}
		}
		set.Samples = append(set.Samples, x)
		merging, against = append(merging, sample.Distinct{List: r.captions}), append(against, sample.Distinct{List: r.negatives})
		p.paths, p.from = append(p.paths, c.path(r.image)), append(p.from, r)
	}
	for i := range merging {
		set.Samples[i].Captions, set.Samples[i].Negatives = merging[i].List, against[i].List
	}
	return p, nil
}

// labels returns the label of each picture, by key, and the line of the label. Rows that contradict an earlier
// one are refused and taken out of the table.
func (c Config) labels(t *table) (map[string]row, error) {
	known := map[string]row{}
	if c.LabelColumn == "" {
		return known, nil
	}
	usable := t.rows[:0]
	for _, r := range t.rows {
		key := r.key()
		if of, ok := known[key]; !ok || of.label == "" {
			known[key] = r
		} else if r.label != "" && r.label != of.label {
			if err := t.refuse(c, r.line, refuse("its label %q contradicts %q of line %d, for the same picture", r.label, of.label, of.line)); err != nil {
				return nil, err
			}
			continue
		}
		usable = append(usable, r)
	}
	t.rows = usable
	return known, nil
}

// path returns where a picture lies.
func (c Config) path(image string) string {
	path := filepath.FromSlash(image)
	if filepath.IsAbs(path) {
		return path
	}
	root := c.Root
	if root == "" {
		root = filepath.Dir(c.File)
	}
	return filepath.Join(root, path)
}
