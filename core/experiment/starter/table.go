package starter

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// Table tells which columns of a table are what.
type Table struct {
	Image string
	Texts []string
	Label string // "": none
}

// Names that columns usually have, in lower case, the more telling first.
var (
	imageNames = []string{"image", "filepath", "file_path", "image_path", "filename", "file_name", "file", "path", "img", "picture", "photo"}
	textNames  = []string{"caption", "captions", "text", "title", "description", "alt", "sentence", "prompt"}
	labelNames = []string{"label", "class", "class_name", "category", "species", "target"}
)

// maxRows bounds how many rows are counted, and lookedAt how many are looked at closely.
const (
	maxRows  = 2_000_000
	lookedAt = 500
)

// table looks at a table of picture files and captions.
func (d *Data) table(ctx context.Context, path string) error {
	f, err := files.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, end, err := rowsOf(ctx, f, path)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err).WithFile(path, 0, 0)
	}
	defer end()
	head, err := rows.Read()
	if err != nil || len(head) < 2 {
		return fault.New(fault.Invalid, "its first line does not name at least two columns").WithFile(path, 1, 0).
			WithHint("the first line names the columns, as in image,caption")
	}
	head = slices.Clone(head)
	for i := range head {
		head[i] = strings.TrimSpace(head[i])
	}
	// Rows that the reader refuses are not counted: the dataset plugin says of each what is wrong.
	next := func() ([]string, bool) {
		for ctx.Err() == nil {
			switch row, err := rows.Read(); {
			case err == nil:
				return row, true
			case errors.Is(err, io.EOF):
				return nil, false
			}
		}
		return nil, false
	}
	var sample [][]string
	for len(sample) < lookedAt {
		row, ok := next()
		if !ok {
			break
		}
		sample = append(sample, slices.Clone(row))
	}
	d.columns(head, sample)
	n, column, seen := len(sample), slices.Index(head, d.Image), map[string]bool{}
	for _, picture := range cellsOf(sample, column) {
		seen[picture] = true
	}
	for n < maxRows {
		row, ok := next()
		if !ok {
			break
		}
		n++
		if column >= 0 && column < len(row) {
			seen[strings.TrimSpace(row[column])] = true
		}
	}
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
	d.IsTable, d.Train.Path, d.Captions = true, path, true
	switch {
	case n == 0:
		return fault.New(fault.Invalid, "no rows below the first line").WithFile(path, 1, 0).WithHint("the first line names the columns; the others are a picture each")
	case d.Image == "":
		return fault.New(fault.Invalid, "no column of picture files among %s", strings.Join(head, ", ")).WithFile(path, 1, 0).
			WithHint("a column holds the path of a file ending in %s …, relative to the table", strings.Join(files.PictureEndings[:4], " "))
	case len(d.Texts) == 0:
		return fault.New(fault.Invalid, "no column of captions among %s", strings.Join(head, ", ")).WithFile(path, 1, 0).
			WithHint("call it caption; each cell holds a text about the picture")
	}
	if d.Train.Pictures = len(seen); len(seen) < n {
		d.Remarks = append(d.Remarks, fmt.Sprintf("%d rows for them: rows with the same picture are its captions", n))
	}
	if n == maxRows {
		d.Remarks = append(d.Remarks, fmt.Sprintf("counted up to row %d only", maxRows))
	}
	d.cells(head, sample, path)
	return nil
}

// reader returns a reader of a table's rows, with the delimiter that the first line has most of.
func reader(f *os.File) (*csv.Reader, error) {
	const longest = 1 << 20
	buffered := bufio.NewReaderSize(f, longest)
	start, err := buffered.Peek(longest)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if strings.HasPrefix(string(start), "\ufeff") {
		_, _ = buffered.Discard(3)
		start = start[3:]
	}
	line, _, _ := strings.Cut(string(start), "\n")
	rows := csv.NewReader(buffered)
	rows.LazyQuotes, rows.FieldsPerRecord, rows.ReuseRecord = true, -1, true
	rows.Comma = ','
	for _, r := range []rune{'\t', ';', '|'} {
		if strings.Count(line, string(r)) > strings.Count(line, string(rows.Comma)) {
			rows.Comma = r
		}
	}
	return rows, nil
}

// columns guesses from names and cells which columns are what. Pictures count most: their files exist.
func (d *Data) columns(head []string, rows [][]string) {
	best := 0
	for i, name := range head {
		pictures := 0
		for _, row := range rows {
			if i < len(row) && files.IsPicture(strings.TrimSpace(row[i])) {
				pictures += 2
			}
		}
		if pictures > 0 && slices.Contains(imageNames, strings.ToLower(name)) {
			pictures++
		}
		if pictures > best {
			best, d.Image = pictures, name
		}
	}
	for i, name := range head {
		cells := cellsOf(rows, i)
		switch known := strings.ToLower(name); {
		case name == d.Image || len(cells) == 0:
		case slices.Contains(labelNames, known) && d.Label == "":
			d.Label = name
		case slices.Contains(textNames, known):
			d.Texts = append(d.Texts, name)
		}
	}
	if len(d.Texts) > 0 {
		return
	}
	for i, name := range head { // the column of most words
		if words, most := meanWords(cellsOf(rows, i)), 2.0; name != d.Image && name != d.Label && words >= most {
			if len(d.Texts) == 0 || words > meanWords(cellsOf(rows, slices.Index(head, d.Texts[0]))) {
				d.Texts = []string{name}
			}
		}
	}
	if len(d.Texts) == 0 && d.Label != "" {
		d.Texts = []string{d.Label}
	}
}

// cellsOf returns what is in a column.
func cellsOf(rows [][]string, column int) []string {
	var out []string
	for _, row := range rows {
		if column >= 0 && column < len(row) && strings.TrimSpace(row[column]) != "" {
			out = append(out, strings.TrimSpace(row[column]))
		}
	}
	return out
}

func meanWords(cells []string) float64 {
	n := 0
	for _, c := range cells {
		n += len(strings.Fields(c))
	}
	return float64(n) / float64(max(1, len(cells)))
}

// cells looks at captions, labels and pictures of the first rows.
func (d *Data) cells(head []string, rows [][]string, path string) {
	for _, name := range d.Texts {
		for _, c := range cellsOf(rows, slices.Index(head, name)) {
			d.words(c)
		}
	}
	if d.Label != "" {
		labels := cellsOf(rows, slices.Index(head, d.Label))
		slices.Sort(labels)
		labels = slices.Compact(labels)
		if d.NClasses = len(labels); d.NClasses < 2 {
			d.Label, d.NClasses = "", 0
		} else {
			d.Classes = labels[:min(len(labels), maxClasses)]
		}
	}
	pictures := cellsOf(rows, slices.Index(head, d.Image))
	root, there := rootOf(filepath.Dir(path), pictures)
	if root != filepath.Dir(path) {
		d.Train.Root = root
	}
	if there < len(pictures) {
		d.Remarks = append(d.Remarks, fmt.Sprintf("%d of the first %d picture files do not exist below %s, such as %s", len(pictures)-there, len(pictures), root, missing(root, pictures)))
	}
	d.sizes(root, slices.DeleteFunc(pictures, func(p string) bool { return !isFile(below(root, p)) }))
}

// rootOf returns the folder that paths are relative to: the table's own, one in it, or the one above, whichever has
// most of them.
func rootOf(dir string, pictures []string) (root string, there int) {
	candidates := []string{dir}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries[:min(len(entries), 200)] {
		if e.IsDir() && !files.Hidden(e.Name()) {
			candidates = append(candidates, filepath.Join(dir, e.Name()))
		}
	}
	root = dir
	for _, c := range append(candidates, filepath.Dir(dir)) {
		n := 0
		for _, p := range pictures {
			if isFile(below(c, p)) {
				n++
			}
		}
		if n > there {
			root, there = c, n
		}
	}
	return root, there
}

func missing(root string, pictures []string) string {
	i := slices.IndexFunc(pictures, func(p string) bool { return !isFile(below(root, p)) })
	return pictures[max(i, 0)]
}
