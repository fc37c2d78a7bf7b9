package schedule

import (
	"context"
	"strings"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

func TestNothingIsStoppedByAMetricThatIsGoodNeitherWay(t *testing.T) {
	s := &sweep.Sweep{Stop: &spec.Stop{Rule: spec.Median, Metric: "train/lr"}}
	_, err := Run(context.Background(), lab.Lab{}, s, Options{}, nil, nil)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "train/lr is good neither way") {
		t.Errorf("by the learning rate: %v", err)
	}
	s.Directions = map[string]string{"train/lr": spec.Down, "train/loss": spec.None}
	if metric.DirectionIn(s.Directions, "train/lr") != metric.Down || metric.DirectionIn(s.Directions, "train/loss") != metric.None || metric.DirectionIn(s.Directions, "eval/e/nll") != metric.Down {
		t.Error("what the spec says does not come before what is declared")
	}
}
