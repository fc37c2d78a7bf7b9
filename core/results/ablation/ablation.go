// Package ablation makes a table of an experiment's cells: for each variant what its metrics are, how they
// differ from the baseline's and whether seeds could do the same, what each factor does, and which cells
// the table lacks.
//
// It is pure, and every number is core/results/stat's; what is here chooses what may be compared with what.
// docs/adr/0008-statistics.md says what may be concluded.
package ablation

import (
	"math"

	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// Experiment holds what is analysed.
type Experiment struct {
	Name, Description string
	Design            string           // one-at-a-time, grid, list, random, search; "": runs without a plan
	Baseline          string           // the variant that the others are compared with, where it has cells
	Noise             string           // the variant that is the baseline once more under other seeds; "": none
	Factors           []results.Factor // a factor drawn from a range has no levels
	Metrics           []Metric         // the first decides: it orders, it is tested on predictions and in the effects
	Cells             []Cell           // in the order of the design
	Stops             bool             // a rule may stop trials early
	Check             string           // when that rule first may: "1 epoch"
	Looks             []int            // numbers of seeds at which the table is looked at, ascending, the last all; nil: once
	Analysis          Analysis         // "": Pooled where it is needed for the interactions of a whole grid, else Paired
	// Chosen says that the baseline, or the variants that are here of All, were chosen once results were there: Holm then
	// is over all pairs of All variants.
	Chosen    bool
	All       int
	Choose    string  // the metric that ranks, where it is among Metrics; else the first does
	Predicted string  // what Cell.Right is of: "emoji/label"; "": no predictions
	Search    *Search // of design search: its Of, Hours and Over; else nil
}

// Metric asks for a column of the table.
type Metric struct {
	Name      string
	Direction metric.Direction
	Compared  bool // differences from the baseline too; always of the first
}

// Cell holds a variant under a seed, and the run that fills it.
type Cell struct {
	results.Cell
	Values  map[string]float64
	AtCheck *results.Point // the deciding metric at the rule's first check; nil: the run has not come so far, or no rule may stop any
	// Right says of each example whether it was predicted right, over the examples that Examples identifies: cells
	// are compared where these are equal. nil without predictions.
	Right    []bool
	Examples int64
}

// Analysis says how a difference's noise is known.
type Analysis string

// The analyses.
const (
	Paired Analysis = "paired" // from its own pairs of seeds alone: right however differently variants spread
	Pooled Analysis = "pooled" // from all variants, with seeds as blocks: finds more, where seeds spread all variants alike
)

// Table holds the analysis of an experiment.
type Table struct {
	Name, Description, Design string
	Baseline                  string // of Rows, where HasBaseline
	HasBaseline               bool
	Level, Alpha              float64 // of intervals, 0.95; of tests, 0.05
	Tests                     int     // that Holm's correction is over: comparisons, and terms of Effects where Crossed
	Analysis                  Analysis
	Look                      *Look         // nil: the spec plans none
	Cells                     int           // planned or run, the repeat's left out
	Gone                      map[State]int // of these, those that do not count for the deciding metric
	Pairing                   Pairing
	Choose                    string  // the metric that ranks, where it is not the first
	NoIntervals               bool    // a rule may stop trials early, or did: differences have none
	Seeds                     []int64 // of all cells but the repeat's, ascending
	Metrics                   []Metric
	Rows                      []Row // the baseline, then by design; without a baseline by rank
	Absent                    []Absent
	Effects                   Effects
	Noise                     *Noise
	Check                     *Check // nil where no rule stops trials, or its first check is not known
	Predicted                 *Predicted
	Factors                   []results.Factor
	Search                    *Search  // nil: another design
	Notes                     []string // what the table cannot say and why, in sentences
}

// Role says what a row is to its table.
type Role string

// The roles.
const (
	IsBaseline Role = "baseline"
	IsVariant  Role = "variant"
	IsTrial    Role = "trial"  // a point of a search: ranked among its like, compared with nothing
	IsRepeat   Role = "repeat" // the baseline under other seeds: for the noise floor, compared with nothing
)

// Row holds all that the table says of a variant.
type Row struct {
	Variant string
	Role    Role
	Levels  map[string]string
	Same    string   // the row before whose runs are the very same, where HasSame
	HasSame bool     // a variant may be called ""
	Cells   int      // planned or run
	Stopped int      // of these, stopped early: the means are of those that went on
	Lost    int      // of these, failed, stopped, tainted or without a value of the deciding metric
	Waiting int      // of these, missing, running or interrupted
	Rank    int      // by Experiment.Choose or else the deciding metric, 1 is best, equal means share; 0 without a mean, and of the repeat
	Columns []Column // in the order of Table.Metrics
	// Predictions is nil for the baseline and where nothing is to be compared.
	Predictions *Prediction
}

// Column holds one metric of a variant.
type Column struct {
	Values  map[int64]float64 // of the done cells, by seed
	Summary stat.Summary
	Best    bool // of all rows' means, the repeat's left out; false where there is one row
	// Comparison with the baseline and what it shows; nil where none is made: of the baseline itself, the
	// repeat, a variant whose runs are the baseline's, a metric that is not Compared, a table without a
	// baseline.
	Comparison *stat.Comparison
	Judgement  *stat.Judgement
	// Apart is the variant's mean less the baseline's, each over all of its seeds, and Floor what two sets of so many seeds
	// of the baseline, unpaired, stay within of each other; NaN without a repeat. Of the deciding metric only.
	Apart, Floor float64
}

// InFloor reports whether the means lie no further apart than the baseline's own seeds make.
func (c Column) InFloor() bool { return c.Comparison != nil && math.Abs(c.Apart) <= c.Floor }

// Look says where the table stands in the looks that were planned.
type Look struct {
	Number, Of int     // 0: before the first
	Seeds      int     // that this look is over
	Next       int     // seeds that the next one asks for; 0: this is the last
	Share      float64 // of alpha that it may spend
	Left       int     // cells under later seeds, which are left out
}

// Pairing says what pairing by seed is worth in this table.
type Pairing struct {
	// Share of a difference's variance that pairing takes away, over all comparisons of the deciding metric; below 0 where it
	// adds some; NaN without any over stat.MinSeeds.
	Share       float64
	Comparisons int
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

// states lists all of them, what is lost first.
var states = []State{Failed, Stopped, NoValue, Tainted, Interrupted, Running, Missing}

// phrase names the state behind a number of seeds: "2 of 5 seeds failed".
func (s State) phrase() string {
	switch s {
	case NoValue:
		return "without a finite value"
	case Missing:
		return "not run yet"
	case Running:
		return "still running"
	}
	return string(s)
}

// Unfinished reports whether a cell in this state may yet count without being made anew.
func (s State) Unfinished() bool { return s == Missing || s == Running || s == Interrupted }

// Absent names a cell that is not in the statistics, and says why.
type Absent struct {
	Variant string
	Seed    int64
	State   State
	RunID   string
	Note    string
}
