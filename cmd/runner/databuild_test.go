package main_test

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// striped writes a picture of eight stripes whose colours are those of its number's digits.
func striped(t *testing.T, path string, n int) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 72, 72))
	for i := range 72 * 72 {
		x, y := i%72, i/72
		v := uint32(n*2654435761) * uint32(x/9*8+y/9+1)
		m.Set(x, y, color.RGBA{uint8(v >> 24), uint8(v >> 16), uint8(v >> 8), 255})
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// From a folder of pages to a trained run, and what the command says on the way.
func TestASetIsBuiltOfPagesAndTrainedOn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	page := "<title>Patterns</title>"
	for i := range 40 {
		striped(t, filepath.Join(dir, "docs", fmt.Sprintf("p%d.png", i)), i+1)
		page += fmt.Sprintf("<figure><img src=p%d.png alt='Pattern'><figcaption>Figure %d. A pattern of squares, the %dth</figcaption></figure>", i, i, i)
	}
	write(t, filepath.Join(dir, "docs"), "index.html", page+"<img src=../../etc/passwd alt='The secret words'>")
	write(t, dir, "build.yaml", "out: set\nsources: [{html: docs}]\nshards: {samples: 15}\nfilters: {repeated: off, perceptual: {distance: 2}}\n")
	var s struct {
		Kept, Shards int
		Digest       string
		UpToDate     bool `json:"up_to_date"`
	}
	out := must(t, dir, "data", "build", "build.yaml", "--json", "-q")
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Kept < 35 || s.Shards != 3 || s.UpToDate {
		t.Fatalf("%v: %s", err, out)
	}
	r := try(t, dir, "data", "build", "build.yaml")
	if r.code != 0 || !strings.Contains(r.stderr, "there is nothing to do") || !strings.Contains(r.stderr, s.Digest) || !strings.Contains(r.stdout, "candidates") {
		t.Errorf("again: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = try(t, dir, "data", "build", "build.yaml", "--without", "length")
	if r.code == 0 || !strings.Contains(r.stderr, "filters.length") || !strings.Contains(r.stderr, "--rejudge") {
		t.Errorf("another configuration: exit code %d, %s", r.code, r.stderr)
	}
	if r = try(t, dir, "data", "build", "build.yaml", "--without", "nonsense"); r.code != 2 || !strings.Contains(r.stderr, "the filters are") {
		t.Errorf("an unknown filter: exit code %d, %s", r.code, r.stderr)
	}
	write(t, dir, "bad.yaml", "out: set\nsources: [{html: docs}]\nfilters:\n  lenght: off\n")
	if r = try(t, dir, "data", "build", "bad.yaml"); r.code == 0 || !strings.Contains(r.stderr, "bad.yaml:4") {
		t.Errorf("a key that is none: exit code %d, %s", r.code, r.stderr)
	}
	if page := must(t, dir, "data", "build", "build.yaml", "--report"); !strings.HasSuffix(strings.TrimSpace(page), "report.html") {
		t.Errorf("%q", page)
	}
	write(t, dir, "s.yaml", strings.NewReplacer("{dataset: emoji, with: {split: train}}", "{dataset: webdataset, with: {shards: [set]}}",
		"{dataset: emoji, with: {split: test}, zero_shot: {classes: label, templates: [\"an emoji of {}\"]}, retrieval: true, max_samples: 40}",
		"{dataset: webdataset, with: {shards: [set]}, retrieval: true}").Replace(tiny))
	must(t, dir, "run", "s.yaml", "-q")
	out = must(t, dir, "query", "--json", "select count(*) as n from v_runs where status = 'done'")
	if !strings.Contains(out, `"n": 1`) && !strings.Contains(out, `"n":1`) {
		t.Errorf("%s", out)
	}
}

// A set of which nothing is left is an error that says so, and no success.
func TestASetWithoutAPairIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "docs"), "index.html", "<img src=../pictures/a.png alt='A picture outside the folder'>")
	r := try(t, dir, "data", "build", "--html", "docs", "-o", "set")
	if r.code == 0 || !strings.Contains(r.stderr, "no pair is left") || !strings.Contains(r.stderr, "outside the folder") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
