package main_test

import (
	"bytes"
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

// square writes a picture whose length does not depend on its colour.
func square(t *testing.T, path string, c uint8) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		m.Set(i%16, i/16, color.RGBA{c, uint8(i), 255 - c, 255})
	}
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.NoCompression}
	if err := e.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// digests returns what is recorded of the newest run's data and points.
func digests(t *testing.T, dir string) (train string, points int) {
	t.Helper()
	var rows []struct {
		DatasetDigest string `json:"dataset_digest"`
		Points        int
	}
	out := must(t, dir, "query", "--json", "select dataset_digest, (select count(*) from v_metrics m where m.run_id = r.run_id) as points from v_runs r")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return rows[0].DatasetDigest, rows[0].Points
}

// A run is not resumed on other data than it began with: neither of training nor of an evaluation. Its record stays, and
// it goes on when the data is as it was.
func TestResumingOnChangedDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	table := "image,caption\n"
	for i := range 20 {
		name := fmt.Sprintf("p%02d.png", i)
		square(t, filepath.Join(dir, name), uint8(10*i))
		table += fmt.Sprintf("%s,square %d\n", name, i)
	}
	write(t, dir, "t.csv", table)
	write(t, dir, "e.csv", strings.Join(strings.SplitAfter(table, "\n")[:9], ""))
	write(t, dir, "s.yaml", strings.NewReplacer("{dataset: emoji, with: {split: train}}", "{dataset: csv, with: {file: t.csv}}",
		"{dataset: emoji, with: {split: test}, zero_shot: {classes: label, templates: [\"an emoji of {}\"]}, retrieval: true, max_samples: 40}",
		"{name: e, dataset: csv, with: {file: e.csv}, retrieval: true}", "max_steps: 24", "max_steps: 400",
		"checkpoint_every: 8", "checkpoint_every: 4").Replace(tiny)) // when there is a second one, the first is recorded
	killAtCheckpoint(t, dir, command(t, dir, "run", "s.yaml", "-q"))
	before, _ := digests(t, dir)
	for name, role := range map[string]string{"p15.png": "data.train", "e.csv": "eval.e"} {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name == "e.csv" {
			write(t, dir, name, strings.Replace(string(old), "square 3", "square 4", 1))
		} else {
			square(t, path, 77)
		}
		r := try(t, dir, "run", "--resume", "-q")
		if r.code == 0 || !strings.Contains(r.stderr, "the data has changed since the run began: "+role) {
			t.Errorf("%s changed: exit code %d: %s", name, r.code, r.stderr)
		}
		if after, points := digests(t, dir); after != before || points == 0 {
			t.Errorf("%s changed: digest %s became %s, %d points are left", name, before, after, points)
		}
		if err := os.WriteFile(path, old, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, dir, "run", "--resume", "-q")
	if after, _ := digests(t, dir); after != before {
		t.Errorf("digest %s became %s", before, after)
	}
}

// The dataset fetches its own files: the runner starts the plugin, and shows what it says.
func TestGettingDataIsThePluginsBusiness(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"emoji-datasource-google", "emoji-datasource-twitter", "fluent-emoji-3d", "emojibase-data"} {
		if err := os.MkdirAll(filepath.Join(dir, "emoji", name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "emoji", name), "package.json", "{}")
	}
	r := try(t, dir, "data", "get", "emoji", "--to", "emoji")
	if r.code != 0 || r.stdout != "root: emoji\n" || r.stderr != "all packages are in emoji\n" {
		t.Errorf("exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	t.Setenv("PATH", dir) // there is no npm
	r = try(t, dir, "data", "get", "emoji", "--to", "other")
	if r.code != 1 || r.stdout != "" || !strings.HasPrefix(r.stderr, "npm is not installed\n") || !strings.Contains(r.stderr, "curl -L https://registry.npmjs.org/emojibase-data/") {
		t.Errorf("without npm: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if r = try(t, dir, "data", "get", "imagenet"); r.code != 2 || !strings.Contains(r.stderr, `unknown dataset "imagenet"`) {
		t.Errorf("of another dataset: exit code %d, %q", r.code, r.stderr)
	}
}
