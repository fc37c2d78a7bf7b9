package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
	"strings"

	"tandem/core/fault"
)

// Extent says how far the points of a metric of a run go.
type Extent struct {
	First, Last int // steps
	N           int
	Sessions    int // changes of the run's status: points may be others after a resume
}

// Extent returns how far a metric goes without reading its points; N is 0 when the run has none.
func (r *Reader) Extent(ctx context.Context, run, metric string) (e Extent, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT coalesce((SELECT min(step) FROM point WHERE run_id = s.run_id AND metric_id = s.metric_id), 0), s.last_step, s.n,
		(SELECT count(*) FROM run_status h WHERE h.run_id = s.run_id)
		FROM run_summary s WHERE s.run_id = (SELECT id FROM run WHERE key = ?) AND s.metric_id = (SELECT id FROM metric WHERE name = ?)`, run, metric).
		Scan(&e.First, &e.Last, &e.N, &e.Sessions)
	if errors.Is(err, sql.ErrNoRows) {
		return Extent{}, nil
	}
	return e, diskFault(r.path, err)
}

// Column summarises the points of a metric over some steps.
type Column struct {
	Step         int // where it begins
	N            int // points
	NaN          int // of them
	Above, Below int // of them: ∞ and -∞
	Min, Max     float64
	Sum          float64 // of the finite values, as Min and Max, which are NaN without any
}

// Finite returns how many values are neither NaN nor infinite.
func (c Column) Finite() int { return c.N - c.NaN - c.Above - c.Below }

// Span chooses columns of Size steps, from the step From to To. With a Size of 1 each point is a column.
type Span struct {
	From, To, Size int
	Inverse        bool // Sum is of the inverses of the positive values
}

// Columns returns those columns of a metric of a run that have points. It reads each point once, in the order of the index, and sorts
// nothing.
func (r *Reader) Columns(ctx context.Context, run, metric string, s Span) ([]Column, error) {
	sum := "total(value)"
	if s.Inverse {
		sum = "total(CASE WHEN value > 0 AND value < 9e999 THEN 1.0 / value END)"
	}
	var row, name int64
	if err := r.db.QueryRowContext(ctx, "SELECT coalesce((SELECT id FROM run WHERE key = ?), -1), coalesce((SELECT id FROM metric WHERE name = ?), -1)",
		run, metric).Scan(&row, &name); err != nil {
		return nil, diskFault(r.path, err)
	}
	if s.Size <= 1 {
		return r.single(ctx, row, name, s)
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (c Column, err error) {
		var text string
		if err := rows.Scan(&c.Step, &text); err != nil {
			return c, err
		}
		return c, c.parse(text)
	}, `WITH RECURSIVE c(s) AS (VALUES (?3) UNION ALL SELECT s + ?5 FROM c WHERE s + ?5 <= ?4)
		SELECT s, (SELECT printf('%d %d %!.17g %!.17g %!.17g', count(*), count(value), min(value), max(value), `+sum+`)
			FROM point WHERE run_id = ?1 AND metric_id = ?2 AND step >= s AND step < s + ?5 AND step <= ?4) FROM c`,
		row, name, s.From, s.To, s.Size)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, c := range all {
		if math.IsInf(c.Min, 0) || math.IsInf(c.Max, 0) { // rare: only here are infinities told apart
			if err := r.finite(ctx, &c, row, name, s); err != nil {
				return nil, err
			}
		}
		if c.N > 0 {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// single returns each point as a column.
func (r *Reader) single(ctx context.Context, run, metric int64, s Span) ([]Column, error) {
	return collect(ctx, r, func(rows *sql.Rows) (Column, error) {
		c := Column{N: 1, Min: math.NaN(), Max: math.NaN()}
		var value sql.NullFloat64
		err := rows.Scan(&c.Step, &value)
		switch v := value.Float64; {
		case !value.Valid:
			c.NaN = 1
		case math.IsInf(v, 1):
			c.Above = 1
		case math.IsInf(v, -1):
			c.Below = 1
		default:
			c.Min, c.Max, c.Sum = v, v, v
			if s.Inverse {
				c.Sum = 1 / v
			}
			if s.Inverse && v <= 0 {
				c.Sum = 0
			}
		}
		return c, err
	}, "SELECT step, value FROM point WHERE run_id = ? AND metric_id = ? AND step BETWEEN ? AND ? ORDER BY step", run, metric, s.From, s.To)
}

// parse reads what Columns printed.
func (c *Column) parse(text string) error {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return fault.New(fault.Internal, "column %q", text)
	}
	c.N, _ = strconv.Atoi(fields[0])
	numbers, _ := strconv.Atoi(fields[1])
	c.NaN, c.Min, c.Max = c.N-numbers, math.NaN(), math.NaN()
	if numbers == 0 {
		return nil
	}
	for i, to := range []*float64{&c.Min, &c.Max, &c.Sum} {
		*to, _ = strconv.ParseFloat(fields[2+i], 64) // Inf is one too
	}
	return nil
}

// finite counts the infinities of a column and summarises the rest.
func (r *Reader) finite(ctx context.Context, c *Column, run, metric int64, s Span) error {
	var low, high sql.NullFloat64
	var sum float64
	err := r.db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE value = 9e999), count(*) FILTER (WHERE value = -9e999),
		min(value) FILTER (WHERE abs(value) < 9e999), max(value) FILTER (WHERE abs(value) < 9e999), total(value) FILTER (WHERE abs(value) < 9e999)
		FROM point WHERE run_id = ? AND metric_id = ? AND step BETWEEN ? AND ?`, run, metric, c.Step, min(s.To, c.Step+s.Size-1)).
		Scan(&c.Above, &c.Below, &low, &high, &sum)
	c.Min, c.Max = number(low), number(high)
	if !s.Inverse {
		c.Sum = sum
	}
	return diskFault(r.path, err)
}

// BatchSize returns the samples of a step of a run, 0 when its settings do not tell.
func (r *Reader) BatchSize(ctx context.Context, run string) (float64, error) {
	var size float64
	err := r.db.QueryRowContext(ctx, "SELECT coalesce((SELECT value FROM v_params WHERE run_id = ? AND key = 'train.batch_size' AND type = 'number'), 0)", run).Scan(&size)
	return size, diskFault(r.path, err)
}
