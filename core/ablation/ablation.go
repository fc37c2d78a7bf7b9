// Package ablation makes a table of an experiment's cells: for each variant what its metrics are, how they
// differ from the baseline's and whether seeds could do the same, what each factor does, and which cells
// the table lacks.
//
// It is pure, and every number is core/metric/stat's; what is here chooses what may be compared with what.
// docs/adr/0008-statistics.md says what may be concluded.
package ablation

import (
	"tandem/core/metric/stat"
)

// Experiment is what is analysed.
type Experiment struct {
	Name, Description string
	Design            string        // one-at-a-time, grid, list, random; "": runs without a plan
	Baseline          string        // the variant that the others are compared with, where it has cells
	Noise             string        // the variant that is the baseline once more under other seeds; "": none
	Factors           []stat.Factor // a factor drawn from a range has no levels
	Metrics           []Metric      // the first decides: it orders, it is tested on predictions and in the effects
	Cells             []Cell        // in the order of the design
	Predicted         string        // what Cell.Right is of: "emoji/label"; "": no predictions
}

// Metric is a column of the table.
type Metric struct {
	Name     string
	Goal     stat.Goal
	Compared bool // differences from the baseline too; always of the first
}

// Cell is a variant under a seed, and the run that fills it.
type Cell struct {
	Variant string
	Seed    int64
	Levels  map[string]string // by factor
	RunID   string            // "": never run
	Status  string            // of the run
	Note    string            // why it failed or was stopped
	Done    bool              // the run is done and may be compared with others
	Values  map[string]float64
	// Right says of each example whether it was predicted right, over the examples that Examples identifies: cells
	// are compared where these are equal. nil without predictions.
	Right    []bool
	Examples int64
}

// Table is the result.
type Table struct {
	Name, Description, Design string
	Baseline                  string // of Rows, where HasBaseline
	HasBaseline               bool
	Level, Alpha              float64 // of intervals, 0.95; of tests, 0.05
	Tests                     int     // comparisons that Holm's correction is over
	Seeds                     []int64 // of all cells but the repeat's, ascending
	Metrics                   []Metric
	Rows                      []Row // the baseline, then by design; without a baseline by rank
	Absent                    []Absent
	Effects                   Effects
	Noise                     *Noise
	Predicted                 *Predicted
	Notes                     []string // what the table cannot say and why, in sentences
}

// Role is what a row is in its table.
type Role string

// The roles.
const (
	IsBaseline Role = "baseline"
	IsVariant  Role = "variant"
	IsRepeat   Role = "repeat" // the baseline under other seeds: for the noise floor, compared with nothing
)

// Row is a variant.
type Row struct {
	Variant string
	Role    Role
	Levels  map[string]string
	Same    string   // the row before whose runs are the very same, where HasSame
	HasSame bool     // a variant may be called ""
	Cells   int      // planned or run
	Stopped int      // of these, stopped early: the means are of those that went on
	Rank    int      // by the deciding metric, 1 is best, equal means share; 0 without a mean, and of the repeat
	Columns []Column // in the order of Table.Metrics
	// Predictions is nil for the baseline and where nothing is to be compared.
	Predictions *Prediction
}

// Column is a metric of a variant.
type Column struct {
	Values  map[int64]float64 // of the done cells, by seed
	Summary stat.Summary
	Best    bool // of all rows' means, the repeat's left out; false where there is one row
	// Comparison with the baseline and what it shows; nil where none is made: of the baseline itself, the
	// repeat, a variant whose runs are the baseline's, a metric that is not Compared, a table without a
	// baseline.
	Comparison *stat.Comparison
	Judgement  *stat.Judgement
	// Floor is what two sets of so many seeds of the baseline stay within of each other; NaN without a
	// repeat.
	Floor float64
}

// State says why a cell is not in the statistics.
type State string

// The states.
const (
	Missing     State = "missing" // never run
	Running     State = "running"
	Failed      State = "failed"
	Interrupted State = "interrupted"
	Stopped     State = "stopped early"
	Tainted     State = "tainted"
	NoValue     State = "no finite value" // done, without one of the deciding metric
)

// Absent is a cell that is not in the statistics.
type Absent struct {
	Variant string
	Seed    int64
	State   State
	RunID   string
	Note    string
}
