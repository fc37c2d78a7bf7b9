package trial_test

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"tandem/core/plugin/catalog"
	"tandem/core/plugin/trial"
)

// TestShippedPluginsKeepTheRules runs the kit on every plugin in Go of bin/plugins, which make build fills, as a process.
func TestShippedPluginsKeepTheRules(t *testing.T) {
	folder, table := pictures(t)
	with := map[string]string{
		"encoders/bert":          `{"vocab_size": 600, "width": 16, "heads": 2, "layers": 2, "positions": 32}`, // else MiniLM's sizes
		"datasets/imagefolder":   fmt.Sprintf(`{"root": %q}`, folder),
		"datasets/csv":           fmt.Sprintf(`{"file": %q}`, table),
		"datasets/fashion-mnist": `{"split": "test", "limit": 64}`, // the smaller file
		"datasets/webdataset":    fmt.Sprintf(`{"shards": [%q]}`, absolute(t, "../../data/shard/testdata/pictures.tar")),
		"datasets/hf-parquet":    fmt.Sprintf(`{"files": [%q]}`, absolute(t, "../../../plugins/datasets/hf-parquet/testdata/bytes.parquet")),
		"datasets/coco":          fmt.Sprintf(`{"annotations": %q, "root": %q}`, annotations(t, folder), folder),
		"datasets/mnist":         leftOut, // their tests run the kit on files that they make
		"datasets/ifct":          leftOut,
	}
	for name, folder := range map[string]string{"datasets/fashion-mnist": "/usr/share/datasets/fashion-mnist",
		"datasets/openclipart": "/usr/share/openclipart/png", "datasets/tuxpaint": "/usr/share/tuxpaint/stamps"} {
		if _, err := os.Stat(folder); err != nil {
			t.Logf("%s is left out: it is not installed", name)
			with[name] = leftOut
		}
	}
	keepTheRules(t, &catalog.Catalog{}, func(e catalog.Entry) bool { return filepath.Ext(e.Binary.Path) != ".py" }, with)
}

// leftOut stands for the options of a plugin that is not tried.
const leftOut = "left out"

// TestShippedPythonPluginsKeepTheRules does the same for plugins in Python, with PyTorch. encoders/hf-text needs the folder
// of a model, which the tests of cmd/runner make.
func TestShippedPythonPluginsKeepTheRules(t *testing.T) {
	python := os.Getenv(catalog.EnvPython)
	if os.Getenv("TANDEM_TEST_TORCH") == "" || python == "" {
		t.Skip("make test-python runs the tests with PyTorch")
	}
	sdk, err := filepath.Abs("../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", sdk)
	keepTheRules(t, &catalog.Catalog{Python: python}, func(e catalog.Entry) bool { return filepath.Ext(e.Binary.Path) == ".py" }, map[string]string{
		"encoders/openclip": `{"model": "ViT-B-32", "image_size": 32, "vision": {"patch_size": "8", "layers": "2", "width": "64", "head_width": "32"}}`,
		"encoders/timm":     `{"model": "vit_tiny_patch16_224", "image_size": 32}`,
		"encoders/hf-text":  leftOut,
	})
}

// keepTheRules runs the kit on the plugins of bin/plugins that are wanted, with options by name.
func keepTheRules(t *testing.T, c *catalog.Catalog, wanted func(catalog.Entry) bool, with map[string]string) {
	t.Helper()
	root, err := filepath.Abs("../../../bin/plugins")
	if err != nil {
		t.Fatal(err)
	}
	c.Roots = []string{root}
	list := c.List()
	if len(list) == 0 {
		t.Skip("there are no plugins in bin/plugins: make build builds them")
	}
	for _, e := range list {
		options := with[e.Binary.Ref()]
		if !wanted(e) || options == leftOut {
			continue
		}
		t.Run(e.Binary.Ref(), func(t *testing.T) {
			t.Parallel()
			if e.Err != nil {
				t.Fatal(e.Err)
			}
			o := trial.Options{Catalog: c, Descriptor: e.Descriptor, Binary: e.Binary}
			if options != "" {
				o.With = json.RawMessage(options)
			}
			r, err := trial.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range r.Rules {
				if rule.Outcome == trial.Failed {
					t.Errorf("%s: %s", rule.Rule, rule.Why)
				}
			}
			if r.Passed < 15 {
				t.Errorf("only %d rules were checked", r.Passed)
			}
		})
	}
}

// pictures makes a folder of pictures by class, and a table of them.
func pictures(t *testing.T) (folder, table string) {
	t.Helper()
	folder, table = filepath.Join(t.TempDir(), "pictures"), filepath.Join(t.TempDir(), "table.csv")
	rows := "image,caption\n"
	for i := range 12 {
		class := []string{"bright", "dark"}[i%2]
		picture := image.NewRGBA(image.Rect(0, 0, 40, 30+i))
		for at := range picture.Pix {
			picture.Pix[at] = byte(at*i>>6 + 90*(i%2))
		}
		picture.Set(i, i, color.White)
		path := filepath.Join(folder, class, fmt.Sprint(i, ".png"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, picture); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		rows += fmt.Sprintf("%s,a %s picture with number %d\n", path, class, i)
	}
	if err := os.WriteFile(table, []byte(rows), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder, table
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// annotations writes COCO's captions for the pictures of a folder.
func annotations(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.png"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pictures, %v", len(files), err)
	}
	type object = map[string]any
	var images, captions []object
	for i, file := range files {
		images = append(images, object{"id": i, "file_name": filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))})
		for k := range 2 {
			captions = append(captions, object{"id": 2*i + k, "image_id": i, "caption": fmt.Sprintf("caption %d of picture %d", k, i)})
		}
	}
	text, err := json.Marshal(object{"images": images, "annotations": captions})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "captions.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
