package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/weights"
)

// averaged are the settings of a run with rates by name and by layer, and averaged weights.
var averaged = []string{"--set", "train.ema=0.9", "--set", "train.layer_decay.image=0.5",
	"--set", "train.groups=[{params: ['*.bias'], lr_scale: 2}, {params: [token_embedding.weight], weight_decay: 0, tower: text}]"}

// A run with averaged weights evaluates them beside the live ones, resumes to the same bits, and gives them to those
// who ask for them.
func TestAveragedWeights(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	args := append([]string{"run", "tiny.yaml", "-q"}, averaged...)
	id := strings.TrimSpace(must(t, dir, args...))
	killAtCheckpoint(t, dir, command(t, dir, args...))
	again := strings.TrimSpace(must(t, dir, "run", "--resume", "-q"))
	if again == id || curves(t, dir, id) != curves(t, dir, again) {
		t.Errorf("the metrics of %s, resumed, differ from those of %s", again, id)
	}
	same(t, files(t, dir, id, 24), files(t, dir, again, 24))

	var c curve
	out := must(t, dir, "query", "--json", "select metric, step, value from v_metrics where run_id = '"+id+"' and metric like 'eval/%/top1' order by step, metric")
	if err := json.Unmarshal([]byte(out), &c); err != nil || len(c) < 2 || len(c)%2 != 0 || c[0].Metric != "eval/emoji/top1" || c[1].Metric != "eval/emoji@ema/top1" {
		t.Errorf("%v: %s", err, out)
	}
	must(t, dir, "ablation", "tiny", "--metric", "emoji@ema/top1")

	exported := map[string]map[string]weights.Tensor{}
	for name, flags := range map[string][]string{"last": nil, "ema": {"--ema"}} {
		path := filepath.Join(dir, name+".safetensors")
		must(t, dir, append([]string{"export", id, "-o", path}, flags...)...)
		exported[name] = tensors(t, path)
	}
	differ := 0
	for name, last := range exported["last"] {
		ema, found := exported["ema"][name]
		if !found || !slices.Equal(last.Shape, ema.Shape) {
			t.Errorf("the averages lack %s", name)
		} else if string(last.Data) != string(ema.Data) {
			differ++
		}
	}
	if all := len(exported["last"]); differ < all/2 || len(exported["ema"]) != all {
		t.Errorf("%d of %d tensors differ, %d averages", differ, all, len(exported["ema"]))
	}

	towers := map[string]string{}
	for name, flags := range map[string][]string{"last": nil, "ema": {"--ema"}} {
		folder := filepath.Join(dir, "onnx-"+name)
		must(t, dir, append([]string{"export", id, "--format", "onnx", "-o", folder}, flags...)...)
		for _, file := range []string{"image.onnx", "text.onnx"} {
			data, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil || !strings.Contains(string(data), "logit_scale") {
				t.Errorf("%s of %s: %d bytes, %v", file, name, len(data), err)
			}
			towers[name+file] = string(data)
		}
	}
	if towers["lastimage.onnx"] == towers["emaimage.onnx"] || towers["lasttext.onnx"] == towers["ematext.onnx"] {
		t.Error("the averages are the last weights")
	}

	write(t, dir, "captions.txt", "a cat\na dog\n")
	features := map[string]string{}
	for name, args := range map[string][]string{"last": {"--run", id}, "ema": {"--run", id, "--ema"},
		"published": {"--weights", filepath.Join(dir, "ema.safetensors"), "--spec", "tiny.yaml"}} {
		path := filepath.Join(dir, name+"-features.safetensors")
		must(t, dir, append([]string{"embed", "--texts", "captions.txt", "--out", path}, args...)...)
		features[name] = string(tensors(t, path)["text_features"].Data)
	}
	if features["ema"] == features["last"] || features["ema"] != features["published"] {
		t.Error("texts are not embedded by the averages that are exported")
	}
	if r := try(t, dir, "zeroshot", id, "none.png", "--labels", "a,b", "--ema"); r.code != 3 && !strings.Contains(r.stderr, "none.png") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}

func tensors(t *testing.T, path string) map[string]weights.Tensor {
	t.Helper()
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]weights.Tensor{}
	for _, name := range f.Names() {
		if all[name], err = f.Read(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// What only the networks can tell of a group is reported at its place in the spec.
func TestABadGroupIsPlaced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bad.yaml", strings.Replace(tiny, "  batch_size", "  groups: [{params: [visual.proj], lr_scale: 2}]\n  batch_size", 1))
	r := try(t, dir, "run", "bad.yaml")
	if want := "train.groups[0].params: for the text tower: no parameter matches \"visual.proj\""; r.code == 0 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "bad.yaml:") ||
		!strings.Contains(r.stderr, "tower: image or text") {
		t.Errorf("exit code %d, want %q in\n%s", r.code, want, r.stderr)
	}
}
