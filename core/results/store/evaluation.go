package store

import (
	"context"
	"database/sql"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// Evaluation says what was measured of a run's checkpoint after the fact.
type Evaluation struct {
	Name        string `json:"name"` // its metrics are eval/NAME/…
	Step        int    `json:"step"` // of the checkpoint
	SHA256      string `json:"sha256"`
	Suite       string `json:"suite"` // "": the run's own list
	SuiteSHA256 string `json:"suite_sha256"`
	Version     string `json:"version"` // of the program
	Dataset     string `json:"dataset"` // the digest of the data
	Samples     int    `json:"samples"`
	LeftOut     int    `json:"left_out"`
	At          string `json:"at"` // is set when it is recorded
}

// Outcomes holds what became of every sample by one measure of an evaluation.
type Outcomes struct {
	Evaluation, Target string // see clip.Recorder.Predictions
	Predictions        []clip.Prediction
}

// RecordEvaluation records an evaluation of a run that need not be this process's, whole or not at all. What is recorded of
// an evaluation of that name and step is replaced; what is recorded of it at other steps stays when it was of the same
// (SHA256), and goes otherwise, because a curve is of one thing. fault.NotFound when there is no such run.
func (db *DB) RecordEvaluation(ctx context.Context, run string, e Evaluation, metrics []clip.Metric, outcomes []Outcomes) error {
	return db.w.task(ctx, func(b *batch) error {
		var row int64
		if err := b.row("SELECT coalesce((SELECT id FROM run WHERE key = ?), -1)", run).Scan(&row); err != nil {
			return err
		}
		if row < 0 {
			return fault.New(fault.NotFound, "there is no run %s", run)
		}
		state := &runState{id: row, summaries: map[int64]summary{}, step: -1}
		if err := b.forgetEvaluation(state, e); err != nil {
			return err
		}
		if err := b.points(state, e.Step, metrics); err != nil {
			return err
		}
		for _, o := range outcomes {
			if err := b.predictions(row, e.Step, o.Evaluation, o.Target, packed(o.Predictions)); err != nil {
				return err
			}
		}
		delete(b.beats, state) // that the run is measured is no sign of its life
		_, err := b.exec(`INSERT OR REPLACE INTO evaluation (run_id, name, step, sha256, suite, suite_sha256, version, dataset, samples, left_out, at_ms)
			VALUES (?,?,?,?,?,?,?,?,?,?,?)`, row, e.Name, e.Step, e.SHA256, e.Suite, e.SuiteSHA256, e.Version, e.Dataset, e.Samples, e.LeftOut, b.now)
		return err
	})
}

// forgetEvaluation deletes what an evaluation is to replace, and remembers the summaries of what is left.
func (b *batch) forgetEvaluation(run *runState, e Evaluation) error {
	prefix := metric.Evaluated(e.Name, "")
	steps := func(table string) string {
		return "(" + table + ".step = ?2 OR EXISTS (SELECT 1 FROM evaluation x WHERE x.run_id = ?1 AND x.name = ?3 AND x.step = " + table + ".step AND x.sha256 <> ?4))"
	}
	for _, query := range []string{
		`DELETE FROM point WHERE run_id = ?1 AND metric_id IN (SELECT id FROM metric WHERE substr(name, 1, length(?5)) = ?5) AND ` + steps("point"),
		`DELETE FROM prediction WHERE run_id = ?1 AND (evaluation = ?3 OR substr(evaluation, 1, length(?3) + 1) = ?3 || '/') AND ` + steps("prediction") + ` AND ?5 = ?5`,
		`DELETE FROM evaluation WHERE run_id = ?1 AND name = ?3 AND (step = ?2 OR sha256 <> ?4) AND ?5 = ?5`,
	} {
		if _, err := b.exec(query, run.id, e.Step, e.Name, e.SHA256, prefix); err != nil {
			return err
		}
	}
	found := map[int64]*summary{}
	if err := b.each(func(rows *sql.Rows) error {
		var id int64
		s := &summary{}
		err := rows.Scan(&id, &s.better)
		found[id] = s
		return err
	}, `SELECT m.id, m.better * m.directed FROM metric m JOIN run_summary s ON s.metric_id = m.id
		WHERE s.run_id = ?1 AND substr(m.name, 1, length(?2)) = ?2`, run.id, prefix); err != nil {
		return err
	}
	for id, s := range found {
		if err := b.summarise(run.id, id, s); err != nil {
			return err
		}
		if s.n > 0 {
			continue
		}
		delete(found, id)
		if _, err := b.exec("DELETE FROM run_summary WHERE run_id = ? AND metric_id = ?", run.id, id); err != nil {
			return err
		}
	}
	b.summaries[run] = found
	return nil
}

// Evaluations returns what was measured of a run's checkpoints after the fact, by name and step.
func (r *Reader) Evaluations(ctx context.Context, run string) ([]Evaluation, error) {
	return collect(ctx, r, func(rows *sql.Rows) (e Evaluation, err error) {
		err = rows.Scan(&e.Name, &e.Step, &e.SHA256, &e.Suite, &e.SuiteSHA256, &e.Version, &e.Dataset, &e.Samples, &e.LeftOut, &e.At)
		return e, err
	}, `SELECT evaluation, step, sha256, suite, suite_sha256, version, dataset, samples, left_out, measured_at
		FROM v_evaluations WHERE run_id = ? ORDER BY evaluation, step`, run)
}

// PointsOf returns the values of an evaluation of a run at a step, by the names of the metrics, sorted.
func (r *Reader) PointsOf(ctx context.Context, run, evaluation string, step int) ([]clip.Metric, error) {
	return collect(ctx, r, func(rows *sql.Rows) (m clip.Metric, err error) {
		var value sql.NullFloat64
		err = rows.Scan(&m.Name, &value)
		m.Value = number(value)
		return m, err
	}, `SELECT m.name, p.value FROM run r JOIN point p ON p.run_id = r.id JOIN metric m ON m.id = p.metric_id
		WHERE r.key = ?1 AND p.step = ?3 AND substr(m.name, 1, length(?2)) = ?2 ORDER BY m.id`, run, metric.Evaluated(evaluation, ""), step)
}

// packedPredictions holds predictions as they are stored.
type packedPredictions struct {
	n, correct         int
	examples, outcomes []byte
	digest             string
}

func packed(p []clip.Prediction) packedPredictions {
	examples := packExamples(p)
	return packedPredictions{len(p), countCorrect(p), examples, packOutcomes(p), digestOf(examples)}
}

// predictions stores the outcomes of an evaluation in place of those of the same step.
func (b *batch) predictions(run int64, step int, evaluation, target string, p packedPredictions) error {
	if _, err := b.exec("INSERT INTO example_set (sha256, n, data) VALUES (?,?,?) ON CONFLICT DO NOTHING", p.digest, p.n, p.examples); err != nil {
		return err
	}
	_, err := b.exec(`INSERT OR REPLACE INTO prediction (run_id, step, evaluation, target, n, correct, example_set_id, data)
		VALUES (?,?,?,?,?,?,(SELECT id FROM example_set WHERE sha256 = ?),?)`, run, step, evaluation, target, p.n, p.correct, p.digest, p.outcomes)
	return err
}
