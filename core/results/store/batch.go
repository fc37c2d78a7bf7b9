package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"math"
	"strings"
	"sync/atomic"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// rowsPerInsert counts the points of one INSERT; fewer are inserted one by one.
const rowsPerInsert = 64

// settingsKept bounds how many rows of setting a writer remembers.
const settingsKept = 10_000

// batch holds one transaction of the writer. What it learns becomes the writer's on commit.
type batch struct {
	w         *writer
	now       int64            // ms
	metrics   map[string]int64 // new rows of metric
	settings  map[param]int64  // rows of setting
	summaries map[*runState]map[int64]*summary
	beats     map[*runState]int // highest step of each run that wrote
	args      []any             // of points not inserted yet: run, metric, step, value of each
	owners    map[*runState]bool
	ends      []*runState       // whose end this transaction records
	rewinds   map[*runState]int // to earlier steps
}

// runState holds what the writer knows of a run that this process writes. The writing goroutine owns it.
type runState struct {
	id        int64
	summaries map[int64]summary
	step      int                         // highest step recorded, -1 before any
	process                               // this one, as recorded
	session   int64                       // ms: when it began or resumed the run
	ended     bool                        // its end is recorded
	lost      atomic.Pointer[fault.Error] // the run has come to be another process's
}

// summary holds a row of run_summary; NaN stands for NULL.
type summary struct {
	first, last, min, max, best, sum float64
	lastStep, bestStep               int
	n, nFinite                       int64
	hasBest                          bool
	better                           float64 // +1 or -1; 0: there is no best
	dirty                            bool
}

func newBatch(w *writer) *batch {
	return &batch{
		w: w, now: w.now(),
		metrics: map[string]int64{}, settings: map[param]int64{}, summaries: map[*runState]map[int64]*summary{}, beats: map[*runState]int{}, owners: map[*runState]bool{}, rewinds: map[*runState]int{},
	}
}

// lost reports whether run, which may be nil, is no longer this process's, as far as the database knows: it was held for
// dead, since it was suspended or its machine slept, and another process has taken it over or deleted it. A run that was
// only marked as interrupted meanwhile is taken back.
func (b *batch) lost(run *runState) (lost, err error) {
	if run == nil || b.owners[run] {
		return nil, nil
	}
	if e := run.lost.Load(); e != nil {
		return e, nil
	}
	var key string
	var p process
	var session int64
	var status clip.Status
	err = b.row("SELECT key, status, host, pid, process, session_ms FROM run WHERE id = ?", run.id).
		Scan(&key, &status, &p.host, &p.pid, &p.token, &session)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		run.lost.Store(fault.New(fault.Conflict, "the run was deleted by another process meanwhile").
			WithHint("it was held for dead: was this process suspended, or its machine asleep?"))
		return run.lost.Load(), nil
	case err != nil:
		return nil, err
	case session != run.session || p.pid != run.pid || p.token != run.token || p.host != run.host:
		run.lost.Store(fault.New(fault.Conflict, "run %s is now made by process %d on %s", key, p.pid, p.host).
			WithHint("this process was held for dead (was it suspended, or its machine asleep?), and the other has gone on from the newest checkpoint"))
		return run.lost.Load(), nil
	}
	b.owners[run] = true
	if status == clip.StatusRunning || run.ended {
		return nil, nil
	}
	if _, err := b.exec(`UPDATE run SET status = 'running', ended_ms = NULL,
		error_kind = '', error_plugin = '', error_message = '', error_hint = '', error_detail = '' WHERE id = ?`, run.id); err != nil {
		return nil, err
	}
	return nil, b.status(run.id, clip.StatusRunning, "went on after it was held for dead")
}

// ended notes that the transaction records the end of a run.
func (b *batch) ended(run *runState) { b.ends = append(b.ends, run) }

// exec runs a statement, prepared once per connection.
func (b *batch) exec(query string, args ...any) (sql.Result, error) {
	stmt, err := b.w.prepared(query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(context.Background(), args...)
}

// row runs a query of one row.
func (b *batch) row(query string, args ...any) *sql.Row {
	return b.w.conn.QueryRowContext(context.Background(), query, args...)
}

// better returns +1 where larger values of a metric are better, -1 where smaller are, and 0 where neither is.
func better(name string) float64 { return float64(metric.DirectionOf(name)) }

// metricID returns the row of a metric's name, and makes it when it is new.
func (b *batch) metricID(name string) (int64, error) {
	if id, ok := b.w.metrics[name]; ok {
		return id, nil
	}
	if id, ok := b.metrics[name]; ok {
		return id, nil
	}
	way, directed := 1, 0
	if d := metric.DirectionOf(name); d != metric.None {
		way, directed = int(d), 1
	}
	if _, err := b.exec("INSERT INTO metric (name, better, directed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", name, way, directed); err != nil {
		return 0, err
	}
	var id int64
	if err := b.row("SELECT id FROM metric WHERE name = ?", name).Scan(&id); err != nil {
		return 0, err
	}
	b.metrics[name] = id
	return id, nil
}

// points adds values of one step.
func (b *batch) points(run *runState, step int, values []clip.Metric) error {
	of := b.summaries[run]
	if of == nil {
		of = map[int64]*summary{}
		b.summaries[run] = of
	}
	b.beat(run, step)
	for _, v := range values {
		id, err := b.metricID(v.Name)
		if err != nil {
			return err
		}
		s := of[id]
		if s == nil {
			known, ok := run.summaries[id]
			if !ok {
				known = summary{better: better(v.Name)}
			}
			s = &known
			of[id] = s
		}
		if s.n > 0 && step <= s.lastStep {
			if err := b.replacePoint(run.id, id, step, v.Value, s); err != nil {
				return err
			}
			continue
		}
		s.add(step, v.Value)
		b.args = append(b.args, run.id, id, step, nullable(v.Value))
		if len(b.args) == 4*rowsPerInsert {
			if err := b.insertPoints(); err != nil {
				return err
			}
		}
	}
	return nil
}

var insertMany = "INSERT INTO point (run_id, metric_id, step, value) VALUES " +
	strings.TrimSuffix(strings.Repeat("(?,?,?,?),", rowsPerInsert), ",")

const insertOne = "INSERT INTO point (run_id, metric_id, step, value) VALUES (?,?,?,?)"

func (b *batch) insertPoints() error {
	args := b.args
	b.args = b.args[:0]
	if len(args) == 4*rowsPerInsert {
		_, err := b.exec(insertMany, args...)
		return err
	}
	for ; len(args) > 0; args = args[4:] {
		if _, err := b.exec(insertOne, args[:4]...); err != nil {
			return err
		}
	}
	return nil
}

// replacePoint stores a value for a step that is not beyond the last: it replaces the value recorded for
// that step, if any, and the summary is made anew from the points.
func (b *batch) replacePoint(run, metric int64, step int, value float64, s *summary) error {
	if err := b.insertPoints(); err != nil {
		return err
	}
	if _, err := b.exec(insertOne+" ON CONFLICT DO UPDATE SET value = excluded.value",
		run, metric, step, nullable(value)); err != nil {
		return err
	}
	return b.summarise(run, metric, s)
}

// summarise makes s anew from the stored points.
func (b *batch) summarise(run, metric int64, s *summary) error {
	rows, err := b.w.conn.QueryContext(context.Background(),
		"SELECT step, value FROM point WHERE run_id = ? AND metric_id = ? ORDER BY step", run, metric)
	if err != nil {
		return err
	}
	defer rows.Close()
	*s = summary{better: s.better}
	for rows.Next() {
		var step int
		var value sql.NullFloat64
		if err := rows.Scan(&step, &value); err != nil {
			return err
		}
		s.add(step, number(value))
	}
	s.dirty = true
	return rows.Err()
}

// add takes the next value in.
func (s *summary) add(step int, v float64) {
	if s.n == 0 {
		s.first, s.min, s.max, s.best = v, math.NaN(), math.NaN(), math.NaN()
	}
	s.last, s.lastStep = v, step
	s.n++
	s.dirty = true
	if math.IsNaN(v) {
		return
	}
	if !s.hasBest || v < s.min {
		s.min = v
	}
	if !s.hasBest || v > s.max {
		s.max = v
	}
	if s.better != 0 && (!s.hasBest || (v-s.best)*s.better > 0) {
		s.best, s.bestStep = v, step
	}
	s.hasBest = true
	if !math.IsInf(v, 0) {
		s.sum += v
		s.nFinite++
	}
}

func (b *batch) beat(run *runState, step int) {
	if highest, ok := b.beats[run]; !ok || step > highest {
		b.beats[run] = step
	}
}

// step returns the highest step recorded for run, this transaction's included.
func (b *batch) step(run *runState) int {
	if step, ok := b.beats[run]; ok {
		return max(run.step, step)
	}
	return run.step
}

// finish writes what was held back: the last points, the summaries that changed, the heartbeats.
func (b *batch) finish() error {
	if err := b.insertPoints(); err != nil {
		return err
	}
	for run, of := range b.summaries {
		for metric, s := range of {
			if !s.dirty {
				continue
			}
			var bestStep any
			if s.hasBest && s.better != 0 {
				bestStep = s.bestStep
			}
			if _, err := b.exec(`INSERT OR REPLACE INTO run_summary
				(run_id, metric_id, first, last, last_step, min, max, best, best_step, n, n_finite, sum)
				VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`, run.id, metric, nullable(s.first), nullable(s.last), s.lastStep,
				nullable(s.min), nullable(s.max), nullable(s.best), bestStep, s.n, s.nFinite, s.sum); err != nil {
				return err
			}
		}
	}
	for run := range b.beats {
		if _, err := b.exec("UPDATE run SET heartbeat_ms = ? WHERE id = ?", b.now, run.id); err != nil {
			return err
		}
	}
	return nil
}

// committed hands what the transaction learnt to the writer.
func (b *batch) committed() {
	for name, id := range b.metrics {
		b.w.metrics[name] = id
	}
	if len(b.w.settings) > settingsKept {
		clear(b.w.settings)
	}
	maps.Copy(b.w.settings, b.settings)
	for run, step := range b.rewinds {
		run.step = step
		clear(run.summaries)
	}
	for run, of := range b.summaries {
		for metric, s := range of {
			s.dirty = false
			run.summaries[metric] = *s
		}
	}
	for run, step := range b.beats {
		run.step = max(run.step, step)
	}
	for _, run := range b.ends {
		run.ended = true
	}
}

// nullable returns v as SQLite stores it: NULL for NaN.
func nullable(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}

// number reverses nullable.
func number(v sql.NullFloat64) float64 {
	if !v.Valid {
		return math.NaN()
	}
	return v.Float64
}
