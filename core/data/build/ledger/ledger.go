// Package ledger keeps what is known of a build of a set: a row for each candidate with its state, for each picture with where it
// lies and what was measured, for each source how far it is read. Everything that a killed build must not do again is in it.
package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	_ "github.com/mattn/go-sqlite3" // the driver

	"tandem/core/fault"
)

//go:embed schema.sql
var schema string

// version is that of the schema.
const version = 1

// The states of candidates and pictures.
const (
	Found   = "found"   // read from its source
	Wanted  = "wanted"  // a candidate with a caption, whose picture is to be got
	Fetched = "fetched" // the picture is there and measured
	Later   = "later"   // the picture could not be had for now
	Refused = "refused" // by a filter, for a reason
	Kept    = "kept"    // passed all filters
	Written = "written" // is in a shard
)

// Ledger is an open database. Its methods may be called from several goroutines; one changes it at a time.
type Ledger struct {
	db   *sql.DB
	path string
}

// Open opens or makes the database at path.
func Open(path string) (*Ledger, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(),
		RawQuery: "_journal_mode=wal&_synchronous=normal&_busy_timeout=10000&_txlock=immediate"}).String()
	db, err := sql.Open("sqlite3", dsn)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err).WithFile(path, 0, 0)
	}
	db.SetMaxOpenConns(1)
	l := &Ledger{db, path}
	var have int
	if err := db.QueryRow("pragma user_version").Scan(&have); err != nil {
		db.Close()
		return nil, l.fail(err)
	}
	if have == 0 {
		_, err = db.Exec("begin;" + schema + fmt.Sprintf("pragma user_version = %d; commit", version))
	} else if have != version {
		err = fault.New(fault.Conflict, "%s is of version %d, this program knows %d", path, have, version).WithHint("build into another folder")
	}
	if err != nil {
		db.Close()
		return nil, l.fail(err)
	}
	return l, nil
}

// Close closes the database.
func (l *Ledger) Close() error { return l.db.Close() }

func (l *Ledger) fail(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Unavailable, "%w", err).WithFile(l.path, 0, 0)
}

// Tx changes the ledger: all that it did, or nothing. After the first error it does nothing more.
type Tx struct {
	tx  *sql.Tx
	err error
}

// Update calls f and makes its changes lasting.
func (l *Ledger) Update(ctx context.Context, f func(*Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return l.fail(err)
	}
	t := &Tx{tx: tx}
	if err := f(t); err != nil {
		tx.Rollback()
		return err
	}
	if t.err != nil {
		tx.Rollback()
		return l.fail(t.err)
	}
	return l.fail(tx.Commit())
}

func (t *Tx) exec(query string, args ...any) sql.Result {
	if t.err != nil {
		return nil
	}
	r, err := t.tx.Exec(query, args...)
	t.err = err
	return r
}

// Meta returns a value of the whole build; "" when it is not set.
func (l *Ledger) Meta(key string) (value string, err error) {
	err = l.db.QueryRow("select value from meta where key = ?", key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, l.fail(err)
}

// SetMeta sets a value of the whole build.
func (t *Tx) SetMeta(key, value string) {
	t.exec("insert into meta values (?, ?) on conflict (key) do update set value = excluded.value", key, value)
}

// Source tells how far a source is read.
type Source struct {
	ID        int
	Name      string
	Stamp     string // changes with the content
	Documents int    // that are read
	// Document Mark begins at Start, so that those before need not be read again.
	Mark  int
	Start int64
	Done  bool
}

// Sources returns the sources by their numbers.
func (l *Ledger) Sources() (out []Source, err error) {
	err = l.each("select id, name, stamp, documents, mark, start, done from source order by id", nil, func(r *sql.Rows) error {
		var s Source
		if err := r.Scan(&s.ID, &s.Name, &s.Stamp, &s.Documents, &s.Mark, &s.Start, &s.Done); err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// SetSource adds or changes a source.
func (t *Tx) SetSource(s Source) {
	t.exec("insert or replace into source values (?, ?, ?, ?, ?, ?, ?)", s.ID, s.Name, s.Stamp, s.Documents, s.Mark, s.Start, s.Done)
}

// AddPage adds a page and returns its number; false when it was there.
func (t *Tx) AddPage(url string, source int, title string) (id int64, added bool) {
	r := t.exec("insert into page (url, source, title) values (?, ?, ?) on conflict (url) do nothing", url, source, title)
	if r == nil || t.err != nil {
		return 0, false
	}
	if n, _ := r.RowsAffected(); n == 0 {
		return 0, false
	}
	id, t.err = r.LastInsertId()
	return id, true
}

// Skip counts what was left out.
func (t *Tx) Skip(stage, reason string, count int, first string) {
	t.exec("insert into skipped values (?, ?, ?, ?) on conflict (stage, reason) do update set count = count + excluded.count", stage, reason, count, first)
}

// ClearSkips forgets what a stage left out.
func (t *Tx) ClearSkips(stage string) { t.exec("delete from skipped where stage = ?", stage) }

// Skipped counts what was left out for one reason.
type Skipped struct {
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	First  string `json:"first"`
}

// Skips returns what was left out, the commonest of each stage first.
func (l *Ledger) Skips() (out []Skipped, err error) {
	err = l.each("select stage, reason, count, first from skipped order by stage, count desc, reason", nil, func(r *sql.Rows) error {
		var s Skipped
		if err := r.Scan(&s.Stage, &s.Reason, &s.Count, &s.First); err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// Shard describes a shard that is written.
type Shard struct {
	ID      int    `json:"-"`
	Name    string `json:"name"`
	Samples int    `json:"samples"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

// Shards returns the shards that are written, in order.
func (l *Ledger) Shards() (out []Shard, err error) {
	err = l.each("select id, name, samples, bytes, sha256 from shard order by id", nil, func(r *sql.Rows) error {
		var s Shard
		if err := r.Scan(&s.ID, &s.Name, &s.Samples, &s.Bytes, &s.SHA256); err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// AddShard notes that a shard is written with the candidates of these numbers, under their keys.
func (t *Tx) AddShard(s Shard, ids []int64, keys []string) {
	t.exec("insert or replace into shard values (?, ?, ?, ?, ?)", s.ID, s.Name, s.Samples, s.Bytes, s.SHA256)
	for i, id := range ids {
		t.exec("update candidate set state = ?, shard = ?, key = ? where id = ?", Written, s.ID, keys[i], id)
	}
}

// Rejudge puts all candidates back to what they were when they had been read, and forgets the shards.
func (t *Tx) Rejudge() {
	t.exec("delete from shard")
	t.exec("update candidate set state = ?, filter = '', reason = '', picture = null, caption = '', kind = '', captions = '', twin = 0, score = null, shard = -1, key = '' where filter <> 'directives' or caption <> ''",
		Found)
}

// each calls f for each row of a query.
func (l *Ledger) each(query string, args []any, f func(*sql.Rows) error) error {
	rows, err := l.db.Query(query, args...)
	if err != nil {
		return l.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return l.fail(err)
		}
	}
	return l.fail(rows.Err())
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ledger: " + err.Error()) // strings always encode
	}
	return string(b)
}

// PageOf returns the number of a page; 0 when it is not there.
func (t *Tx) PageOf(url string) (id int64) {
	if t.err == nil {
		t.err = t.tx.QueryRow("select id from page where url = ?", url).Scan(&id)
	}
	return id
}

// CountCandidates returns the number of candidates.
func (l *Ledger) CountCandidates() (n int, err error) {
	err = l.db.QueryRow("select count(*) from candidate").Scan(&n)
	return n, l.fail(err)
}
