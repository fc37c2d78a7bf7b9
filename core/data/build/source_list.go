package build

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/data/build/ledger"
	"tandem/core/data/object"
	"tandem/core/data/pages"
	"tandem/core/fault"
)

// maxLine bounds a line of a list.
const maxLine = 1 << 20

// list is a table of pictures, by address or by path from the folder of the list, with captions: CSV or TSV with a header,
// JSON lines, or text with an address and, behind a tab, a caption on each line.
type list struct {
	file   object.Object
	folder *folder // of local pictures; nil for a list from another machine
	spec   SourceSpec
	id     int
}

// Columns that are tried when none is named.
var (
	urlColumns     = []string{"url", "image", "image_url", "file", "file_name", "path", "filepath"}
	captionColumns = []string{"caption", "text", "alt", "alt_text", "title", "description"}
)

func openList(ctx context.Context, store *object.Store, name string, id int, host string, s SourceSpec) (*list, error) {
	o, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	l := &list{file: o, spec: s, id: id}
	if !object.IsAddress(name) {
		root, err := os.OpenRoot(filepath.Dir(name))
		if err != nil {
			o.Close()
			return nil, pathError(filepath.Dir(name), err)
		}
		l.folder = &folder{root: root, dir: filepath.Dir(name), id: id, base: &url.URL{Scheme: "folder", Host: host, Path: "/"}}
	}
	return l, nil
}

func (l *list) name() string  { return path.Base(l.file.Name()) }
func (l *list) stamp() string { return l.file.Version() }
func (l *list) size() int64   { return l.file.Size() }

func (l *list) close() error {
	if l.folder != nil {
		l.folder.close()
	}
	return l.file.Close()
}

func (l *list) find(address string) (ledger.Place, bool, error) {
	if l.folder == nil {
		return ledger.Place{}, false, nil
	}
	return l.folder.find(address)
}

func (l *list) open(ctx context.Context, at ledger.Place) ([]byte, error) {
	return l.folder.open(ctx, at)
}

func (l *list) read(ctx context.Context, is ledger.Source, emit func(func() finding) error) error {
	section := io.NewSectionReader(l.file, 0, l.file.Size())
	count := &readCounter{r: section}
	n := 0
	row := func(address, caption, problem string) error {
		if err := ctx.Err(); err != nil {
			return fault.New(fault.Canceled, "%w", err)
		}
		if n++; n <= is.Documents {
			return nil
		}
		f := finding{at: count.n}
		if problem == "" {
			address, problem = l.address(address)
		}
		if problem != "" {
			f.skips = []skip{{"entries", problem, 1, l.name()}}
		} else {
			p := pages.Picture{URLs: []string{address}}
			if text := pages.Tidy(caption); text != "" {
				p.Texts = append(p.Texts, pages.Text{Kind: pages.Given, Text: text})
			}
			if words := pages.FileWords(address); words != "" {
				p.Texts = append(p.Texts, pages.Text{Kind: pages.FileName, Text: words})
			}
			f.page = &foundPage{url: "list:" + l.name(), pictures: []pages.Picture{p}, shared: true}
		}
		return emit(func() finding { return f })
	}
	switch strings.ToLower(path.Ext(l.file.Name())) {
	case ".csv":
		return l.table(count, ',', row)
	case ".tsv":
		return l.table(count, '\t', row)
	case ".jsonl", ".ndjson", ".json":
		return l.lines(count, func(line string) error {
			var object map[string]any
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				return row("", "", "corrupt record")
			}
			return row(field(object, l.spec.URL, urlColumns), field(object, l.spec.Caption, captionColumns), "")
		}, row)
	}
	return l.lines(count, func(line string) error {
		address, caption, _ := strings.Cut(line, "\t")
		return row(address, caption, "")
	}, row)
}

// field returns a text of an object.
func field(object map[string]any, name string, others []string) string {
	if name != "" {
		others = []string{name}
	}
	for _, o := range others {
		if s, ok := object[o].(string); ok {
			return s
		}
	}
	return ""
}

// lines calls f for each line that is not blank.
func (l *list) lines(r io.Reader, f func(string) error, row func(string, string, string) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, long, err := boundedLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fault.New(fault.Unavailable, "%w", err).WithFile(l.file.Name(), 0, 0)
		}
		var e error
		switch text := strings.TrimSpace(line); {
		case long:
			e = row("", "", "too many bytes")
		case text == "":
		case !utf8.ValidString(text):
			e = row("", "", "not UTF-8")
		default:
			e = f(text)
		}
		if e != nil || err != nil {
			return e
		}
	}
}

// boundedLine reads a line and reports whether it is longer than maxLine, which is then left out.
func boundedLine(in *bufio.Reader) (text string, long bool, err error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), len(line) > maxLine, err
		}
	}
}

// table reads CSV.
func (l *list) table(r io.Reader, comma rune, row func(string, string, string) error) error {
	in := csv.NewReader(r)
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = comma, -1, comma == '\t'
	head, err := in.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.New(fault.Corrupt, "%w", err).WithFile(l.file.Name(), 1, 0)
	}
	if len(head) > 0 {
		head[0] = strings.TrimPrefix(head[0], "\ufeff")
	}
	column := func(key, name string, others []string) (int, error) {
		if name != "" {
			others = []string{name}
		}
		for _, o := range others {
			if i := slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), o) }); i >= 0 {
				return i, nil
			}
		}
		return 0, fault.New(fault.Invalid, "there is no column %s; the columns are %s", strings.Join(others, ", "), strings.Join(head, ", ")).
			WithFile(l.file.Name(), 1, 0).WithHint("%s: NAME in the source names it", key)
	}
	at, err := column("url", l.spec.URL, urlColumns)
	if err != nil {
		return err
	}
	text, err := column("caption", l.spec.Caption, captionColumns)
	if err != nil {
		return err
	}
	for {
		fields, err := in.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &broken) || err == nil && (at >= len(fields) || text >= len(fields)):
			err = row("", "", "corrupt record")
		case err != nil:
			return fault.New(fault.Unavailable, "%w", err).WithFile(l.file.Name(), 0, 0)
		default:
			err = row(fields[at], fields[text], "")
		}
		if err != nil {
			return err
		}
	}
}

// address returns the address of an entry, otherwise the reason why it has none.
func (l *list) address(name string) (address, reason string) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", "no picture"
	case strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://"):
		u, err := url.Parse(name)
		if err != nil || u.Host == "" {
			return "", "bad address"
		}
		u.Fragment, u.User = "", nil
		return u.String(), ""
	case strings.Contains(name, "://") || l.folder == nil:
		return "", "bad address"
	}
	clean := filepath.ToSlash(filepath.Clean(name))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", "outside the folder"
	}
	return l.folder.address(clean), ""
}

// readCounter counts what is read.
type readCounter struct {
	r io.Reader
	n int64
}

func (c *readCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
