package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
	"tandem/core/tensor"
	"tandem/plugins/datasets/emoji/catalog"
)

// configured opens the dataset of a with block at 32 pixels; root is added when it is not empty.
func configured(t *testing.T, with map[string]any, change ...func(*clip.DatasetConfig)) (clip.Dataset, clip.DatasetInfo) {
	t.Helper()
	d, info, err := try(with, change...)
	if err != nil {
		t.Fatalf("%v: %v", with, err)
	}
	t.Cleanup(func() { d.Close() })
	return d, info
}

func try(with map[string]any, change ...func(*clip.DatasetConfig)) (clip.Dataset, clip.DatasetInfo, error) {
	raw, err := json.Marshal(with)
	if err != nil {
		return nil, clip.DatasetInfo{}, err
	}
	c := clip.DatasetConfig{With: raw, ImageSize: 32, Threads: 2}
	for _, f := range change {
		f(&c)
	}
	d := Plugin.New()
	info, err := d.Configure(context.Background(), c)
	return d, info, err
}

func everything(t *testing.T, d clip.Dataset, info clip.DatasetInfo, epoch int, train bool) *clip.Batch {
	t.Helper()
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices, Epoch: epoch, Train: train})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPromises(t *testing.T) {
	for _, with := range []string{`{"jitter": 0.3, "negatives": 2}`, `{"split": "test"}`, `{"split": "test", "holdout": "emoji"}`} {
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: with})
	}
}

func TestDeclaredSizesAreTrue(t *testing.T) {
	for _, s := range Plugin.Descriptor().Sizes {
		with := map[string]any{}
		for k, v := range s.When {
			if k != "root" {
				with[k] = v
			}
		}
		if _, info := configured(t, with); info.Len != s.N {
			t.Errorf("%v: %d samples, declared %d", s.When, info.Len, s.N)
		}
	}
}

// halves returns the keys of the training and the test split.
func halves(t *testing.T, with map[string]any) (train, test []string) {
	t.Helper()
	keys := func(split string) []string {
		with["split"] = split
		d, info := configured(t, with)
		return everything(t, d, info, 0, false).Keys
	}
	return keys("train"), keys("test")
}

func hexes(keys []string, style string) map[string]bool {
	out := map[string]bool{}
	for _, k := range keys {
		if hex, s, _ := strings.Cut(k, "/"); style == "" || s == style {
			out[hex] = true
		}
	}
	return out
}

func TestHoldoutEmojiSharesNoEmoji(t *testing.T) {
	train, test := halves(t, map[string]any{"holdout": "emoji"})
	seen := hexes(train, "")
	for hex := range hexes(test, "") {
		if seen[hex] {
			t.Errorf("%s is in both splits", hex)
		}
	}
	if len(train)+len(test) != 1024 {
		t.Errorf("%d + %d pictures, want 1024", len(train), len(test))
	}
}

func TestHoldoutStyleShowsTestEmojiInTheOtherStyleOnly(t *testing.T) {
	for _, style := range []string{"google", "twitter"} {
		train, test := halves(t, map[string]any{"holdout": "style", "holdout_style": style})
		other := map[string]string{"google": "twitter", "twitter": "google"}[style]
		if len(test) != 100 || len(hexes(test, style)) != 100 {
			t.Fatalf("%d test pictures, %d of them %s", len(test), len(hexes(test, style)), style)
		}
		for hex := range hexes(test, style) {
			if hexes(train, style)[hex] {
				t.Errorf("%s/%s is in both splits", hex, style)
			}
			if !hexes(train, other)[hex] {
				t.Errorf("%s is not in training as %s", hex, other)
			}
		}
	}
}

func TestHoldoutBothSharesNeitherEmojiNorStyle(t *testing.T) {
	train, test := halves(t, map[string]any{"holdout": "both", "holdout_style": "google"})
	if len(train) != 412 || len(hexes(train, "twitter")) != 412 || len(test) != 100 || len(hexes(test, "google")) != 100 {
		t.Fatalf("%d training pictures, %d test pictures", len(train), len(test))
	}
	for hex := range hexes(test, "") {
		if hexes(train, "")[hex] {
			t.Errorf("%s is in both splits", hex)
		}
	}
}

func TestKindShareMakesCaptionsOfKinds(t *testing.T) {
	d, info := configured(t, map[string]any{"kind_share": 1})
	b := everything(t, d, info, 0, true)
	texts, err := d.Captions(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range b.Captions {
		group, subgroup := info.Targets[1].Classes[b.Labels["group"][i]], info.Targets[2].Classes[b.Labels["subgroup"][i]]
		if c != group && c != subgroup && c != group+", "+subgroup || !slices.Contains(texts, c) {
			t.Fatalf("%q for %s, %s", c, group, subgroup)
		}
	}
}

func TestSplitDependsOnTheSplitSeedAlone(t *testing.T) {
	keys := func(with map[string]any, seed uint64) []string {
		with["split"] = "test"
		d, info := configured(t, with, func(c *clip.DatasetConfig) { c.Seed = seed })
		return everything(t, d, info, 0, false).Keys
	}
	base := keys(map[string]any{}, 0)
	if !slices.Equal(base, keys(map[string]any{}, 99)) {
		t.Error("the run's seed changes the split")
	}
	if slices.Equal(base, keys(map[string]any{"split_seed": 1}, 0)) {
		t.Error("the split seed does not change the split")
	}
}

func TestTestLabelsAreTheTestEmoji(t *testing.T) {
	d, info := configured(t, map[string]any{"split": "test"})
	if info.Targets[0].Name != "label" || len(info.Targets[0].Classes) != 100 {
		t.Fatalf("first target %s with %d classes", info.Targets[0].Name, len(info.Targets[0].Classes))
	}
	b := everything(t, d, info, 0, false)
	used := map[int32]bool{}
	for i, l := range b.Labels["label"] {
		used[l] = true
		if c := info.Targets[0].Classes[l]; c != b.All[i][0] {
			t.Errorf("%s is labelled %q and captioned %q", b.Keys[i], c, b.All[i])
		}
	}
	if len(used) != 100 {
		t.Errorf("%d classes occur", len(used))
	}
	for k, n := range map[int]int{1: 8, 2: 30} {
		if got := len(info.Targets[k].Classes); got < 5 || k == 2 && got < n {
			t.Errorf("target %s has %d classes", info.Targets[k].Name, got)
		}
	}
}

func TestPicturesOfAnEmojiAreAGroup(t *testing.T) {
	d, info := configured(t, map[string]any{"split": "all"})
	b := everything(t, d, info, 0, false)
	for i := 0; i < info.Len; i += 2 {
		if b.Groups[i] != b.Groups[i+1] || i > 0 && b.Groups[i] == b.Groups[i-1] {
			t.Fatalf("%s and %s: groups %d and %d", b.Keys[i], b.Keys[i+1], b.Groups[i], b.Groups[i+1])
		}
	}
}

func TestCaptionsVaryByEpochAndModeAndNothingElse(t *testing.T) {
	modes := map[string]func(label string, c string) bool{
		"label": func(label, c string) bool { return strings.Contains(c, label) },
		"tags":  func(label, c string) bool { return !strings.Contains(c, "an emoji of") },
	}
	for mode, ok := range modes {
		d, info := configured(t, map[string]any{"captions": mode})
		first, again, next := everything(t, d, info, 0, true), everything(t, d, info, 0, true), everything(t, d, info, 1, true)
		if !slices.Equal(first.Captions, again.Captions) {
			t.Errorf("%s: the same epoch gives other captions", mode)
		}
		if slices.Equal(first.Captions, next.Captions) {
			t.Errorf("%s: the next epoch gives the same captions", mode)
		}
		for i, c := range first.Captions {
			if label := info.Targets[0].Classes[first.Labels["label"][i]]; !ok(label, c) {
				t.Errorf("%s: %q for %q", mode, c, label)
			}
		}
	}
	d, info := configured(t, map[string]any{"label_share": .5, "templates": []string{"an emoji of {}"}})
	labels := 0
	for _, c := range everything(t, d, info, 0, true).Captions {
		if strings.HasPrefix(c, "an emoji of ") {
			labels++
		}
	}
	if share := float64(labels) / float64(info.Len); share < .42 || share > .58 {
		t.Errorf("share of labels %.2f, want .5", share)
	}
}

func TestVocabularyCoversTheTrainingCaptions(t *testing.T) {
	d, info := configured(t, map[string]any{})
	texts, err := d.Captions(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for i, c := range texts {
		if slices.Contains(texts[:i], c) {
			t.Fatalf("%q occurs twice", c)
		}
		for _, w := range strings.Fields(c) {
			words[w] = true
		}
	}
	for _, c := range everything(t, d, info, 3, true).Captions {
		for _, w := range strings.Fields(c) {
			if !words[w] {
				t.Errorf("%q of %q is in no caption", w, c)
			}
		}
	}
	if some, err := d.Captions(context.Background(), 10); err != nil || !slices.Equal(some, texts[:10]) {
		t.Errorf("limited to 10: %q, %v", some, err)
	}
}

func TestJitterChangesTrainingPicturesOnly(t *testing.T) {
	plain, info := configured(t, map[string]any{})
	jittered, _ := configured(t, map[string]any{"jitter": .4})
	a, b := everything(t, plain, info, 0, true), everything(t, jittered, info, 0, true)
	if slices.Equal(a.Images.U8(), b.Images.U8()) {
		t.Error("training pictures are unchanged")
	}
	a, b = everything(t, plain, info, 0, false), everything(t, jittered, info, 0, false)
	if !slices.Equal(a.Images.U8(), b.Images.U8()) {
		t.Error("evaluation pictures are changed")
	}
}

func TestBuiltInTableIsSound(t *testing.T) {
	emoji, err := table()
	if err != nil || len(emoji) != 512 {
		t.Fatalf("%d emoji, %v", len(emoji), err)
	}
	for _, of := range []func(catalog.Emoji) string{
		func(e catalog.Emoji) string { return e.Hex },
		func(e catalog.Emoji) string { return e.Label },
		func(e catalog.Emoji) string { return e.Identity },
	} {
		seen := map[string]bool{}
		for _, e := range emoji {
			if v := of(e); v == "" || seen[v] {
				t.Errorf("%s: %q is empty or occurs twice", e.Hex, v)
			} else {
				seen[v] = true
			}
		}
	}
	src, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range emoji { // a picture for each, with something on it
		for _, style := range catalog.Vendors {
			p := src.open(picture{i, -1, style})
			ink := 0
			for y := range p.H {
				for _, v := range p.Row(y) {
					if v < 240 {
						ink++
					}
				}
			}
			if ink < 60 {
				t.Errorf("%s/%s is nearly empty", e.Label, style)
			}
		}
	}
}

func TestBadOptionsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		with map[string]any
		path string
	}{
		"unknown":          {map[string]any{"stiles": []string{"google"}}, "with.stiles"},
		"style not there":  {map[string]any{"styles": []string{"google"}}, "with.holdout_style"},
		"one style":        {map[string]any{"styles": []string{"twitter"}}, "with.styles"},
		"twice":            {map[string]any{"styles": []string{"twitter", "twitter"}}, "with.styles"},
		"no placeholder":   {map[string]any{"templates": []string{"an emoji"}}, "with.templates"},
		"too many":         {map[string]any{"test_count": 512}, "with.test_count"},
		"tones":            {map[string]any{"skin_tones": true}, "with.skin_tones"},
		"root not there":   {map[string]any{"root": "/nonexistent"}, "with.root"},
		"not built in":     {map[string]any{"styles": []string{"google", "fluent"}}, "with.styles"},
		"wrong vendor":     {map[string]any{"styles": []string{"apple"}}, "with.styles[0]"},
		"fraction too big": {map[string]any{"test_fraction": 1}, "with.test_fraction"},
	} {
		_, _, err := try(c.with)
		if err == nil || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want a fault at %s", name, err, c.path)
		}
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.NotFound {
			t.Errorf("%s: kind %s", name, k)
		}
	}
}

// root returns the folder of the full packages; tools/emoji-embed tells how to get them.
func root(t *testing.T) string {
	t.Helper()
	r := os.Getenv("TANDEM_EMOJI_ROOT")
	if r == "" {
		t.Skip("TANDEM_EMOJI_ROOT is not set")
	}
	return r
}

func TestFullPackages(t *testing.T) {
	with := map[string]any{"root": root(t), "split": "all"}
	d, info := configured(t, with)
	if info.Len != 2*1636 {
		t.Errorf("%d pictures, want both styles of 1636 emoji", info.Len)
	}
	full := everything(t, d, info, 0, false)
	if len(full.Faults) > 0 {
		t.Errorf("faults: %v", full.Faults)
	}
	small, builtin := configured(t, map[string]any{"split": "all"})
	b := everything(t, small, builtin, 0, false)
	for i, k := range b.Keys { // the built-in pictures are the full ones at 32 pixels
		at := slices.Index(full.Keys, k)
		if at < 0 || !slices.Equal(cell(full.Images, at), cell(b.Images, i)) {
			t.Fatalf("%s differs from the full set's", k)
		}
	}
}

func TestFluentPicturesAreOfTheSameEmoji(t *testing.T) {
	with := map[string]any{"root": root(t), "split": "all", "styles": []string{"fluent", "google"}, "on_error": "fail"}
	d, info := configured(t, with)
	if b := everything(t, d, info, 0, false); len(hexes(b.Keys, "google")) != 1636 || len(hexes(b.Keys, "fluent")) < 1500 {
		t.Errorf("%d of google, %d of fluent; %s", len(hexes(b.Keys, "google")), len(hexes(b.Keys, "fluent")), info.Note)
	}
	for _, split := range []string{"train", "test"} {
		with["split"], with["holdout"], with["holdout_style"] = split, "both", "fluent"
		d, info := configured(t, with)
		other := map[string]string{"train": "fluent", "test": "google"}[split]
		if b := everything(t, d, info, 0, false); len(hexes(b.Keys, other)) > 0 {
			t.Errorf("%s has pictures of %s", split, other)
		}
	}
}

func TestFullSplitsLeakNoIdentity(t *testing.T) {
	for _, holdout := range []string{"emoji", "style"} {
		with := map[string]any{"root": root(t), "holdout": holdout, "skin_tones": true, "test_count": 150, "on_error": "fail"}
		train, test := halves(t, with)
		style := map[string]string{"emoji": "", "style": "twitter"}[holdout]
		seen := map[string]string{}
		for hex := range hexes(train, style) {
			seen[catalog.Identity(hex)] = hex
		}
		for hex := range hexes(test, style) {
			if other, leak := seen[catalog.Identity(hex)]; leak {
				t.Errorf("%s: %s in the test split, %s in training", holdout, hex, other)
			}
		}
	}
}

func cell(t *tensor.Tensor, i int) []byte {
	n := t.Shape[1] * t.Shape[2] * 3
	return t.U8()[i*n:][:n]
}
