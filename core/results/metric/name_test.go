package metric

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

func TestMetricsSortEvaluationsFirstAndNumbersByValue(t *testing.T) {
	metrics := map[string]int{"train/loss": 1, "eval/e/R@10": 1, "eval/e/R@5": 1, "eval/e/R@1": 1, "eval/e/R@": 1, "train/l": 1, "eval/e/top1": 1}
	want := "eval/e/R@ eval/e/R@1 eval/e/R@5 eval/e/R@10 eval/e/top1 train/l train/loss"
	if got := strings.Join(Names(metrics), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNamesHaveParts(t *testing.T) {
	for name, want := range map[string]struct {
		source, measure, short, evaluation string
		training, evaluated                bool
	}{
		"train/loss":                     {"train", "loss", "train/loss", "", true, false},
		"train/loss/image_to_text":       {"train/loss", "image_to_text", "train/loss/image_to_text", "", true, false},
		"train/":                         {"train", "", "train/", "", false, false},
		"eval/emoji/top1":                {"eval/emoji", "top1", "emoji/top1", "emoji", false, true},
		"eval/emoji/image_to_text_R@1":   {"eval/emoji", "image_to_text_R@1", "emoji/image_to_text_R@1", "emoji", false, true},
		"eval/pictures/of/cats/accuracy": {"eval/pictures/of/cats", "accuracy", "pictures/of/cats/accuracy", "pictures/of/cats", false, true},
		"alone":                          {"", "alone", "alone", "", false, false},
	} {
		if Source(name) != want.source || Measure(name) != want.measure || Short(name) != want.short {
			t.Errorf("%s is %q, %q, short %q", name, Source(name), Measure(name), Short(name))
		}
		by, evaluated := Evaluation(name)
		if evaluated && by != want.evaluation || evaluated != want.evaluated || IsEvaluation(name) != want.evaluated || IsTraining(name) != want.training {
			t.Errorf("%s: evaluation %q, %v; training %v", name, by, evaluated, IsTraining(name))
		}
	}
}

func TestMeasuresAreThoseThatScoresGive(t *testing.T) {
	classes, candidates := NewClassification(5), NewRetrieval(make([][]int64, 10))
	candidates.groups[0], candidates.groups[1], candidates.present[0] = []int64{0}, []int64{0}, true
	classes.Add(make([]float32, 5), 0)
	candidates.Add(make([]float32, 10), 0)
	names := func(values []Value) (names []string) {
		for _, v := range values {
			names = append(names, v.Name)
		}
		return names
	}
	if got := names(classes.Metrics()); !slices.Equal(got, ClassificationMeasures()) {
		t.Errorf("classification gives %v", got)
	}
	var both []string
	for _, way := range []string{ImageToText, TextToImage} {
		for _, name := range names(candidates.Metrics()) {
			both = append(both, Directed(way, name))
		}
	}
	if !slices.Equal(both, RetrievalMeasures()) {
		t.Errorf("retrieval gives %v", both)
	}
	for _, measure := range append(ClassificationMeasures(), RetrievalMeasures()...) {
		ranks := strings.HasSuffix(measure, "rank")
		if name := Evaluated("e", measure); IsShare(name) == ranks || (DirectionOf(name) == Down) != ranks || !HasBest(name) {
			t.Errorf("%s: share %v, direction %s", name, IsShare(name), DirectionOf(name))
		}
	}
}

func TestUnits(t *testing.T) {
	for name, want := range map[string]Unit{
		"eval/e/top1": Share, "eval/e/top5": Share, "eval/e/text_to_image_R@10": Share, "eval/e/mean_per_class_recall": Share, "eval/e/accuracy": Share,
		"eval/e/linear_probe_top1": Share, "eval/e/few_shot_4_top1_std": Share, "eval/e/text_to_image_mAP@10": Share, "eval/e/calibration_ece": Share,
		"eval/e/robust_drop": Share, "eval/e/calibration_nll": Plain, "eval/e/linear_probe_C": Plain,
		"eval/e/mean_rank": Plain, "train/loss": Plain, "train/top1/loss": Plain, DataWaitMS: Milliseconds, SamplesPerS: PerSecond,
	} {
		if got := UnitOf(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func TestAnEvaluationOfAnyMeasureHasAHeadline(t *testing.T) {
	for _, measures := range [][]string{ClassificationMeasures(), LinearProbeMeasures(), NearestMeasures(), FewShotMeasures([]int{4}), RobustnessMeasures([]string{"jpeg"}, []int{1}), CalibrationMeasures(), ChoiceMeasures()} {
		if !IsHeadline(Evaluated("e", measures[0])) {
			t.Errorf("%s is none", measures[0])
		}
	}
	for _, other := range []string{"few_shot_4_top1_std", "robust_jpeg_top1", "linear_probe_C", "mean_rank"} {
		if IsHeadline(Evaluated("e", other)) {
			t.Errorf("%s is one", other)
		}
	}
}

func TestAWordMeansTheOnlyMetricThatEndsWithIt(t *testing.T) {
	names := []string{"eval/a/top1", "eval/a/top5", "eval/b/top5"}
	for word, want := range map[string]string{"top1": "eval/a/top1", "b/top5": "eval/b/top5", "eval/a/top5": "eval/a/top5", "loss": "loss", "": ""} {
		if got, err := Find(word, names); got != want || err != nil {
			t.Errorf("%q means %q, %v", word, got, err)
		}
	}
	if _, err := Find("top5", names); fault.KindOf(err) != fault.Invalid {
		t.Errorf("top5 means %v", err)
	}
}

func TestCommonSource(t *testing.T) {
	for want, names := range map[string][]string{"eval/e/": {"eval/e/top1", "eval/e/top5"}, "": {"eval/e/top1", "train/loss"}} {
		if got := CommonSource(names); got != want {
			t.Errorf("%v share %q", names, got)
		}
	}
	if got := CommonSource([]string{"eval/e/top1"}); got != "" {
		t.Errorf("one name shares %q with itself", got)
	}
}

func TestAveragesStandBesideTheLiveFigures(t *testing.T) {
	name := Evaluated(Averaged("emoji"), top1)
	if name != "eval/emoji@ema/top1" || !IsAveraged(name) || IsAveraged("eval/emoji/top1") || IsAveraged(TrainLoss) {
		t.Errorf("%q", name)
	}
	if by, _ := Evaluation(name); Live(by) != "emoji" || Live("emoji") != "emoji" {
		t.Errorf("%q is beside %q", by, Live(by))
	}
	if DirectionOf(name) != Up || !IsShare(name) || Compare("eval/emoji/top5", name) >= 0 {
		t.Error("an average is read in another way than what it stands beside")
	}
	names := []string{"eval/emoji/top1", name, "eval/other/R@1", "eval/more/R@1"}
	for word, want := range map[string]string{"top1": "eval/emoji/top1", "emoji@ema/top1": name} {
		if got, err := Find(word, names); got != want || err != nil {
			t.Errorf("%q means %q, %v", word, got, err)
		}
	}
	if _, err := Find("R@1", names); fault.KindOf(err) != fault.Invalid {
		t.Errorf("R@1: %v", err)
	}
}
