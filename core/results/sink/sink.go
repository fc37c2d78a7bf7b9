// Package sink hands the points of a run on to other trackers while it goes.
//
// A Feed takes points that are safe in the results database and gives them to each Tracker in a goroutine and with a queue of
// its own. Giving points never waits: a tracker that is slow or away costs a run nothing. What does not fit into its queue is
// counted as lost.
//
// Each tracker is a package below this one. They know neither each other nor how runs are made.
package sink

import (
	"context"
	"strconv"
	"time"

	"tandem/core/clip"
)

// Run describes a run to a tracker.
type Run struct {
	ID         string
	Experiment string
	Variant    string // "": none
	Seed       uint64
	Params     map[string]any // the resolved spec, flat: bool, int64, float64, string or lists of them
	Spec       string         // resolved, as YAML
	Begun      time.Time      // when this process begins or goes on with it
	From       int            // the step of the checkpoint that it goes on from; -1: it begins, or begins anew
	Record     Record         // what is recorded of it
}

// Record reads what the results database has of a run.
type Record interface {
	// LastSteps returns the newest step of each metric.
	LastSteps(ctx context.Context) (map[string]int, error)
	// Between returns the values at steps beyond after, up to upTo, by step.
	Between(ctx context.Context, after, upTo int) ([]Points, error)
}

// Name names the run among those of its experiment, as people read it: the variant and the seed.
func (r Run) Name() string {
	seed := "seed " + strconv.FormatUint(r.Seed, 10)
	if r.Variant == "" {
		return seed
	}
	return r.Variant + ", " + seed
}

// Points holds values of one step.
type Points struct {
	At     time.Time // when they were recorded
	Step   int
	Values []clip.Metric // not to be changed
}

// End says how a run ended.
type End struct {
	Status clip.Status
	Error  string // "": none
	At     time.Time
}

// Tracker writes one run. A feed calls its methods from one goroutine, one at a time. An error of kind fault.Invalid says that the tracker
// will never take what it was given; after any other the same call is made again later.
type Tracker interface {
	// Open begins the run in the tracker, or goes on with it. Where points can be deleted, those beyond Run.From are. It returns the
	// newest step that the tracker has of a metric, -1 when it has none: later steps are written to it, earlier ones are not.
	Open(ctx context.Context, r Run) (newest func(metric string) int, err error)
	// Write adds points, those of each metric by step. When it is called again after an error, with the same points, they must not come
	// to be there twice.
	Write(ctx context.Context, points []Points) error
	// End records how the run ended. No points follow.
	End(ctx context.Context, e End) error
	// Close gives up what Open took. It is called once, also without Open or End.
	Close() error
}

// Named gives a tracker the name by which messages call it.
type Named struct {
	Name    string
	Tracker Tracker
}
