package core_test

import (
	"context"
	"encoding/json"
	"go/format"
	"math"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// TestPluginsOfTheManualWork builds the programs of docs/plugins.md as they stand there and uses each in
// a process of its own.
func TestPluginsOfTheManualWork(t *testing.T) {
	dir := buildManual(t)
	session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	t.Run("losses/vse", func(t *testing.T) { useLoss(t, session, dir+"vse") })
	t.Run("losses/hardgroups", func(t *testing.T) { useLossWithInputs(t, session, dir+"hardgroups") })
	t.Run("encoders/patchmlp", func(t *testing.T) { useEncoder(t, session, dir+"patchmlp") })
	t.Run("datasets/squares", func(t *testing.T) { useDataset(t, session, dir+"squares") })
}

// buildManual gives the folder of the programs, ending in a separator. The sources are laid over the repository, where they are not.
func buildManual(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := map[string]string{}
	plugins := map[string]bool{}
	for i, m := range regexp.MustCompile("(?s)```go\n// (plugins/\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		name, source := m[1], m[2]
		if formatted, err := format.Source([]byte(source)); err != nil {
			t.Fatalf("%s: %v", name, err)
		} else if string(formatted) != source {
			t.Errorf("%s is not as gofmt writes it", name)
		}
		file := filepath.Join(dir, "source", string(rune('a'+i))+".go")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(root, name)] = file
		plugins[path.Dir(name)] = true
	}
	if len(plugins) != 4 {
		t.Fatalf("docs/plugins.md has the programs %v, want four", plugins)
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	replace := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(replace, text, 0o644); err != nil {
		t.Fatal(err)
	}
	binaries := filepath.Join(dir, "bin") + string(filepath.Separator)
	if err := os.Mkdir(binaries, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-overlay", replace, "-o", binaries)
	for plugin := range plugins {
		cmd.Args = append(cmd.Args, "./"+plugin)
	}
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binaries
}

var (
	background = context.Background()
	cpu        = clip.Compute{Device: "host", Threads: 1}
	sgd        = clip.Optimizer{Name: "sgd"}
)

func useLoss(t *testing.T, session *process.Session, program string) {
	l, _, err := session.StartLoss(background, program, process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var typo fault.List
	_, err = l.Configure(background, clip.LossConfig{With: []byte(`{"margn": 1}`), EmbedDim: 2, Compute: cpu, Optimizer: sgd})
	if e, ok := err.(*fault.Error); ok {
		typo = fault.List{e}
	} else {
		typo, _ = err.(fault.List)
	}
	if len(typo) != 1 || typo[0].Kind != fault.Invalid || !strings.Contains(typo[0].Hint, "margin") {
		t.Errorf("a misspelt option gives %v", err)
	}
	config := clip.LossConfig{With: []byte(`{"margin": 0.3}`), EmbedDim: 2, Compute: cpu, Optimizer: sgd}
	if _, err := l.Configure(background, config); err != nil {
		t.Fatal(err)
	}
	image := tensor.FromF32([]float32{1, 0, .6, .8, 0, 1}, 3, 2)
	text := tensor.FromF32([]float32{.8, .6, .28, .96, -.6, .8}, 3, 2)
	// S = [.8 .28 -.6; .96 .936 .28; .6 .96 .8]: rows lack 0, .324, .46; columns .46, .324, 0.
	compute := func() *clip.LossResult {
		r, err := l.Compute(background, clip.LossRequest{Image: image, Text: text, Train: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := compute()
	if want := (.324 + .46) / 3; math.Abs(r.Value-want) > 1e-6 || math.Abs(r.Parts["image_to_text"]-want) > 1e-6 {
		t.Errorf("value %.6f of %v, want %.6f", r.Value, r.Parts, want)
	}
	for _, in := range []struct{ x, grad []float32 }{{image.F32(), r.DImage.F32()}, {text.F32(), r.DText.F32()}} {
		for i, old := range in.x {
			const step = 1.0 / 256
			in.x[i] = old + step
			up := compute().Value
			in.x[i] = old - step
			down := compute().Value
			in.x[i] = old
			if slope := (up - down) / (2 * step); math.Abs(slope-float64(in.grad[i])) > 1e-4 {
				t.Errorf("gradient %g, want %g", in.grad[i], slope)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "vse.safetensors")
	if err := l.Save(background, file); err != nil {
		t.Error(err)
	}
	if err := l.Load(background, file); err != nil {
		t.Error(err)
	}
}

func useLossWithInputs(t *testing.T, session *process.Session, program string) {
	l, _, err := session.StartLoss(background, program, process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := clip.LossConfig{With: []byte(`{"init_temperature": 1}`), EmbedDim: 2, Compute: cpu, Optimizer: sgd, Negatives: 1}
	if _, err := l.Configure(background, config); err != nil {
		t.Fatal(err)
	}
	image, text := tensor.FromF32([]float32{1, 0, .6, .8, 0, 1}, 3, 2), tensor.FromF32([]float32{.8, .6, .28, .96, -.6, .8}, 3, 2)
	negatives, groups := tensor.FromF32([]float32{.96, .28, 0, 1, 1, 0}, 3, 2), tensor.New(tensor.I32, 3)
	copy(groups.I32(), []int32{0, 0, 1})
	compute := func() *clip.LossResult {
		r, err := l.Compute(background, clip.LossRequest{Image: image, Text: text, Train: true, Inputs: map[string]clip.LossInput{
			clip.InputTextNegatives: {Value: negatives}, clip.InputGroups: {Value: groups},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The first image has the cosines .8 .28 -.6 with the texts and .96 0 1 with the negatives; the first two are right.
	want := math.Log(math.Exp(.8)+math.Exp(.28)+math.Exp(-.6)+math.Exp(.96)+1+math.Exp(1)) - (.8+.28)/2
	want += math.Log(math.Exp(.96)+math.Exp(.936)+math.Exp(.28)+math.Exp(.8)+math.Exp(.8)+math.Exp(.6)) - (.96+.936)/2
	want += math.Log(math.Exp(.6)+math.Exp(.96)+math.Exp(.8)+math.Exp(.28)+math.Exp(1)+1) - .8
	r := compute()
	if math.Abs(r.Parts["image_to_text"]-want/3) > 1e-6 {
		t.Errorf("%v, want %.6f from images to texts", r.Parts, want/3)
	}
	for i, g := range r.Gradients[clip.InputTextNegatives].F32() {
		const step = 1.0 / 256
		x := negatives.F32()
		old := x[i]
		x[i] = old + step
		up := compute().Value
		x[i] = old - step
		down := compute().Value
		x[i] = old
		if slope := (up - down) / (2 * step); math.Abs(slope-float64(g)) > 1e-4 || slope == 0 {
			t.Errorf("gradient %g of negatives[%d], want %g", g, i, slope)
		}
	}
	config.Negatives = 0
	other, _, err := session.StartLoss(background, program, process.StartOptions{})
	if err == nil {
		_, err = other.Configure(background, config)
	}
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a dataset without negatives gives %v", err)
	}
}

func useEncoder(t *testing.T, session *process.Session, program string) {
	e, _, err := session.StartEncoder(background, program, process.StartOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	info, err := e.Configure(background, clip.EncoderConfig{EmbedDim: 16, Compute: cpu, Optimizer: sgd})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(64*3*8*8 + 2*64 + 64*64 + 64 + 64*16); info.Parameters != want || info.ImageSize != 32 {
		t.Errorf("%+v, want %d parameters", info, want)
	}
	images := tensor.New(tensor.U8, 2, 32, 32, 3)
	for i := range images.Data {
		images.Data[i] = byte(i * i >> 3)
	}
	grad := tensor.New(tensor.F32, 2, 16)
	grad.F32()[3] = 1 // climb along one coordinate of the first picture
	forward := func() float32 {
		out, ticket, err := e.Forward(background, clip.ForwardRequest{Images: images, Mode: clip.Train})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Backward(background, ticket, grad); err != nil {
			t.Fatal(err)
		}
		return out.F32()[3]
	}
	before := forward()
	if err := e.Step(background, 1, -0.1, 1); err != nil { // a negative rate: climb
		t.Fatal(err)
	}
	if after := forward(); !(after > before) {
		t.Errorf("the coordinate was %g, is %g after a step up its gradient", before, after)
	}
}

func useDataset(t *testing.T, session *process.Session, program string) {
	d, _, err := session.StartDataset(background, program, process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Configure(background, clip.DatasetConfig{With: []byte(`{"count": 7}`), ImageSize: 16, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if info.Len != 7 || len(info.Targets) != 1 {
		t.Errorf("%+v", info)
	}
	b, err := d.Batch(background, clip.BatchRequest{Indices: []int{4, 0}})
	if err != nil {
		t.Fatal(err)
	}
	middle := b.Images.U8()[(8*16+8)*3:][:3]
	if b.Keys[0] != "square/4" || b.Labels["colour"][0] != 1 || middle[1] < 150 || middle[0] > 80 || len(b.All[0]) != 2 {
		t.Errorf("sample 4 is %s %v, its middle %v, want green; captions %q", b.Keys[0], b.Labels, middle, b.All[0])
	}
}

// TestPythonPluginOfTheManualWorks runs the program of docs/protocol.md with the Python that TANDEM_PYTHON
// names, in shared memory and without. The example is that of plugins/losses/clip.
func TestPythonPluginOfTheManualWorks(t *testing.T) {
	python := os.Getenv("TANDEM_PYTHON")
	if python == "" {
		t.Skip("TANDEM_PYTHON names no Python with grpcio, grpcio-tools, grpcio-health-checking and numpy")
	}
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```python\n#![^\n]*\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/protocol.md has no program")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "pyclip")
	if err := os.WriteFile(program, append([]byte("#!"+python+"\n"), m[1]...), 0o755); err != nil {
		t.Fatal(err)
	}
	gen := exec.Command(python, "-m", "grpc_tools.protoc", "-I", "plugin/wire/pb", "--python_out="+dir,
		"--grpc_python_out="+dir, "tandem.proto")
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("protoc: %v\n%s", err, out)
	}
	for _, inline := range []bool{false, true} {
		session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}, NoSharedMemory: inline})
		if err != nil {
			t.Fatal(err)
		}
		usePython(t, session, program)
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}
}

func usePython(t *testing.T, session *process.Session, program string) {
	l, p, err := session.StartLoss(background, program, process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Configure(background, clip.LossConfig{With: []byte(`{"temperature": 1}`), EmbedDim: 2}); err != nil {
		t.Fatal(err, p.Tail())
	}
	image := tensor.FromF32([]float32{.9, .1, .1, .9, .9, -.1}, 3, 2)
	text := tensor.FromF32([]float32{.8, .2, .2, .8, 1, 0}, 3, 2)
	r, err := l.Compute(background, clip.LossRequest{Image: image, Text: text, Train: true})
	if err != nil {
		t.Fatal(err, p.Tail())
	}
	if math.Abs(r.Value-.869418) > 1e-6 || len(r.DImage.F32()) != 6 {
		t.Errorf("value %v, gradient %v", r.Value, r.DImage.F32())
	}
	short := tensor.New(tensor.F32, 1, 2)
	if _, err := l.Compute(background, clip.LossRequest{Image: short, Text: text}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("shapes that differ: %v", err)
	}
}
