package store

import (
	"context"
	"database/sql"
	"math"
	"strconv"
	"strings"
	"time"

	"tandem/core/fault"
)

// Type says what a column of a view holds.
type Type int

// The types of columns. A value of Text is a string, of Int an int64, of Float a float64, of Bool a bool,
// of Time a time.Time in UTC to the millisecond; nil stands for what is not known or does not exist.
const (
	Text Type = iota
	Int
	Float
	Bool
	Time
)

// ViewColumn describes a column of a view. No value of a column that is not Optional is nil: a number that is NULL in the database
// is NaN there.
type ViewColumn struct {
	Name     string
	Type     Type
	Optional bool

	expr string // in SQL; "": Name
}

// View describes a stable view of the database; docs/results.md says what it holds.
type View struct {
	Name    string // without v_
	Columns []ViewColumn
	of      string // what Experiment limits: "" the column experiment, else the runs that run_id names
}

// columns reads "name:type name:type?": a ? behind the type marks an optional column.
func viewColumns(text string) []ViewColumn {
	types := map[string]Type{"text": Text, "int": Int, "float": Float, "bool": Bool, "time": Time}
	var all []ViewColumn
	for field := range strings.FieldsSeq(text) {
		name, kind, _ := strings.Cut(field, ":")
		kind, optional := strings.CutSuffix(kind, "?")
		all = append(all, ViewColumn{Name: name, Type: types[kind], Optional: optional})
	}
	return all
}

// mixed columns hold values of any type: as text, and numbers as such.
func mixed(columns []ViewColumn) []ViewColumn {
	return append(columns,
		ViewColumn{Name: "value", Type: Text, Optional: true, expr: "CASE WHEN typeof(value) = 'real' THEN printf('%!.17g', value) ELSE CAST(value AS TEXT) END"},
		ViewColumn{Name: "number", Type: Float, Optional: true, expr: "CASE WHEN typeof(value) IN ('integer', 'real') THEN value END"})
}

// Views lists the stable views. v_params and v_facts, whose values are of any type, have them in two columns: value as text, and
// number for those that are numbers.
func Views() []View {
	const run = "run"
	return []View{
		{"runs", viewColumns("run_id:text experiment:text variant:text seed:int status:text started_at:time ended_at:time? duration_s:float device_hours:float steps:int? samples_seen:float? samples_per_s:float? device:text host:text cores:int git_commit:text git_dirty:bool dataset_digest:text identity:text tainted:bool error_kind:text error_plugin:text error_message:text"), run},
		{"metrics", viewColumns("run_id:text metric:text step:int value:float"), run},
		{"final", viewColumns("run_id:text experiment:text variant:text seed:int status:text metric:text last:float last_step:int best:float best_step:int? first:float min:float max:float mean:float n:int tainted:bool"), run},
		{"params", mixed(viewColumns("run_id:text key:text type:text")), run},
		{"facts", mixed(viewColumns("run_id:text key:text")), run},
		{"plugins", viewColumns("run_id:text experiment:text role:text plugin:text version:text sha256:text"), run},
		{"sources", viewColumns("run_id:text experiment:text variant:text seed:int position:int role:text source:text plugin:text? samples:int weight:float quota:int seen:int epochs:float replaced:int digest:text"), run},
		{"skips", viewColumns("run_id:text experiment:text variant:text seed:int role:text stage:text reason:text n:int first:text"), run},
		{"events", viewColumns("run_id:text event_id:int at:time step:int level:text kind:text message:text detail:text"), run},
		{"failures", viewColumns("run_id:text experiment:text variant:text seed:int error_kind:text error_plugin:text plugin_version:text? plugin_sha256:text? error_message:text error_hint:text error_detail:text ended_at:time?"), run},
		{"predictions", viewColumns("run_id:text step:int evaluation:text target:text n:int correct:int top1:float?"), run},
		{"evaluations", viewColumns("run_id:text experiment:text variant:text seed:int evaluation:text step:int suite:text measured_at:time version:text samples:int left_out:int dataset:text sha256:text suite_sha256:text"), run},
		{"cells", viewColumns("experiment:text variant:text seed:int run_id:text? status:text? done:bool planned:bool levels:text position:int identity:text phase:text"), ""},
		{"seed_stats", viewColumns("experiment:text variant:text metric:text n:int mean:float std:float? min:float max:float"), ""},
		{"deltas", viewColumns("experiment:text variant:text metric:text baseline:text n:int mean:float baseline_mean:float delta:float std:float? ci_low:float? ci_high:float?"), ""},
	}
}

// Snapshot reads the database as it is at one moment, whatever is written meanwhile.
type Snapshot struct {
	conn *sql.Conn
	path string
}

// Snapshot begins one; Close ends it. While it lasts, the log beside the database only grows.
func (r *Reader) Snapshot(ctx context.Context) (*Snapshot, error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return nil, diskFault(r.path, err)
	}
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		conn.Close()
		return nil, diskFault(r.path, err)
	}
	return &Snapshot{conn: conn, path: r.path}, nil
}

// Close ends the snapshot.
func (s *Snapshot) Close() error {
	_, err := s.conn.ExecContext(context.Background(), "COMMIT")
	if e := s.conn.Close(); err == nil {
		err = e
	}
	return diskFault(s.path, err)
}

// Each calls f with every row of a view, of one experiment unless that is "": its runs, those that fill its
// cells in place of one of its own included. The row is reused from call to call.
func (s *Snapshot) Each(ctx context.Context, v View, experiment string, f func(row []any) error) error {
	exprs := make([]string, len(v.Columns))
	for i, c := range v.Columns {
		if exprs[i] = c.expr; c.expr == "" {
			exprs[i] = c.Name
		}
	}
	query := "SELECT " + strings.Join(exprs, ", ") + " FROM v_" + v.Name
	var args []any
	switch {
	case experiment == "":
	case v.of == "":
		query += " WHERE experiment = ?1"
	default:
		query += ` WHERE run_id IN (SELECT r.key FROM run r WHERE r.experiment_id = (SELECT id FROM experiment WHERE name = ?1)
			UNION SELECT run_id FROM v_cells WHERE experiment = ?1 AND run_id IS NOT NULL)`
	}
	if experiment != "" {
		args = append(args, experiment)
	}
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return diskFault(s.path, err)
	}
	defer rows.Close()
	to, cells := make([]any, len(v.Columns)), make([]cell, len(v.Columns))
	for i := range to {
		cells[i].column = &v.Columns[i]
		to[i] = &cells[i]
	}
	row := make([]any, len(cells))
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return diskFault(s.path, err)
		}
		for i := range cells {
			row[i] = cells[i].value
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return diskFault(s.path, rows.Err())
}

// cell takes a value as its column's type.
type cell struct {
	column *ViewColumn
	value  any
}

// Scan implements sql.Scanner.
func (c *cell) Scan(v any) error {
	c.value = nil
	switch v := v.(type) {
	case nil:
		if !c.column.Optional && c.column.Type == Float {
			c.value = math.NaN()
		}
	case string:
		c.value = c.text(v)
	case []byte:
		c.value = c.text(string(v))
	case int64:
		switch c.column.Type {
		case Int:
			c.value = v
		case Float:
			c.value = float64(v)
		case Bool:
			c.value = v != 0
		case Text:
			c.value = strconv.FormatInt(v, 10)
		}
	case float64:
		switch c.column.Type {
		case Float:
			c.value = v
		case Int:
			c.value = int64(v)
		}
	}
	if c.value == nil && !c.column.Optional {
		return fault.New(fault.Corrupt, "column %s holds %v", c.column.Name, v)
	}
	return nil
}

func (c *cell) text(v string) any {
	switch c.column.Type {
	case Text:
		return v
	case Time:
		if at, err := time.Parse("2006-01-02T15:04:05.999Z", v); err == nil {
			return at
		}
	}
	return nil
}
