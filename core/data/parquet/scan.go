package parquet

import (
	"errors"
	"io"
	"strconv"

	lib "github.com/parquet-go/parquet-go"
)

// Scan reads leaves row by row, over all row groups.
type Scan struct {
	f       *File
	leaves  []Leaf
	group   int
	left    int64 // rows of the group that are not read yet
	cursors []*cursor
}

// Scan returns a Scan that stands before the first row.
func (f *File) Scan(leaves []Leaf) *Scan { return &Scan{f: f, leaves: leaves, group: -1} }

// Close frees what the scan holds.
func (s *Scan) Close() {
	for _, c := range s.cursors {
		c.close()
	}
	s.cursors = nil
}

// Next appends the texts of the next row to into, the values of leaf i to into[i]; a value that is null is none. Behind the
// last row it returns io.EOF.
func (s *Scan) Next(into [][]string) (err error) {
	defer recovered(s.f.Name(), &err)
	for s.left == 0 {
		s.Close()
		if s.group++; s.group >= len(s.f.starts)-1 {
			return io.EOF
		}
		s.left = s.f.starts[s.group+1] - s.f.starts[s.group]
		chunks := s.f.file.RowGroups()[s.group].ColumnChunks()
		for _, l := range s.leaves {
			s.cursors = append(s.cursors, &cursor{pages: chunks[l.column].Pages()})
		}
	}
	s.left--
	for i, c := range s.cursors {
		if into[i], err = c.row(into[i]); err != nil {
			if err == io.EOF {
				err = errors.New("fewer values than rows")
			}
			return broken(reasonRecord, s.f.Name(), "row group %d, column %s: %w", s.group, s.leaves[i].Name(), err)
		}
	}
	return nil
}

// cursor reads the values of one column chunk.
type cursor struct {
	pages  lib.Pages
	page   lib.Page
	values lib.ValueReader
	buf    [128]lib.Value
	at, n  int
}

func (c *cursor) close() {
	if c.page != nil {
		lib.Release(c.page)
		c.page = nil
	}
	c.pages.Close()
}

// fill reads more values when there are none left.
func (c *cursor) fill() error {
	for c.at == c.n {
		if c.values == nil {
			if c.page != nil {
				lib.Release(c.page)
				c.page = nil
			}
			page, err := c.pages.ReadPage()
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.buf[:])
		c.at, c.n = 0, n
		if err == io.EOF {
			c.values = nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// row appends the values of the next row. A row ends where a value begins another.
func (c *cursor) row(out []string) ([]string, error) {
	if err := c.fill(); err != nil {
		return out, err
	}
	for first := true; ; first = false {
		if err := c.fill(); err == io.EOF && !first {
			return out, nil
		} else if err != nil {
			return out, err
		}
		v := &c.buf[c.at]
		if !first && v.RepetitionLevel() == 0 {
			return out, nil
		}
		c.at++
		if !v.IsNull() {
			out = append(out, text(v))
		}
	}
}

// text writes a value as a text.
func text(v *lib.Value) string {
	switch v.Kind() {
	case lib.ByteArray, lib.FixedLenByteArray:
		return string(v.ByteArray())
	case lib.Boolean:
		return strconv.FormatBool(v.Boolean())
	case lib.Int32:
		return strconv.FormatInt(int64(v.Int32()), 10)
	case lib.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	case lib.Float:
		return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
	case lib.Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	}
	return v.String()
}
