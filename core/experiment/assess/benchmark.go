package assess

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/metric"
)

// The tasks of CLIP_benchmark.
const (
	taskClassification = "zeroshot_classification"
	taskRetrieval      = "zeroshot_retrieval"
	taskProbe          = "linear_probe"
)

// benchmarked says which figures CLIP_benchmark 1.6 calls how.
var benchmarked = []struct{ task, measure, theirs string }{
	{taskClassification, "top1", "acc1"},
	{taskClassification, "top5", "acc5"},
	{taskClassification, "mean_per_class_recall", "mean_per_class_recall"},
	{taskRetrieval, metric.Directed(metric.TextToImage, "R@1"), "image_retrieval_recall@1"},
	{taskRetrieval, metric.Directed(metric.ImageToText, "R@1"), "text_retrieval_recall@1"},
	{taskRetrieval, metric.Directed(metric.TextToImage, "R@5"), "image_retrieval_recall@5"},
	{taskRetrieval, metric.Directed(metric.ImageToText, "R@5"), "text_retrieval_recall@5"},
	{taskRetrieval, metric.Directed(metric.TextToImage, "R@10"), "image_retrieval_recall@10"},
	{taskRetrieval, metric.Directed(metric.ImageToText, "R@10"), "text_retrieval_recall@10"},
	{taskProbe, "linear_probe_top1", "lp_acc1"},
	{taskProbe, "linear_probe_top5", "lp_acc5"},
	{taskProbe, "linear_probe_mean_per_class_recall", "lp_mean_per_class_recall"},
}

// Benchmark is a file as CLIP_benchmark (github.com/LAION-AI/CLIP_benchmark) writes it.
type Benchmark struct {
	Dataset    string              `json:"dataset"`
	Model      string              `json:"model"`
	Pretrained string              `json:"pretrained"`
	Task       string              `json:"task"`
	Metrics    map[string]*float64 `json:"metrics"` // nil: not a number, as acc5 of fewer than five classes
	Language   string              `json:"language"`
}

// Benchmarks returns a result as CLIP_benchmark's files, one for each of its tasks.
func Benchmarks(r Result) []Benchmark {
	var out []Benchmark
	for _, task := range []string{taskClassification, taskRetrieval, taskProbe} {
		b := Benchmark{Dataset: r.Evaluation, Task: task, Language: "en", Metrics: map[string]*float64{},
			Model: r.Spec.Image.Encoder + "+" + r.Spec.Text.Encoder, Pretrained: fmt.Sprintf("%s-step-%d", r.Run, r.Step)}
		for _, x := range benchmarked {
			if x.task != task {
				continue
			}
			for _, m := range r.Metrics {
				if v := m.Value; metric.Measure(m.Name) == x.measure && !math.IsNaN(v) {
					b.Metrics[x.theirs] = &v
				}
			}
		}
		if len(b.Metrics) == 0 {
			continue
		}
		if _, has := b.Metrics["acc5"]; task == taskClassification && !has {
			b.Metrics["acc5"] = nil
		}
		out = append(out, b)
	}
	return out
}

// WriteBenchmarks writes the files of results into a folder, under CLIP_benchmark's names, and returns their paths.
func WriteBenchmarks(dir string, results []Result) (paths []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	for _, r := range results {
		for _, b := range Benchmarks(r) {
			data, err := json.Marshal(b)
			if err != nil {
				return paths, fault.New(fault.Internal, "%w", err)
			}
			name := strings.NewReplacer("/", "-", " ", "-").Replace(fmt.Sprintf("%s_%s_%s_%s_%s.json", b.Dataset, b.Pretrained, b.Model, b.Language, b.Task))
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
				return paths, fault.New(fault.Exhausted, "%w", err)
			}
			paths = append(paths, path)
		}
	}
	return paths, nil
}
