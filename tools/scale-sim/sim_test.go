package main

import (
	"math"
	"reflect"
	"testing"
)

// calm returns a small study on a cluster where nothing happens.
func calm() settings {
	s := usual()
	s.Trials, s.Tasks, s.Nodes, s.Slots = 2000, 40, 20, 2
	s.Hopeless, s.ErrorShare, s.PreemptSec, s.NodeSec, s.FreezeSec = 0, 0, 0, 0, 0
	s.LimitSec = 1e9
	return s
}

// rough returns the study on a cluster where everything happens often.
func rough() settings {
	s := calm()
	s.Hopeless, s.ErrorShare, s.LimitSec = 0.05, 0.1, 3*3600
	s.PreemptSec, s.NodeSec, s.RepairSec, s.FreezeSec = 4*3600, 10*3600, 1800, 2*3600
	return s
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(math.Abs(a), math.Abs(b), 1) }

// checkSums holds that every trial ended once and that all time in slots is accounted for.
func checkSums(t *testing.T, s settings, r result) {
	t.Helper()
	if r.Ended != s.Trials || r.Done+r.Failed != s.Trials || r.Duplicates != 0 {
		t.Errorf("of %d trials %d ended, %d are done and %d failed, %d ended again", s.Trials, r.Ended, r.Done, r.Failed, r.Duplicates)
	}
	if sum := r.Computed + r.Overhead + r.Idle + r.Frozen; !near(sum, r.Held) {
		t.Errorf("slots were held for %.3f s, and %.3f s are accounted for", r.Held, sum)
	}
	if !near(r.Computed-r.Lost, r.WorkOfDone+r.WorkOfFailed) {
		t.Errorf("%.3f s were computed, %.3f of them lost, and trials that ended have %.3f", r.Computed, r.Lost, r.WorkOfDone+r.WorkOfFailed)
	}
	if r.Attempts != s.Trials+r.Retries+r.Takeovers+r.TimeOuts+r.Preemptions {
		t.Errorf("%d attempts at %d trials, and %d retries, %d takeovers, %d time-outs, %d preemptions", r.Attempts, s.Trials, r.Retries, r.Takeovers, r.TimeOuts, r.Preemptions)
	}
}

func TestWithoutFailuresNothingIsTriedAgain(t *testing.T) {
	s := calm()
	r := simulate(s)
	checkSums(t, s, r)
	if r.Attempts != s.Trials || r.Lost != 0 || r.Failed != 0 || !near(r.Computed, r.Work) {
		t.Errorf("%+v", r)
	}
	if least := r.Work / float64(s.Nodes*s.Slots); r.Seconds < least || r.Seconds > 1.2*least {
		t.Errorf("took %.0f s, and without anything else %.0f s", r.Seconds, least)
	}
}

func TestEveryTrialEndsOnceWhateverFails(t *testing.T) {
	for seed := range uint64(10) {
		s := rough()
		s.Seed = seed
		r := simulate(s)
		checkSums(t, s, r)
		if r.Retries == 0 || r.Takeovers == 0 || r.TimeOuts == 0 || r.Preemptions == 0 || r.NodeFailures == 0 || r.Freezes == 0 || r.Failed == 0 {
			t.Errorf("seed %d: too little happened: %+v", seed, r)
		}
	}
}

func TestWhatCountsIsTheWorkOfTheTrials(t *testing.T) {
	s := rough()
	s.Hopeless, s.ErrorShare = 0, 0
	r := simulate(s)
	checkSums(t, s, r)
	if r.Failed != r.GivenUp || r.GivenUp > 0 || !near(r.Computed-r.Lost, r.Work) || r.Lost == 0 {
		t.Errorf("%.3f s were computed and %.3f of them lost; the trials are %.3f, and %d failed", r.Computed, r.Lost, r.Work, r.Failed)
	}
}

func TestStopsThatAreAnnouncedLoseNothing(t *testing.T) {
	s := calm()
	s.LimitSec, s.PreemptSec = 1800, 3600
	r := simulate(s)
	checkSums(t, s, r)
	if r.Lost != 0 || r.TimeOuts == 0 || r.Preemptions == 0 {
		t.Errorf("%.1f s lost in %d time-outs and %d preemptions", r.Lost, r.TimeOuts, r.Preemptions)
	}
}

func TestNodesThatFailLoseHalfACheckpointIntervalEach(t *testing.T) {
	s := calm()
	s.NodeSec, s.TrialSec = 10*3600, 4*3600
	r := simulate(s)
	checkSums(t, s, r)
	each := r.Lost / float64(r.Takeovers)
	if r.Takeovers < 500 || each < 0.45*s.EverySec || each > 0.55*s.EverySec {
		t.Errorf("%d attempts were lost with %.1f s each; checkpoints are %.0f s apart", r.Takeovers, each, s.EverySec)
	}
}

func TestEndsThatAreWrittenOnceKeepDuplicatesOut(t *testing.T) {
	var refused, takeovers, duplicates int
	for seed := range uint64(20) {
		s := calm()
		// Freezes longer than leases, which the engine never notices, and tasks that look at each other's trials soon.
		s.Seed, s.Trials, s.FreezeSec, s.FrozenSec, s.NoticeSec, s.TrialSec = seed, 400, 1200, 600, 1e9, 120
		r := simulate(s)
		checkSums(t, s, r)
		refused, takeovers = refused+r.Refused, takeovers+r.Takeovers
		s.Fence = false
		duplicates += simulate(s).Duplicates
	}
	if takeovers == 0 || refused == 0 {
		t.Errorf("%d takeovers and %d refused ends: too little happened", takeovers, refused)
	}
	if duplicates == 0 {
		t.Error("without the rule there are no duplicates either: the simulation cannot show that it holds")
	}
}

func TestTrialsFailAfterTheirRetries(t *testing.T) {
	s := calm()
	s.ErrorShare = 1
	r := simulate(s)
	checkSums(t, s, r)
	if r.Failed != s.Trials || r.Attempts != s.Trials*(1+s.Retries) {
		t.Errorf("%d of %d trials failed, in %d attempts", r.Failed, s.Trials, r.Attempts)
	}
}

func TestTheSameSeedGivesTheSameFigures(t *testing.T) {
	a, b := simulate(rough()), simulate(rough())
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v\n%+v", a, b)
	}
	other := rough()
	other.Seed++
	if c := simulate(other); c.Seconds == a.Seconds {
		t.Error("another seed gives the same time")
	}
}
