package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"tandem/core/experiment/spec/spectest"
)

// schemaOf writes the schema of the real plugins into dir and returns it. Those in Python are there, but cannot be
// described: they need gigabytes.
func schemaOf(t *testing.T, dir string) []byte {
	t.Helper()
	scripts, _ := filepath.Glob("../../plugins/*/*/plugin.py")
	for _, script := range scripts {
		folder := filepath.Dir(script)
		stub := filepath.Join(dir, ".local/share/tandem/plugins", filepath.Base(filepath.Dir(folder)), filepath.Base(folder))
		if err := os.MkdirAll(stub, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, stub, "plugin.py", "raise SystemExit('torch is not here')\n")
	}
	r := try(t, dir, "schema", "-o", ".tandem/spec.schema.json")
	if r.code != 0 || len(scripts) > 0 && !strings.Contains(r.stderr, "openclip cannot be described") {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, ".tandem/spec.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if printed := must(t, dir, "schema"); printed != string(text) {
		t.Error("what is printed is not what is written")
	}
	return text
}

// written returns the specs of this repository by their place: the experiments, and those on pages of the manual.
func written(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, _ := filepath.Glob("../../experiments/*.yaml")
	more, _ := filepath.Glob("../../experiments/*/*.yaml")
	files = append(files, slices.DeleteFunc(more, func(f string) bool { return filepath.Base(filepath.Dir(f)) == "suites" })...)
	pages, _ := filepath.Glob("../../docs/*.md")
	for _, file := range append(append(files, pages...), "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(file) == ".yaml" {
			out[filepath.Base(file)] = string(text)
			continue
		}
		for i, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
			out[fmt.Sprintf("%s-%d.yaml", filepath.Base(file), i+1)] = whole(t, string(m[1]))
		}
	}
	if len(out) < 20 {
		t.Fatalf("%d specs", len(out))
	}
	return out
}

// whole puts a fragment of a spec where it belongs: settings of data.train, factors of a random design, or keys of a
// spec that extends another.
func whole(t *testing.T, fragment string) string {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(fragment), &m); err != nil {
		t.Fatal(err)
	}
	within := func(text string) string {
		return text + strings.ReplaceAll("\n"+strings.TrimSpace(fragment), "\n", "\n      ") + "\n"
	}
	factors := false
	for _, v := range m {
		factor, _ := v.(map[string]any)
		factors = factors || factor["key"] != nil
	}
	switch {
	case factors:
		fragment = within("ablate:\n    design: random\n    trials: 3\n    factors:")
	case m["augment"] != nil:
		fragment = within("data:\n    train:")
	}
	if m["extends"] == nil && (m["image"] == nil || m["data"] == nil) {
		fragment = "extends: [base.yaml]\n" + fragment
	}
	return fragment
}

// The schema takes every spec of the repository, and refuses what is misspelt in it.
func TestSchemaTakesWhatIsWritten(t *testing.T) {
	valid := spectest.Validator(t, schemaOf(t, t.TempDir()))
	for place, text := range written(t) {
		if err := valid([]byte(text)); err != nil {
			t.Errorf("%s: %v\n%s", place, err, text)
		}
	}
	if err := valid([]byte(tiny)); err != nil {
		t.Error(err)
	}
	for old, now := range map[string]string{
		"patch_size":     "pach_size",
		"batch_size: 16": "batch_size: x",
		"{plugin: clip}": "{plugin: clp}",
		"retrieval":      "retreival",
		"split: train":   "splt: train",
		"encoder: vit":   "encoder: transformer",
		"classes: label": "clases: label",
	} {
		if err := valid([]byte(strings.Replace(tiny, old, now, 1))); err == nil {
			t.Errorf("%s is taken", now)
		}
	}
	own := strings.Replace(tiny, "encoder: vit, with: {", "encoder: ./my/vit, with: {own: 1, ", 1)
	if err := valid([]byte(own)); err != nil {
		t.Errorf("a plugin by its path, with settings of its own: %v", err)
	}
}

// question and answer are those of tools/editor/ask.mjs.
type question struct {
	File string   `json:"file"`
	At   [][2]int `json:"at"`
}

type answer struct {
	Faults []struct {
		Line    int
		Message string
	}
	Proposed [][]string
	Hovers   []string
}

// askEditor asks the YAML language server, which npm installs into bin/editor. The test is skipped where it cannot.
func askEditor(t *testing.T, questions []question) []answer {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s, with which the YAML language server of editors is tried", program)
		}
	}
	tools, err := filepath.Abs("../../tools/editor")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(tools, "../../bin/editor")
	installServer(t, tools, bin)
	asked, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", filepath.Join(tools, "ask.mjs"), bin)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(asked), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(questions) {
		t.Fatalf("%v: %s\n%s", err, out, &stderr)
	}
	return answers
}

// installServer runs npm unless the pinned versions are there.
func installServer(t *testing.T, from, to string) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(to, "installed")
	if old, _ := os.ReadFile(mark); bytes.Equal(old, lock) {
		return
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, name, string(text))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = to
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the YAML language server of editors, so that it is not tried: %v\n%s", err, out)
	}
	write(t, to, "installed", string(lock))
}

const modeline = "# yaml-language-server: $schema=.tandem/spec.schema.json\n"

// With the schema, the language server of editors completes and explains keys, with blocks included, marks what is
// misspelt, and finds nothing in the specs of the repository.
func TestEditorsCompleteAndCheckSpecs(t *testing.T) {
	dir := t.TempDir()
	schemaOf(t, dir)
	text := modeline + `name: mine
image:
  encoder: vit
  with:
    patch_size: 4
    
text:
  encoder: transformer
  with: {widht: 64}
loss: {plugin: clp}
data:
  train: {dataset: csv, with: {root: .}}
eval:
  - dataset: emoji
    with:
      split: 
train: {epochs: 1}
ablate:
  design: grid
  baseline: {pool: cls}
  factors:
    pool:
      cls: {}
      mean:
        image.with.pool_type: 

`
	write(t, dir, "mine.yaml", text)
	lines := strings.Split(text, "\n")
	line := func(what string) int {
		return slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, what) })
	}
	end := func(what string) [2]int { return [2]int{line(what), len(lines[line(what)])} }
	questions := []question{{filepath.Join(dir, "mine.yaml"), [][2]int{
		{line("patch_size") + 1, 4}, {len(lines) - 2, 0}, end("split:"), end("pool_type:"), {line("patch_size"), 6}, {line("encoder: vit"), 11},
	}}}
	var names []string
	for place, text := range written(t) {
		write(t, dir, place, modeline+text)
		names = append(names, place)
		questions = append(questions, question{File: filepath.Join(dir, place)})
	}
	answers := askEditor(t, questions)
	a := answers[0]
	for i, want := range [][]string{
		{"image_size", "pool_type", "patch_dropout"},
		{"seed", "device", "description"},
		{"train", "test", "all"},
		{"tok", "avg"},
		nil,
		{"vit", "resnet-attnpool"},
	} {
		for _, word := range want {
			if !slices.Contains(a.Proposed[i], word) {
				t.Errorf("place %d: %v proposed, not %s", i, a.Proposed[i], word)
			}
		}
	}
	for i, not := range []string{"patch_size", "train", "label", "argmax", "", "transformer"} {
		if slices.Contains(a.Proposed[i], not) {
			t.Errorf("place %d: %s is proposed", i, not)
		}
	}
	if !strings.Contains(a.Hovers[4], "side of a patch in pixels") {
		t.Errorf("patch_size is explained as %q", a.Hovers[4])
	}
	for what, want := range map[string]string{"widht": "Property widht is not allowed", "plugin: clp": "clip", "dataset: csv": `Missing property "file"`} {
		if !slices.ContainsFunc(a.Faults, func(f struct {
			Line    int
			Message string
		}) bool {
			return f.Line == line(what) && strings.Contains(f.Message, want)
		}) {
			t.Errorf("%s: no fault %q among %v", what, want, a.Faults)
		}
	}
	for i, place := range names {
		for _, f := range answers[i+1].Faults {
			t.Errorf("%s:%d: %s", place, f.Line+1, f.Message)
		}
	}
}
