package run

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/results/metric"
)

func TestStepsEndAtWhateverIsReachedFirst(t *testing.T) {
	for _, c := range []struct {
		epochs float64
		max    int
		want   int
	}{{2, 0, 14}, {0, 5, 5}, {2, 5, 5}, {2, 50, 14}, {0.5, 0, 4}, {0.01, 0, 1}} {
		if got := steps(spec.Train{Epochs: c.epochs, MaxSteps: c.max}, 7); got != c.want {
			t.Errorf("%g epochs of 7 steps, at most %d: %d steps, want %d", c.epochs, c.max, got, c.want)
		}
	}
}

// Probabilities are the softmax of scaled cosines, best first; a large scale does not overflow. Those of
// a loss with a bias are sigmoids.
func TestGuesses(t *testing.T) {
	g := logits{scale: 10}.guesses([]float32{0.1, 0.3, 0.2}, []string{"a", "b", "c"})
	if g[0].Label != "b" || g[1].Label != "c" || g[2].Label != "a" {
		t.Errorf("order %v", g)
	}
	if want := 1 / (1 + math.Exp(-1) + math.Exp(-2)); math.Abs(g[0].Probability-want) > 1e-6 {
		t.Errorf("probability %g, want %g", g[0].Probability, want)
	}
	if g := (logits{scale: 1e4}).guesses([]float32{-1, 1}, []string{"a", "b"}); g[0].Probability != 1 || g[1].Probability != 0 {
		t.Errorf("at a large scale: %v", g)
	}
	// With a bias each label is judged on its own.
	bias := -3.0
	g = logits{scale: 10, bias: &bias}.guesses([]float32{0.1, 0.3, 0.25}, []string{"a", "b", "c"})
	for i, want := range []float64{0, -0.5, -2} { // logits, best first
		if p := 1 / (1 + math.Exp(-want)); math.Abs(g[i].Probability-p) > 1e-6 {
			t.Errorf("%s has probability %g, want %g", g[i].Label, g[i].Probability, p)
		}
	}
}

func TestThreadsAreSharedOut(t *testing.T) {
	s := &spec.Spec{Threads: 6, Eval: []spec.Eval{{Name: "x"}}}
	got := threads(s)
	if got[roleImage] != 6 || got[roleText] != 6 || got[roleData] != 3 || got[roleEval+"x"] != 3 {
		t.Errorf("%v", got)
	}
	s.Data.Workers = 5
	if threads(s)[roleData] != 5 {
		t.Error("data.workers does not count")
	}
}

func TestAnEncoderThatIsNotAsAskedIsRefused(t *testing.T) {
	good := clip.EncoderInfo{Modality: clip.Image, EmbedDim: 8, ImageSize: 32}
	if err := agree(roleImage, good, clip.Image, 8); err != nil {
		t.Error(err)
	}
	if err := agree(roleImage, good, clip.Image, 16); fault.KindOf(err) != fault.Invalid {
		t.Errorf("other width: %v", err)
	}
	if err := agree(roleText, good, clip.Text, 8); fault.KindOf(err) != fault.Invalid {
		t.Errorf("other modality: %v", err)
	}
}

// A spec whose plugins are not there leaves no database.
func TestNothingIsRecordedWithoutPlugins(t *testing.T) {
	lab := Lab{DB: filepath.Join(t.TempDir(), "r.db"), RunsDir: t.TempDir(), Catalog: &process.Catalog{}}
	_, err := lab.Run(context.Background(), &spec.Spec{}, nil, Quiet{})
	if fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(lab.DB); err == nil {
		t.Error("a database was made")
	}
}

// The metrics that a spec is said to give are those that its evaluations compute.
func TestASpecKnowsItsMetrics(t *testing.T) {
	c := metric.NewClassification(5)
	c.Add([]float32{1, 2, 3, 4, 5}, 4)
	r := metric.NewRetrieval(metric.Alone(make([]int64, 20))) // R@10 needs ten candidates
	r.Add(make([]float32, 20), 0)
	var computed []string
	for _, v := range c.Metrics() {
		computed = append(computed, "eval/x/"+v.Name)
	}
	for _, way := range []string{"image_to_text", "text_to_image"} {
		for _, v := range r.Metrics() {
			computed = append(computed, "eval/x/"+way+"_"+v.Name)
		}
	}
	s := &spec.Spec{Eval: []spec.Eval{{Name: "x", ZeroShot: &spec.ZeroShot{}, Retrieval: true}}}
	if said := s.EvalMetrics(); !slices.Equal(said, computed) {
		t.Errorf("the spec says %v, computed are %v", said, computed)
	}
}

// The precision is the towers': losses stay in float32. So is checkpointing. Each part has its device.
func TestPrecisionIsTheTowers(t *testing.T) {
	s := &spec.Spec{Image: spec.Tower{Device: "cuda:1"}, Loss: spec.Loss{Device: "cpu"}, Train: spec.Train{Precision: "bf16", ActivationCheckpointing: true}}
	limits := map[string]int{roleImage: 3, roleLoss: 2}
	if got, want := computeFor(s, roleImage, limits), (clip.Compute{Device: "cuda:1", Threads: 3, Precision: "bf16", Checkpointing: true}); got != want {
		t.Errorf("image tower: %+v, want %+v", got, want)
	}
	if got, want := computeFor(s, roleLoss, limits), (clip.Compute{Device: "cpu", Threads: 2, Precision: "f32"}); got != want {
		t.Errorf("loss: %+v, want %+v", got, want)
	}
}
