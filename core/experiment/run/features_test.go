package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/spec"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// Features of frozen towers are computed once, for all runs, and change no number.
func TestFeaturesOfFrozenTowersAreKept(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	l := labtest.New(t)
	start := func(set ...string) ([]string, []float64) {
		w := newWitness(0)
		_, err := Start(t.Context(), l, labtest.Spec(t, l, append(set, "image.freeze=all", "text.freeze=all")...), nil, w)
		labtest.Must(t, err)
		var told []string
		for _, e := range w.events {
			if strings.Contains(e, "features of the frozen") {
				told = append(told, e)
			}
		}
		return told, w.losses
	}
	told, want := start("train.feature_cache=off")
	if len(told) != 0 {
		t.Errorf("turned off, but told %q", told)
	}
	if entries, err := os.ReadDir(filepath.Join(cache, "tandem", "features")); err == nil {
		t.Errorf("turned off, but kept %v", entries)
	}
	for _, known := range []string{"0 known", "32 known"} {
		told, losses := start()
		if len(told) != 2 || !strings.Contains(told[0], "image tower: "+known) || !strings.Contains(told[1], "text tower: "+known) {
			t.Errorf("told %q, want %s", told, known)
		}
		if !slices.Equal(losses, want) {
			t.Errorf("losses %v, without kept features %v", losses, want)
		}
	}
	// What the features depend on is named beside them.
	files, err := filepath.Glob(filepath.Join(cache, "tandem", "features", "*", "about.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		labtest.Must(t, err)
		var about map[string]any
		labtest.Must(t, json.Unmarshal(text, &about))
		for _, key := range []string{"encoder", "encoder_sha256", "with", "embed_dim", "weights_sha256", "precision", "backend", "threads", "processor"} {
			if _, has := about[key]; !has {
				t.Errorf("%s is not named in %s", key, text)
			}
		}
		if _, has := about["pictures"]; has != (about["encoder"] == "encoders/tint") {
			t.Errorf("pictures are named of %v", about["encoder"])
		}
	}
}

func TestFeaturesThatChangeAreNotKept(t *testing.T) {
	fixed, drawn := clip.EncoderInfo{Fixed: true}, clip.EncoderInfo{}
	still, moving := clip.DatasetInfo{Fixed: true}, clip.DatasetInfo{}
	for name, x := range map[string]struct {
		role    string
		tower   clip.EncoderInfo
		data    clip.DatasetInfo
		augment *clip.Augment
		want    string // a word of the reason; "": none
	}{
		"nothing is drawn":                 {assemble.RoleImage, fixed, still, nil, ""},
		"the tower draws":                  {assemble.RoleImage, drawn, still, nil, "patch_dropout"},
		"the pictures are augmented":       {assemble.RoleImage, fixed, moving, &clip.Augment{}, "data.train.augment"},
		"the dataset changes its pictures": {assemble.RoleImage, fixed, moving, nil, "jitter"},
		"which a text tower does not see":  {assemble.RoleText, fixed, moving, &clip.Augment{}, ""},
	} {
		s := &spec.Spec{}
		s.Data.Train = []spec.TrainData{{Augment: x.augment}}
		named := func(n string) *process.Process { return &process.Process{Binary: catalog.Binary{Name: n}} }
		m := &assemble.Model{Starter: &assemble.Starter{Spec: s}, Summary: assemble.Summary{Image: x.tower, Text: x.tower, Sources: []assemble.Source{{Role: assemble.RoleData, Info: x.data}}},
			Processes: map[string]*process.Process{x.role: named("tower"), assemble.RoleData: named("data")}}
		got := whyFeaturesChange(m, x.role)
		if (got == "") != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}
}
