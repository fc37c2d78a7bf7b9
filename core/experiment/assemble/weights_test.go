package assemble

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

// file writes tensors of ones, by name and shape, and returns the path.
func file(t *testing.T, dir, name string, meta map[string]string, tensors map[string][]int) string {
	t.Helper()
	var list []weights.Tensor
	for tensor, shape := range tensors {
		n := 1
		for _, d := range shape {
			n *= d
		}
		list = append(list, weights.FromF32(tensor, slices.Repeat([]float32{1}, n), shape...))
	}
	path := filepath.Join(dir, name)
	must(t, weights.Write(path, list, meta))
	return path
}

// checkpoint writes a folder as training does of encoders made with core/engine/tower.
func checkpoint(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tower := func(config string) map[string]string {
		return map[string]string{"format": weights.EncoderFormat, "embed_dim": "16", "config": config}
	}
	file(t, dir, train.ImageFile, tower("image"), map[string][]int{"visual.proj": {2, 2}, weights.SlotPrefix + "m.visual.proj": {2, 2}})
	file(t, dir, train.TextFile, tower("text"), map[string][]int{"text_projection": {2, 2}})
	file(t, dir, train.LossFile, nil, map[string][]int{keymap.LogitScale: {1}, "ema": {1}})
	return dir
}

func TestACheckpointIsSeenAsOneModel(t *testing.T) {
	p, err := OpenCheckpoint(checkpoint(t), false)
	must(t, err)
	defer p.Close()
	var names []string
	for _, x := range p.Tensors {
		names = append(names, x.Name)
		if data, err := x.Load(); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", x.Name, len(data), err)
		}
		if x.Name == keymap.LogitScale && len(x.Shape) != 0 {
			t.Errorf("%s has the shape %v, want a scalar", x.Name, x.Shape)
		}
	}
	slices.Sort(names)
	if want := []string{keymap.LogitScale, "text_projection", "visual.proj"}; !slices.Equal(names, want) {
		t.Errorf("tensors %v, want %v", names, want)
	}
	if p.EmbedDim != 16 || p.Meta[keymap.MetaImage] != "image" || p.Meta[keymap.MetaText] != "text" || !p.Has("visual.proj") || p.Has("ema") {
		t.Errorf("%+v", p)
	}
}

// Averages stand in for the parameters where there are any, when they are asked for.
func TestACheckpointIsSeenByItsAverages(t *testing.T) {
	dir := checkpoint(t)
	if _, err := OpenCheckpoint(dir, true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without averages: %v", err)
	}
	must(t, weights.Write(filepath.Join(dir, train.ImageFile), []weights.Tensor{
		weights.FromF32("visual.proj", []float32{1, 2}, 2), weights.FromF32(weights.AveragePrefix+"visual.proj", []float32{3, 4}, 2),
		weights.FromF32("visual.frozen", []float32{5}, 1),
	}, map[string]string{"format": weights.EncoderFormat, "embed_dim": "16"}))
	for averaged, want := range map[bool][]float32{false: {1, 2}, true: {3, 4}} {
		p, err := OpenCheckpoint(dir, averaged)
		must(t, err)
		defer p.Close()
		if p.Averaged != averaged || p.Has(weights.AveragePrefix+"visual.proj") || !p.Has("visual.frozen") {
			t.Errorf("averaged %v: %+v", averaged, p)
		}
		for _, x := range p.Tensors {
			if x.Name == "visual.proj" {
				data, err := x.Load()
				must(t, err)
				if !slices.Equal(data, weights.Bytes(want)) {
					t.Errorf("averaged %v: %v, want %v", averaged, data, want)
				}
			}
		}
	}
}

func TestACheckpointThatIsNotWhole(t *testing.T) {
	dir := checkpoint(t)
	must(t, os.Remove(filepath.Join(dir, train.LossFile)))
	if _, err := OpenCheckpoint(dir, false); fault.KindOf(err) != fault.NotFound {
		t.Errorf("without a loss: %v", err)
	}
	file(t, dir, train.TextFile, map[string]string{"format": weights.EncoderFormat, "embed_dim": "many"}, map[string][]int{"x": {1}})
	if _, err := OpenCheckpoint(dir, false); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("with a width that is no number: %v", err)
	}
}

func TestTheDigestOfWeightsIsOfTheirContent(t *testing.T) {
	digest := func(path string) string {
		t.Helper()
		sha, err := WeightsDigest(path)
		must(t, err)
		return sha
	}
	dir := t.TempDir()
	one := file(t, dir, "one.safetensors", nil, map[string][]int{"a": {2}})
	other := file(t, dir, "other.safetensors", nil, map[string][]int{"a": {3}})
	twin := file(t, t.TempDir(), "elsewhere.safetensors", nil, map[string][]int{"a": {2}})
	if digest(one) == digest(other) || digest(one) != digest(twin) || len(digest(one)) != 64 {
		t.Errorf("%s, %s, %s", digest(one), digest(other), digest(twin))
	}
	folder := checkpoint(t)
	before := digest(folder)
	file(t, folder, train.LossFile, nil, map[string][]int{keymap.LogitScale: {1}})
	if digest(folder) == before {
		t.Error("another loss gives the same digest")
	}
	if _, err := WeightsDigest(filepath.Join(dir, "none.safetensors")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no file: %v", err)
	}
	text := filepath.Join(dir, "text.safetensors")
	must(t, os.WriteFile(text, []byte("no weights"), 0o644))
	if _, err := WeightsDigest(text); err == nil || !strings.Contains(err.Error(), "init.weights") {
		t.Errorf("of what are no weights: %v", err)
	}
}

// A sweep hashes weights once, also where they change meanwhile: its trials are of the same weights.
func TestAnIdentifierReadsWeightsOnce(t *testing.T) {
	dir := t.TempDir()
	path := file(t, dir, "w.safetensors", nil, map[string][]int{"a": {2}})
	s := &spec.Spec{Init: spec.Init{Weights: path, Towers: []string{RoleImage, RoleText}}}
	var id Identifier
	first, err := id.Identity(s, nil)
	must(t, err)
	file(t, dir, "w.safetensors", nil, map[string][]int{"a": {3}})
	if again, err := id.Identity(s, nil); err != nil || again != first {
		t.Errorf("read again: %v", err)
	}
	if other, err := new(Identifier).Identity(s, nil); err != nil || other == first {
		t.Errorf("other weights have the same identity: %v", err)
	}
	s.Init.Towers = []string{RoleImage}
	if one, err := id.Identity(s, nil); err != nil || one == first {
		t.Errorf("one tower has the identity of both: %v", err)
	}
}

func TestScalarsOfTheLossComeWithWeights(t *testing.T) {
	dir := t.TempDir()
	path := file(t, dir, "clip.safetensors", nil, map[string][]int{keymap.LogitScale: {}, "visual.proj": {2, 2}})
	out, remarks, err := lossWeights(path, dir)
	must(t, err)
	f, err := weights.Open(out)
	must(t, err)
	defer f.Close()
	if got := f.Names(); !slices.Equal(got, []string{keymap.LogitScale}) || remarks != nil {
		t.Errorf("%v, remarks %q", got, remarks)
	}
	path = file(t, dir, "towers.safetensors", nil, map[string][]int{"visual.proj": {2, 2}})
	out, remarks, err = lossWeights(path, dir)
	if err != nil || out != "" || len(remarks) != 1 || !strings.Contains(remarks[0], "without a logit_scale") {
		t.Errorf("without a scale: %q, %q, %v", out, remarks, err)
	}
}

func TestWeightsOfAnotherVocabularyAreRefused(t *testing.T) {
	m := learner{spec: &spec.Spec{}}
	open := func(rows int, meta map[string]string) *keymap.File {
		f, err := keymap.Open(file(t, t.TempDir(), "w.safetensors", meta, map[string][]int{"token_embedding.weight": {rows, 1}}))
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	clip, bpe := map[string]any{"tokenizer": "clip"}, map[string]any{"tokenizer": "bpe"}
	for name, x := range map[string]struct {
		file    *keymap.File
		text    map[string]any
		refused bool
	}{
		"CLIP's":                             {open(keymap.CLIPVocabulary, nil), clip, false},
		"of another size":                    {open(1000, nil), clip, true},
		"learned from captions":              {open(1000, nil), bpe, true},
		"with its tokenizer":                 {open(1000, map[string]string{keymap.MetaTokenizer: "{}"}), bpe, false},
		"of an encoder that is not tandem's": {open(1000, nil), nil, false},
	} {
		if err := m.checkTokenizer(x.file, x.text); (err != nil) != x.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSettingsThatWeightsAreHeldAgainst(t *testing.T) {
	m := learner{spec: &spec.Spec{Image: spec.Tower{Encoder: "vit", With: []byte(`{"width": 64}`)}, Text: spec.Tower{Encoder: "mine", With: []byte(`{"width": 9}`)}}}
	w := m.wanted([]string{RoleImage, RoleText})
	if w.Image["width"] != 64.0 || w.Text != nil {
		t.Errorf("%+v", w)
	}
	if w := m.wanted([]string{RoleText}); w.Image != nil {
		t.Errorf("of the text tower alone: %+v", w)
	}
}

// A file of PyTorch gives what the same tensors give as safetensors, and a fault names the file that the user named.
func TestFilesOfPyTorchAreConverted(t *testing.T) {
	const path = "../../engine/weights/torchfile/testdata/state_dict.pt"
	m := learner{spec: &spec.Spec{}}
	dir := t.TempDir()
	converted, _, err := m.published(path, dir, nil)
	must(t, err)
	f, err := weights.Open(converted)
	must(t, err)
	defer f.Close()
	if info, ok := f.Info("visual.proj"); !ok || !slices.Equal(info.Shape, []int{2, 4}) {
		t.Errorf("%v, %+v", f.Names(), info)
	}
	if sha, err := WeightsDigest(path); err != nil || len(sha) != 64 {
		t.Errorf("%s, %v", sha, err)
	}
	err = asNamed(fault.New(fault.Invalid, "x").WithFile(converted, 0, 0), converted, path)
	if err.(*fault.Error).File != path {
		t.Error(err)
	}
	if _, err := WeightsDigest("../../engine/weights/torchfile/testdata/hostile_system.pt"); err == nil || !strings.Contains(fault.Format(err), "posix.system") {
		t.Errorf("a hostile file: %v", err)
	}
}
