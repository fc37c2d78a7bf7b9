package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"tandem/core/fault"
	"tandem/core/results"
)

// Experiment holds what is known of an experiment beside its runs.
type Experiment struct {
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Baseline    string           `json:"baseline"` // the variant that the others are compared with
	Metric      string           `json:"metric"`   // the metric that decides
	Design      string           `json:"design"`   // one-at-a-time, grid, list, random or search; "": no sweep was planned
	Factors     []results.Factor `json:"factors"`
	Noise       string           `json:"noise"` // the variant that is the baseline once more, under other seeds
	Settings    Settings         `json:"settings"`
}

// Settings holds what a spec says of how its experiment is to be analysed.
type Settings struct {
	Looks      []int             `json:"looks,omitempty"`       // numbers of seeds at which the table is looked at
	Analysis   string            `json:"analysis,omitempty"`    // paired or pooled; "": as the design asks
	Directions map[string]string `json:"directions,omitempty"`  // up, down or none, by metric, where the spec says so
	Stop       string            `json:"stop,omitempty"`        // the rule that may stop trials early; "": none
	StopMetric string            `json:"stop_metric,omitempty"` // what it goes by
	StopSteps  int               `json:"stop_steps,omitempty"`  // how many steps trials come before it; 0: it counts epochs
	StopEpochs float64           `json:"stop_epochs,omitempty"` // how many epochs trials come before it; 0: it counts steps
	Choose     string            `json:"choose,omitempty"`      // the metric that chooses among variants; "": the one that decides
	Search     *Search           `json:"search,omitempty"`      // nil: another design
}

// Search holds what a spec says of a search.
type Search struct {
	Seed    uint64  `json:"seed"`
	Trials  int     `json:"trials,omitempty"` // points to try; 0: no such limit
	Hours   float64 `json:"hours,omitempty"`  // that its trials may take together; 0: no such limit
	Confirm int     `json:"confirm"`          // fresh seeds of the winner and the baseline
}

// Cell plans a cell of an ablation: a variant under a seed.
type Cell struct {
	Variant  string
	Seed     int64
	Identity string            // of the run that fills it; "": any run of this experiment, variant and seed
	Levels   map[string]string // by factor
	Phase    string            // results.Searched, results.Confirming or ""
}

// Plan records an experiment and the cells that it means to fill, in their order. It replaces what was planned
// before; empty fields of the experiment stay as they are stored.
func (db *DB) Plan(ctx context.Context, e Experiment, cells []Cell) error {
	return db.plan(ctx, e, cells, "DELETE FROM trial WHERE experiment_id = ?")
}

// Replan does as Plan, but leaves the points of a search that are planned: another runner may add to them.
func (db *DB) Replan(ctx context.Context, e Experiment, cells []Cell) error {
	return db.plan(ctx, e, cells, "DELETE FROM trial WHERE experiment_id = ? AND phase <> '"+results.Searched+"'")
}

func (db *DB) plan(ctx context.Context, e Experiment, cells []Cell, forget string) error {
	factors := "[]"
	if len(e.Factors) > 0 {
		text, err := json.Marshal(e.Factors)
		if err != nil {
			return fault.New(fault.Internal, "factors: %w", err)
		}
		factors = string(text)
	}
	settings, err := json.Marshal(e.Settings)
	if err != nil {
		return fault.New(fault.Internal, "settings: %w", err)
	}
	return db.w.task(ctx, func(b *batch) error {
		id, err := b.experimentID(e.Name)
		if err != nil {
			return err
		}
		if err := b.describe(id, e.Description, e.Baseline, e.Metric); err != nil {
			return err
		}
		if _, err := b.exec("UPDATE experiment SET design = ?, factors = ?, noise = ?, settings = ? WHERE id = ?", e.Design, factors, e.Noise, string(settings), id); err != nil {
			return err
		}
		if _, err := b.exec(forget, id); err != nil {
			return err
		}
		for i, c := range cells {
			if err := b.addCell(id, i, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// PlanMore adds cells to what is planned of an experiment, behind all others. It adds none and returns false when one of them is
// planned already: another runner was faster.
func (db *DB) PlanMore(ctx context.Context, experiment string, cells []Cell) (added bool, err error) {
	err = db.w.task(ctx, func(b *batch) error {
		added = false
		id, err := b.experimentID(experiment)
		if err != nil {
			return err
		}
		for _, c := range cells {
			taken := false
			if err := b.each(func(*sql.Rows) error { taken = true; return nil }, "SELECT 1 FROM trial WHERE experiment_id = ? AND variant = ? AND seed = ?", id, c.Variant, c.Seed); err != nil || taken {
				return err
			}
		}
		next := 0
		if err := b.each(func(rows *sql.Rows) error { return rows.Scan(&next) }, "SELECT coalesce(max(position) + 1, 0) FROM trial WHERE experiment_id = ?", id); err != nil {
			return err
		}
		for i, c := range cells {
			if err := b.addCell(id, next+i, c); err != nil {
				return err
			}
		}
		added = true
		return nil
	})
	return added, err
}

func (b *batch) addCell(experiment int64, position int, c Cell) error {
	_, err := b.exec("INSERT OR REPLACE INTO trial (experiment_id, variant, seed, identity, levels, position, phase) VALUES (?,?,?,?,?,?,?)",
		experiment, c.Variant, c.Seed, c.Identity, jsonText(c.Levels), position, c.Phase)
	return err
}

// Planned returns the cells of an experiment that are planned, in the order of the design; none where there is no such experiment.
func (r *Reader) Planned(ctx context.Context, experiment string) ([]Cell, error) {
	return collect(ctx, r, func(rows *sql.Rows) (c Cell, err error) {
		var levels string
		if err = rows.Scan(&c.Variant, &c.Seed, &c.Identity, &levels, &c.Phase); err == nil {
			err = json.Unmarshal([]byte(levels), &c.Levels)
		}
		return c, err
	}, `SELECT t.variant, t.seed, t.identity, t.levels, t.phase FROM trial t JOIN experiment e ON e.id = t.experiment_id
		WHERE e.name = ? ORDER BY t.position`, experiment)
}

// Seconds returns how long a run took so far, over all its processes.
func (r *Reader) Seconds(ctx context.Context, run string) (seconds float64, err error) {
	err = r.db.QueryRowContext(ctx, "SELECT coalesce(duration_s, 0) FROM v_runs WHERE run_id = ?", run).Scan(&seconds)
	return seconds, diskFault(r.path, err)
}

// describe stores what is said of an experiment; empty values stay as they are.
func (b *batch) describe(id int64, description, baseline, metric string) error {
	_, err := b.exec(`UPDATE experiment SET
		description = CASE WHEN ?1 = '' THEN description ELSE ?1 END,
		baseline = CASE WHEN ?2 = '' THEN baseline ELSE ?2 END,
		metric = CASE WHEN ?3 = '' THEN metric ELSE ?3 END
		WHERE id = ?4`, description, baseline, metric, id)
	return err
}

// Experiments returns the names of all experiments, newest first.
func (r *Reader) Experiments(ctx context.Context) ([]string, error) {
	return collect(ctx, r, scanName, "SELECT name FROM experiment ORDER BY id DESC")
}

// Variants returns the names of the variants that runs of an experiment have; of all experiments for "".
func (r *Reader) Variants(ctx context.Context, experiment string) ([]string, error) {
	return collect(ctx, r, scanName, `SELECT DISTINCT variant FROM run WHERE variant <> '' AND (?1 = '' OR experiment_id = (SELECT id FROM experiment WHERE name = ?1))
		ORDER BY variant`, experiment)
}

// Experiment returns the experiment of a name. Errors: fault.NotFound when there is none.
func (r *Reader) Experiment(ctx context.Context, name string) (*Experiment, error) {
	e := Experiment{}
	var factors, settings string
	err := r.db.QueryRowContext(ctx, "SELECT name, description, baseline, metric, design, factors, noise, settings FROM experiment WHERE name = ?", name).
		Scan(&e.Name, &e.Description, &e.Baseline, &e.Metric, &e.Design, &factors, &e.Noise, &settings)
	if errors.Is(err, sql.ErrNoRows) {
		names, err := r.Experiments(ctx)
		if err != nil {
			return nil, err
		}
		f := fault.New(fault.NotFound, "%s has no experiment %q", r.path, name).WithHint("runner list shows all runs")
		if near := fault.Nearest(name, names); near != "" {
			f.WithHint("did you mean %s?", near)
		}
		return nil, f
	}
	if err != nil {
		return nil, diskFault(r.path, err)
	}
	if err := json.Unmarshal([]byte(factors), &e.Factors); err != nil {
		return nil, fault.New(fault.Corrupt, "%s: factors of experiment %s: %w", r.path, name, err)
	}
	if err := json.Unmarshal([]byte(settings), &e.Settings); err != nil {
		return nil, fault.New(fault.Corrupt, "%s: settings of experiment %s: %w", r.path, name, err)
	}
	return &e, nil
}

// Cells returns the cells of an experiment, planned ones first, in the order of the design.
func (r *Reader) Cells(ctx context.Context, experiment string) ([]results.Cell, error) {
	return collect(ctx, r, func(rows *sql.Rows) (c results.Cell, err error) {
		var levels string
		if err = rows.Scan(&c.Variant, &c.Seed, &levels, &c.Planned, &c.Done, &c.RunID, &c.Status, &c.Note, &c.Phase); err == nil {
			err = json.Unmarshal([]byte(levels), &c.Levels)
		}
		return c, err
	}, `SELECT c.variant, c.seed, c.levels, c.planned, c.done, coalesce(c.run_id, ''), coalesce(c.status, ''), CASE WHEN r.tainted AND r.status = 'done' THEN r.taint ELSE coalesce(r.error_message, '') END, c.phase
		FROM v_cells c LEFT JOIN run r ON r.id = c.run
		WHERE c.experiment = ? ORDER BY c.position, c.variant, c.seed`, experiment)
}

// CellValue holds a metric's final value in a cell.
type CellValue struct {
	Variant string
	Seed    int64
	Metric  string
	Value   float64
}

// CellValues returns the final values of the done cells of an experiment, without those that are not finite.
func (r *Reader) CellValues(ctx context.Context, experiment string) ([]CellValue, error) {
	return collect(ctx, r, func(rows *sql.Rows) (v CellValue, err error) {
		err = rows.Scan(&v.Variant, &v.Seed, &v.Metric, &v.Value)
		return v, err
	}, `SELECT variant, seed, metric, value FROM v_cell_metrics WHERE experiment = ?`, experiment)
}

// CellPoint holds a metric's value in a cell at a step.
type CellPoint struct {
	Variant string
	Seed    int64
	results.Point
}

// FirstPoints returns a metric's first value at or after a number of steps, or of epochs where that is not 0. It gives one for
// each cell whose run has come so far.
func (r *Reader) FirstPoints(ctx context.Context, experiment, metric string, steps int, epochs float64) ([]CellPoint, error) {
	return collect(ctx, r, func(rows *sql.Rows) (p CellPoint, err error) {
		var value sql.NullFloat64
		err = rows.Scan(&p.Variant, &p.Seed, &p.Step, &value)
		p.Value = number(value)
		return p, err
	}, `SELECT c.variant, c.seed, p.step, p.value FROM v_cells c
		LEFT JOIN run_fact f ON f.run_id = c.run AND f.key = 'steps.epoch'
		CROSS JOIN point p ON p.run_id = c.run AND p.metric_id = (SELECT id FROM metric WHERE name = ?2) AND p.step =
			(SELECT min(q.step) FROM point q WHERE q.run_id = p.run_id AND q.metric_id = p.metric_id
			AND q.step >= CASE WHEN ?4 > 0 THEN max(1, CAST(?4 * max(1, f.value) + 0.5 AS INTEGER)) ELSE ?3 END)
		WHERE c.experiment = ?1`, experiment, metric, steps, epochs)
}

// Twin names a run that is done and has the identity of one that fills a cell, but not its figures.
type Twin struct {
	Variant    string
	Seed       int64
	RunID      string // that fills the cell
	Other      string
	Metric     string
	Value, Was float64 // of RunID and of Other
}

// Twins returns the done, untainted runs that have the identity of a run that fills a cell, but another last value of one of these
// metrics. Equal identities promise equal bits.
func (r *Reader) Twins(ctx context.Context, experiment string, metrics []string) (twins []Twin, err error) {
	for _, m := range metrics {
		found, err := collect(ctx, r, func(rows *sql.Rows) (t Twin, err error) {
			t.Metric = m
			err = rows.Scan(&t.Variant, &t.Seed, &t.RunID, &t.Other, &t.Value, &t.Was)
			return t, err
		}, `SELECT c.variant, c.seed, c.run_id, o.key, s.last, p.last FROM v_cells c
			CROSS JOIN run r ON r.id = c.run CROSS JOIN run o ON o.identity = r.identity AND o.id <> r.id AND o.status = 'done' AND o.tainted = 0
			CROSS JOIN run_summary s ON s.run_id = r.id AND s.metric_id = (SELECT id FROM metric WHERE name = ?2)
			CROSS JOIN run_summary p ON p.run_id = o.id AND p.metric_id = s.metric_id
			WHERE c.experiment = ?1 AND c.done AND r.identity <> '' AND s.last <> p.last
			ORDER BY c.position, c.variant, c.seed, o.id`, experiment, m)
		if err != nil {
			return nil, err
		}
		twins = append(twins, found...)
	}
	return twins, nil
}
