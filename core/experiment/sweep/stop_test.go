package sweep

import (
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/spec"
	"tandem/core/random"
	"tandem/core/results"
)

// at10 returns a curve with these values at steps 10, 20, ….
func at10(values ...float64) results.Curve {
	var c results.Curve
	for i, v := range values {
		c = append(c, results.Point{Step: 10 * (i + 1), Value: v})
	}
	return c
}

func TestDecisions(t *testing.T) {
	nan := math.NaN()
	few := spec.Stop{Rule: spec.Median, Metric: "m", MinTrials: 3}
	halving := spec.Stop{Rule: spec.ASHA, Metric: "m", MinTrials: 1, Eta: 2}
	three := []results.Curve{at10(.5, .7), at10(.2, .4), at10(.4, .6, .9)} // averages .6, .3 and .5 at step 20
	for _, c := range []struct {
		name    string
		stop    spec.Stop
		smaller bool
		own     results.Curve
		others  []results.Curve
		want    string // "": goes on
	}{
		{"best above the median of averages", few, false, at10(.51, .1), three, ""},
		{"equal to it", few, false, at10(.5, .1), three, ""},
		{"below it", few, false, at10(.1, .49), three, "m of 0.49 at best up to step 20 is worse than 0.5, the median of the averages of 3 other trials"},
		{"too few others", few, false, at10(.1, .1), three[:2], ""},
		{"others not as far", few, false, at10(.1, .1, .1), three, ""},
		{"what others did later does not count", few, false, at10(.3), three, "worse than 0.4"},
		{"no point yet", few, false, nil, three, ""},
		{"smaller is better", few, true, at10(.9, .51), three, "m of 0.51"},
		{"smaller is better and is", few, true, at10(.9, .49), three, ""},
		{"the mean of two in the middle", few, false, at10(.1, .39), append(three, at10(0, 0)), "worse than 0.4,"},
		{"NaN alone", few, false, at10(nan, nan), three, "m of NaN at best"},
		{"NaN and a good one", few, false, at10(.9, nan), three, ""},
		{"an average with a NaN is the worst", few, false, at10(.1, .29), []results.Curve{at10(1, nan), at10(.2, .4), at10(.4, .6)}, "worse than 0.3,"},
		{"among NaN alone", few, false, at10(nan), []results.Curve{at10(nan), at10(nan), at10(nan)}, ""},

		{"first at the rung", halving, false, at10(.1), nil, ""},
		{"best of two", halving, false, at10(.6), three[:1], ""},
		{"second of two", halving, false, at10(.4), three[:1], "m of 0.4 at step 10 is place 2 of 2 at rung 10, and one in 2 goes on"},
		{"second of three, one goes on", halving, false, at10(.4), three[:2], "place 2 of 3"},
		{"second of four, two go on", halving, false, at10(.4), append(three[:2:2], at10(.1)), ""},
		{"a tie at the edge goes on", halving, false, at10(.5), three[:2], ""},
		{"at the second rung", halving, false, at10(.5, .5), three, "m of 0.5 at step 20 is place 3 of 4 at rung 20"},
		{"between rungs", halving, false, at10(.5, .5, 0), three, ""},
		{"smaller is better by rank", halving, true, at10(.3), three[:2], "place 2 of 3"},
		{"NaN is last", halving, true, at10(nan), three[:1], "m of NaN at step 10 is place 2 of 2"},
		{"better than NaN", halving, true, at10(9), []results.Curve{at10(nan)}, ""},
	} {
		step := 10
		if len(c.own) > 0 {
			step = c.own[len(c.own)-1].Step
		}
		reason, stop := NewRule(&c.stop, 10, c.smaller).Decide(step, c.own, c.others)
		if stop != (c.want != "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %v, %q, want %q", c.name, stop, reason, c.want)
		}
	}
}

// A rung that lies between two points is decided at the first after it, once.
func TestRungsBetweenPoints(t *testing.T) {
	r := NewRule(&spec.Stop{Rule: spec.ASHA, Eta: 3, MinTrials: 1}, 5, false)
	good, bad := results.Curve{}, results.Curve{}
	for step := 4; step <= 60; step += 4 {
		good = append(good, results.Point{Step: step, Value: 1})
	}
	var at []int
	for step := 4; step <= 60; step += 4 {
		bad = append(bad, results.Point{Step: step, Value: 0})
		if _, stop := r.Decide(step, bad, []results.Curve{good, good}); stop {
			at = append(at, step)
		}
	}
	if want := []int{8, 16, 48}; !slices.Equal(at, want) { // rungs 5, 15 and 45
		t.Errorf("decided at %v, want %v", at, want)
	}
}

// race runs trials of which several are under way at a time, in a random order, and gives each one's
// curve as far as it came. It checks what holds for every rule on the way.
func race(t *testing.T, s *random.Stream, stop spec.Stop, grace int, smaller bool, full []results.Curve) []results.Curve {
	t.Helper()
	rule, mirror := NewRule(&stop, grace, smaller), NewRule(&stop, grace, !smaller)
	curves := make([]results.Curve, len(full))
	queue, running := s.Perm(len(full)), []int{}
	for len(queue)+len(running) > 0 {
		if len(running) < 3 && len(queue) > 0 {
			running, queue = append(running, queue[0]), queue[1:]
			continue
		}
		i := running[s.IntN(len(running))]
		curves[i] = full[i][:len(curves[i])+1]
		now := curves[i][len(curves[i])-1]
		others, asFar := []results.Curve{}, 0
		for _, j := range s.Perm(len(full)) {
			if j != i {
				others = append(others, curves[j])
				if n := len(curves[j]); n > 0 && curves[j][n-1].Step >= now.Step {
					asFar++
				}
			}
		}
		reason, stopped := rule.Decide(now.Step, curves[i], others)
		if stopped && (now.Step < grace || asFar < stop.MinTrials || reason == "") {
			t.Errorf("%s stops at step %d, %d others as far, because %q", stop.Rule, now.Step, asFar, reason)
		}
		if again, same := rule.Decide(now.Step, curves[i], reversed(others, 1)); again != reason || same != stopped {
			t.Errorf("another order of the others gives %q, not %q", again, reason)
		}
		negative := reversed([]results.Curve{curves[i]}, -1)[0]
		if _, same := mirror.Decide(now.Step, negative, reversed(others, -1)); same != stopped {
			t.Errorf("%s at step %d: the mirror image is decided differently", stop.Rule, now.Step)
		}
		if stopped || len(curves[i]) == len(full[i]) {
			running = slices.DeleteFunc(running, func(j int) bool { return j == i })
		}
	}
	return curves
}

// reversed returns curves in the opposite order, their values times by.
func reversed(curves []results.Curve, by float64) []results.Curve {
	var out []results.Curve
	for _, c := range slices.Backward(curves) {
		d := slices.Clone(c)
		for i := range d {
			d[i].Value *= by
		}
		out = append(out, d)
	}
	return out
}

// Where trials improve and keep their order, the best one is never stopped, whatever the order of events,
// while others are.
func TestTheBestIsNeverStopped(t *testing.T) {
	for _, rule := range []string{spec.Median, spec.ASHA} {
		steps, saved := 0, 0
		for n := range 40 {
			s := random.New(3, "race "+rule, n)
			stop := spec.Stop{Rule: rule, Eta: 2 + s.IntN(3), MinTrials: 1 + s.IntN(4)}
			smaller := n%2 == 0
			full := make([]results.Curve, 20)
			for i := range full {
				quality := .1 + s.Float64()
				for step := 5; step <= 200; step += 5 {
					v := quality * (1 - math.Exp(-float64(step)/60))
					if smaller {
						v = 3 - v
					}
					full[i] = append(full[i], results.Point{Step: step, Value: v})
				}
			}
			best := 0
			for i := range full {
				if v, b := full[i][0].Value, full[best][0].Value; v != b && (v < b) == smaller {
					best = i
				}
			}
			curves := race(t, s, stop, 10+s.IntN(40), smaller, full)
			if len(curves[best]) < len(full[best]) {
				t.Errorf("%s: the best was stopped after %d points", rule, len(curves[best]))
			}
			for i := range full {
				steps, saved = steps+len(full[i]), saved+len(full[i])-len(curves[i])
			}
		}
		if saved < steps/10 {
			t.Errorf("%s saves %d of %d points", rule, saved, steps)
		}
	}
}

// One that is far behind is stopped as soon as the rule may: at grace, with enough others there.
func TestAClearlyBadOneIsStoppedAtOnce(t *testing.T) {
	for _, rule := range []string{spec.Median, spec.ASHA} {
		s := random.New(4, "noisy "+rule)
		for range 50 {
			var others []results.Curve
			for range 3 {
				c := results.Curve{}
				for step := 1; step <= 100; step++ {
					c = append(c, results.Point{Step: step, Value: 1 + s.Float64()})
				}
				others = append(others, c)
			}
			r, own := NewRule(&spec.Stop{Rule: rule, Eta: 3, MinTrials: 3}, 30, false), results.Curve{}
			for step := 1; step <= 100; step++ {
				own = append(own, results.Point{Step: step, Value: s.Float64()})
				if _, stop := r.Decide(step, own, others); stop != (step == 30) {
					t.Fatalf("%s at step %d: stopped is %v", rule, step, stop)
				}
				if step == 30 {
					break
				}
				if _, stop := r.Decide(step, own, others[:2]); stop {
					t.Fatalf("%s: stopped with two others", rule)
				}
			}
		}
	}
}
