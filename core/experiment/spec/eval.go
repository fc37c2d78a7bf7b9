package spec

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
)

// Eval describes one evaluation.
type Eval struct {
	Dataset    string          `json:"dataset"`
	With       json.RawMessage `json:"with"`
	Name       string          `json:"name"` // unique among the evaluations
	ZeroShot   *ZeroShot       `json:"zero_shot"`
	Retrieval  bool            `json:"retrieval"`
	BatchSize  int             `json:"batch_size"`  // filled in
	MaxSamples int             `json:"max_samples"` // 0: all
	// EqualCaptions makes pictures with an equal caption positives of each other in retrieval.
	EqualCaptions bool    `json:"equal_captions"`
	MaxBadShare   float64 `json:"max_bad_share"` // as in Data
	// Train is what measures learn from; nil: nothing.
	Train *EvalTrain `json:"train"`

	LinearProbe *LinearProbe `json:"linear_probe"`
	KNN         *Nearest     `json:"knn"`
	FewShot     *FewShot     `json:"few_shot"`
	Robustness  *Robustness  `json:"robustness"`
	Calibration bool         `json:"calibration"`
	Choices     bool         `json:"choices"`
}

// EvalTrain names the samples that the measures of an evaluation learn from.
type EvalTrain struct {
	Dataset    string          `json:"dataset"`
	With       json.RawMessage `json:"with"`
	MaxSamples int             `json:"max_samples"` // 0: all
}

// ZeroShot configures classification by prompts.
type ZeroShot struct {
	Classes string `json:"classes"` // a target of the dataset
	// ClassNames holds texts for its classes in the order of their ids; nil: the dataset's.
	ClassNames []string `json:"class_names"`
	Templates  []string `json:"templates"` // each with one {}
}

// evalKeys lists the keys of an evaluation.
var evalKeys = slices.Concat([]Key{
	plugin("dataset", clip.KindDataset, "", "dataset plugin"), with,
	key("name", clip.TypeString, nil, "names the metrics eval/NAME/…; the dataset's name when left out"),
	section("zero_shot", "classification by prompts; left out: none",
		key("classes", clip.TypeString, nil, "the dataset's labelling to predict (its target)").required(),
		key("class_names", typeLines, nil, "texts for the classes instead of the dataset's own, in the order of their ids: a list, or `{file: names.txt}` with one a line"),
		key("templates", typeLines, []any{"a photo of a {}."}, "prompts with one `{}` each; their text features are averaged per class; a list, or `{file: prompts.txt}` with one a line")).optional(),
	key("retrieval", clip.TypeBool, false, "recall at 1, 5 and 10 from image to text and from text to image, and precision where there are several positives"),
	key("equal_captions", clip.TypeBool, false, "in retrieval, pictures with an equal caption are positives of each other"),
	key("max_bad_share", clip.TypeFloat, 0.5, "share of samples that cannot be read and of refused records beyond which the evaluation fails; up to it they are left out, counted and said").min(0).max(1),
	key("batch_size", clip.TypeInt, int64(0), "samples per forward pass; 0: the training batch").min(0).max(1 << 20),
	key("max_samples", clip.TypeInt, int64(0), "only the first N samples; 0: all").min(0).max(maxInt),
	section("train", "samples that measures learn from (a probe, neighbours); left out: none",
		Key{Field: clip.Field{Name: "dataset", Type: typePlugin, Help: "dataset plugin; the evaluation's own when left out"}, Kind: clip.KindDataset},
		key("with", typeWith, nil, "its settings; of the evaluation's own dataset those that are left out are the evaluation's"),
		key("max_samples", clip.TypeInt, int64(0), "only the first N samples; 0: all").min(0).max(maxInt)).optional(),
}, learningMeasures, promptMeasures, []Key{choiceKey})

// measureKeys lists the keys of an evaluation that ask for a measure: a map, or true.
var measureKeys = func() []string {
	names := []string{"zero_shot", "retrieval", choiceKey.Name}
	for _, k := range slices.Concat(learningMeasures, promptMeasures) {
		names = append(names, k.Name)
	}
	return names
}()

// asks reports whether the value of a measure's key asks for it. What is wrong was reported.
func asks(v any) bool { return v != nil && v != false }

func (c *checker) evals(list []any, tree map[string]any) {
	first := map[string]path{}
	k := c.keyOf(path{"eval", "dataset"})
	for i := range list {
		m, ok := list[i].(map[string]any)
		if !ok {
			continue
		}
		p := path{"eval", strconv.Itoa(i)}
		d := c.plugin(m, k, p)
		c.evalTrain(m, p)
		if _, ok := m["name"]; !ok {
			if name, ok := m["dataset"].(string); ok {
				if d.Name != "" {
					name = d.Name
				}
				c.setDefault(m, p.with("name"), filepath.Base(name), "default")
			}
		}
		if name, ok := m["name"].(string); ok {
			c.nameForm(m, p.with("name"), nameForm)
			if prev, taken := first[name]; taken {
				at := p.with("name")
				if c.origin(at).Line == 0 {
					at = p
				}
				c.fault(at, "%q is the name of %s too", name, prev).WithHint("give each evaluation a name of its own: metrics are called eval/NAME/…")
			} else {
				first[name] = p
			}
		}
		if !slices.ContainsFunc(measureKeys, func(name string) bool { return asks(m[name]) }) {
			c.fault(p, "measures nothing").WithHint("add zero_shot: {classes: …} or retrieval: true")
		}
		c.checkMeasures(m, p)
		if m["batch_size"] == int64(0) {
			if n, ok := lookup(tree, path{"train", "batch_size"}).(int64); ok {
				m["batch_size"] = n
			}
		}
		if templates, ok := lookup(m, path{"zero_shot", "templates"}).([]any); ok {
			at := p.with("zero_shot").with("templates")
			if len(templates) == 0 {
				c.fault(at, "no templates").WithHint("at least one; \"{}\" alone is the bare class name")
			}
			for j, t := range templates {
				if n := strings.Count(t.(string), "{}"); n != 1 {
					c.fault(at.with(strconv.Itoa(j)), "%q has %d places for the class name, want 1", t, n).
						WithHint("write {} once: \"a photo of a {}.\"")
				}
			}
		}
	}
}

// evalTrain checks the samples that the measures of an evaluation at p learn from.
func (c *checker) evalTrain(m map[string]any, p path) {
	train, ok := m["train"].(map[string]any)
	if !ok {
		return
	}
	p = p.with("train")
	own, _ := m["dataset"].(string)
	if _, given := train["dataset"]; !given && own != "" {
		c.setDefault(train, p.with("dataset"), own, "as the evaluation")
	}
	if with, ok := m["with"].(map[string]any); ok && train["dataset"] == own {
		all := maps.Clone(with)
		if given, ok := train["with"].(map[string]any); ok {
			maps.Copy(all, given)
		}
		if _, isBad := train["with"].(bad); !isBad {
			train["with"] = all
		}
	}
	c.plugin(train, c.keyOf(path{"eval", "train", "dataset"}), p)
}
