package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"tandem/core/fault"
)

// readable is a database of the present schema with the contents of the one at path, which is never
// changed: path itself, or a copy in a temporary folder that was brought up to date. release removes the
// copy. Errors: fault.NotFound, fault.Invalid (a folder, no results database), fault.Unavailable (written by
// a newer tandem), fault.Corrupt.
func readable(ctx context.Context, path string) (ready string, release func(), err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil, fault.New(fault.NotFound, "there is no results database at %s", path)
	case err != nil:
		return "", nil, ioFault(path, err)
	case info.IsDir():
		return "", nil, fault.New(fault.Invalid, "%s is a folder, want a results database", path)
	}
	registerDrivers()
	db, err := sql.Open("tandem_rw", dsn(path, readOptions(path)))
	if err != nil {
		return "", nil, diskFault(path, err)
	}
	defer db.Close()
	version, ours := 0, false
	if err := db.QueryRowContext(ctx, `SELECT user_version, EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'run_summary')
		FROM pragma_user_version`).Scan(&version, &ours); err != nil {
		return "", nil, diskFault(path, err)
	}
	switch {
	case !ours:
		return "", nil, fault.New(fault.Invalid, "%s is not a results database", path).
			WithHint("results databases are what runner writes to --db FILE")
	case version > len(migrations()):
		return "", nil, newerFault(path, version)
	case version == len(migrations()):
		return path, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "tandem-db-")
	if err != nil {
		return "", nil, ioFault(os.TempDir(), err)
	}
	release = func() { os.RemoveAll(dir) }
	ready = filepath.Join(dir, "copy.db")
	if _, err = db.ExecContext(ctx, "VACUUM INTO ?", ready); err == nil {
		var copied *DB
		if copied, err = Open(ready); err == nil {
			err = copied.Close()
		}
	}
	if err != nil {
		release()
		return "", nil, diskFault(path, err)
	}
	return ready, release, nil
}

// readOptions open a file without the right to change it. In a folder where nothing may be created, a
// closed WAL database can only be read when SQLite is told that nobody changes it.
func readOptions(path string) string {
	options := "mode=ro"
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) && syscall.Access(filepath.Dir(path), 2) != nil {
		options += "&immutable=1"
	}
	return options
}

// attachment is the name by which ATTACH reads a file.
func attachment(path string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	return u.String() + "?" + readOptions(path)
}

// sameFile tells whether two paths are one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
