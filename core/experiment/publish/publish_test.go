package publish

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

const (
	vit         = `{"image_size":32,"patch_size":8,"width":64,"layers":2,"head_width":32,"mlp_ratio":4,"act":"gelu","pool_type":"tok"}`
	transformer = `{"context_length":12,"vocab_size":600,"width":64,"heads":2,"layers":2,"mlp_ratio":4,"act":"gelu","causal":true,"pool_type":"argmax"}`
)

// ownForm stands for the settings of an encoder that keeps its parameters in a form of its own.
const ownForm = "own form"

// A tower saves one tensor, as encoders made with core/engine/tower do.
type tower struct {
	clip.Encoder
	tensor, config string
}

func (e tower) Save(_ context.Context, path string) error {
	format := weights.EncoderFormat
	if e.config == ownForm {
		format = "another"
	}
	return weights.Write(path, []weights.Tensor{weights.FromF32(e.tensor, []float32{1, 2}, 2), weights.FromF32(weights.SlotPrefix+"m."+e.tensor, []float32{0, 0}, 2)},
		map[string]string{"format": format, "embed_dim": "16", "config": e.config})
}

// A loss saves its scalars.
type loss struct {
	clip.Loss
	scalars []string
}

func (l loss) Save(_ context.Context, path string) error {
	tensors := []weights.Tensor{weights.FromF32("other", []float32{9}, 1)}
	for _, name := range l.scalars {
		tensors = append(tensors, weights.FromF32(name, []float32{2}, 1))
	}
	return weights.Write(path, tensors, nil)
}

// trained records a run with one checkpoint.
func trained(t *testing.T, image string, scalars ...string) (l lab.Lab, id string) {
	t.Helper()
	l = labtest.New(t)
	db, err := l.Database()
	labtest.Must(t, err)
	defer db.Close()
	rec, err := db.Begin(t.Context(), store.RunMeta{Experiment: "e"})
	labtest.Must(t, err)
	parts := train.Parts{Image: tower{tensor: "visual.proj", config: image}, Text: tower{tensor: "text_projection", config: transformer}, Loss: loss{scalars: scalars}}
	path, err := train.WriteCheckpoint(t.Context(), filepath.Join(l.Dir(rec.ID()), lab.CheckpointsDir), parts, train.State{Step: 5, Run: rec.ID()})
	labtest.Must(t, err)
	labtest.Must(t, rec.Checkpoint(5, path))
	labtest.Must(t, rec.Finish(t.Context(), clip.StatusDone, nil))
	return l, rec.ID()
}

func TestExportWritesWeightsAndConfig(t *testing.T) {
	l, id := trained(t, vit, keymap.LogitScale)
	out := filepath.Join(t.TempDir(), "new", "model.safetensors")
	e, err := Export(t.Context(), l, id, "open_clip", out, false)
	labtest.Must(t, err)
	if e.Run != id || e.Step != 5 || e.Tensors != 3 || e.Weights != out || e.Config != strings.TrimSuffix(out, ".safetensors")+".json" {
		t.Errorf("%+v", e)
	}
	f, err := weights.Open(out)
	labtest.Must(t, err)
	defer f.Close()
	if got := strings.Join(f.Names(), " "); strings.Contains(got, weights.SlotPrefix) || strings.Contains(got, "other") || !strings.Contains(got, "visual.proj") {
		t.Errorf("tensors %s", got)
	}
	if info, _ := f.Info(keymap.LogitScale); len(info.Shape) != 0 {
		t.Errorf("logit_scale has the shape %v, want a scalar", info.Shape)
	}
	text, err := os.ReadFile(e.Config)
	labtest.Must(t, err)
	var config struct {
		EmbedDim int                  `json:"embed_dim"`
		Vision   struct{ Layers int } `json:"vision_cfg"`
	}
	if err := json.Unmarshal(text, &config); err != nil || config.EmbedDim != 16 || config.Vision.Layers != 2 {
		t.Errorf("config %s: %v", text, err)
	}
}

// Published models multiply by a scale; one that was trained without gets 1, whose log is 0.
func TestExportAddsAScale(t *testing.T) {
	l, id := trained(t, vit)
	out := filepath.Join(t.TempDir(), "model.safetensors")
	_, err := Export(t.Context(), l, id, "open_clip", out, false)
	labtest.Must(t, err)
	f, err := weights.Open(out)
	labtest.Must(t, err)
	defer f.Close()
	if v, err := f.F32(keymap.LogitScale); err != nil || v[0] != 0 {
		t.Errorf("logit_scale is %v: %v", v, err)
	}
}

func TestExportRefusesWhatOthersDoNotHave(t *testing.T) {
	l, id := trained(t, vit, keymap.LogitScale)
	dir := t.TempDir()
	if _, err := Export(t.Context(), l, id, "onnx", filepath.Join(dir, "m.safetensors"), false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("another format: %v", err)
	}
	if _, err := Export(t.Context(), l, "nosuch", "hf", filepath.Join(dir, "m.safetensors"), false); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another run: %v", err)
	}
	labtest.Must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type": "bert"}`), 0o644))
	if _, err := Export(t.Context(), l, id, "hf", filepath.Join(dir, "m.safetensors"), false); fault.KindOf(err) != fault.Conflict {
		t.Errorf("over another model's config: %v", err)
	}
	for _, out := range []string{"m.json", "tokenizer.json", "."} {
		if _, err := Export(t.Context(), l, id, "open_clip", filepath.Join(dir, out), false); fault.KindOf(err) != fault.Invalid {
			t.Errorf("weights into %s: %v", out, err)
		}
	}
	odd, id := trained(t, `{"width": 3}`, keymap.LogitScale)
	if _, err := Export(t.Context(), odd, id, "open_clip", filepath.Join(dir, "odd.safetensors"), false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an encoder that OpenCLIP does not have: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "odd.safetensors")); err == nil {
		t.Error("a file was written all the same")
	}
	own, id := trained(t, ownForm)
	if _, err := Export(t.Context(), own, id, "open_clip", filepath.Join(dir, "own.safetensors"), false); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "a form of its own") {
		t.Errorf("an encoder with a form of its own: %v", err)
	}
}

// An import that fails leaves a run that failed, or none, and says why.
func TestAnImportThatFails(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l)
	if _, err := Import(t.Context(), l, s, filepath.Join(t.TempDir(), "none.safetensors"), run.Quiet{}); fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
		t.Errorf("of no file: %v", err)
	}
	if _, err := os.Stat(l.DB); err == nil {
		t.Error("a database was made")
	}
}

// Imported weights are a run that is done at step 0, with the checkpoint that they are.
func TestImportMakesARunOfWeights(t *testing.T) {
	from := labtest.New(t)
	out, err := run.Start(t.Context(), from, labtest.Spec(t, from, "train.max_steps=2"), nil, run.Quiet{})
	labtest.Must(t, err)
	l := labtest.New(t)
	id, err := Import(t.Context(), l, labtest.Spec(t, l), out.Result.CheckpointDir, run.Quiet{})
	labtest.Must(t, err)
	d, c, err := l.Trained(t.Context(), id)
	labtest.Must(t, err)
	if d.Status != string(clip.StatusDone) || c.Step != 0 || c.Moved {
		t.Errorf("%s, checkpoint %+v", d.Status, c)
	}
	for _, name := range []string{train.ImageFile, train.TextFile} {
		before, err := os.ReadFile(filepath.Join(out.Result.CheckpointDir, name))
		labtest.Must(t, err)
		after, err := os.ReadFile(filepath.Join(c.Dir, name))
		labtest.Must(t, err)
		if string(before) != string(after) {
			t.Errorf("%s is not what was imported", name)
		}
	}
	if _, err := l.OwnSpec(d); err != nil {
		t.Errorf("its spec: %v", err)
	}
	if facts, err := json.Marshal(d); err != nil || !strings.Contains(string(facts), out.Result.CheckpointDir) {
		t.Errorf("where it is from is not recorded: %s", facts)
	}
}
