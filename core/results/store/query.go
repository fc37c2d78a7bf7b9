package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"tandem/core/fault"
)

// Table holds the result of a query: column names, and rows of nil, int64, float64, string, bool, []byte or time.Time.
type Table struct {
	Columns []string
	Rows    [][]any
}

// Query collects all rows of a SELECT; see Each.
func (r *Reader) Query(ctx context.Context, query string, args ...any) (*Table, error) {
	t := &Table{Rows: [][]any{}}
	err := r.Each(ctx, query, func(columns []string) error {
		t.Columns = columns
		return nil
	}, func(row []any) error {
		t.Rows = append(t.Rows, slices.Clone(row))
		return nil
	}, args...)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Each runs any SELECT: it calls head with the names of the columns, then do with every row, whose slice is used again
// for the next one, and ends with the first error of either. Everything that could change the database or touch another
// file (writes, schema changes, ATTACH, PRAGMA other than those that look at the schema) is refused with
// fault.Invalid, as is faulty SQL; the hint names a view or a column that may be meant.
func (r *Reader) Each(ctx context.Context, query string, head func(columns []string) error, do func(row []any) error, args ...any) error {
	return r.each(ctx, r.db, query, head, do, args...)
}

// querier is a database or a connection to one.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (r *Reader) each(ctx context.Context, db querier, query string, head func(columns []string) error, do func(row []any) error, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return r.hintNames(ctx, r.queryFault(err))
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return r.queryFault(err)
	}
	if err := head(columns); err != nil {
		return err
	}
	row, to := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		to[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return r.queryFault(err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return r.queryFault(err)
	}
	return nil
}

func (r *Reader) queryFault(err error) error {
	var s sqlite3.Error
	if !errors.As(err, &s) {
		return diskFault(r.path, err)
	}
	switch {
	case s.Code == sqlite3.ErrAuth, s.Code == sqlite3.ErrReadonly:
		return fault.New(fault.Invalid, "query: only reading is allowed: %w", err).
			WithHint("write SELECT …; runs are changed by the runner alone")
	case s.Code == sqlite3.ErrError && strings.Contains(s.Error(), "no such table"):
		return fault.New(fault.Invalid, "query: %w", err).
			WithHint("the views are v_runs, v_metrics, v_final, v_params, v_seed_stats, v_deltas and more: select name from sqlite_schema where type = 'view'")
	case s.Code == sqlite3.ErrError && strings.Contains(s.Error(), "no such column"):
		return fault.New(fault.Invalid, "query: %w", err).
			WithHint("docs/results.md lists the columns; text is quoted 'like this'")
	case s.Code == sqlite3.ErrError, s.Code == sqlite3.ErrRange:
		return fault.New(fault.Invalid, "query: %w", err)
	}
	return diskFault(r.path, err)
}

// authorize answers SQLite before a statement of a read connection is compiled. Writes to the
// file are impossible on it anyway; this also keeps ATTACH, temporary tables and PRAGMA out.
func authorize(action int, arg1, arg2, _ string) int {
	switch action {
	case sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, recursiveAction:
		if action == sqlite3.SQLITE_FUNCTION && strings.EqualFold(arg2, "load_extension") {
			return sqlite3.SQLITE_DENY
		}
		return sqlite3.SQLITE_OK
	case sqlite3.SQLITE_TRANSACTION:
		return sqlite3.SQLITE_OK
	case sqlite3.SQLITE_PRAGMA:
		switch strings.ToLower(arg1) {
		case "table_info", "table_xinfo", "table_list", "index_list", "index_info", "compile_options", "database_list":
			return sqlite3.SQLITE_OK
		case "user_version", "data_version", "page_count", "page_size", "freelist_count", "journal_mode", "query_only":
			if arg2 == "" {
				return sqlite3.SQLITE_OK
			}
		case "busy_timeout", "foreign_keys":
			if arg2 == "" {
				return sqlite3.SQLITE_OK
			}
		}
	}
	return sqlite3.SQLITE_DENY
}

// recursiveAction names SQLITE_RECURSIVE, which the driver does not.
const recursiveAction = 33
