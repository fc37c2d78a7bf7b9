package study

import (
	"context"
	"fmt"
	"slices"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// addCells adds the experiment's cells. Where some are planned, those that are not are left out and counted: an earlier version
// of the spec planned them.
func (s *Study) addCells(ctx context.Context) error {
	infos, err := s.src.Cells(ctx, s.experiment.Name)
	if err != nil {
		return err
	}
	planned := slices.ContainsFunc(infos, func(c results.Cell) bool { return c.Planned })
	for _, c := range infos {
		if planned && !c.Planned {
			s.unplanned++
			continue
		}
		s.cells = append(s.cells, ablation.Cell{Cell: c, Values: map[string]float64{}})
	}
	return nil
}

// addValues adds the final values of the cells, and the names of the metrics that these are of.
func (s *Study) addValues(ctx context.Context) error {
	values, err := s.src.CellValues(ctx, s.experiment.Name)
	if err != nil {
		return err
	}
	cells := indexCells(s.cells)
	s.recorded = map[string]bool{}
	for _, v := range values {
		if c := cells[cellKey{v.Variant, v.Seed}]; c != nil {
			c.Values[v.Metric] = v.Value
			s.recorded[v.Metric] = true
		}
	}
	return nil
}

type cellKey struct {
	variant string
	seed    int64
}

func indexCells(all []ablation.Cell) map[cellKey]*ablation.Cell {
	cells := map[cellKey]*ablation.Cell{}
	for i := range all {
		c := &all[i]
		cells[cellKey{c.Variant, c.Seed}] = c
	}
	return cells
}

// addChecks adds the cells' values of the deciding metric at the point where the rule of early stopping might first have stopped
// them. An experiment without such a rule, or of a version that did not record the point, has none.
func addChecks(ctx context.Context, src Source, s store.Settings, x *ablation.Experiment) error {
	switch {
	case s.StopEpochs == 1:
		x.Check = "1 epoch"
	case s.StopEpochs > 0:
		x.Check = fmt.Sprintf("%g epochs", s.StopEpochs)
	case s.StopSteps > 0:
		x.Check = fmt.Sprintf("%d steps", s.StopSteps)
	default:
		return nil
	}
	points, err := src.FirstPoints(ctx, x.Name, x.Metrics[0].Name, s.StopSteps, s.StopEpochs)
	if err != nil {
		return err
	}
	cells := indexCells(x.Cells)
	for _, p := range points {
		if c := cells[cellKey{p.Variant, p.Seed}]; c != nil {
			c.AtCheck = &p.Point
		}
	}
	return nil
}

// addOutcomes adds which examples the cells' runs predicted right, in the evaluation of the deciding metric. Of an evaluation
// with several targets it takes the first.
func addOutcomes(ctx context.Context, src Source, x *ablation.Experiment) error {
	evaluation, found := metric.Evaluation(x.Metrics[0].Name)
	if !found {
		return nil
	}
	outcomes, err := src.Outcomes(ctx, x.Name, evaluation)
	if err != nil || len(outcomes) == 0 {
		return err
	}
	byRun := map[string]store.Outcome{}
	for _, o := range outcomes {
		if o.Target == outcomes[0].Target {
			byRun[o.RunID] = o
		}
	}
	x.Predicted = fmt.Sprintf("%s/%s", evaluation, outcomes[0].Target)
	for i := range x.Cells {
		if o, has := byRun[x.Cells[i].RunID]; has {
			x.Cells[i].Right, x.Cells[i].Examples = o.Right, o.Examples
		}
	}
	return nil
}
