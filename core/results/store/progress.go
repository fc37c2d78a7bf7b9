package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"tandem/core/clip"
	"tandem/core/results"
)

// Progress tells how far a run is. Its zero value stands for no run.
type Progress struct {
	Started time.Time     // by its first process
	Session time.Time     // when its present process began
	Prior   time.Duration // that earlier processes spent
	Beat    time.Time     // its last sign of life; a process that works gives one every 20 s
	Ended   time.Time     // zero: it has not
	Host    string

	Step  int64 // the last that was recorded; 0: none
	Steps int64 // that it will make; 0: not known yet

	StepTime time.Duration // mean over the steps, without evaluations; 0: not known. Known of running runs only.
	Value    *Number       // the last of the metric that decides in its experiment; nil: none
}

// Took returns how long a run took so far, over all its processes.
func (p Progress) Took() time.Duration {
	end := p.Ended
	if end.IsZero() {
		end = p.Beat
	}
	return p.Prior + end.Sub(p.Session)
}

// CellProgress is a cell with how far its run is.
type CellProgress struct {
	results.Cell
	Progress
}

// RunProgress is a run with how far it is.
type RunProgress struct {
	ID, Experiment, Metric, Variant string
	Seed                            int64
	Progress
}

// progressColumns selects of the run r what Progress holds; ?1 is the metric that decides, as an expression.
func progressColumns(metric string) string {
	const running = "r.status = '" + string(clip.StatusRunning) + "'"
	return `coalesce(r.started_ms, 0), coalesce(r.session_ms, 0), coalesce(r.prior_ms, 0), coalesce(r.heartbeat_ms, 0), coalesce(r.ended_ms, 0), coalesce(r.host, ''),
		coalesce((SELECT s.last_step FROM run_summary s WHERE s.run_id = r.id AND s.metric_id = (SELECT id FROM metric WHERE name = 'train/loss')), 0),
		coalesce((SELECT f.value FROM run_fact f WHERE f.run_id = r.id AND f.key = 'steps.total'), 0),
		coalesce(CASE WHEN ` + running + ` THEN
			(SELECT t.value FROM param p JOIN setting t ON t.id = p.setting_id WHERE p.run_id = r.id AND t.key = 'train.batch_size') /
			(SELECT s.sum / nullif(s.n_finite, 0) FROM run_summary s WHERE s.run_id = r.id AND s.metric_id = (SELECT id FROM metric WHERE name = 'train/samples_per_s')) END, 0),
		EXISTS (SELECT 1 FROM run_summary s WHERE s.run_id = r.id AND s.metric_id = ` + metric + `),
		(SELECT s.last FROM run_summary s WHERE s.run_id = r.id AND s.metric_id = ` + metric + `)`
}

// progressRow takes what progressColumns selects.
type progressRow struct {
	started, session, prior, beat, ended int64
	stepTime                             float64
	has                                  bool
	value                                sql.NullFloat64
}

func (x *progressRow) columns(p *Progress) []any {
	return []any{&x.started, &x.session, &x.prior, &x.beat, &x.ended, &p.Host, &p.Step, &p.Steps, &x.stepTime, &x.has, &x.value}
}

func (x *progressRow) fill(p *Progress) {
	at := func(ms int64) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms)
	}
	p.Started, p.Session, p.Beat, p.Ended = at(x.started), at(x.session), at(x.beat), at(x.ended)
	p.Prior = time.Duration(x.prior) * time.Millisecond
	p.StepTime = time.Duration(x.stepTime * float64(time.Second))
	if x.has {
		n := Number(number(x.value))
		p.Value = &n
	}
}

// CellsProgress returns the cells of an experiment as Cells does, with how far the run of each is.
func (r *Reader) CellsProgress(ctx context.Context, experiment string) ([]CellProgress, error) {
	return collect(ctx, r, func(rows *sql.Rows) (c CellProgress, err error) {
		var levels string
		var x progressRow
		to := []any{&c.Variant, &c.Seed, &levels, &c.Planned, &c.Done, &c.RunID, &c.Status, &c.Note, &c.Phase}
		if err = rows.Scan(append(to, x.columns(&c.Progress)...)...); err == nil {
			err = json.Unmarshal([]byte(levels), &c.Levels)
		}
		x.fill(&c.Progress)
		return c, err
	}, `SELECT c.variant, c.seed, c.levels, c.planned, c.done, coalesce(c.run_id, ''), coalesce(c.status, ''),
		CASE WHEN r.tainted AND r.status = 'done' THEN r.taint ELSE coalesce(r.error_message, '') END, c.phase, `+
		progressColumns("(SELECT m.id FROM metric m JOIN experiment e ON e.metric = m.name WHERE e.name = ?1)")+`
		FROM v_cells c LEFT JOIN run r ON r.id = c.run
		WHERE c.experiment = ?1 ORDER BY c.position, c.variant, c.seed`, experiment)
}

// Running returns the runs that are recorded as running, newest first.
func (r *Reader) Running(ctx context.Context) ([]RunProgress, error) {
	return collect(ctx, r, func(rows *sql.Rows) (p RunProgress, err error) {
		var x progressRow
		err = rows.Scan(append([]any{&p.ID, &p.Experiment, &p.Metric, &p.Variant, &p.Seed}, x.columns(&p.Progress)...)...)
		x.fill(&p.Progress)
		return p, err
	}, `SELECT r.key, e.name, e.metric, r.variant, r.seed, `+progressColumns("(SELECT id FROM metric WHERE name = e.metric)")+`
		FROM run r JOIN experiment e ON e.id = r.experiment_id WHERE r.status = '`+string(clip.StatusRunning)+`' ORDER BY r.started_ms DESC, r.id DESC`)
}
