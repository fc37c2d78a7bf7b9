package main

import (
	"context"
	"fmt"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/data/table"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	File           string   `with:"file" type:"source" required:"true" help:"the table, compressed by gzip or zstd or not; several by a pattern: parts/*.csv, part-{000..007}.parquet"`
	Format         string   `with:"format" enum:"auto,csv,jsonl,json,parquet" help:"of the table; auto goes by the ending of its name, then by its content"`
	Root           string   `with:"root" type:"source" help:"folder or address that the picture paths are relative to; empty: the table's"`
	ImageColumn    string   `with:"image_column" help:"column of the picture paths (open_clip: --csv-img-key)"`
	CaptionColumns []string `with:"caption_columns" help:"columns of captions, single or in lists; empty cells are passed over (open_clip: --csv-caption-key)"`
	Captions       []string `with:"captions" help:"sentences with columns in braces: \"a photo of {name}, {colour}\"; one with an empty cell is passed over.; they take the place of caption_columns"`
	Negatives      []string `with:"negatives" help:"columns of captions that do not fit the picture, for losses that take negatives: as many a sample as columns; rows without any are refused"`
	LabelColumn    string   `with:"label_column" help:"column of class names, for zero-shot classification; empty: none"`
	Delimiter      string   `with:"delimiter" help:"between cells of csv: auto (by the first line), comma, tab, semicolon, pipe, space, or one character (open_clip: --csv-separator)"`
	SameImage      string   `with:"same_image" enum:"merge,group,separate" help:"rows with the same picture: one sample with several captions, several samples that are positives of one another, or unrelated samples"`
	sample.Options
	object.Settings
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Format: table.Auto, ImageColumn: "image", CaptionColumns: []string{"caption"}, Delimiter: "auto", SameImage: "merge",
	Options: sample.DefaultOptions, Settings: object.DefaultSettings}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "csv", Version: "1.1.0", Summary: "a CSV, TSV, JSON lines or Parquet table of picture files and captions",
	Capabilities: []string{clip.CapNegatives, clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// maxRefusals limits the refused records in a message.
const maxRefusals = 3

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg, err := settings(c)
	if err != nil {
		return nil, err
	}
	return sample.FromStore(c, cfg.Settings, func(store *object.Store) (*sample.Set, error) { return cfg.read(ctx, c, store) })
}

// read makes a set of the tables.
func (c Config) read(ctx context.Context, d clip.DatasetConfig, store *object.Store) (*sample.Set, error) {
	tables, err := store.List(ctx, c.File)
	if err != nil {
		return nil, at(err, "with.file")
	}
	sentences, err := c.sentences()
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: c.Fail(), Negatives: len(c.Negatives)}
	rows := newRows(c, set, tables, sentences)
	for i := range tables {
		if err := rows.read(ctx, store, i); err != nil {
			return nil, at(err, "with.file")
		}
	}
	if rows.total > 0 && len(rows.refusals) > 0 && rows.refused == rows.total {
		first := rows.refusals[0]
		return nil, fault.New(fault.Corrupt, "all %d rows are refused; the first: %s", rows.refused, first.Msg).WithFile(first.File, first.Line, 0)
	}
	rows.finish()
	set.List = rows
	set.Note = c.note(rows)
	if c.LabelColumn != "" {
		if len(rows.classes) == 0 {
			return nil, fault.New(fault.NotFound, "no row has a class in the column %q", c.LabelColumn).WithPath("with.label_column").
				WithHint("name the column of the classes, or leave label_column out")
		}
		set.Targets = []clip.Target{{Name: "label", Classes: rows.classes}}
		set.Remarks = append(set.Remarks, sample.Alike(rows.classes)...)
	}
	if n := len(rows.unopposed); n > 0 {
		first := rows.At0(rows.unopposed[0]).Key
		if c.Fail() {
			return nil, fault.New(fault.Corrupt, "sample %d (%s) has no negative", rows.unopposed[0], first).WithReason("no negative").
				WithHint("give it a text that does not fit it, or set on_error: skip")
		}
		set.Remarks = append(set.Remarks, fmt.Sprintf("%d of %d samples have no negative and are refused; the first: %s", n, n+rows.Len(), first))
		set.SkipAll(clip.Skip{Reason: "no negative", Count: n, First: first})
	}
	if err := set.FromNames(ctx, d, store, len(rows.files), rows.path, rows.fileOf, c.Vision()); err != nil {
		return nil, err
	}
	set.Remarks = append(set.Remarks, remarkOtherName(set, rows)...)
	return set, nil
}

// settings returns the settings.
func settings(c clip.DatasetConfig) (Config, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return cfg, err
	}
	if err := cfg.Check(); err != nil {
		return cfg, err
	}
	if err := table.CheckDelimiter(cfg.Delimiter); err != nil {
		return cfg, at(err, "with.delimiter")
	}
	return cfg, nil
}

// at sets the path of a fault that has none.
func at(err error, path string) error {
	if e, ok := err.(*fault.Error); ok && e.Path == "" {
		e.Path = path
	}
	return err
}

// note says on one line what became of the rows.
func (c Config) note(r *rows) string {
	note := fmt.Sprintf("%s: %d samples of %d rows", c.File, len(r.pictures), r.total)
	for _, part := range []struct {
		n    int
		what string
	}{{r.merged, "merged with another of the same picture"}, {r.elsewhere, "of the other split"}, {r.refused, "refused"}} {
		if part.n > 0 {
			note += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	for i, e := range r.refusals {
		note += map[bool]string{true: ":", false: ","}[i == 0]
		if len(r.tables) > 1 {
			note += " " + filepath.Base(e.File)
		}
		note += fmt.Sprintf(" line %d (%s)", e.Line, e.Msg)
	}
	return note
}
