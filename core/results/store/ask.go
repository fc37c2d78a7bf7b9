package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"

	"tandem/core/fault"
)

// Limits bound a query of somebody who may ask anything.
type Limits struct {
	Time  time.Duration
	Rows  int   // that are returned; Answer.Cut tells that there are more
	Bytes int64 // of memory that the rows take
}

// Answer holds the rows of a query of Ask.
type Answer struct {
	Table
	Cut bool // there are more rows than Limits.Rows
}

// What SQLite may make of a query of Ask: a text or blob, and the query itself.
const (
	longestValue = 16 << 20
	longestQuery = 64 << 10
	askers       = 2 // that are answered at once
)

// asking holds the connections that Ask uses, which are not those of other methods: however long a query takes, it keeps no other
// reader from a connection.
type asking struct {
	mu sync.Mutex
	db *sql.DB
}

func (a *asking) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.db == nil {
		return nil
	}
	return a.db.Close()
}

func (a *asking) open(path string) (*sql.DB, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.db != nil {
		return a.db, nil
	}
	db, err := sql.Open("tandem_ro", dsn(path, readOptions(path)+"&_query_only=1"))
	if err != nil {
		return nil, diskFault(path, err)
	}
	db.SetMaxOpenConns(askers)
	a.db = db
	return db, nil
}

// Ask runs a SELECT as Each does, within limits and apart from other readers; named are the values of its parameters. What takes
// longer is interrupted. Errors besides those of
// Each: fault.Exhausted when the time or the memory is used up, fault.Unavailable when others ask too much.
func (r *Reader) Ask(ctx context.Context, query string, l Limits, named map[string]string) (*Answer, error) {
	path := r.path
	if r.copied != "" {
		path = r.copied
	}
	db, err := r.asking.open(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Time)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Unavailable, "query: %d others are being answered", askers).WithHint("ask again when they have ended")
		}
		return nil, diskFault(r.path, err)
	}
	defer conn.Close()
	if err := conn.Raw(bound); err != nil {
		return nil, diskFault(r.path, err)
	}
	a := &Answer{Table: Table{Rows: [][]any{}}}
	left := l.Bytes
	var args []any
	for name, value := range named {
		args = append(args, sql.Named(name, value))
	}
	enough := errors.New("enough rows")
	err = r.each(ctx, conn, query, func(columns []string) error {
		a.Columns = columns
		return nil
	}, func(row []any) error {
		if len(a.Rows) == l.Rows {
			a.Cut = true
			return enough
		}
		if left -= size(row); left < 0 {
			return fault.New(fault.Exhausted, "query: the result is over %d MiB at row %d", l.Bytes>>20, len(a.Rows)+1).
				WithHint("ask for fewer columns or rows, or run it with `runner query`")
		}
		a.Rows = append(a.Rows, slices.Clone(row))
		return nil
	}, args...)
	switch {
	case err == nil || errors.Is(err, enough):
		return a, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fault.New(fault.Exhausted, "query: it took longer than %v and was interrupted", l.Time).
			WithHint("ask for less, such as one experiment or one metric, or run it with `runner query`, which has no limit")
	}
	return nil, err
}

// bound limits what SQLite may make of a query.
func bound(c any) error {
	s, ok := c.(*sqlite3.SQLiteConn)
	if !ok {
		return fault.New(fault.Internal, "the connection is %T", c)
	}
	s.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, longestValue)
	s.SetLimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, longestQuery)
	s.SetLimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
	return nil
}

// size returns about how much memory a row takes.
func size(row []any) int64 {
	n := int64(24)
	for _, v := range row {
		n += 24
		switch v := v.(type) {
		case string:
			n += int64(len(v))
		case []byte:
			n += int64(len(v))
		}
	}
	return n
}
