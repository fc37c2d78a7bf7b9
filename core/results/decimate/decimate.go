// Package decimate makes long curves as short as a chart is wide: of the points of each column of pixels it tells the least, the
// greatest and the mean, so no spike is lost. Of curves with many points it keeps blocks in memory, so a chart that is zoomed or drawn
// again reads what is new alone.
package decimate

import (
	"context"
	"math"

	"tandem/core/results/store"
)

// Source gives points; a store.Reader does.
type Source interface {
	Extent(ctx context.Context, run, metric string) (store.Extent, error)
	Columns(ctx context.Context, run, metric string, s store.Span) ([]store.Column, error)
}

var _ Source = (*store.Reader)(nil)

// few is how many points are read for a chart without blocks.
const few = 100_000

// The narrowest and the widest chart, in columns.
const (
	Narrowest = 16
	Widest    = 4096
)

// Curve is a metric of a run, or a part of it, in columns.
type Curve struct {
	store.Extent
	Size    int // steps of a column
	Columns []store.Column
}

// Count adds up how many values are not finite in the columns.
func (c Curve) Count() (nan, above, below int) {
	for _, x := range c.Columns {
		nan, above, below = nan+x.NaN, above+x.Above, below+x.Below
	}
	return nan, above, below
}

// Decimator makes curves of the runs of one database. Its methods may be called concurrently.
type Decimator struct {
	src    Source
	blocks *cache
}

// New makes one.
func New(src Source) *Decimator { return &Decimator{src, newCache()} }

// Curve returns a metric of a run in at most about width columns, those from the step from to the step to; negative ones mean the
// ends. The curve is empty when the run has no such metric.
func (d *Decimator) Curve(ctx context.Context, run, metric string, from, to, width int) (Curve, error) {
	return d.curve(ctx, run, metric, from, to, width, false)
}

// Extent returns how far a metric of a run goes.
func (d *Decimator) Extent(ctx context.Context, run, metric string) (store.Extent, error) {
	return d.src.Extent(ctx, run, metric)
}

func (d *Decimator) curve(ctx context.Context, run, metric string, from, to, width int, inverse bool) (Curve, error) {
	e, err := d.src.Extent(ctx, run, metric)
	if err != nil || e.N == 0 {
		return Curve{}, err
	}
	c := Curve{Extent: e}
	if from < e.First {
		from = e.First
	}
	if to < 0 || to > e.Last {
		to = e.Last
	}
	if from > to {
		return c, nil
	}
	width = min(max(width, Narrowest), Widest)
	steps := to - from + 1
	points := float64(e.N) * float64(steps) / float64(e.Last-e.First+1)
	if points <= float64(width) { // each by itself
		c.Size = 1
	} else {
		c.Size = (steps + width - 1) / width
	}
	if points > few && c.Size >= 2*blockSize {
		c.Columns, err = d.fromBlocks(ctx, key{run, metric, inverse}, e, from, to, c.Size)
		return c, err
	}
	c.Columns, err = d.src.Columns(ctx, run, metric, store.Span{From: from, To: to, Size: c.Size, Inverse: inverse})
	return c, err
}

// fromBlocks joins blocks to columns. The blocks at the ends are taken whole.
func (d *Decimator) fromBlocks(ctx context.Context, k key, e store.Extent, from, to, size int) ([]store.Column, error) {
	blocks, err := d.blocks.get(k).upTo(ctx, d.src, k, e)
	if err != nil {
		return nil, err
	}
	d.blocks.trim()
	var columns []store.Column
	last := math.MinInt
	for _, b := range blocks {
		if b.Step+blockSize <= from || b.Step > to {
			continue
		}
		at := (b.Step - from) / size
		if b.Step < from {
			at = 0
		}
		if at != last {
			columns = append(columns, b)
			last = at
			continue
		}
		join(&columns[len(columns)-1], b)
	}
	return columns, nil
}

// join adds a block to a column.
func join(c *store.Column, b store.Column) {
	c.N, c.NaN, c.Above, c.Below, c.Sum = c.N+b.N, c.NaN+b.NaN, c.Above+b.Above, c.Below+b.Below, c.Sum+b.Sum
	if !(c.Min <= b.Min) { // either may be NaN
		c.Min = least(c.Min, b.Min)
	}
	if !(c.Max >= b.Max) {
		c.Max = -least(-c.Max, -b.Max)
	}
}

// least returns the lesser of two numbers, of which one may be NaN.
func least(a, b float64) float64 {
	if math.IsNaN(a) || b < a {
		return b
	}
	return a
}
