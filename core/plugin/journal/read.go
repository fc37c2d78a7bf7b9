package journal

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Reader reads the journals of a folder as they grow.
type Reader struct {
	dir   string
	files map[string]*place
}

// place says how far a journal was read.
type place struct {
	offset int64
	latest time.Time // of the records read so far
}

// NewReader reads the journals of a folder from their beginning.
func NewReader(dir string) *Reader { return &Reader{dir: dir, files: map[string]*place{}} }

// Next returns the records that came since the last call, by time.
func (r *Reader) Next() ([]Record, error) {
	paths, err := filepath.Glob(filepath.Join(escape(r.dir), "plugin-*.log"))
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, path := range paths {
		at := r.files[path]
		if at == nil {
			at = &place{}
			r.files[path] = at
		}
		records, err := at.next(path)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// escape returns a folder's path as a pattern that matches it alone.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func (p *place) next(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, err
	}
	known := time.Time{}
	if stat.Size() < p.offset { // its middle was cut out
		p.offset, known = 0, p.latest
	}
	text, err := io.ReadAll(io.NewSectionReader(f, p.offset, stat.Size()-p.offset))
	if err != nil {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	p.offset += int64(len(text))
	var records []Record
	for line := range bytes.Lines(text) {
		r := parse(bytes.TrimRight(line, "\r\n"), path)
		if !known.IsZero() && !r.Time.After(known) {
			continue
		}
		if r.Time.After(p.latest) {
			p.latest = r.Time
		}
		records = append(records, r)
	}
	return records, nil
}

// parse reads a line. One that is no record, of an older tandem, becomes one without a time.
func parse(line []byte, path string) Record {
	role := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "plugin-"), ".log")
	var r Record
	if json.Unmarshal(line, &r) != nil || r.Level == "" {
		r = Record{Level: Info, Message: string(line)}
	}
	if r.Role == "" {
		r.Role = role
	}
	return r
}
