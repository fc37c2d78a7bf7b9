package bisect_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/experiment/bisect"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// A quiet watcher looks away.
type quiet struct{}

func (quiet) Planned(*sweep.Sweep, []schedule.State) {}
func (quiet) Changed(int, schedule.State)            {}
func (quiet) Added(sweep.Trial, schedule.State)      {}
func (quiet) Best(string, string, float64)           {}
func (quiet) Trial(int) run.Watcher                  { return run.Quiet{} }
func (quiet) Note(string)                            {}

func compare(t *testing.T, l lab.Lab, c *bisect.Comparison) (*bisect.Report, schedule.Outcome) {
	t.Helper()
	out, err := schedule.Run(t.Context(), l, c.Sweep, schedule.Options{Jobs: 2}, nil, quiet{})
	labtest.Must(t, err)
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	report, err := c.Report(context.Background(), r, 0.95)
	labtest.Must(t, err)
	return report, out
}

func TestTwoVersionsAreComparedToTheStepWhereTheyPart(t *testing.T) {
	l := labtest.New(t)
	o := bisect.Options{Spec: labtest.File(t, l, labtest.Text), A: "pull", B: labtest.SecondPull(t), Metric: "train/loss"}
	c, err := bisect.Plan(l, o)
	labtest.Must(t, err)
	if c.A.Version != "1.0.0" || c.B.Version != "2.0.0" || len(c.Sweep.Trials) != 6 || len(c.Roles) != 1 || c.Roles[0] != "loss" {
		t.Fatalf("%+v", c)
	}
	found, _ := compare(t, l, c)
	if len(found.Seeds) != 3 || found.N != 3 || math.Abs(float64(found.Difference)-1e-3) > 1e-9 || found.Verdict == "" {
		t.Errorf("%+v", found)
	}
	for i, s := range found.Seeds {
		if s.Seed != int64(i) || s.StateA != "done" || s.StateB != "done" {
			t.Errorf("seed %d: %s, %s", s.Seed, s.StateA, s.StateB)
		}
		if p := s.First; p == nil || p.Metric != metric.TrainLoss || p.Step != 4 || math.Abs(float64(p.B-p.A)-1e-3) > 1e-9 {
			t.Errorf("seed %d parts at %+v", s.Seed, p)
		}
	}

	// The same comparison again starts nothing; with another seed it starts two.
	c, err = bisect.Plan(l, o)
	labtest.Must(t, err)
	if _, out := compare(t, l, c); out.Count(schedule.Done) != 6 || !out.States[5].Before {
		t.Errorf("again: %+v", out.States)
	}
	o.Seeds = 4
	c, err = bisect.Plan(l, o)
	labtest.Must(t, err)
	found, out := compare(t, l, c)
	if before := len(out.States); before != 8 || out.States[0].Before == false || out.States[3].Before || found.N != 4 {
		t.Errorf("with a fourth seed: %+v", out.States)
	}
}

// Naming another file in a spec drops the plugin's settings; a comparison keeps them, for all that the plugin is.
func TestSettingsOfThePluginAreKept(t *testing.T) {
	l := labtest.New(t)
	self, err := os.Executable()
	labtest.Must(t, err)
	code, err := os.ReadFile(self)
	labtest.Must(t, err)
	other := filepath.Join(t.TempDir(), "dots")
	labtest.Must(t, os.WriteFile(other, append(code, 0, 0), 0o755))
	c, err := bisect.Plan(l, bisect.Options{Spec: labtest.File(t, l, labtest.Text), A: "dots", B: other, Seeds: 1, Set: []string{"data.train.with.long=true"}})
	labtest.Must(t, err)
	for i, want := range []string{"dots", other} {
		s := c.Sweep.Trials[i].Spec
		if s.Data.Train[0].Dataset != want || s.Eval[0].Dataset != want {
			t.Errorf("the data is %s and %s, want %s", s.Data.Train[0].Dataset, s.Eval[0].Dataset, want)
		}
		if s.At("data.train.with.long") != true || s.At("eval.0.with.samples") != int64(8) {
			t.Errorf("%s: with %s and %s", want, s.Data.Train[0].With, s.Eval[0].With)
		}
	}
}

func TestWhatCannotBeComparedIsRefused(t *testing.T) {
	l := labtest.New(t)
	file, second := labtest.File(t, l, labtest.Text), labtest.SecondPull(t)
	for _, x := range []struct {
		o    bisect.Options
		want string
	}{
		{bisect.Options{A: "pull", B: "letters"}, "no two versions of one plugin"},
		{bisect.Options{A: "pull", B: "losses/pull"}, "the same program"},
		{bisect.Options{A: "pul", B: second}, "neither the path of a plugin"},
		{bisect.Options{A: "0123456789", B: second}, "neither the path of a plugin"},
		{bisect.Options{A: "pull", B: second, Metric: "eval/dots/top7"}, "gives no metric"},
		{bisect.Options{A: "pull", B: second, Set: []string{"train.lr=fast"}}, "train.lr"},
	} {
		x.o.Spec = file
		_, err := bisect.Plan(l, x.o)
		if err == nil || !strings.Contains(fault.Format(err), x.want) {
			t.Errorf("%+v gives %v, want %q", x.o, err, x.want)
		}
	}
}
