package run

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/results/metric"
)

// A spec whose plugins are not there leaves no database.
func TestNothingIsRecordedWithoutPlugins(t *testing.T) {
	l := lab.Lab{DB: filepath.Join(t.TempDir(), "r.db"), RunsDir: t.TempDir(), Catalog: &catalog.Catalog{}}
	_, err := Start(context.Background(), l, &spec.Spec{Data: spec.Data{Train: []spec.TrainData{{Dataset: "none"}}}}, nil, Quiet{})
	if fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(l.DB); err == nil {
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
