package eval_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/tensor"
)

// golden is what tools/goldens/clipbenchmark/make.py wrote.
type golden struct {
	Images             [][]float32
	TextFeatures       [][]float32 `json:"text_features"`
	Labels             []int32
	Classes, Templates []string
	Captions           [][]string
	Texts              []string
	Metrics            map[string]float64
	Predicted          []int32
	Hits               map[string][]int
}

// looksUp is both towers: it knows the features of the pictures by their first pixels, and those of the texts.
type looksUp struct {
	clip.Encoder
	g *golden
}

func (l looksUp) Forward(_ context.Context, r clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	var rows [][]float32
	if r.Images != nil {
		for i := range r.Images.Shape[0] {
			rows = append(rows, l.g.Images[r.Images.U8()[3*i]])
		}
	}
	for _, text := range r.Texts {
		rows = append(rows, l.g.TextFeatures[slices.Index(l.g.Texts, text)])
	}
	out := tensor.New(tensor.F32, len(rows), len(rows[0]))
	for i, row := range rows {
		copy(out.F32()[i*len(row):], row)
	}
	return out, 0, nil
}

// numbered has pictures that are their places.
type numbered struct {
	clip.Dataset
	g *golden
}

func (d numbered) Batch(_ context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	b := &clip.Batch{Images: tensor.New(tensor.U8, len(r.Indices), 1, 1, 3), Labels: map[string][]int32{}}
	for i, index := range r.Indices {
		b.Images.U8()[3*i] = byte(index)
		b.Keys = append(b.Keys, "k")
		b.Groups = append(b.Groups, int64(index))
		b.All = append(b.All, d.g.Captions[index])
		b.Labels["class"] = append(b.Labels["class"], d.g.Labels[index])
	}
	return b, nil
}

// CLIP_benchmark's own code gives the same figures on the same features, the same class of every picture, and the same queries
// that find what they look for.
func TestFiguresAreThoseOfCLIPBenchmark(t *testing.T) {
	text, err := os.ReadFile("testdata/clip_benchmark.json")
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{}
	if err := json.Unmarshal(text, g); err != nil {
		t.Fatal(err)
	}
	cfg := eval.Config{Name: "g", BatchSize: 7, Keep: true, Measures: []eval.Measure{eval.ZeroShot{Target: "class", Templates: g.Templates}, eval.Retrieval{}}}
	info := clip.DatasetInfo{Len: len(g.Images), Targets: []clip.Target{{Name: "class", Classes: g.Classes}}}
	found, err := eval.Run(t.Context(), cfg, eval.Parts{Source: eval.Source{Data: numbered{g: g}, Info: info}, Image: looksUp{g: g}, Text: looksUp{g: g}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range found.Metrics {
		got[m.Name] = m.Value
	}
	for ours, theirs := range map[string]string{"top1": "acc1", "top5": "acc5", "mean_per_class_recall": "mean_per_class_recall",
		"text_to_image_R@1": "image_retrieval_recall@1", "text_to_image_R@5": "image_retrieval_recall@5", "text_to_image_R@10": "image_retrieval_recall@10",
		"image_to_text_R@1": "text_retrieval_recall@1", "image_to_text_R@5": "text_retrieval_recall@5", "image_to_text_R@10": "text_retrieval_recall@10"} {
		value, has := got["eval/g/"+ours]
		if want := g.Metrics[theirs]; !has || math.Abs(value-want) > 1e-7 { // theirs are of float32
			t.Errorf("%s is %v, there %v", ours, value, want)
		}
	}
	for i, p := range predictions(found.Figures) {
		if p.Top[0] != g.Predicted[i] {
			t.Errorf("picture %d is taken for %d, there for %d", i, p.Top[0], g.Predicted[i])
		}
	}
	for way, ranks := range map[string][]int{"image_retrieval": found.Embedded.Ranks["text_to_image"], "text_retrieval": found.Embedded.Ranks["image_to_text"]} {
		for _, k := range []string{"1", "5", "10"} {
			limit := map[string]int{"1": 1, "5": 5, "10": 10}[k]
			for i, hit := range g.Hits[way+"@"+k] {
				if (ranks[i] <= limit) != (hit == 1) {
					t.Errorf("%s of query %d among %s: rank %d, there %d", way, i, k, ranks[i], hit)
				}
			}
		}
	}
}
