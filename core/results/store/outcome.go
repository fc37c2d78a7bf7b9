package store

import (
	"context"
	"database/sql"

	"tandem/core/results/metric"
)

// Outcome says which examples of an evaluation a run got right.
type Outcome struct {
	RunID    string
	Target   string
	Examples int64  // identifies the examples and their order
	Right    []bool // by example: the first guess is the label
}

// Outcomes returns the last outcomes of an evaluation in the runs that fill an experiment's done cells, each run once. They are
// ordered by target, then by when the runs began.
func (r *Reader) Outcomes(ctx context.Context, experiment, evaluation string) ([]Outcome, error) {
	type stored struct {
		Outcome
		n    int
		data []byte
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (s stored, err error) {
		err = rows.Scan(&s.RunID, &s.Target, &s.Examples, &s.n, &s.data)
		return s, err
	}, `SELECT r.key, p.target, p.example_set_id, p.n, p.data
		FROM (SELECT DISTINCT run FROM v_cells WHERE experiment = ?1 AND done) c
		CROSS JOIN prediction p ON p.run_id = c.run AND p.evaluation = ?2 JOIN run r ON r.id = p.run_id
		WHERE p.step = (SELECT max(step) FROM prediction l WHERE l.run_id = p.run_id AND l.evaluation = p.evaluation AND l.target = p.target)
		ORDER BY p.target, r.id`, experiment, evaluation)
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(all))
	sets := map[int64][]int32{}
	for i, s := range all {
		labels, known := sets[s.Examples]
		if !known {
			var packed []byte
			if err := r.db.QueryRowContext(ctx, "SELECT data FROM example_set WHERE id = ?", s.Examples).Scan(&packed); err != nil {
				return nil, diskFault(r.path, err)
			}
			if err := unpackExamples(packed, s.n, func(_ []byte, label int32) { labels = append(labels, label) }); err != nil {
				return nil, err
			}
			sets[s.Examples] = labels
		}
		outcomes[i] = s.Outcome
		if outcomes[i].Right, err = unpackRight(s.data, labels); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// unpackRight reads which first guesses are the labels.
func unpackRight(packed []byte, labels []int32) ([]bool, error) {
	right, guessed := make([]bool, len(labels)), make([]bool, len(labels))
	err := unpackOutcomes(packed, len(labels), func(i int, class int32) {
		right[i] = right[i] || !guessed[i] && class == labels[i]
		guessed[i] = true
	}, func(int, float32) {})
	return right, err
}

// Directions returns the direction of every metric.
func (r *Reader) Directions(ctx context.Context) (map[string]metric.Direction, error) {
	type direction struct {
		name   string
		better metric.Direction
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (d direction, err error) {
		err = rows.Scan(&d.name, &d.better)
		return d, err
	}, "SELECT name, better * directed FROM metric")
	directions := make(map[string]metric.Direction, len(all))
	for _, d := range all {
		directions[d.name] = d.better
	}
	return directions, err
}

// Predicted says which predictions the run of a cell has.
type Predicted struct {
	Variant            string
	Seed               int64
	RunID              string
	Evaluation, Target string
	Step, N, Correct   int
}

// Predicted lists the last predictions of each evaluation and target that the runs of an experiment's done cells recorded, in the order of
// the cells.
func (r *Reader) Predicted(ctx context.Context, experiment string) ([]Predicted, error) {
	return collect(ctx, r, func(rows *sql.Rows) (p Predicted, err error) {
		err = rows.Scan(&p.Variant, &p.Seed, &p.RunID, &p.Evaluation, &p.Target, &p.Step, &p.N, &p.Correct)
		return p, err
	}, `SELECT c.variant, c.seed, c.run_id, p.evaluation, p.target, p.step, p.n, p.correct
		FROM v_cells c CROSS JOIN prediction p ON p.run_id = c.run
		WHERE c.experiment = ? AND c.done
			AND p.step = (SELECT max(step) FROM prediction l WHERE l.run_id = p.run_id AND l.evaluation = p.evaluation AND l.target = p.target)
		ORDER BY c.position, c.variant, c.seed, p.id`, experiment)
}
