package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

func configure(with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 2, Threads: 2})
	return d, info, err
}

// file returns an idx file of bytes.
func file(data []byte, axes ...int) []byte {
	b := []byte{0, 0, 8, byte(len(axes))}
	for _, n := range axes {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return append(b, data...)
}

// folder writes a training set of three pictures of 2 × 2 with labels 1, 0, 1.
func folder(t *testing.T, change func(files map[string][]byte)) string {
	t.Helper()
	files := map[string][]byte{
		"train-images-idx3-ubyte": file([]byte{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110}, 3, 2, 2),
		"train-labels-idx1-ubyte": file([]byte{1, 0, 1}, 3),
	}
	if change != nil {
		change(files)
	}
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func TestPromises(t *testing.T) {
	root, _ := json.Marshal(folder(t, func(f map[string][]byte) { // 40 pictures of 8 × 8
		pixels, labels := make([]byte, 40*64), make([]byte, 40)
		for i := range pixels {
			pixels[i] = byte(i * i >> 3)
		}
		for i := range labels {
			labels[i] = byte(i % 10)
		}
		f["train-images-idx3-ubyte"], f["train-labels-idx1-ubyte"] = file(pixels, 40, 8, 8), file(labels, 40)
	}))
	conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: `{"root": ` + string(root) + `}`})
}

func TestReadsPlainAndGzippedFiles(t *testing.T) {
	for name, change := range map[string]func(map[string][]byte){
		"plain": nil,
		"gzipped with dots": func(f map[string][]byte) {
			f["train-images.idx3-ubyte.gz"] = zipped(f["train-images-idx3-ubyte"])
			delete(f, "train-images-idx3-ubyte")
		},
	} {
		d, info, err := configure(map[string]any{"root": folder(t, change), "classes": []string{"zero", "one"}, "templates": []string{"the {}", "{}!"}})
		if err != nil || info.Len != 3 {
			t.Fatalf("%s: %d samples, %v", name, info.Len, err)
		}
		b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{2, 1}})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Images.U8()[:6], []byte{80, 80, 80, 90, 90, 90}) || b.Labels["label"][0] != 1 || b.Labels["label"][1] != 0 {
			t.Errorf("%s: pixels %v, labels %v", name, b.Images.U8()[:6], b.Labels)
		}
		if b.Keys[0] != "train/00002" || b.Groups[0] != 1 || strings.Join(b.All[0], ",") != "the one,one!" {
			t.Errorf("%s: %v %v %q", name, b.Keys, b.Groups, b.All[0])
		}
	}
}

func TestCaptionTemplatesVaryByEpoch(t *testing.T) {
	d, _, err := configure(map[string]any{"root": folder(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for epoch := range 40 {
		b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{1}, Epoch: epoch, Train: true})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.Captions[0], "t-shirt") {
			t.Errorf("%q", b.Captions[0])
		}
		seen[b.Captions[0]] = true
	}
	if len(seen) != len(Defaults.Templates) {
		t.Errorf("%d of %d templates in 40 epochs", len(seen), len(Defaults.Templates))
	}
}

func TestDamagedFilesAreCorrupt(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	for name, change := range map[string]func(map[string][]byte){
		"truncated":    func(f map[string][]byte) { f[images] = f[images][:20] },
		"too long":     func(f map[string][]byte) { f[images] = append(f[images], 1) },
		"no header":    func(f map[string][]byte) { f[labels] = f[labels][:5] },
		"html":         func(f map[string][]byte) { f[labels] = []byte("<html>404</html>") },
		"huge":         func(f map[string][]byte) { f[images] = file(nil, 1<<31, 1<<31, 1<<31) },
		"fewer labels": func(f map[string][]byte) { f[labels] = file([]byte{1, 0}, 2) },
		"cut gzip": func(f map[string][]byte) {
			z := zipped(f[images])
			f[images+".gz"] = z[:len(z)-6]
			delete(f, images)
		},
	} {
		if _, _, err := configure(map[string]any{"root": folder(t, change)}); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAbsentFilesAndBadOptionsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		with map[string]any
		kind fault.Kind
		want string
	}{
		"folder":      {map[string]any{"root": "/nonexistent"}, fault.NotFound, "no such folder"},
		"files":       {map[string]any{"root": t.TempDir()}, fault.NotFound, "train-images-idx3-ubyte"},
		"template":    {map[string]any{"templates": []string{"x"}}, fault.Invalid, "with.templates"},
		"few classes": {map[string]any{"root": folder(t, nil), "classes": []string{"a"}}, fault.Invalid, "with.classes"},
	} {
		_, _, err := configure(c.with)
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeclaredSizesAreTrue(t *testing.T) {
	if _, err := os.Stat(defaultRoot); err != nil {
		if _, _, err := configure(nil); !strings.Contains(fault.Format(err), "apt install dataset-fashion-mnist") {
			t.Errorf("no remedy in %v", err)
		}
		t.Skip("dataset-fashion-mnist is not installed")
	}
	for _, s := range Plugin.Descriptor().Sizes {
		_, info, err := configure(map[string]any{"split": s.When["split"]})
		if err != nil || info.Len != s.N {
			t.Errorf("%v: %d samples, declared %d, %v", s.When, info.Len, s.N, err)
		}
	}
}
