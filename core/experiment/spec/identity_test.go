package spec

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/clip"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

func loadGood(t *testing.T, set ...string) *Spec {
	t.Helper()
	archive, err := os.ReadFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(archive), "-- in.yaml --\n")
	text, _, _ = strings.Cut(text, "-- want.yaml --\n")
	s, err := Parse("good.yaml", []byte(text), Options{Catalog: spectest.Plugins(t), Set: set})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return s
}

// The identity moves with everything that moves a number, and with nothing else.
func TestIdentity(t *testing.T) {
	plugins := map[string]string{"encoders/vit": "aa", "losses/clip": "bb"}
	base := loadGood(t).Identity(plugins)
	for _, set := range []string{"name=other", "description=x", "variant=v", "train.keep_checkpoints=9", "data.workers=3", "train.feature_cache=off", "train.colocate=true",
		"text.with.merges=''", "eval.0.with.root=''",
		"train.ema=0", "report=[tensorboard]", "train.layer_decay=1", "train.layer_decay.text=1", "train.groups=[]",
		"data.cache={format: raw}", "data.cache={format: raw, max: 1 GiB}", "data.train.augment={random_resized_crop: none, grayscale: 0}",
		"data.train.augment={random_resized_crop: none, blur: {prob: 0}, randaugment: {ops: 0}, color_jitter: {prob: 0}}"} {
		if loadGood(t, set).Identity(plugins) != base {
			t.Errorf("%s changes the identity", set)
		}
	}
	for _, set := range []string{"seed=1", "train.lr=1e-3", "image.with.width=192", "train.max_steps=5", "eval.0.retrieval=false", "data.train.shuffle=false", "device=host", "image.freeze=all", "text.freeze.blocks=0",
		"loss.with.learnable=false", "image.with.patch_dropout=0.1",
		"train.ema=0.99", "train.layer_decay=0.5", "train.layer_decay.text=0.5", "train.groups=[{params: ['*.bias'], lr_scale: 2}]",
		"data.cache={format: jpeg}", "data.train.augment={random_resized_crop: none, grayscale: 0.1}", "data.train.augment={blur: {}}", "data.train.augment=random_resized_crop"} {
		if loadGood(t, set).Identity(plugins) == base {
			t.Errorf("%s does not change the identity", set)
		}
	}
	pinned := map[string]string{"text.with.merges": "dd"}
	if id := loadGood(t, "text.with.merges=testdata").Identity(pinned); id != loadGood(t, "text.with.merges=.").Identity(pinned) || id == base {
		t.Error("the path of what has a digest changes the identity")
	} else if pinned["text.with.merges"] = "ee"; loadGood(t, "text.with.merges=.").Identity(pinned) == id {
		t.Error("the digest of a setting does not change the identity")
	}
	plugins["losses/clip"] = "cc"
	if small, large := "data.cache={format: jpeg, max: 1 GiB}", "data.cache={format: jpeg}"; loadGood(t, small).Identity(plugins) != loadGood(t, large).Identity(plugins) {
		t.Error("how many pictures are kept changes the identity")
	}
	if loadGood(t).Identity(plugins) == base {
		t.Error("another plugin binary does not change the identity")
	}
}

// Params name every leaf once, under the path that faults use.
func TestParams(t *testing.T) {
	p := loadGood(t, "train.eval_every=2 epochs").Params()
	for key, want := range map[string]any{
		"image.with.width": int64(128), "train.lr": 5e-4, "train.eval_every": "2 epochs",
		"eval[0].retrieval": true, "loss.plugin": "clip", "loss.with.learnable": true,
	} {
		if p[key] != want {
			t.Errorf("%s is %v (%T), want %v", key, p[key], p[key], want)
		}
	}
}

// The decoded form carries what the tree says.
func TestDecoded(t *testing.T) {
	s := loadGood(t, "data.train.augment=random_resized_crop", "train.checkpoint_every=0.5 epochs")
	a := s.Data.Train[0].Augment
	if a == nil || a.Name != "random_resized_crop" || a.Scale != [2]float64{0.9, 1} {
		t.Errorf("augment is %+v", a)
	}
	if a != nil && a.NeedsCapability() {
		t.Error("a crop needs a capability")
	}
	got := loadGood(t, "data.train.augment={random_resized_crop: {hflip: 0.5}, color_jitter: {brightness: 0.4, contrast: 0.3, hue: 0.1, prob: 0.8}, grayscale: 0.2, blur: {sigma: [0.1, 1]}, randaugment: {magnitude: 7}}").Data.Train[0].Augment
	want := &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{0.9, 1}, Ratio: [2]float64{3. / 4, 4. / 3}, HFlip: 0.5, ColorJitter: [4]float64{0.4, 0.3, 0, 0.1},
		ColorJitterProb: 0.8, Grayscale: 0.2, Blur: 0.5, BlurSigma: [2]float64{0.1, 1}, RandAugmentOps: 2, RandAugmentMagnitude: 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("augment: %s", diff)
	}
	if got := loadGood(t, "data.train.augment={random_resized_crop: none, grayscale: 1}").Data.Train[0].Augment; !reflect.DeepEqual(got, &clip.Augment{Name: "none", Grayscale: 1}) {
		t.Errorf("augment is %+v", got)
	}
	if k := loadGood(t, "data.cache={format: jpeg, max: 5 GB}").Data.Cache; k == nil || k.Format != "jpeg" || k.Max.Bytes != 5e9 {
		t.Errorf("cache is %+v", k)
	}
	if n := s.Train.CheckpointEvery.In(7); n != 4 {
		t.Errorf("half an epoch of 7 steps is %d steps", n)
	}
	if r := loadGood(t, "report=[{tensorboard: {dir: tb}}]").Report; len(r) != 1 || r[0].Tracker != "tensorboard" || !filepath.IsAbs(r[0].Dir) || filepath.Base(r[0].Dir) != "tb" {
		t.Errorf("report is %+v", r)
	}
	if s.Eval[0].ZeroShot == nil || s.Eval[0].ZeroShot.Classes != "label" || s.Eval[0].BatchSize != 128 {
		t.Errorf("eval is %+v", s.Eval[0])
	}
	if string(s.Losses[0].With) != `{"label_smoothing":0,"learnable":true,"temperature":0.07}` {
		t.Errorf("loss.with is %s", s.Losses[0].With)
	}
}

// docs/spec.md holds the tables of keys that the checker works by.
func TestDocumentation(t *testing.T) {
	file := filepath.Join("..", "..", "..", "docs", "spec.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for name, table := range map[string]string{"keys": markdownTable(), "keys of ablate": blockTable()} {
		begin, end := "<!-- "+name+": written by `go test ./core/experiment/spec -update` -->\n", "<!-- end of "+name+" -->"
		head, rest, ok := strings.Cut(page, begin)
		_, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("docs/spec.md lost its marks of %s", name)
		}
		page = head + begin + table + end + tail
	}
	if page == string(data) {
		return
	}
	if !*spectest.Update {
		t.Fatal("docs/spec.md is not what Keys says; run go test ./core/experiment/spec -update")
	}
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestInitWeights: a path like any other counts in the identity by its content, and is not asked for once the
// run has begun.
func TestInitWeights(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w.safetensors")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := loadGood(t, "init.weights="+file)
	if s.Init.Weights != file {
		t.Errorf("the weights are %q", s.Init.Weights)
	}
	random, a := loadGood(t).Identity(nil), map[string]string{"init": "aa"}
	if s.Identity(nil) != random || s.Identity(a) == random || s.Identity(a) == s.Identity(map[string]string{"init": "bb"}) {
		t.Error("the identity is not that of the content")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	text := []byte(s.YAML(false))
	if _, err := Parse("s.yaml", text, Options{Catalog: spectest.Plugins(t)}); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("weights that are gone: %v", err)
	}
	if again, err := Parse("s.yaml", text, Options{Catalog: spectest.Plugins(t), Begun: true}); err != nil || again.Init.Weights != file {
		t.Errorf("of a run that has begun: %v", err)
	}
}
