package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/sdk"
	"tandem/core/sdk/sample"
	"tandem/core/vision"
)

// Config is the with block.
type Config struct {
	File           string   `with:"file" type:"path" required:"true" help:"the table; its first line names the columns"`
	Root           string   `with:"root" type:"path" help:"folder that the picture paths are relative to; empty: the table's"`
	ImageColumn    string   `with:"image_column" help:"column of the picture paths"`
	CaptionColumns []string `with:"caption_columns" help:"columns of captions; empty cells are passed over"`
	LabelColumn    string   `with:"label_column" help:"column of class names, for zero-shot classification; empty: none"`
	Delimiter      string   `with:"delimiter" enum:"auto,comma,tab,semicolon,pipe" help:"between cells; auto looks at the first line"`
	SameImage      string   `with:"same_image" enum:"merge,group,separate" help:"rows with the same picture: one sample with several captions, several samples that are positives of one another, or unrelated samples"`
	sample.Options
}

// Defaults are the values of keys that are not given.
var Defaults = Config{ImageColumn: "image", CaptionColumns: []string{"caption"}, Delimiter: "auto", SameImage: "merge",
	Options: sample.DefaultOptions}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "csv", Version: "1.0.0", Summary: "a CSV or TSV table of picture files and captions",
	Config: Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// maxRefusals bounds the refused records that a message tells of.
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
	rows, refused, err := cfg.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && len(refused) > 0 {
		return nil, fault.New(fault.Corrupt, "all %d rows are refused; the first: %s", len(refused), refused[0].Msg).
			WithFile(cfg.File, refused[0].Line, 0)
	}
	set := &sample.Set{Fail: cfg.Fail(), Skipped: len(refused)}
	paths := cfg.collect(set, rows)
	if set.Pixels, err = sample.DigestFiles(ctx, paths, keys(set.Samples)); err != nil {
		return nil, err
	}
	set.Files = paths
	decoding := cfg.Vision()
	set.Open = func(i int) (vision.Picture, error) { return sample.ReadPicture(paths[i], decoding) }
	set.Note = fmt.Sprintf("%s: %d samples", cfg.File, len(set.Samples))
	for i, r := range refused[:min(maxRefusals, len(refused))] {
		set.Note += fmt.Sprintf("%s line %d refused (%s)", map[bool]string{true: ";", false: ","}[i == 0], r.Line, r.Msg)
	}
	return set, nil
}

// collect turns the rows of the split into samples and gives the file of each.
func (c Config) collect(set *sample.Set, rows []row) (paths []string) {
	root := c.Root
	if root == "" {
		root = filepath.Dir(c.File)
	}
	var labels []string
	for _, r := range rows {
		if r.label != "" {
			labels = append(labels, r.label)
		}
	}
	slices.Sort(labels) // the same ids for a training and a test table with the same classes
	labels = slices.Compact(labels)
	if c.LabelColumn != "" {
		set.Targets = []clip.Target{{Name: "label", Classes: labels}}
	}
	groups := map[string]int{} // picture → number of its first sample
	for _, r := range rows {
		if !c.Has(r.image) {
			continue
		}
		n := len(set.Samples)
		first, again := groups[r.image]
		if !again {
			first, groups[r.image] = n, n
		}
		if again && c.SameImage == "merge" {
			x := &set.Samples[first]
			for _, caption := range r.captions {
				if !slices.Contains(x.Captions, caption) {
					x.Captions = append(x.Captions, caption)
				}
			}
			continue
		}
		x := sample.Sample{Key: r.image, Group: int64(n), Captions: r.captions}
		if again {
			x.Key = fmt.Sprintf("%s#%d", r.image, r.line)
			if c.SameImage == "group" {
				x.Group = int64(first)
			}
		}
		if c.LabelColumn != "" {
			at, found := slices.BinarySearch(labels, r.label)
			if !found {
				at = -1
			}
			x.Labels = []int32{int32(at)}
		}
		set.Samples = append(set.Samples, x)
		path := filepath.FromSlash(r.image)
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		paths = append(paths, path)
	}
	return paths
}

func keys(samples []sample.Sample) []string {
	out := make([]string, len(samples))
	for i, s := range samples {
		out[i] = s.Key
	}
	return out
}
