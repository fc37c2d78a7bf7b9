package main_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/engine/tower/towertest"
	"tandem/core/engine/weights"
)

// Weights that are exported for OpenCLIP or transformers and imported again are the same, to the last bit; a run started from
// them begins where the other ended.
func TestWeightsSurviveTheRoundTrip(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	id := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q", "--set", "train.max_steps=3", "--set", "eval=[]"))
	must(t, dir, "export", id, "--format", "open_clip", "-o", "a.safetensors")
	must(t, dir, "export", id, "--format", "hf", "-o", "hf/model.safetensors")
	want, err := os.ReadFile(filepath.Join(dir, "a.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	checkpoints, err := filepath.Glob(filepath.Join(dir, "results/runs", id, "checkpoints/*"))
	if err != nil || len(checkpoints) != 1 {
		t.Fatal(checkpoints, err)
	}
	for _, file := range []string{"a.safetensors", "hf/model.safetensors", checkpoints[0]} {
		again := strings.TrimSpace(must(t, dir, "import", file, "--as", "tiny.yaml", "-o", "again"))
		must(t, dir, "export", again, "-o", "b.safetensors")
		got, err := os.ReadFile(filepath.Join(dir, "b.safetensors"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s comes back changed (%v)", file, err)
		}
	}
	for name, want := range map[string]string{"a.json": `"vision_cfg"`, "hf/config.json": `"CLIPModel"`} {
		config, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(config), want) {
			t.Errorf("%s: %s (%v)", name, config, err)
		}
	}
	write(t, dir, "texts.txt", "a cat\nfire truck\n")
	must(t, dir, "embed", "--run", id, "--texts", "texts.txt", "--out", "run.safetensors")
	must(t, dir, "embed", "--weights", "hf/model.safetensors", "--spec", "tiny.yaml", "--texts", "texts.txt", "--out", "hf.safetensors")
	if a, b := features(t, dir, "run.safetensors", "text_features"), features(t, dir, "hf.safetensors", "text_features"); !equal(a, b) {
		t.Errorf("embeddings differ: %v and %v", a, b)
	}

	still := []string{"--set", "train.max_steps=1", "--set", "train.lr=0", "--set", "eval=[]", "--set", "init.weights=a.safetensors"}
	begun := strings.TrimSpace(must(t, dir, append([]string{"run", "tiny.yaml", "-q"}, still...)...))
	must(t, dir, "embed", "--run", begun, "--texts", "texts.txt", "--out", "begun.safetensors")
	if a, b := features(t, dir, "run.safetensors", "text_features"), features(t, dir, "begun.safetensors", "text_features"); !equal(a, b) {
		t.Error("a run from weights does not begin with them")
	}
	if r := try(t, dir, append([]string{"run", "tiny.yaml", "--set", "image.with.width=32"}, still...)...); r.code != 2 || !strings.Contains(r.stderr, "image.with.width") {
		t.Errorf("weights of another width: exit code %d\n%s", r.code, r.stderr)
	}
}

// Weights under OpenCLIP's names, with the prefix of a wrapped module, give OpenCLIP's embeddings: those
// of the encoders' golden files.
func TestEmbedGivesOpenCLIPsFeatures(t *testing.T) {
	dir := t.TempDir()
	pic, text := expected(t, "vit/testdata/gelu-tok"), expected(t, "transformer/testdata/argmax")
	if pic.EmbedDim != text.EmbedDim {
		t.Fatal("the golden files are of different widths")
	}
	config, err := json.Marshal(map[string]any{"device": "host", "embed_dim": pic.EmbedDim,
		"image": map[string]any{"encoder": "vit", "with": pic.With}, "text": map[string]any{"encoder": "transformer", "with": text.With},
		"loss": map[string]any{"plugin": "clip"}, "data": map[string]any{"train": map[string]any{"dataset": "emoji"}},
		"train": map[string]any{"max_steps": 1}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "golden.yaml", string(config))
	write(t, dir, "texts.txt", strings.Join(text.Captions, "\n"))
	golden(t, filepath.Join(dir, "golden.safetensors"), dir)
	pictures(t, dir, pic.Batch, 16)
	must(t, dir, "embed", "--weights", "golden.safetensors", "--spec", "golden.yaml", "--images", "pictures", "--texts", "texts.txt", "--out", "out.safetensors")
	for name, want := range map[string][]float32{"image_features": pic.eval, "text_features": text.eval} {
		got := features(t, dir, "out.safetensors", name)
		if len(got) != len(want) {
			t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
		}
		for i, v := range got {
			if math.Abs(float64(v-want[i])) > 1e-5 {
				t.Errorf("%s: value %d is %g, want %g", name, i, v, want[i])
				break
			}
		}
	}
	if s := features(t, dir, "out.safetensors", "logit_scale"); math.Abs(float64(s[0])-math.Exp(2)) > 1e-5 {
		t.Errorf("logit scale %v, want e²", s)
	}
	must(t, dir, "embed", "--weights", "golden.safetensors", "--spec", "golden.yaml", "--texts", "texts.txt", "--out", "raw.safetensors", "--raw")
	raw, unit := features(t, dir, "raw.safetensors", "text_features"), features(t, dir, "out.safetensors", "text_features")
	for row := range len(text.Captions) {
		norm := 0.0
		for _, v := range raw[row*text.EmbedDim:][:text.EmbedDim] {
			norm += float64(v) * float64(v)
		}
		norm = math.Sqrt(norm)
		if v := float64(raw[row*text.EmbedDim]) / norm; math.Abs(v-float64(unit[row*text.EmbedDim])) > 1e-6 || math.Abs(norm-1) < 1e-3 {
			t.Errorf("raw row %d of norm %g is not the embedding before its normalisation", row, norm)
		}
	}
}

// openCLIP holds what OpenCLIP made of the parameters and inputs of core/engine/tower/towertest.
type openCLIP struct {
	With     json.RawMessage
	EmbedDim int `json:"embed_dim"`
	Batch    int
	Captions []string
	eval     []float32
}

func expected(t *testing.T, file string) (g openCLIP) {
	t.Helper()
	f, err := weights.Open(filepath.Join("../../plugins/encoders", file+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := json.Unmarshal([]byte(f.Metadata()["golden"]), &g); err != nil {
		t.Fatal(err)
	}
	if g.eval, err = f.F32("eval"); err != nil {
		t.Fatal(err)
	}
	return g
}

func features(t *testing.T, dir, file, name string) []float32 {
	t.Helper()
	f, err := weights.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := f.F32(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func equal(a, b []float32) bool { return bytes.Equal(weights.Bytes(a), weights.Bytes(b)) && len(a) > 0 }

// golden writes the parameters of the golden files (tools/goldens/openclip/towers.py). Their names and
// shapes are those of a run's export, since the golden files hold results only.
func golden(t *testing.T, file, dir string) {
	t.Helper()
	id := strings.TrimSpace(must(t, dir, "run", "golden.yaml", "-q", "--set", "train.batch_size=2"))
	must(t, dir, "export", id, "-o", "names.safetensors")
	f, err := weights.Open(filepath.Join(dir, "names.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		v := make([]float32, info.Bytes()/4)
		for i := range v {
			v[i] = towertest.Value(name, info.Shape, i)
		}
		if name == "logit_scale" {
			v[0] = 2
		}
		tensors = append(tensors, weights.FromF32("module."+name, v, info.Shape...))
	}
	if err := weights.Write(file, tensors, nil); err != nil {
		t.Fatal(err)
	}
}

// pictures writes n pictures of towers.py as PNG files.
func pictures(t *testing.T, dir string, n, side int) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "pictures"), 0o755); err != nil {
		t.Fatal(err)
	}
	for k := range n {
		img := image.NewRGBA(image.Rect(0, 0, side, side))
		for p := range side * side {
			at := func(c int) byte { return byte((towertest.Uniform("pictures", (k*side*side+p)*3+c) + 1) * 128) }
			img.SetRGBA(p%side, p/side, color.RGBA{at(0), at(1), at(2), 255})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "pictures/"+string(rune('a'+k))+".png", b.String())
	}
}
