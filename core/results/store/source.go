package store

import (
	"context"
	"database/sql"
	"slices"

	"tandem/core/clip"
)

// Source describes a source of a run's training data and what the run has seen of it.
type Source struct {
	Role     string  `json:"role"` // data.train, or data.train.NAME of several
	Name     string  `json:"name"` // "" of a source that is alone
	Digest   string  `json:"digest"`
	Samples  int     `json:"samples"` // that it has
	Weight   float64 `json:"weight"`  // 0: it has a quota, or counts by its size
	Quota    int     `json:"quota"`
	Seen     int     `json:"seen"`     // samples that were trained on
	Replaced int     `json:"replaced"` // samples that could not be read, in whose place others were trained on
}

// Epochs returns how often the run has gone through the source.
func (s Source) Epochs() float64 { return float64(s.Seen) / float64(max(1, s.Samples)) }

// The stages at which samples fall out.
const (
	StageRefused  = "refused"  // when the data was opened
	StageReplaced = "replaced" // while training; a sample counts each time that it is met
	StageLeftOut  = "left_out" // of an evaluation's figures
)

// Skip counts what fell out for one reason.
type Skip struct {
	Role   string `json:"role"` // data.train, data.train.NAME, eval.NAME
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
	N      int    `json:"n"`
	First  string `json:"first"` // where the first one is and what is wrong with it
}

// SetSources records the sources of the training data, in place of those recorded before.
func (r *Run) SetSources(sources []Source) error {
	own := slices.Clone(sources)
	return r.queue(1+len(own), func(b *batch) error {
		if _, err := b.exec("DELETE FROM run_source WHERE run_id = ?", r.state.id); err != nil {
			return err
		}
		for i, s := range own {
			if _, err := b.exec(`INSERT INTO run_source (run_id, position, role, name, digest, samples, weight, quota, seen, replaced)
				VALUES (?,?,?,?,?,?,?,?,?,?)`, r.state.id, i, s.Role, s.Name, s.Digest, s.Samples, s.Weight, s.Quota, s.Seen, s.Replaced); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetSkips records what fell out of the data of a role at a stage, in place of what was recorded of it before: counts of
// the whole run, so that a run that goes on counts nothing twice.
func (r *Run) SetSkips(role, stage string, skips []clip.Skip) error {
	own := slices.Clone(skips)
	return r.queue(1+len(own), func(b *batch) error {
		if _, err := b.exec("DELETE FROM run_skip WHERE run_id = ? AND role = ? AND stage = ?", r.state.id, role, stage); err != nil {
			return err
		}
		for _, s := range own {
			if _, err := b.exec("INSERT INTO run_skip (run_id, role, stage, reason, n, first) VALUES (?,?,?,?,?,?)",
				r.state.id, role, stage, s.Reason, s.Count, s.First); err != nil {
				return err
			}
		}
		return nil
	})
}

// sources reads Sources and Skips of a run.
func (r *Reader) sources(ctx context.Context, d *RunDetail, row int64) (err error) {
	if d.Sources, err = collect(ctx, r, func(rows *sql.Rows) (s Source, err error) {
		err = rows.Scan(&s.Role, &s.Name, &s.Digest, &s.Samples, &s.Weight, &s.Quota, &s.Seen, &s.Replaced)
		return s, err
	}, "SELECT role, name, digest, samples, weight, quota, seen, replaced FROM run_source WHERE run_id = ? ORDER BY position", row); err != nil {
		return err
	}
	d.Skips, err = collect(ctx, r, func(rows *sql.Rows) (s Skip, err error) {
		err = rows.Scan(&s.Role, &s.Stage, &s.Reason, &s.N, &s.First)
		return s, err
	}, "SELECT role, stage, reason, n, first FROM run_skip WHERE run_id = ? ORDER BY role, stage DESC, n DESC, reason", row)
	return err
}
