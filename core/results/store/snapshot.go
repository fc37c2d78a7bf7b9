package store

import (
	"context"
	"database/sql"
)

// Snapshot writes the database as it is now, with all that was recorded before the call, as a file of its own at path, where nothing may
// be yet. Nobody has to wait meanwhile.
func (db *DB) Snapshot(ctx context.Context, path string) error {
	if err := db.w.task(ctx, func(*batch) error { return nil }); err != nil { // behind all that is queued
		return err
	}
	reading, err := sql.Open("tandem_rw", dsn(db.path, "mode=rw"))
	if err != nil {
		return diskFault(db.path, err)
	}
	defer reading.Close()
	if _, err := reading.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return diskFault(path, err)
	}
	return nil
}
