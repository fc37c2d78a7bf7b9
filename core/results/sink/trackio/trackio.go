// Package trackio writes runs into the SQLite databases of trackio, one for each experiment, so that `trackio show` and trackio's
// Python API list them.
package trackio

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	_ "github.com/mattn/go-sqlite3" // the driver sqlite3

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/sink"
)

//go:embed schema.sql
var schema string

// schemaVersion is the PRAGMA user_version of schema.
const schemaVersion = 2

// Settings say where a run goes.
type Settings struct {
	Dir     string // the folder of the databases; "": DefaultDir
	Project string // "": the experiment
}

// Writer writes a run. It implements sink.Tracker.
type Writer struct {
	to   Settings
	db   *sql.DB
	run  sink.Run
	text []byte
}

var _ sink.Tracker = (*Writer)(nil)

// New returns a writer of runs.
func New(to Settings) *Writer { return &Writer{to: to} }

// DefaultDir returns the folder that trackio looks in: $TRACKIO_DIR, or trackio in the cache of Hugging Face.
func DefaultDir() string {
	if dir := os.Getenv("TRACKIO_DIR"); dir != "" {
		return dir
	}
	if home := os.Getenv("HF_HOME"); home != "" {
		return filepath.Join(home, "trackio")
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "huggingface", "trackio")
}

// reserved lists the ends of names of projects that trackio keeps for files of its own.
var reserved = []string{"_system", "_configs", "_traces", "_artifacts", "_artifact_versions", "_artifact_aliases", "_run_artifact_links", "_external_run_artifact_links"}

// fileName returns the name of a project's database: trackio leaves out all but letters, digits, dashes and underscores.
func fileName(project string) (string, error) {
	safe := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || r == '-' || r == '_' {
			return r
		}
		return -1
	}, project)
	if safe == "" {
		safe = "default"
	}
	bad := strings.HasPrefix(safe, "registry-") || slices.ContainsFunc(reserved, func(end string) bool { return len(safe) > len(end) && strings.HasSuffix(safe, end) })
	if bad {
		return "", fault.New(fault.Invalid, "trackio takes no project %q: the name is reserved", project).WithHint("set report: [{trackio: {project: NAME}}]")
	}
	return safe + ".db", nil
}

// Open implements sink.Tracker. When the run goes on, what the database has of it beyond its checkpoint is deleted.
func (w *Writer) Open(ctx context.Context, r sink.Run) (func(metric string) int, error) {
	project, dir := w.to.Project, w.to.Dir
	if project == "" {
		project = r.Experiment
	}
	if dir == "" {
		dir = DefaultDir()
	}
	name, err := fileName(project)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, failed(err)
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, failed(err)
	}
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_busy_timeout=10000&_txlock=immediate&_journal_mode=WAL&_synchronous=NORMAL")
	if err != nil {
		return nil, failed(err)
	}
	db.SetMaxOpenConns(1)
	w.run = r
	newest := map[string]int{}
	err = in(ctx, db, func(tx *sql.Tx) error {
		if err := prepare(ctx, tx, path); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM metrics WHERE run_id = ? AND step > ?", r.ID, r.From); err != nil {
			return err
		}
		if err := newestSteps(ctx, tx, r.ID, newest); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO configs (run_id, run_name, config, created_at) VALUES (?,?,?,?)",
			r.ID, r.Name(), config(r, time.Now()), stamp(time.Now()))
		return err
	})
	if err != nil {
		db.Close()
		return nil, failed(err)
	}
	w.db = db
	of := sink.Newest(newest)
	return func(metric string) int { return of(nameOf(metric)) }, nil
}

// newestSteps fills in the newest step of each metric of a run.
func newestSteps(ctx context.Context, tx *sql.Tx, run string, newest map[string]int) error {
	rows, err := tx.QueryContext(ctx, "SELECT e.key, max(m.step) FROM metrics m, json_each(CAST(m.metrics AS TEXT)) e WHERE m.run_id = ? GROUP BY e.key", run)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var step int
		if err := rows.Scan(&name, &step); err != nil {
			return err
		}
		newest[name] = step
	}
	return rows.Err()
}

// prepare gives a new database its schema, and refuses one of another schema.
func prepare(ctx context.Context, tx *sql.Tx, path string) error {
	var version, tables int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	switch {
	case tables == 0:
		_, err := tx.ExecContext(ctx, schema)
		return err
	case version < schemaVersion:
		return fault.New(fault.Invalid, "%s is of an old trackio", path).WithHint("open it once with trackio 0.43 or newer: trackio show")
	case version > schemaVersion:
		return fault.New(fault.Invalid, "%s is of a newer trackio: schema %d, not %d", path, version, schemaVersion).
			WithHint("set report: [{trackio: {dir: PATH}}] to another folder")
	}
	return nil
}

// in runs do in a transaction.
func in(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Write implements sink.Tracker: a row for each call.
func (w *Writer) Write(ctx context.Context, points []sink.Points) error {
	return failed(in(ctx, w.db, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?,?,?,?,?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		name := w.run.Name()
		for _, p := range points {
			w.text = appendMetrics(w.text[:0], p.Values)
			if _, err := insert.ExecContext(ctx, w.run.ID, stamp(p.At), name, p.Step, w.text); err != nil {
				return err
			}
		}
		return nil
	}))
}

// End implements sink.Tracker. Trackio keeps no state of runs: it is the setting status.
func (w *Writer) End(ctx context.Context, e sink.End) error {
	return failed(in(ctx, w.db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE configs SET config = CAST(json_set(CAST(config AS TEXT), '$.status', ?) AS BLOB) WHERE run_id = ?",
			string(e.Status), w.run.ID)
		return err
	}))
}

// Close implements sink.Tracker.
func (w *Writer) Close() error {
	if w.db == nil {
		return nil
	}
	return w.db.Close()
}

// failed gives errors of SQLite and the disk a kind and a remedy.
func failed(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Exhausted, "%w", err).WithHint("is the disk full, and may you write there?")
}

// stamp writes a time as trackio does.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

// config returns the settings of a run. Keys with an underscore in front are trackio's.
func config(r sink.Run, now time.Time) []byte {
	all := map[string]any{"tandem_run": r.ID, "_Created": stamp(now)}
	for name, value := range r.Params {
		if x, ok := value.(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
			value = number(x)
		}
		all[name] = value
	}
	if r.Variant != "" {
		all["_Group"] = r.Variant
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // settings are of few types, all of which marshal
	}
	return text
}

// taken lists the names that trackio keeps for itself; it puts two underscores in front of metrics that are called so.
var taken = []string{"project", "run", "timestamp", "step", "time", "metrics"}

// nameOf returns the name that a metric has in trackio.
func nameOf(metric string) string {
	if slices.Contains(taken, metric) || strings.HasPrefix(metric, "__") {
		return "__" + metric
	}
	return strings.ToValidUTF8(metric, "�")
}

// appendMetrics adds values as a JSON object, with the digits that give the same float64 again.
func appendMetrics(b []byte, values []clip.Metric) []byte {
	b = append(b, '{')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(nameOf(v.Name))
		if err != nil {
			panic(err) // texts marshal
		}
		b = append(append(b, key...), ':')
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			b = append(append(append(b, '"'), number(v.Value)...), '"')
		} else {
			at := len(b)
			b = strconv.AppendFloat(b, v.Value, 'g', -1, 64)
			if !bytes.ContainsAny(b[at:], ".e") {
				b = append(b, ".0"...) // a number without is an integer to Python, which has no -0
			}
		}
	}
	return append(b, '}')
}

// number writes what JSON has no number for.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "NaN"
	case x > 0:
		return "Infinity"
	}
	return "-Infinity"
}
