package main_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// python is a Python with PyTorch and the SDK of this tree. Tests that need it run under make test-python.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv(catalog.EnvPython)
	if os.Getenv("TANDEM_TEST_TORCH") == "" || path == "" {
		t.Skip("make test-python runs the tests with PyTorch")
	}
	return path
}

// openclipWeights writes the weights of a small model of OpenCLIP, and returns the settings of both towers that read
// them: ours, and OpenCLIP's own in PyTorch.
func openclipWeights(t *testing.T, python, dir string) (weights string, ours, theirs []string) {
	t.Helper()
	script := `
import sys, torch, open_clip
from safetensors.torch import save_file
torch.manual_seed(3)
vision = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 32}
text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
model = open_clip.CLIP(32, vision, text)
save_file({k: v.contiguous() for k, v in model.state_dict().items()}, sys.argv[1])`
	weights = filepath.Join(dir, "openclip.safetensors")
	if err := exec.Command(python, "-c", script, weights).Run(); err != nil {
		t.Fatal(err)
	}
	ours = []string{"image.encoder=vit", `image.with={"image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 32}`,
		"text.encoder=transformer", `text.with={"context_length": 16, "width": 64, "heads": 2, "layers": 2, "tokenizer": "clip"}`}
	theirs = []string{"image.encoder=openclip", `image.with={"model": "ViT-B-32", "image_size": 32, "vision": {"patch_size": "8", "layers": "2", "width": "64", "head_width": "32"}}`,
		"text.encoder=openclip", `text.with={"model": "ViT-B-32", "context_length": 16, "text": {"width": "64", "heads": "2", "layers": "2"}}`}
	return weights, ours, theirs
}

// setting returns the command that trains a spec with further settings.
func setting(spec string, set []string) []string {
	args := []string{"run", spec}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return args
}

// One spec, the same weights: our towers, and OpenCLIP's in PyTorch behind the Python SDK. 50 steps of AdamW with
// clipping, warm-up and decay.
func TestPythonTowersOfOpenCLIPTrainLikeOurs(t *testing.T) {
	dir := t.TempDir()
	weights, ours, theirs := openclipWeights(t, python(t), dir)
	write(t, dir, "spec.yaml", `image: {encoder: vit}
text: {encoder: transformer}
loss: {plugin: clip}
embed_dim: 32
init: {weights: `+weights+`, towers: [image, text]}
data:
  train: {dataset: emoji, with: {split: train, captions: label}}
train: {batch_size: 32, max_steps: 50, lr: 1e-3, weight_decay: 0.2, beta2: 0.98, eps: 1e-6, warmup_steps: 10, max_grad_norm: 1, log_every: 1}
device: cpu
threads: 1
`)
	a, b := losses(t, dir, 50, setting("spec.yaml", ours)...), losses(t, dir, 50, setting("spec.yaml", theirs)...)
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i]))
	}
	t.Logf("losses %.4f … %.4f, largest difference %.2g", a[0], a[49], worst)
	if worst > 1e-3 || a[49] > a[0]-0.3 {
		t.Errorf("largest difference %.2g, losses %v and %v", worst, a, b)
	}
}

func TestPythonTowersOfOpenCLIPEmbedLikeOurs(t *testing.T) {
	dir := t.TempDir()
	py := python(t)
	weights, ours, theirs := openclipWeights(t, py, dir)
	session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{Python: py, Roots: []string{filepath.Join(filepath.Dir(runner), "plugins")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	embed := func(m clip.Modality, set []string) *tensor.Tensor {
		with := set[1]
		if m == clip.Text {
			set = set[2:]
			with = set[1]
		}
		_, name, _ := strings.Cut(set[0], "=")
		_, with, _ = strings.Cut(with, "=")
		e, _, err := session.StartEncoder(t.Context(), name, process.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{With: json.RawMessage(with), EmbedDim: 32, Modality: m,
			Compute: clip.Compute{Device: "auto", Threads: 1, Precision: "f32"}, Optimizer: clip.Optimizer{Name: "adamw", Eps: 1e-6}}); err != nil {
			t.Fatal(err)
		}
		if err := e.Load(t.Context(), weights); err != nil {
			t.Fatal(err)
		}
		q := clip.ForwardRequest{Texts: []string{"a photo of a cat", "grinning face", "flag: São Tomé & Príncipe", "x"}}
		if m == clip.Image {
			q = clip.ForwardRequest{Images: tensor.New(tensor.U8, 4, 32, 32, 3)}
			for i := range q.Images.U8() {
				q.Images.U8()[i] = byte(i * i >> 3)
			}
		}
		out, _, err := e.Forward(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, m := range []clip.Modality{clip.Image, clip.Text} {
		a, b := embed(m, ours), embed(m, theirs)
		worst := 0.0
		for i, v := range a.F32() {
			worst = max(worst, math.Abs(float64(v-b.F32()[i])))
		}
		t.Logf("%s: largest difference %s", m, strconv.FormatFloat(worst, 'g', 2, 64))
		if worst > 1e-5 {
			t.Errorf("%s embeddings differ by %g", m, worst)
		}
	}
}

func TestPythonExperimentsAreWellFormed(t *testing.T) {
	python(t)
	files, _ := filepath.Glob("../../experiments/python/*.yaml")
	if len(files) == 0 {
		t.Fatal("no experiments")
	}
	for _, file := range files {
		abs, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, ".local/share/tandem/ifct"), 0o755); err != nil { // it need not be on this machine
			t.Fatal(err)
		}
		must(t, dir, "explain", abs)
	}
}
