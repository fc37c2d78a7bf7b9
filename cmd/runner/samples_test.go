package main_test

import (
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gallery writes n pictures of noise as 0.png …, and t.csv and e.csv with a caption and a label for each. Those in broken
// have no picture in them, those in absent no file.
func gallery(t *testing.T, dir string, n int, broken, absent func(int) bool) {
	t.Helper()
	table := "image,caption,label\n"
	for i := range n {
		name := fmt.Sprintf("%d.png", i)
		table += fmt.Sprintf("%s,this is picture number %d,%s\n", name, i, []string{"cat", "dog"}[i%2])
		switch {
		case absent != nil && absent(i):
			continue
		case broken != nil && broken(i):
			write(t, dir, name, "no picture")
			continue
		}
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		m := image.NewGray(image.Rect(0, 0, 16, 16))
		for k := range m.Pix {
			m.Pix[k] = byte(rng.Uint32())
		}
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	write(t, dir, "t.csv", table)
	write(t, dir, "small.yaml", `image: {encoder: vit, with: {image_size: 16, patch_size: 8, width: 16, layers: 1, head_width: 16}}
text: {encoder: transformer, with: {width: 16, layers: 1, heads: 1, context_length: 8, vocab_size: 600, tokenizer: byte}}
loss: {plugin: clip}
embed_dim: 16
data:
  train: {dataset: csv, with: {file: t.csv}}
eval:
  - {dataset: csv, with: {file: t.csv, label_column: label}, zero_shot: {classes: label, templates: ["{}"]}, retrieval: true}
train: {batch_size: 8, max_steps: 8}
device: host
`)
}

// warningsOf returns a run's warnings by kind.
func warningsOf(t *testing.T, dir string) string {
	t.Helper()
	return must(t, dir, "query", "--csv", "select kind, message from v_events where level = 'warning' order by event_id")
}

// Broken pictures, absent ones and captions that are cut: each is on the terminal, in v_events, in show, and a figure.
func TestWhatIsWrongWithSamplesIsCountedAndSaid(t *testing.T) {
	dir := t.TempDir()
	gallery(t, dir, 40, func(i int) bool { return i%10 == 3 }, func(i int) bool { return i == 8 })
	r := try(t, dir, "run", "small.yaml", "--no-progress", "--set", "data.max_bad_share=0.3")
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	recorded := warningsOf(t, dir)
	for _, want := range []string{
		"data.train: 1 of 40 records (2.5 %) are refused", "8.png", // absent
		"samples so far", `not a picture`, // broken, in training
		"4 of 39 samples (10.3 %) cannot be read and are left out of the figures, n = 35", // in the evaluation
		"captions so far (100 %) are longer than the context of 8 tokens and are cut; the longest has 27",
		"of the training data, 1 of 40 records were refused (2.5 %)",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the terminal lacks %q:\n%s", want, r.stderr)
		}
		if !strings.Contains(recorded, want) {
			t.Errorf("v_events lacks %q:\n%s", want, recorded)
		}
	}
	if n := strings.Count(recorded, "samples_replaced,"); n < 1 || n > 2 {
		t.Errorf("%d events of replaced samples:\n%s", n, recorded)
	}
	figures := must(t, dir, "query", "--csv", "select metric, last from v_final where metric like '%left_out%' or metric like '%/n' or metric like 'train/%_share' order by metric")
	for _, want := range []string{"eval/csv/left_out,4", "eval/csv/n,35", "train/captions_cut_share,1", "train/samples_replaced_share,0."} {
		if !strings.Contains(figures, want) {
			t.Errorf("the figures lack %q:\n%s", want, figures)
		}
	}
	if n := must(t, dir, "query", "--csv", "select n from v_predictions"); strings.TrimSpace(n) != "n\n35" {
		t.Errorf("predictions of %q samples, want 35", n)
	}
	show := must(t, dir, "show", "latest")
	for _, want := range []string{"data.refused", "data.replaced_share", "data.captions_longest", "eval.csv.n", "warnings"} {
		if !strings.Contains(show, want) {
			t.Errorf("show lacks %q:\n%s", want, show)
		}
	}
	if list := must(t, dir, "list"); !strings.Contains(list, "done, ") || !strings.Contains(list, " warnings") {
		t.Errorf("list lacks the warnings:\n%s", list)
	}
	peek := try(t, dir, "data", "peek", "small.yaml", "-n", "39")
	for _, want := range []string{"1 of 40 records are refused (2.5 %)", "39 of 39 captions (100 %) are longer", "4 of 39 samples shown cannot be read (10.3 %)"} {
		if !strings.Contains(peek.stderr, want) {
			t.Errorf("peek lacks %q:\n%s", want, peek.stderr)
		}
	}
}

func TestTooManyBadSamplesEndARun(t *testing.T) {
	for name, c := range map[string]struct {
		broken, absent func(int) bool
		set, want      string
	}{
		"absent":        {nil, func(i int) bool { return i%4 == 0 }, "name=a", "data.train: 10 of 40 records (25.0 %) are refused (10 missing picture), and 0.05 is allowed"},
		"broken":        {func(i int) bool { return i%2 == 0 }, nil, "eval=[]", "and max_bad_share is 0.05"},
		"of evaluation": {func(i int) bool { return i%3 != 0 }, nil, "data.max_bad_share=1", "eval[0].max_bad_share"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			gallery(t, dir, 40, c.broken, c.absent)
			r := try(t, dir, "run", "small.yaml", "--no-progress", "--set", c.set)
			if r.code != 1 || !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, "hint: mend the data, or allow more") {
				t.Errorf("exit code %d\n%s", r.code, r.stderr)
			}
		})
	}
}

// Names that differ in capitals and spaces alone are the same to a text encoder.
func TestLabelsComeFromFilesAndTwinsAreNamed(t *testing.T) {
	dir := t.TempDir()
	gallery(t, dir, 16, nil, nil)
	must(t, dir, "run", "small.yaml", "--no-progress", "--quiet")
	write(t, dir, "names.txt", "\ufeffa cat\n\nbig, bad \"wolf\"\nA  Cat\n")
	write(t, dir, "prompts.txt", "{}\nthe {}\n")
	for _, flag := range [][]string{{"--labels", "@names.txt"}, {"--labels-file", "names.txt"}} {
		r := try(t, dir, append([]string{"zeroshot", "latest", "0.png", "--template", "@prompts.txt", "--csv"}, flag...)...)
		if r.code != 0 || !strings.Contains(r.stdout, `"big, bad ""wolf"""`) || !strings.Contains(r.stderr, `"A  Cat" (0 and 2)`) {
			t.Errorf("%v: exit code %d\n%s%s", flag, r.code, r.stdout, r.stderr)
		}
	}
	for given, want := range map[string]string{`"dog, big",5" disk,cat`: "dog, big", `cat,cat,dog`: "cat"} {
		r := try(t, dir, "zeroshot", "latest", "0.png", "--template", "{}", "--csv", "--labels", given)
		if r.code != 0 || strings.Count(r.stdout, "\n") != 4 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: exit code %d\n%s%s", given, r.code, r.stdout, r.stderr)
		}
		if twins := strings.Contains(r.stderr, "the same name"); twins != (given == "cat,cat,dog") {
			t.Errorf("%s: %s", given, r.stderr)
		}
	}
	if r := try(t, dir, "zeroshot", "latest", "0.png", "--labels", "cat,,dog"); r.code != 2 || !strings.Contains(r.stderr, "number 2 is empty") {
		t.Errorf("an empty label: exit code %d\n%s", r.code, r.stderr)
	}
}

func TestEmbedSaysWhatItLeavesOut(t *testing.T) {
	dir := t.TempDir()
	gallery(t, dir, 16, nil, nil)
	must(t, dir, "run", "small.yaml", "--no-progress", "--quiet")
	write(t, dir, "5.png", "no picture")
	write(t, dir, "texts.txt", "short\na text that is too long\n")
	args := []string{"embed", "--run", "latest", "--images", ".", "--texts", "texts.txt", "--out", "f.safetensors", "--json"}
	if r := try(t, dir, args...); r.code == 0 || !strings.Contains(r.stderr, "5.png") || !strings.Contains(r.stderr, "--skip-unreadable") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	r := try(t, dir, append(args, "--skip-unreadable")...)
	for _, want := range []string{`"images": 15`, `"left_out": 1`, `"texts_cut": 1`} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %s: exit code %d\n%s%s", want, r.code, r.stdout, r.stderr)
		}
	}
	for _, want := range []string{"1 of 16 pictures (6.2 %) cannot be read and are left out", "1 of 2 texts (50.0 %) are longer than the context of 8 tokens"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the terminal lacks %q:\n%s", want, r.stderr)
		}
	}
}
