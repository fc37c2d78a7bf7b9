package store

import (
	"context"
	"database/sql"
)

// Watch tells whether others have written to a database. It holds one connection and no transaction, so it keeps nobody from writing.
type Watch struct {
	path string
	conn *sql.Conn
	last int64
}

// Watch begins to watch the file that r reads.
func (r *Reader) Watch(ctx context.Context) (*Watch, error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return nil, diskFault(r.path, err)
	}
	w := &Watch{path: r.path, conn: conn}
	if _, err := w.Changed(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Changed reports whether somebody has written since the last call, or since Watch.
func (w *Watch) Changed(ctx context.Context) (bool, error) {
	var now int64
	if err := w.conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&now); err != nil {
		return false, diskFault(w.path, err)
	}
	changed := now != w.last
	w.last = now
	return changed, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return w.conn.Close() }
