package store

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"

	"tandem/core/files/leftover"
)

// readable returns a database of the present schema with the contents of the one at path, which it never changes: path itself, or
// a copy in a temporary folder that is brought up to date. release removes the
// copy. Errors: fault.NotFound, fault.Invalid (a folder, no results database), fault.Unavailable (written by
// a newer tandem), fault.Corrupt.
func readable(ctx context.Context, path string) (ready string, release func(), err error) {
	c, err := inspectExisting(path)
	if err != nil {
		return "", nil, err
	}
	if c.version == len(migrations()) && !c.odd {
		return path, func() {}, nil
	}
	registerDrivers()
	db, err := sql.Open("tandem_rw", dsn(path, lookOptions(path)))
	if err != nil {
		return "", nil, diskFault(path, err)
	}
	defer db.Close()
	dir, release, err := leftover.Dir("tandem-db-")
	if err != nil {
		return "", nil, ioFault(os.TempDir(), err)
	}
	ready = filepath.Join(dir, "copy.db")
	if _, err = db.ExecContext(ctx, "VACUUM INTO ?", ready); err == nil {
		var copied *DB
		if c.odd {
			err = restoreViews(ready)
		} else if copied, err = Open(ready); err == nil {
			err = copied.Close()
		}
	}
	if err != nil {
		release()
		return "", nil, diskFault(path, err)
	}
	return ready, release, nil
}

// attachment returns the name by which ATTACH reads a file.
func attachment(path string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	return u.String() + "?" + lookOptions(path)
}

// sameFile reports whether two paths are one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
