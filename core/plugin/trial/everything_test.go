package trial_test

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/trial"
)

// everything is a loss of a few lines that takes all inputs there are: images find the texts of their group among
// texts and negatives, and their second view; students keep the distances of their teachers; tokens find one another.
var everything = sdk.Loss{
	Name: "everything", Version: "1.0.0", Summary: "a loss of every input", Inputs: clip.LossInputs,
	New: func() clip.Loss { return loss.New(defineEverything) },
}

func defineEverything(c clip.LossConfig) (loss.Definition, error) {
	if len(c.With) > 2 {
		return loss.Definition{}, fault.New(fault.Invalid, "there are no options").WithPath("with")
	}
	return loss.Definition{
		Inputs: clip.LossInputs, Scalars: []loss.Scalar{{Name: loss.LogitScale, Init: 1, Max: 5}}, Learn: true,
		Report: loss.ReportTemperature, Build: buildEverything,
	}, nil
}

func buildEverything(b loss.Batch) []loss.Part {
	logits := func(a, c *graph.Node) *graph.Node {
		return graph.ScaleByExp(graph.MatMul(a, c, false, true), b.Scalars[loss.LogitScale])
	}
	apart := func(a, teacher *graph.Node) *graph.Node {
		d := graph.Sub(graph.MatMul(a, a, false, true), graph.MatMul(teacher, teacher, false, true))
		return graph.SumCols(graph.Mul(d, d))
	}
	mean := func(name string) *graph.Node { return graph.MeanTokens(b.Input(name), b.Lengths(name)) }
	part := func(name string, losses *graph.Node) loss.Part {
		return loss.Part{Name: name, Weight: .5, Losses: losses}
	}
	return []loss.Part{
		part("pairs", b.CrossEntropy(logits(b.Image, loss.Rows(b.Text, b.Input(clip.InputTextNegatives))), b.GroupTargets())),
		part("views", b.CrossEntropy(logits(b.Image, b.Input(clip.InputImageView2)), b.GroupTargets())),
		part("teacher_image", apart(b.Image, b.Input(clip.InputTeacherImage))),
		part("teacher_text", apart(b.Text, b.Input(clip.InputTeacherText))),
		part("tokens", b.CrossEntropy(logits(mean(clip.InputImageTokens), mean(clip.InputTextTokens)), b.GroupTargets())),
	}
}

// A process with a loss of every input keeps the rules, its gradients those of finite differences among them.
func TestALossOfEveryInputKeepsTheRules(t *testing.T) {
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "losses", everything.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	c := &catalog.Catalog{Roots: []string{root}}
	d, b, err := c.Describe(clip.KindLoss, everything.Name)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	rules, passed := []string{"permutation", "embedding gradients", "input gradients", "bad inputs", "without shared memory"}, map[string]bool{}
	for _, rule := range try(t, trial.Options{Catalog: c, Descriptor: d, Binary: b, Only: rules}).Rules {
		passed[rule.Rule] = rule.Outcome == trial.Passed
		if rule.Outcome == trial.Failed {
			t.Errorf("%s: %s", rule.Rule, rule.Why)
		}
	}
	for _, rule := range rules {
		if !passed[rule] {
			t.Errorf("%s was not checked", rule)
		}
	}
}
