package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/data/parquet"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	Files          []string `with:"files" type:"source" required:"true" help:"Parquet files: paths, addresses, globs, brace ranges such as data/train-{00000..00007}-of-00008.parquet, or folders of them"`
	Split          string   `with:"split" help:"all; or train, test, validation …: the files whose names say so (train-00000-of-00002.parquet, data/train/0.parquet); with test_fraction train and test are random parts of all files"`
	TestFraction   float64  `with:"test_fraction" min:"0" max:"1" help:"share of samples in the test split; 0: splits are files"`
	SplitSeed      uint64   `with:"split_seed" help:"chooses the test split, whatever the run's seed"`
	ImageColumn    string   `with:"image_column" help:"column of the pictures: bytes, structures of bytes and path, or paths; empty: the one that the files declare, or image, img, picture, photo, jpg, png, webp"`
	CaptionColumns []string `with:"caption_columns" help:"columns of captions: texts, lists of them, or lists of structures (sentences.raw); empty: those of caption, captions, text, texts, txt, sentences, alt that are there"`
	LabelColumn    string   `with:"label_column" help:"column of classes, for zero-shot classification: numbers with names that the files declare, or texts; empty: the one that the files declare"`
	Classes        []string `with:"classes" help:"names of the classes by their number; empty: those that the files declare"`
	Templates      []string `with:"templates" help:"further captions, {} being the class name: for sets without captions"`
	Negatives      []string `with:"negatives" help:"columns of captions that do not fit the picture, for losses that take negatives: as many a sample as columns; rows without any are refused"`
	Root           string   `with:"root" type:"source" help:"folder or address that picture paths are relative to; empty: the file's"`
	Background     [3]int   `with:"background" min:"0" max:"255" help:"RGB under transparent pixels"`
	Alpha          string   `with:"alpha" enum:"background,drop" help:"composite transparent pixels over the background, or take their colours as they are, as Pillow's convert(\"RGB\") does"`
	MaxPixels      int      `with:"max_pixels" min:"1" max:"2147483647" help:"pictures of more pixels are refused; decoding takes 3 to 9 bytes a pixel"`
	OnError        string   `with:"on_error" enum:"skip,fail" help:"replace or leave out what cannot be read, or stop"`
	PagesMiB       int      `with:"pages_mib" min:"0" help:"MiB of decoded pages that are kept for the rows beside one that was read"`
	object.Settings
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Split: "all", Background: sample.DefaultOptions.Background, Alpha: sample.DefaultOptions.Alpha, MaxPixels: vision.MaxPixels,
	OnError: "skip", PagesMiB: 64, Settings: object.DefaultSettings}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "hf-parquet", Version: "1.0.0", Summary: "Parquet files with pictures, captions and classes in them, as Hugging Face's datasets writes them",
	Capabilities: []string{clip.CapNegatives, clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if cfg.TestFraction > 0 && cfg.Split != "train" && cfg.Split != "test" && cfg.Split != "all" {
		return nil, fault.New(fault.Invalid, "%q with test_fraction, want all, train or test", cfg.Split).WithPath("with.split")
	}
	if len(cfg.Templates) > 0 {
		if err := sample.CheckTemplates(cfg.Templates); err != nil {
			return nil, err
		}
	}
	return sample.FromStore(c, cfg.Settings, func(store *object.Store) (*sample.Set, error) { return cfg.read(ctx, c, store) })
}

// read makes a set of the files.
func (c Config) read(ctx context.Context, d clip.DatasetConfig, store *object.Store) (_ *sample.Set, err error) {
	names, remarks, err := c.list(ctx, store)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: c.OnError == "fail", Negatives: len(c.Negatives), Remarks: remarks}
	var opened []object.Object
	set.Close = func() {
		for _, obj := range opened {
			obj.Close()
		}
	}
	defer func() {
		if err != nil {
			set.Close()
		}
	}()
	r := newRows(c, set)
	r.base = object.Common(names)
	for _, name := range names {
		obj, err := store.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		opened = append(opened, obj)
		f, err := parquet.Open(obj)
		if err != nil && !set.Fail && len(names) > 1 && fault.KindOf(err) == fault.Corrupt {
			set.SkipAll(clip.Skip{Reason: "corrupt shard", Count: 1, First: err.Error()})
			set.Remarks = append(set.Remarks, fmt.Sprintf("a file is left out: %v", err))
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := r.read(ctx, f, obj.Version()); err != nil {
			return nil, err
		}
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	set.List = r
	set.Note = fmt.Sprintf("%s: %d samples of %d rows in %d files", strings.Join(c.Files, ", "), r.Len(), r.total, len(names))
	if r.elsewhere > 0 {
		set.Note += fmt.Sprintf(", %d of the other split", r.elsewhere)
	}
	return set, r.pictures(ctx, d, store)
}

// vision returns the options for decoding.
func (c Config) vision() vision.Options {
	return sample.Options{Background: c.Background, Alpha: c.Alpha, MaxPixels: c.MaxPixels}.Vision()
}

// list returns the files of the split, each once, and remarks on them.
func (c Config) list(ctx context.Context, store *object.Store) (names, remarks []string, err error) {
	var all []string
	seen := map[string]bool{}
	twice, first := 0, ""
	for _, pattern := range c.Files {
		names, err := store.List(ctx, pattern)
		if err != nil {
			if e, ok := err.(*fault.Error); ok {
				e.Path = "with.files"
			}
			return nil, nil, err
		}
		for _, name := range names {
			below, err := c.below(name)
			if err != nil {
				return nil, nil, err
			}
			for _, name := range below {
				if seen[name] {
					if twice++; twice == 1 {
						first = name
					}
					continue
				}
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	if len(all) == 0 {
		return nil, nil, fault.New(fault.Invalid, "no files").WithPath("with.files").WithHint("list files, folders or patterns: files: [\"data/*.parquet\"]")
	}
	if twice > 0 {
		remarks = []string{fmt.Sprintf("files named twice are read once: %d, the first is %s", twice, first)}
	}
	if c.Split == "all" || c.TestFraction > 0 {
		return all, remarks, nil
	}
	var out []string
	splits := map[string]bool{}
	for _, name := range all {
		if hasSplit(name, c.Split) {
			out = append(out, name)
		}
		splits[splitOf(name)] = true
	}
	if len(out) == 0 {
		return nil, nil, fault.New(fault.NotFound, "none of %d files is called after the split %q", len(all), c.Split).WithPath("with.split").
			WithHint("the files are of %s; or give test_fraction for a random part", strings.Join(sortedKeys(splits), ", "))
	}
	return out, remarks, nil
}

// below returns a file itself, and of a folder the Parquet files below it.
func (c Config) below(name string) ([]string, error) {
	if object.IsAddress(name) {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, nil // Open says what is wrong with it
	}
	var out []string
	err = filepath.WalkDir(name, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !files.Hidden(d.Name()) && slices.Contains([]string{".parquet", ".pq"}, strings.ToLower(filepath.Ext(path))) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		return nil, files.Error(name, err)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "no Parquet files in %s", name).WithPath("with.files")
	}
	return out, nil
}

// splitOf returns the word that a file's name begins with.
func splitOf(name string) string {
	word, _, _ := strings.Cut(path.Base(filepath.ToSlash(name)), "-")
	word, _, _ = strings.Cut(word, ".")
	return word
}

// hasSplit reports whether a file is called after a split, or lies in a folder that is: train-00000-of-00002.parquet,
// train.parquet, train/0000.parquet.
func hasSplit(name, split string) bool {
	parts := strings.Split(filepath.ToSlash(name), "/")
	last := parts[len(parts)-1]
	if rest, ok := strings.CutPrefix(last, split); ok && rest != "" && strings.ContainsAny(rest[:1], "-_.") {
		return true
	}
	return slices.Contains(parts[:len(parts)-1], split) && !slices.ContainsFunc([]string{"train", "test", "validation"}, func(other string) bool {
		return other != split && hasSplit(last, other)
	})
}
