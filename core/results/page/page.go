// Package page writes an experiment as one HTML file that a person would rather look at than read: the answer in words,
// the ablation table, charts, confusions, examples with their pictures, settings and environment.
//
// The file needs nothing beside it: styles, scripts (Observable Plot on d3) and pictures are in it, and its content
// security policy forbids the network. Without scripts its tables say what the charts say. The package knows no
// SQL and no processes: rows come through Source, pictures through Albums.
package page

import (
	"context"
	"image"

	"tandem/core/clip"
	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/store"
)

// Source gives the rows; *store.Reader is one.
type Source interface {
	Cells(ctx context.Context, experiment string) ([]results.Cell, error)
	Summaries(ctx context.Context, runs []string, metric string) (map[string]*store.RunDetail, error)
	ParamsOf(ctx context.Context, runs []string) (map[string]map[string]any, error)
	Get(ctx context.Context, run string) (*store.RunDetail, error)
	CurvesOf(ctx context.Context, runs []string, metric string, most, bins int) (store.Curves, error)
	Predictions(ctx context.Context, run, evaluation, target string, step int) ([]clip.Prediction, error)
}

// Album says what examples look like and what their classes are called.
type Album struct {
	Classes  []string      // by class id
	Pictures []image.Image // of the examples asked for; nil where one is not there any more
}

// Albums opens the data of a run's evaluation and takes side × side pictures of the examples at indices, which had
// these keys. Of an error the page says that there are no pictures, and why.
type Albums func(ctx context.Context, run *store.RunDetail, evaluation, target string, side int, indices []int, keys []string) (*Album, error)

var _ Source = (*store.Reader)(nil)

// Page holds what is shown.
type Page struct {
	Table    *ablation.Table
	Made     string // when and by what
	Cells    int    // planned or run
	Done     int    // of these, in the statistics
	Runs     []Run  // of the cells that have one, in the order of the design
	Drawn    []string
	Curves   []Curve
	Outcome  *Outcome // nil without predictions
	Specs    Specs
	Places   []Place // where it ran
	Warnings []string
}

// Run holds the run of a cell.
type Run struct {
	Variant     string
	Seed        int64
	ID, Status  string
	Done        bool
	Started     string
	Seconds     float64 // that a process worked on it
	DeviceHours float64
	FLOPs       float64 // of the training, estimated; 0: not known
	Parameters  int64   // 0: not known
	ImagesPerS  float64 // 0: not known
	Value       float64 // of the deciding metric; NaN without one

	detail *store.RunDetail // as Source.Summaries gives it
}
