package table

import (
	"context"
	"io"

	"tandem/core/data/parquet"
	"tandem/core/fault"
)

// columnar reads a Parquet file from its first row to its last.
type columnar struct {
	scan   *parquet.Scan
	number int
	cells  [][]string
}

func openParquet(f *parquet.File, columns []Column) (*columnar, error) {
	var leaves []parquet.Leaf
	var faults fault.List
	for _, c := range columns {
		leaf, err := f.Texts(c.Name)
		if e, ok := err.(*fault.Error); ok {
			faults = append(faults, e.WithPath(c.Setting))
		}
		leaves = append(leaves, leaf)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &columnar{scan: f.Scan(leaves), cells: make([][]string, len(leaves))}, nil
}

func (c *columnar) next(ctx context.Context, row *Row) error {
	if c.number++; c.number%4096 == 0 && ctx.Err() != nil {
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
	row.Line = c.number
	for i := range c.cells {
		c.cells[i] = c.cells[i][:0]
	}
	if err := c.scan.Next(c.cells); err != nil {
		if err == io.EOF {
			c.scan.Close()
		}
		return err
	}
	for i, texts := range c.cells {
		for _, t := range texts {
			row.Cells[i].add(t)
		}
	}
	return nil
}
