package ablation

import (
	"testing"

	"tandem/core/results"
	"tandem/core/results/stat"
)

// stopping makes a study whose trials had come to a tenth of their final value at the first check.
func stopping() Experiment {
	e := study(base, map[string][]float64{"gain": gain, "other": gain})
	e.Stops, e.Check = true, "1 epoch"
	for i := range e.Cells {
		e.Cells[i].AtCheck = &results.Point{Step: 10, Value: e.Cells[i].Values[top1] / 10}
	}
	return e
}

// stop marks a variant's trial as stopped after its check.
func stop(e *Experiment, variant string, seed int64) {
	for i, c := range e.Cells {
		if c.Variant == variant && c.Seed == seed {
			e.Cells[i].Status, e.Cells[i].Done, e.Cells[i].Values = "stopped", false, nil
		}
	}
}

func TestTheFirstCheckHasTheSeedsThatTheEndLost(t *testing.T) {
	e := stopping()
	stop(&e, "gain", 1)
	table := analyse(t, e)
	end, check := find(t, table, "gain").Columns[0], table.Check.Rows[1]
	if end.Judgement.Verdict != stat.Lost || end.Comparison.Interval.Method != stat.NoMethod {
		t.Errorf("at the end %+v", end.Judgement)
	}
	if check.Variant != "gain" || check.Comparison.N != len(base) || check.Judgement.Verdict != stat.Better || check.Comparison.Interval.Method == stat.NoMethod {
		t.Errorf("at the first check %+v, %+v", check.Comparison, check.Judgement)
	}
	if c := table.Check; c.From != 10 || c.To != 10 || c.After != "1 epoch" || len(c.Rows) != 3 || c.Rows[0].Role != IsBaseline || c.Rows[0].Comparison != nil {
		t.Errorf("%+v", c)
	}
	if table.Tests != 4 || check.Judgement.Tests != 4 {
		t.Errorf("%d tests, want the two variants' at the end and at the check", table.Tests)
	}
}

func TestATrialThatFailedBeforeTheCheckIsLostToItAndOneThatIsToComeKeepsItOpen(t *testing.T) {
	for status, want := range map[string]stat.Verdict{"failed": stat.Lost, "": stat.Unfinished, "running": stat.Unfinished} {
		e := stopping()
		stop(&e, "gain", 1)
		for i, c := range e.Cells {
			if c.Variant == "gain" && c.Seed == 1 {
				e.Cells[i].AtCheck, e.Cells[i].Status = nil, status
				if status == "" {
					e.Cells[i].RunID = ""
				}
			}
		}
		table := analyse(t, e)
		if got := table.Check.Rows[1].Judgement; got.Verdict != want || got.Why == "" || table.Check.Rows[2].Judgement.Verdict != stat.Better {
			t.Errorf("%q: %+v", status, got)
		}
	}
}

func TestWithoutARuleThereIsNoCheck(t *testing.T) {
	e := stopping()
	e.Stops = false
	if table := analyse(t, e); table.Check != nil || table.Tests != 2 {
		t.Errorf("%+v, %d tests", table.Check, table.Tests)
	}
}
