package store

import (
	"database/sql"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"tandem/core/fault"
)

// applicationID marks a results database in its header, as SQLite foresees: "tndm". Databases of before have none
// and are known by their tables.
const applicationID = 0x746e646d

// contents says what lies at a path.
type contents struct {
	exists  bool
	objects int  // tables, views and the like; 0: nothing was ever written
	version int  // of the schema
	odd     bool // of the present schema, but with views or triggers that are not tandem's
}

// inspect tells what lies at path and writes nothing, not even a lock or a log. A file that holds something and is
// no results database is a fault: fault.Invalid for another program's, a folder or a pipe, fault.Corrupt for what
// SQLite cannot read.
func inspect(path string) (contents, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return contents{}, nil
	case err != nil:
		return contents{}, ioFault(path, err)
	case info.IsDir():
		return contents{}, fault.New(fault.Invalid, "%s is a folder, want a results database", path).
			WithHint("--db takes a file, such as results/results.db")
	case !info.Mode().IsRegular():
		return contents{}, fault.New(fault.Invalid, "%s is no regular file, want a results database", path).
			WithHint("--db takes a file, such as results/results.db")
	}
	// Told that nobody changes the file, SQLite takes no locks and makes no files beside it. What it then may not see
	// is what still lies in the log, which is looked at only when the file by itself does not say all.
	c, err := look(path, "mode=ro&immutable=1")
	if log, e := os.Stat(path + "-wal"); (err == nil && (c.objects == 0 || c.version < len(migrations()) || c.odd) || mayBeTorn(err)) && e == nil && log.Size() > 0 {
		return look(path, "mode=ro")
	}
	return c, err
}

// mayBeTorn reports whether an error may come from looking at a file while it is written to.
func mayBeTorn(err error) bool {
	return err != nil && fault.KindOf(err) == fault.Corrupt
}

func look(path, options string) (c contents, err error) {
	registerDrivers()
	db, err := sql.Open("tandem_rw", dsn(path, options))
	if err != nil {
		return c, diskFault(path, err)
	}
	defer db.Close()
	var id, ours int
	err = db.QueryRow(`SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id),
		(SELECT count(*) FROM sqlite_schema),
		(SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('run', 'experiment', 'metric', 'point', 'run_summary'))`).
		Scan(&c.version, &id, &c.objects, &ours)
	if err != nil {
		return c, diskFault(path, err)
	}
	c.exists = true
	if id != 0 && id != applicationID || c.objects > 0 && (ours < 5 || c.version == 0) || c.objects == 0 && c.version > 0 {
		return c, notOurs(path)
	}
	if c.version == len(migrations()) && c.objects > 0 {
		c.odd, err = hasForeignViews(db)
	}
	return c, diskFault(path, err)
}

// programs returns the views and triggers of the present schema: what runs when a database is read or written.
var programs = sync.OnceValues(func() (map[string]string, error) {
	registerDrivers()
	db, err := sql.Open("tandem_rw", "file::memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(strings.Join(migrations(), "\n")); err != nil {
		return nil, err
	}
	return programsOf(db)
})

func programsOf(db *sql.DB) (map[string]string, error) {
	rows, err := db.Query("SELECT type || ' ' || name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		found[name] = text
	}
	return found, rows.Err()
}

// hasForeignViews reports whether a view of ours reads otherwise than it should, or there is a trigger that is not ours: a database
// from elsewhere may be made so that reading it never ends. Views of one's own beside ours are fine.
func hasForeignViews(db *sql.DB) (bool, error) {
	want, err := programs()
	if err != nil {
		return false, err
	}
	have, err := programsOf(db)
	if err != nil {
		return false, err
	}
	for name, text := range want {
		if have[name] != text {
			return true, nil
		}
	}
	for name := range have {
		if _, ours := want[name]; !ours && strings.HasPrefix(name, "trigger ") {
			return true, nil
		}
	}
	return false, nil
}

// restoreViews gives the database at path, a copy, the views that tandem makes and no others.
func restoreViews(path string) error {
	want, err := programs()
	if err != nil {
		return err
	}
	db, err := openWriter(path)
	if err != nil {
		return err
	}
	defer db.Close()
	have, err := programsOf(db)
	if err != nil {
		return diskFault(path, err)
	}
	for name := range have {
		kind, name, _ := strings.Cut(name, " ")
		if _, err := db.Exec("DROP " + strings.ToUpper(kind) + ` "` + strings.ReplaceAll(name, `"`, `""`) + `"`); err != nil {
			return diskFault(path, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, err := db.Exec(want[name]); err != nil {
			return diskFault(path, err)
		}
	}
	return nil
}

func notOurs(path string) error {
	return fault.New(fault.Invalid, "%s is not a results database: it is another program's, and is left as it is", path).
		WithHint("results databases are what runner writes to --db FILE, results/results.db unless told otherwise")
}

// inspectExisting inspects for those who read: a file that is not there or holds nothing is a fault too.
func inspectExisting(path string) (contents, error) {
	c, err := inspect(path)
	switch {
	case err != nil:
		return c, err
	case !c.exists:
		return c, fault.New(fault.NotFound, "there is no results database at %s", path).
			WithHint("`runner run SPEC` makes one; --db FILE chooses another")
	case c.objects == 0:
		return c, fault.New(fault.Invalid, "%s is not a results database: it is empty", path).
			WithHint("`runner run SPEC` makes one; --db FILE chooses another")
	case c.version > len(migrations()):
		return c, newerFault(path, c.version)
	}
	return c, nil
}

// mayWrite reports whether files can be made in a folder.
func mayWrite(dir string) bool { return syscall.Access(dir, 2) == nil }

// readOptions open a database of one's own for reading, on a connection that query_only keeps from writing. SQLite needs
// a file of shared memory and a log beside a database that others may write to meanwhile; only a connection that might
// write takes both away again when it is the last.
func readOptions(path string) string {
	if mayWrite(filepath.Dir(path)) && mayWrite(path) {
		return "mode=rw"
	}
	return lookOptions(path)
}

// lookOptions open a database of somebody else's without the right to change it. In a folder where nothing may be made,
// a closed database can only be read when SQLite is told that nobody changes it.
func lookOptions(path string) string {
	if log, err := os.Stat(path + "-wal"); !mayWrite(filepath.Dir(path)) && (err != nil || log.Size() == 0) {
		return "mode=ro&immutable=1"
	}
	return "mode=ro"
}
