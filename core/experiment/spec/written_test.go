package spec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tandem/core/experiment/spec"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

const written = `
image: {encoder: vit, with: {image_size: 32, patch_size: 16, width: 32, layers: 1, head_width: 32}}
text: {encoder: transformer, with: {context_length: 16, vocab_size: 600, width: 32, heads: 1, layers: 1}}
loss: {plugin: clip}
embed_dim: 16
data: {train: {dataset: emoji, with: {split: train}}}
train: {batch_size: 8, max_steps: 2}
`

// A hint repeats what stands in the file, and numbers with a zero in front, which readers of YAML take for several
// numbers, are refused.
func TestASpecMeansWhatIsWritten(t *testing.T) {
	plugins := spectest.Plugins(t)
	parse := func(text string, set ...string) (*spec.Spec, error) {
		return spec.Parse("in.yaml", []byte(written+text), spec.Options{Set: set, Catalog: plugins})
	}
	for text, want := range map[string]string{
		"name: 1e5":                   `quote it: "1e5"`,
		"name: 007":                   `quote it: "007"`,
		"variant: 0x10":               `quote it: "0x10"`,
		"variant: 1_000":              `quote it: "1_000"`,
		"name: 1.0":                   `quote it: "1.0"`,
		"name: True":                  `quote it: "True"`,
		"name: ~":                     `quote it where a text is meant: "~"`,
		"name: .inf":                  `quote it where a text is meant: ".inf"`,
		"seed: 0123":                  `0123 has a leading zero` + "\n  hint: write 123",
		"seed: 089":                   `089 has a leading zero` + "\n  hint: write 89",
		"seed: 00":                    "hint: write 0",
		"description: [a]":            "want a text",
		"description: &a x\nname: *a": "an alias",
		"---\nname: b":                "a second document",
		"---\n{":                      "a second document",
		"lr: 1e-3":                    "hint: did you mean train.lr?",
		"width: 64":                   "a spec accepts",
		"name: a\nname: b":            "duplicate key",
		"embed_dim: 017":              "duplicate key",
	} {
		_, err := parse(text)
		if err == nil || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for set, want := range map[string]string{
		"lr=1e-3":                "did you mean train.lr?",
		"image.width=64":         "did you mean image.with.width?",
		"train.seed=3":           "did you mean seed?",
		"train.batch_siz=3":      "did you mean batch_size?",
		"seed=007":               "007 has a leading zero",
		"train.lr=00.1":          "write 0.1",
		"train.weight_decay=-01": "write -1",
	} {
		_, err := parse("", set)
		if err == nil || !strings.Contains(fault.Format(err), want) {
			t.Errorf("--set %s: %v, want %q", set, err, want)
		}
	}
	// To a shell 007 is a text, # no comment; 0x10, 1e5 and 0.5 are numbers.
	s, err := parse("seed: 0x10", "name=007", "variant=1e5", "description=loss #3", "train.max_steps=1e3", "train.lr=0.5")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "007" || s.Variant != "1e5" || s.Description != "loss #3" || s.Seed != 16 || s.Train.MaxSteps != 1000 || s.Train.LR != .5 {
		t.Errorf("%q %q %q %d %d %g", s.Name, s.Variant, s.Description, s.Seed, s.Train.MaxSteps, s.Train.LR)
	}
	for _, text := range []string{"\ufeff" + written, strings.ReplaceAll(written, "\n", "\r\n")} {
		if _, err := spec.Parse("in.yaml", []byte(text), spec.Options{Catalog: plugins}); err != nil {
			t.Errorf("%q…: %v", text[:8], err)
		}
	}
}

// Whatever a spec is or names, reading it ends soon, and with few lines.
func TestReadingASpecIsBounded(t *testing.T) {
	plugins, dir := spectest.Plugins(t), t.TempDir()
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var many strings.Builder
	for i := range 8_000 {
		fmt.Fprintf(&many, "k%d: {a: [1]}\n", i)
	}
	base := file("base.yaml", many.String())
	for path, want := range map[string]string{
		pipe: "a pipe", "/dev/zero": "a device", dir: "a folder",
		file("zero.yaml", "extends: [/dev/zero]"):                          "/dev/zero: this is a device",
		file("pipes.yaml", "extends: [pipe.yaml]"):                         "a pipe",
		file("huge.yaml", "# "+strings.Repeat("x", 2<<20)):                 "longer than 1048576 bytes",
		file("keys.yaml", "extends: [base.yaml]\n"+many.String()):          "more unknown keys",
		file("self.yaml", "extends: [self.yaml]"):                          "circular",
		file("gone.yaml", "extends: [bsae.yaml]"):                          "did you mean " + base,
		filepath.Join(dir, "huge.yml"):                                     "did you mean " + filepath.Join(dir, "huge.yaml"),
		filepath.Join(dir, "keys"):                                         "did you mean " + filepath.Join(dir, "keys.yaml"),
		file("deep.yaml", strings.Repeat("[", 50_000)):                     "not YAML",
		file("long.yaml", "? "+strings.Repeat("k", 1e5)+"\n: 1\n"+written): "unknown key",
	} {
		_, err := spec.Load(path, spec.Options{Catalog: plugins})
		text := ""
		if err != nil {
			text = fault.Format(err)
		}
		if !strings.Contains(text, want) || strings.Count(text, "\n") > 300 {
			t.Errorf("%s: %.300s, want %q", filepath.Base(path), text, want)
		}
	}
}
