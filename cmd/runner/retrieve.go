package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/feature"
	"tandem/core/experiment/infer"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
	"tandem/core/media/vision"
	"tandem/core/media/vision/sheet"
	"tandem/core/results/report"
)

func (a *app) retrieveCommand() *cobra.Command {
	var s infer.Search
	var images, sheetFile string
	c := &cobra.Command{
		Use:   "retrieve RUN --images FOLDER TEXT…|@FILE",
		Short: "find pictures by texts or by other pictures",
		Long: `Find the pictures of a folder that are nearest to texts, or with --image to other pictures, with the newest
checkpoint of a run. Features of the folder's pictures are kept in the user's cache folder by the contents of the files: the next
search of the same run embeds only what is new. --sheet writes the hits as a contact sheet, .png or .html.`,
		Example: `  runner retrieve latest --images photos/ "a red kangaroo" "a bicycle" --sheet hits.html
  runner retrieve latest --images photos/ --image kangaroo.jpg --top 20`,
		Args: args(cobra.MinimumNArgs(1)),
	}
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, true)
	c.Flags().StringVar(&images, "images", "", "the `folder` of pictures that are searched, or a text file with the path of one per line")
	c.Flags().StringArrayVar(&s.Pictures, "image", nil, "a picture `file` to look for, as often as wanted")
	c.Flags().IntVar(&s.Top, "top", 10, "hits of each query")
	c.Flags().StringVar(&sheetFile, "sheet", "", "the .png or .html `file` of a contact sheet to write")
	c.Flags().BoolVar(&s.Averaged, "ema", false, "search with the averaged weights (train.ema)")
	c.Flags().BoolVar(&s.SkipUnreadable, "skip-unreadable", false, "leave out pictures of the folder that cannot be read, instead of failing")
	anew := c.Flags().Bool("no-cache", false, "neither use nor keep features of the pictures")
	c.RunE = func(_ *cobra.Command, given []string) (err error) {
		s.Run = given[0]
		if s.Texts, err = textsOf("TEXT", given[1:], false); err != nil {
			return err
		}
		end := strings.ToLower(filepath.Ext(sheetFile))
		switch {
		case images == "":
			return usage{fault.New(fault.Invalid, "which pictures are searched?").WithHint("--images FOLDER")}
		case len(s.Texts)+len(s.Pictures) == 0:
			return usage{fault.New(fault.Invalid, "what is looked for?").WithHint(`a text, such as "a red kangaroo", or --image FILE`)}
		case s.Top < 1:
			return usage{fault.New(fault.Invalid, "--top %d: at least 1", s.Top)}
		case sheetFile != "" && end != ".png" && end != ".html":
			return usage{fault.New(fault.Invalid, "--sheet %s: which format?", sheetFile).WithHint("a name that ends with .png or .html")}
		}
		ctx, stop := canceled()
		defer stop()
		if s.Pool, s.Remarks, err = infer.Pictures(ctx, images); err != nil {
			return err
		}
		if old, err := os.Stat(sheetFile); err == nil { // a sheet may be written over, a picture not
			for _, name := range slices.Concat(s.Pool, s.Pictures) {
				if other, err := os.Stat(name); err == nil && os.SameFile(old, other) {
					return usage{fault.New(fault.Conflict, "--sheet %s is one of the pictures", sheetFile).WithHint("name another file")}
				}
			}
		}
		if !*anew {
			if s.KeepIn, err = feature.Root(); err != nil {
				return err
			}
		}
		w := newProgress(a.stderr, true)
		found, err := infer.Retrieve(ctx, a.lab(), s, w)
		w.Close()
		if err != nil {
			return err
		}
		if sheetFile != "" {
			if err := writeSheet(sheetFile, end, s.Run, found); err != nil {
				return err
			}
		}
		if a.asJSON {
			return report.Value(a.stdout, found)
		}
		var rows [][]any
		for _, q := range found.Queries {
			for i, h := range q.Hits {
				cosine := any(report.Number(h.Cosine))
				if a.asCSV {
					cosine = h.Cosine
				}
				rows = append(rows, []any{q.Query, i + 1, cosine, h.Image})
			}
		}
		return report.Rows(a.stdout, a.format(), []string{"query", "rank", "cosine", "image"}, rows)
	}
	return c
}

// writeSheet writes the hits as a contact sheet.
func writeSheet(file, end, run string, found infer.Found) error {
	show := func(name, words string) (sheet.Cell, error) {
		data, err := files.Read(name, vision.MaxFileBytes)
		if err != nil {
			return sheet.Cell{}, err
		}
		p, err := vision.DecodeFile(name, data, vision.Options{})
		return sheet.Cell{Picture: p, Words: words}, err
	}
	rows := make([]sheet.Row, len(found.Queries))
	for i, q := range found.Queries {
		rows[i].Title = q.Query
		if q.Picture {
			own, err := show(q.Query, "looked for")
			if err != nil {
				return err
			}
			rows[i].Cells = append(rows[i].Cells, own)
		}
		for _, h := range q.Hits {
			cell, err := show(h.Image, fmt.Sprintf("%.3f %s", h.Cosine, filepath.Base(h.Image)))
			if err != nil {
				return err
			}
			rows[i].Cells = append(rows[i].Cells, cell)
		}
	}
	write := sheet.PNG
	if end == ".html" {
		write = func(rows []sheet.Row) ([]byte, error) { return sheet.HTML("nearest pictures of run "+run, rows) }
	}
	data, err := write(rows)
	if err != nil {
		return err
	}
	_, err = leftover.Replace(file, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	return err
}
