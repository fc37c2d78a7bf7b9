package eval_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/eval"
	"tandem/core/experiment/probe"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// painted returns n samples of each of the colours, which are said to be others.
func painted(n int, colour, said string) *paints {
	p := &paints{}
	for range n {
		p.colour, p.said = append(p.colour, strings.Fields(colour)...), append(p.said, strings.Fields(said)...)
	}
	p.groups = make([]int64, len(p.colour))
	for i := range p.groups {
		p.groups[i] = int64(i)
	}
	return p
}

func take(t *testing.T, p, train *paints, scale float64, measures ...eval.Measure) (eval.Result, map[string]float64, error) {
	t.Helper()
	parts := eval.Parts{Source: eval.Source{Data: p, Info: p.info()}, Image: &tower{}, Text: &tower{}}
	if train != nil {
		parts.Train = &eval.Source{Data: train, Info: train.info()}
	}
	if scale > 0 {
		parts.LogitScale = func(context.Context) (float64, error) { return scale, nil }
	}
	res, err := eval.Run(t.Context(), eval.Config{Name: "e", BatchSize: 4, MaxBadShare: 1, Measures: measures}, parts, nil)
	values := map[string]float64{}
	for _, m := range res.Metrics {
		values[strings.TrimPrefix(m.Name, "eval/e/")] = m.Value
	}
	return res, values, err
}

// checkNames reports figures that a measure is not declared to give, and the deciding one when it is missing.
func checkNames(t *testing.T, values map[string]float64, declared []string) {
	t.Helper()
	for name := range values {
		if !slices.Contains(declared, name) {
			t.Errorf("%s is not declared among %v", name, declared)
		}
	}
	if _, has := values[declared[0]]; !has {
		t.Errorf("%s is missing", declared[0])
	}
}

// The labels lie in the same way in training and test data: prompts find none of them, what learns finds all.
func TestMeasuresThatLearnFollowTheLabels(t *testing.T) {
	train, test := painted(6, "red green blue", "green blue red"), painted(3, "red green blue", "green blue red")
	for _, c := range []struct {
		name     string
		measure  eval.Measure
		declared []string
	}{
		{metric.LinearProbe, eval.LinearProbe{Target: "label", HeldOut: .2}, metric.LinearProbeMeasures()},
		{metric.Nearest, eval.Nearest{Target: "label", Nearest: probe.Nearest{K: 3, Temperature: .07}}, metric.NearestMeasures()},
		{metric.Nearest, eval.Nearest{Target: "label", Nearest: probe.Nearest{K: 3}}, metric.NearestMeasures()},
	} {
		res, values, err := take(t, test, train, 0, c.measure)
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, values, c.declared)
		if got := values[c.declared[0]]; got != 1 {
			t.Errorf("%s is %g", c.declared[0], got)
		}
		if o := res.Outcomes; len(o) != 1 || o[0].Of != c.name || o[0].Target != "label" || len(o[0].Predictions) != len(test.said) {
			t.Errorf("%s keeps %+v", c.name, o)
		}
		if !slices.ContainsFunc(res.Notes, func(n eval.Note) bool {
			return strings.Contains(n.Text, `2 of 5 classes (40.0 %) have no training sample`)
		}) {
			t.Errorf("%s does not tell of classes without training samples: %v", c.name, res.Notes)
		}
	}
	for _, c := range []float64{0, 30} {
		shots := []int{1, 4}
		res, values, err := take(t, test, train, 0, eval.FewShot{Target: "label", Shots: shots, Draws: 3, C: c})
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, values, metric.FewShotMeasures(shots))
		if values["few_shot_1_top1"] != 1 || values["few_shot_4_top1"] != 1 || values["few_shot_1_top1_std"] != 0 {
			t.Errorf("C = %g: %v, %v", c, values, res.Notes)
		}
	}
	if _, values, err := take(t, test, nil, 0, eval.ZeroShot{Target: "label", Templates: []string{"{}"}}); err != nil || values["top1"] != 0 {
		t.Errorf("prompts find %v, %v", values, err)
	}
}

func TestMeasuresThatLearnSayWhatIsMissing(t *testing.T) {
	train, test := painted(6, "red green", "red green"), painted(3, "red green", "red green")
	for _, c := range []struct {
		measure eval.Measure
		train   *paints
		path    string
	}{
		{eval.LinearProbe{Target: "label"}, nil, "linear_probe"},
		{eval.Nearest{Target: "breed"}, train, "knn.classes"},
		{eval.LinearProbe{Target: "label", HeldOut: .2}, painted(1, "red green", "red green"), "linear_probe.classes"},
		{eval.FewShot{Target: "label", Shots: []int{1}, Draws: 1}, painted(1, "red", "nothing"), "few_shot.classes"},
		{eval.Calibration{ZeroShot: eval.ZeroShot{Target: "label", Templates: []string{"{}"}}}, nil, "calibration"},
		{eval.Choices{}, nil, "choices"},
	} {
		_, _, err := take(t, test, c.train, 0, c.measure)
		if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Invalid || f.Path != c.path {
			t.Errorf("%T: %v", c.measure, err)
		}
	}
}

func TestFewerSamplesThanShotsAreTold(t *testing.T) {
	res, _, err := take(t, painted(1, "red green", "red green"), painted(2, "red green", "red green"), 0, eval.FewShot{Target: "label", Shots: []int{4}, Draws: 2})
	if err != nil || len(res.Notes) != 1 || !strings.Contains(res.Notes[0].Text, "fewer than 4 training samples") {
		t.Errorf("%v, %v", res.Notes, err)
	}
}

func TestRobustnessAveragesKindsAndSeverities(t *testing.T) {
	test := painted(20, "red green blue yellow white", "red green blue yellow white")
	kinds, severities := []string{"gaussian_noise", "brightness"}, []int{1, 5}
	m := eval.Robustness{ZeroShot: eval.ZeroShot{Target: "label", Templates: []string{"{}"}}, Kinds: kinds, Severities: severities}
	_, v, err := take(t, test, nil, 0, m)
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, v, metric.RobustnessMeasures(kinds, severities))
	if v["robust_brightness_5_top1"] != 1 || v["robust_gaussian_noise_5_top1"] >= v["robust_gaussian_noise_1_top1"] {
		t.Errorf("%v", v)
	}
	noise := (v["robust_gaussian_noise_1_top1"] + v["robust_gaussian_noise_5_top1"]) / 2
	if all := (noise + 1) / 2; math.Abs(v["robust_gaussian_noise_top1"]-noise) > 1e-12 || math.Abs(v["robust_top1"]-all) > 1e-12 || math.Abs(v["robust_drop"]-(1-all)) > 1e-12 {
		t.Errorf("the means do not fit: %v", v)
	}
	if _, again, _ := take(t, test, nil, 0, m); again["robust_gaussian_noise_5_top1"] != v["robust_gaussian_noise_5_top1"] {
		t.Error("the noise differs from time to time")
	}
}

// Four of five labels are those of the colours, so a model that is certain is too certain.
func TestCalibrationFitsATemperatureToTheOtherHalf(t *testing.T) {
	test := painted(200, "red green blue red green", "red green blue red blue")
	m := eval.Calibration{ZeroShot: eval.ZeroShot{Target: "label", Templates: []string{"{}"}}}
	res, v, err := take(t, test, nil, 100, m)
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, v, metric.CalibrationMeasures())
	if math.Abs(v["calibration_ece"]-.2) > .01 || v["calibration_temperature"] < 2 || v["calibration_fitted_nll"] >= v["calibration_nll"]/5 {
		t.Errorf("%v", v)
	}
	bins, _ := res.Facts["reliability"].(map[string]any)
	if last, _ := bins["15"].(string); len(bins) != 15 || bins["01"] != "0.000-0.067 n=0" || !strings.HasPrefix(last, "0.933-1.000 n=1000 confidence=1.0000 accuracy=0.8000") {
		t.Errorf("bins %v", res.Facts)
	}
}

func TestChoicesAreWonAgainstEveryNegative(t *testing.T) {
	test := painted(1, "red green blue red", "red green blue red")
	test.negatives = [][]string{{"green", "blue"}, {"red", "green"}, {"white", "yellow"}, {"yellow", "red"}} // the second and fourth have the caption itself
	_, v, err := take(t, test, nil, 0, eval.Choices{})
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, v, metric.ChoiceMeasures())
	if v["choices_accuracy"] != .5 || v["choices_pair_accuracy"] != 6./8 || math.Abs(v["choices_chance"]-1./3) > 1e-12 {
		t.Errorf("%v", v)
	}
}
