package main_test

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/experiment/spec/spectest"
)

// paint writes a picture of one colour.
func paint(t *testing.T, path string, c color.Color) {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 40, 36))
	for i := range 40 * 36 {
		m.Set(i%40, i/40, c)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
}

// own makes data of a user's own in dir: class folders, a table, and pictures with text files.
func own(t *testing.T, dir string) {
	t.Helper()
	rows := "picture,alt text,species\n"
	for i := range 40 {
		class, c := "red", color.NRGBA{uint8(200 + i), 0, 0, 255}
		if i%2 == 1 {
			class, c = "blue", color.NRGBA{0, 0, uint8(200 + i), 255}
		}
		paint(t, filepath.Join(dir, "folders", class, fmt.Sprintf("%d.png", i)), c)
		paint(t, filepath.Join(dir, "table", "images", fmt.Sprintf("%d.png", i)), c)
		paint(t, filepath.Join(dir, "texts", fmt.Sprintf("%d.png", i)), c)
		write(t, filepath.Join(dir, "texts"), fmt.Sprintf("%d.txt", i), fmt.Sprintf("number %d, which is %s", i, class))
		rows += fmt.Sprintf("%d.png,\"a %s sheet, the %dth\",%s\n", i, class, i, class)
	}
	write(t, filepath.Join(dir, "table"), "all.csv", rows)
}

// What init writes for data of each kind is checked, fits its schema, and trains.
func TestInitWritesASpecThatTrains(t *testing.T) {
	dir := t.TempDir()
	own(t, dir)
	for _, c := range []struct{ data, said, metric string }{
		{"folders", "40 pictures in 2 class folders: blue, red", "top1"},
		{"table/all.csv", "classes in the column species: blue, red", "top1"},
		{"texts", "captions in text files beside the pictures", "image_to_text_R@1"},
	} {
		name := strings.TrimSuffix(filepath.Base(c.data), ".csv")
		out := must(t, dir, "init", "specs", "--data", c.data)
		for _, want := range []string{c.said, "40 × 36 pixels", "20 % of the pictures held out", "wrote specs/" + name + ".yaml"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.data, want, out)
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, "specs", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		schema, err := os.ReadFile(filepath.Join(dir, "specs/.tandem/spec.schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := spectest.Validator(t, schema)(text); err != nil {
			t.Errorf("%s: %v\n%s", c.data, err, text)
		}
		out = must(t, dir, "run", "specs/"+name+".yaml", "--set", "train.max_steps=2", "--set", "image.with.layers=1", "--set", "image.with.image_size=8",
			"--set", "text.with.layers=1", "--set", "train.batch_size=8")
		if out += must(t, dir, "show", "latest"); !strings.Contains(out, c.metric) {
			t.Errorf("%s: no %s in\n%s", c.data, c.metric, out)
		}
	}
}

func TestInitReplacesNothingUnasked(t *testing.T) {
	dir := t.TempDir()
	own(t, dir)
	must(t, filepath.Join(dir, "folders"), "init") // the data of the working directory
	if !exists(filepath.Join(dir, "folders/folders.yaml")) || !exists(filepath.Join(dir, "folders/.tandem/spec.schema.json")) {
		t.Error("nothing is beside the data")
	}
	write(t, dir, "mine.yaml", "name: precious\n")
	for _, args := range [][]string{{"init", "mine.yaml", "--data", "folders"}, {"init", "--data", "folders", "--name", "mine"}} {
		if r := try(t, dir, args...); r.code != 2 || !strings.Contains(r.stderr, "mine.yaml is there already") || !strings.Contains(r.stderr, "--force") {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "mine.yaml")); string(text) != "name: precious\n" {
		t.Errorf("it is now %s", text)
	}
	must(t, dir, "init", "mine.yaml", "--data", "folders", "--force")
	if err := os.WriteFile(filepath.Join(dir, ".tandem/spec.schema.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := try(t, dir, "init", "other.yaml", "--data", "folders"); r.code == 0 || !strings.Contains(r.stderr, "no schema of tandem") || exists(filepath.Join(dir, "other.yaml")) {
		t.Errorf("a foreign schema: exit code %d, %s", r.code, r.stderr)
	}
	if r := try(t, dir, "init", "--data", "nowhere"); r.code != 2 {
		t.Errorf("no data: exit code %d, %s", r.code, r.stderr)
	}
}
