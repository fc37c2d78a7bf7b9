// Package store keeps what runs produce in one SQLite file, to which no other package speaks SQL.
//
// A DB writes and reads; a Reader only reads, over connections that cannot write. Every DB has one
// writer goroutine that takes operations from a bounded queue and commits them in batches, so a
// training step pays for a copy of its numbers and never for the disk. Several processes may write
// to one file at once: transactions begin IMMEDIATE and wait for one another.
//
// The file is in WAL mode with synchronous=NORMAL: killing a writer at any moment leaves a readable
// file that holds a prefix of what it recorded, with summaries that match. Flush and Finish sync, so
// what they cover also survives a loss of power.
//
// NaN is stored as NULL, since SQLite has no NaN; infinities are stored as they are.
//
// The schema is in migrations/, one file per version; docs/results.md documents the views.
package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"

	"tandem/core/fault"
)

// busyTimeout limits how long one statement waits for another process's transaction; writerTimeout limits one that retryBusy repeats.
const (
	busyTimeout   = 5 * time.Second
	writerTimeout = time.Second
)

var registerDrivers = sync.OnceFunc(func() {
	sql.Register("tandem_rw", &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("sqrt", sqrt, true)
	}})
	sql.Register("tandem_ro", &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		if err := c.RegisterFunc("sqrt", sqrt, true); err != nil {
			return err
		}
		c.RegisterAuthorizer(authorize)
		return nil
	}})
})

// sqrt replaces SQLite's own optional function, which the driver is built without. It returns NULL for what has no square root.
func sqrt(v any) any {
	var x float64
	switch v := v.(type) {
	case float64:
		x = v
	case int64:
		x = float64(v)
	default:
		return nil
	}
	if x < 0 {
		return nil
	}
	return math.Sqrt(x)
}

// dsn gives the connection string of path; the path is escaped so that any file name works.
func dsn(path, options string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	return u.String() + "?" + options + "&_foreign_keys=1&_busy_timeout=" + milliseconds(busyTimeout) // of two, the first counts
}

func milliseconds(d time.Duration) string { return itoa(int(d / time.Millisecond)) }

// DB opens a results database to readers and writers. Its methods may be called concurrently.
type DB struct {
	*Reader
	w      *writer
	notify waiting
}

// OnWrite calls f after each transaction with when it began and how long it took, from the goroutine
// that writes; nil ends it.
func (db *DB) OnWrite(f func(start time.Time, took time.Duration)) {
	db.w.mu.Lock()
	defer db.w.mu.Unlock()
	db.w.onWrite = f
}

// Open opens the database at path for writing, making the file and its folder when they are not
// there and bringing an older schema up to date. Errors: fault.Exhausted (disk full),
// fault.Unavailable (written by a newer tandem, or no permission), fault.Corrupt (not a database).
func Open(path string, options ...Option) (*DB, error) {
	opened := &DB{}
	for _, o := range options {
		o(opened)
	}
	c, err := inspect(path) // before anything is written: it may be another program's
	if err != nil {
		return nil, err
	}
	if c.version > len(migrations()) {
		return nil, newerFault(path, c.version)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, ioFault(path, err)
	}
	db, err := openWriter(path)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(context.Background())
	if err == nil && c.objects == 0 { // before anything is written: gc then gives space back bit by bit
		_, err = conn.ExecContext(context.Background(), "PRAGMA auto_vacuum=INCREMENTAL")
	}
	if err == nil {
		err = migrate(conn, path, opened.notify)
	}
	if err != nil {
		db.Close()
		return nil, diskFault(path, err)
	}
	reader, err := openReader(path)
	if err != nil {
		db.Close()
		return nil, err
	}
	opened.Reader, opened.w = reader, startWriter(path, db, conn, opened.notify)
	return opened, nil
}

func openWriter(path string) (*sql.DB, error) {
	registerDrivers()
	db, err := sql.Open("tandem_rw", dsn(path, "_synchronous=NORMAL&_txlock=immediate&_busy_timeout="+milliseconds(writerTimeout)))
	if err != nil {
		return nil, diskFault(path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// Close writes what is queued and closes the database; it returns what could not be written.
func (db *DB) Close() error {
	err := db.w.close()
	if e := db.Reader.Close(); err == nil {
		err = e
	}
	return err
}

// Reader reads a results database. Its methods may be called concurrently.
type Reader struct {
	path    string
	db      *sql.DB
	copied  string // what is read instead of path
	release func() // removes copied
	asking  asking // connections of Ask
}

// OpenReader opens the database at path for reading and changes nothing: one of an older schema is read from a
// temporary copy that is brought up to date, which Copied tells. Errors: fault.NotFound when there is no such file,
// fault.Invalid when it is another program's, otherwise as Open.
func OpenReader(path string) (*Reader, error) {
	ready, release, err := readable(context.Background(), path)
	if err != nil {
		return nil, err
	}
	r, err := openReader(ready)
	if err != nil {
		release()
		return nil, err
	}
	if ready != path {
		r.copied, r.release = ready, release
	}
	r.path = path
	return r, nil
}

func openReader(path string) (*Reader, error) {
	db, err := sql.Open("tandem_ro", dsn(path, readOptions(path)+"&_query_only=1"))
	if err != nil {
		return nil, diskFault(path, err)
	}
	db.SetMaxOpenConns(4)
	return &Reader{path: path, db: db}, nil
}

// Rest closes connections that nobody has used for a time, for readers that live long.
func (r *Reader) Rest(after time.Duration) { r.db.SetConnMaxIdleTime(after) }

// Path returns the database's file.
func (r *Reader) Path() string { return r.path }

// Copied tells that the file is read from a copy, since it is of an older schema or has views that are not tandem's.
func (r *Reader) Copied() bool { return r.copied != "" }

// Close closes the read connections.
func (r *Reader) Close() error {
	err := errors.Join(r.asking.close(), r.db.Close())
	if r.release != nil {
		r.release()
	}
	return err
}

// ioFault reports a failure of the file system around the database.
func ioFault(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Exhausted, "results database %s: %w", path, err).
			WithHint("free space on the disk that holds %s", filepath.Dir(path))
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New(fault.Unavailable, "results database %s: %w", path, err).
			WithHint("choose a file that may be written with --db FILE")
	}
	return fault.New(fault.Internal, "results database %s: %w", path, err)
}

// diskFault makes a fault of what SQLite says of the database at path; faults stay as they are.
func diskFault(path string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Canceled, "results database %s: %w", path, err)
	}
	var s sqlite3.Error
	if !errors.As(err, &s) {
		if strings.HasPrefix(err.Error(), "sql: Scan error") { // a text where a number belongs, say: SQLite takes any
			return fault.New(fault.Corrupt, "results database %s holds what tandem never wrote: %w", path, err).
				WithHint("it was edited by hand, damaged, or comes from elsewhere")
		}
		return ioFault(path, err)
	}
	switch s.Code {
	case sqlite3.ErrFull:
		return fault.New(fault.Exhausted, "results database %s: no space left: %w", path, err).
			WithHint("free space on the disk that holds %s", filepath.Dir(path))
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return fault.New(fault.Conflict, "results database %s: another process keeps it locked: %w", path, err).
			WithHint("end the process that holds a transaction open on it")
	case sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrAuth:
		return fault.New(fault.Unavailable, "results database %s: %w", path, err).
			WithHint("check the permissions of %s, or choose another file with --db FILE", path)
	case sqlite3.ErrCorrupt, sqlite3.ErrNotADB:
		return fault.New(fault.Corrupt, "results database %s: %w", path, err).
			WithHint("move %s away and start a new one, or recover it with `sqlite3 FILE .recover`", path)
	case sqlite3.ErrIoErr:
		if s.SystemErrno != 0 {
			return ioFault(path, s.SystemErrno)
		}
	}
	return fault.New(fault.Internal, "results database %s: %w", path, err)
}

// isBusy reports whether err is another process's transaction in the way.
func isBusy(err error) bool {
	var s sqlite3.Error
	return errors.As(err, &s) && (s.Code == sqlite3.ErrBusy || s.Code == sqlite3.ErrLocked)
}
