package schedule

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results"
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

// ruled is a rule that gives a trial up at a step.
type ruled struct {
	at   int
	seen *[]int
}

func (r ruled) Decide(step int, own results.Curve, others []results.Curve) (string, bool) {
	*r.seen = append(*r.seen, step)
	return "worse", step >= r.at
}

// begun is a judge of a run of 20 steps that began, which gives up at a step.
func begun(name string, at int) (*judge, *[]int) {
	seen := &[]int{}
	j := &judge{Watcher: run.Quiet{}, stop: make(chan struct{}), metric: name, every: 5, steps: 20, rule: ruled{at, seen},
		curves: func() ([]results.Curve, error) { return nil, nil }}
	j.end = sync.OnceFunc(func() { close(j.stop) })
	return j, seen
}

func TestTheRuleIsAskedAtEveryValueButTheLast(t *testing.T) {
	j, seen := begun("eval/e/top1", 15)
	for step := 5; step <= 20; step += 5 {
		j.Evaluated(step, "e", []clip.Metric{{Name: "eval/e/top5", Value: 1}, {Name: "eval/e/top1", Value: 1}})
	}
	if !slices.Equal(*seen, []int{5, 10, 15}) {
		t.Errorf("asked at %v", *seen)
	}
	if j.stopped() != "worse" {
		t.Errorf("stopped because of %q", j.stopped())
	}
	<-j.stop
	last, seen := begun("eval/e/top1", 20)
	last.Evaluated(20, "e", []clip.Metric{{Name: "eval/e/top1", Value: 1}})
	if len(*seen) != 0 || last.stopped() != "" {
		t.Error("a run was stopped at its last step")
	}
}

// The loss of training is a value at the steps at which it is recorded.
func TestTheRuleSeesTheLossWhereItIsRecorded(t *testing.T) {
	j, seen := begun(metric.TrainLoss, 100)
	for step := 1; step <= 12; step++ {
		j.Step(train.StepReport{Step: step, Loss: 1})
	}
	if !slices.Equal(*seen, []int{5, 10}) || j.stopped() != "" {
		t.Errorf("asked at %v, stopped because of %q", *seen, j.stopped())
	}
}

func TestATrialIsNotStoppedWhenOthersCannotBeRead(t *testing.T) {
	j, seen := begun("m", 1)
	w := &told{}
	j.Watcher = w
	j.curves = func() ([]results.Curve, error) { return nil, fault.New(fault.Unavailable, "locked") }
	j.Evaluated(5, "e", []clip.Metric{{Name: "m", Value: 1}})
	if len(*seen) != 0 || j.stopped() != "" || len(w.events) != 1 || !strings.Contains(w.events[0], "locked") {
		t.Errorf("asked at %v, told %q", *seen, w.events)
	}
}

type told struct {
	run.Quiet
	events []string
}

func (t *told) Event(_, message string) { t.events = append(t.events, message) }
