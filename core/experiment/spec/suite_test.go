package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

func suiteOf(t *testing.T, text string) (*Suite, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadSuite(file, Options{Catalog: spectest.Plugins(t)})
}

const twoEvals = `eval:
  - {dataset: emoji, with: {split: test}, name: groups, zero_shot: {classes: group}}
  - {dataset: emoji, with: {split: test}, retrieval: true, train: {with: {split: train}, max_samples: 9}}
`

// A suite is checked as a spec's eval list is, with places; its entries stand in a spec in place of the spec's own.
func TestASuiteIsAnEvalListOfItsOwn(t *testing.T) {
	x, err := suiteOf(t, twoEvals)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if x.Name != "mine" || len(x.Eval) != 2 || x.Eval[0].BatchSize != suiteBatch || x.Eval[1].Name != "emoji" {
		t.Fatalf("%+v", x)
	}
	if train := x.Eval[1].Train; train == nil || train.Dataset != "emoji" || !strings.Contains(string(train.With), `"split":"train"`) || train.MaxSamples != 9 {
		t.Errorf("samples to learn from: %+v", train)
	}
	s, err := Load("../../../experiments/quickstart.yaml", Options{})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	own := s.EvalSHA256(0)
	with := s.WithSuite(x)
	if len(s.Eval) != 1 || len(with.Eval) != 2 || with.EvalSHA256(0) == own || s.EvalSHA256(0) != own {
		t.Errorf("%d and %d evaluations", len(s.Eval), len(with.Eval))
	}
	if o := with.Locate("eval[1].train.with.split"); o.Line != 3 || filepath.Base(o.Source) != "mine.yaml" {
		t.Errorf("placed at %s", o)
	}
}

func TestWhatASuiteMeasuresHasADigest(t *testing.T) {
	sum := func(text string) string {
		t.Helper()
		x, err := suiteOf(t, text)
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		s := (&Spec{tree: map[string]any{}, origins: map[string]Origin{}}).WithSuite(x)
		return s.EvalSHA256(0)
	}
	base := sum("eval: [{dataset: emoji, with: {split: test}, name: a, zero_shot: {classes: group}}]")
	for text, same := range map[string]bool{
		"eval: [{dataset: emoji, with: {split: test}, name: b, zero_shot: {classes: group}}]":           true,
		"eval: [{dataset: emoji, with: {split: test}, batch_size: 7, zero_shot: {classes: group}}]":     true,
		"eval: [{dataset: emoji, with: {split: test}, retrieval: false, zero_shot: {classes: group}}]":  true,
		"eval: [{dataset: emoji, with: {split: train}, zero_shot: {classes: group}}]":                   false,
		"eval: [{dataset: emoji, with: {split: test}, zero_shot: {classes: group, templates: ['{}']}}]": false,
		"eval: [{dataset: emoji, with: {split: test}, retrieval: true, zero_shot: {classes: group}}]":   false,
		"eval: [{dataset: emoji, with: {split: test}, max_samples: 5, zero_shot: {classes: group}}]":    false,
		"eval: [{dataset: emoji, with: {split: test}, zero_shot: {classes: group}, train: {with: {}}}]": false,
	} {
		if (sum(text) == base) != same {
			t.Errorf("%s: the same is %v, want %v", text, !same, same)
		}
	}
}

func TestFaultsOfASuiteHavePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "mine.yaml:1:1: eval: a suite without evaluations",
		"eval: []\n":                         "without evaluations",
		"eval:\n  - {dataset: emoji}\n":      "mine.yaml:2:5: eval[0]: measures nothing",
		"loss: {plugin: clip}\n" + twoEvals:  "mine.yaml:1:1: loss: unknown key",
		"ablate: {factors: {}}\n" + twoEvals: "no ablations",
		"eval:\n  - {dataset: emojis, retrieval: true}\n":                                       `no dataset plugin "emojis"`,
		"eval:\n  - {dataset: emoji, retrieval: true, train: {with: {splt: all}}}\n":            "eval[0].train.with.splt",
		"eval:\n  - {dataset: emoji, retrieval: true}\n  - {dataset: emoji, retrieval: true}\n": "is the name of eval[0] too",
	} {
		if _, err := suiteOf(t, text); err == nil || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
