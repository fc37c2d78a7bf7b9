package assess

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// WriteFeatures writes what the samples and texts of each result were embedded to into a folder, EVALUATION_RUN-step-N.safetensors: image_features
// [N, D], text_features [M, D], groups [N] and labels.TARGET [N] (-1: none); of a classification by prompts predicted [N], the class that
// each sample was taken for; of retrieval ranks.WAY, the place of each query's first positive. The metadata holds as JSON the samples' keys, their captions, the
// M texts, and of a classification by prompts its target, classes and templates. It returns the paths. Results that were recorded already
// have none.
func WriteFeatures(dir string, results []Result) (paths []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	for _, r := range results {
		e := r.Embedded
		if e == nil {
			continue
		}
		tensors := []weights.Tensor{weights.FromF32("image_features", e.Images.Data, e.Images.Rows, e.Images.Cols), weights.FromI64("groups", e.Groups, len(e.Groups))}
		if e.TextFeatures.Rows > 0 {
			tensors = append(tensors, weights.FromF32("text_features", e.TextFeatures.Data, e.TextFeatures.Rows, e.TextFeatures.Cols))
		}
		for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
			tensors = append(tensors, weights.FromI64("labels."+name, wide(e.Labels[name]), len(e.Labels[name])))
		}
		for _, way := range slices.Sorted(maps.Keys(e.Ranks)) {
			tensors = append(tensors, weights.FromI64("ranks."+way, wide(e.Ranks[way]), len(e.Ranks[way])))
		}
		if len(r.Predictions) > 0 {
			best := make([]int32, len(r.Predictions))
			for i, p := range r.Predictions {
				best[i] = p.Top[0]
			}
			tensors = append(tensors, weights.FromI64("predicted", wide(best), len(best)))
		}
		meta := map[string]string{"keys": jsonText(e.Keys), "captions": jsonText(e.Captions), "texts": jsonText(e.Texts), "run": r.Run, "step": fmt.Sprint(r.Step), "evaluation": r.Evaluation,
			"equal_captions": fmt.Sprint(r.Entry.EqualCaptions)}
		if z := r.Entry.ZeroShot; z != nil {
			meta["target"], meta["templates"], meta["classes"] = z.Classes, jsonText(z.Templates), jsonText(r.Classes)
		}
		path := filepath.Join(dir, fmt.Sprintf("%s_%s-step-%d.safetensors", r.Evaluation, r.Run, r.Step))
		if err := weights.Write(path, tensors, meta); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func wide[T int | int32](values []T) []int64 {
	out := make([]int64, len(values))
	for i, v := range values {
		out[i] = int64(v)
	}
	return out
}

func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("assess: texts do not encode: " + err.Error()) // strings always do
	}
	return string(data)
}
