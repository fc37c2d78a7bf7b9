package store

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"encoding/binary"
	"io"

	"tandem/core/fault"
)

// Outcome says which examples of an evaluation a run got right.
type Outcome struct {
	RunID    string
	Target   string
	Examples int64  // identifies the examples and their order
	Right    []bool // by example: the first guess is the label
}

// Outcomes are the last outcomes of an evaluation in the runs that fill an experiment's done cells, each run
// once; by target, then run.
func (r *Reader) Outcomes(ctx context.Context, experiment, evaluation string) ([]Outcome, error) {
	type stored struct {
		Outcome
		n    int
		data []byte
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (s stored, err error) {
		err = rows.Scan(&s.RunID, &s.Target, &s.Examples, &s.n, &s.data)
		return s, err
	}, `SELECT r.key, p.target, p.example_set_id, p.n, p.data FROM prediction p JOIN run r ON r.id = p.run_id
		WHERE p.evaluation = ?2 AND p.run_id IN (SELECT run FROM v_cells
			WHERE experiment_id = (SELECT id FROM experiment WHERE name = ?1) AND done)
		AND p.step = (SELECT max(step) FROM prediction l WHERE l.run_id = p.run_id AND l.evaluation = p.evaluation AND l.target = p.target)
		ORDER BY p.target, r.key`, experiment, evaluation)
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(all))
	sets := map[int64][]int64{}
	for i, s := range all {
		labels, known := sets[s.Examples]
		if !known {
			var packed []byte
			if err := r.db.QueryRowContext(ctx, "SELECT data FROM example_set WHERE id = ?", s.Examples).Scan(&packed); err != nil {
				return nil, diskFault(r.path, err)
			}
			if labels, err = unpackLabels(packed, s.n); err != nil {
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

func badPredictions(n int) error {
	return fault.New(fault.Corrupt, "stored predictions do not hold the %d examples they should", n)
}

// unpackLabels reads the labels of n examples.
func unpackLabels(packed []byte, n int) ([]int64, error) {
	if len(packed) == 0 || packed[0] != packVersion {
		return nil, badPredictions(n)
	}
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed[1:])))
	if err != nil || n < 0 || n > len(b) {
		return nil, badPredictions(n)
	}
	labels := make([]int64, n)
	for i := range labels {
		length, used := binary.Uvarint(b)
		if used <= 0 || length > uint64(len(b)-used) {
			return nil, badPredictions(n)
		}
		b = b[used+int(length):]
		if labels[i], used = binary.Varint(b); used <= 0 {
			return nil, badPredictions(n)
		}
		b = b[used:]
	}
	return labels, nil
}

// unpackRight reads which first guesses are the labels.
func unpackRight(packed []byte, labels []int64) ([]bool, error) {
	if len(packed) == 0 || packed[0] != packVersion {
		return nil, badPredictions(len(labels))
	}
	b, right := packed[1:], make([]bool, len(labels))
	for i, label := range labels {
		count, used := binary.Uvarint(b)
		if used <= 0 || count > uint64(len(b)) {
			return nil, badPredictions(len(labels))
		}
		b = b[used:]
		for j := range count {
			class, used := binary.Uvarint(b)
			if used <= 0 {
				return nil, badPredictions(len(labels))
			}
			right[i] = right[i] || j == 0 && int64(int32(class)) == label
			b = b[used:]
		}
		if len(b) < 4 {
			return nil, badPredictions(len(labels))
		}
		b = b[4:]
	}
	if len(b) != 0 {
		return nil, badPredictions(len(labels))
	}
	return right, nil
}

// Directions tell of every metric which values are better: +1 larger ones, -1 smaller ones.
func (r *Reader) Directions(ctx context.Context) (map[string]float64, error) {
	type direction struct {
		name   string
		better float64
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (d direction, err error) {
		err = rows.Scan(&d.name, &d.better)
		return d, err
	}, "SELECT name, better FROM metric")
	directions := make(map[string]float64, len(all))
	for _, d := range all {
		directions[d.name] = d.better
	}
	return directions, err
}
