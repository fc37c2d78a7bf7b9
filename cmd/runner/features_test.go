package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// lit turns tiny into a spec with frozen towers and four epochs.
var lit = strings.NewReplacer("head_width: 16}}", "head_width: 16}, freeze: all}", "vocab_size: 600}}", "vocab_size: 600}, freeze: all}",
	"split: train", "split: test").Replace(tiny)

func run(t *testing.T, dir string, args ...string) (id string) {
	t.Helper()
	return strings.TrimSpace(must(t, dir, append([]string{"run", "lit.yaml", "-q"}, args...)...))
}

// events returns the messages of a run's feature cache by level.
func events(t *testing.T, dir, id string) map[string][]string {
	t.Helper()
	out := must(t, dir, "query", "--json", "select level, message from v_events where kind = 'feature_cache' and run_id = '"+id+"'")
	var rows []struct{ Level, Message string }
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := map[string][]string{}
	for _, r := range rows {
		m[r.Level] = append(m[r.Level], r.Message)
	}
	return m
}

func cached(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, ".cache/tandem/features/*/*.features"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Kept features change no number: not in the run that fills them, nor in one that finds them, all,
// damaged or half of them, nor in two at the same time. Another seed finds others.
func TestKeptFeaturesChangeNoNumber(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lit.yaml", lit)
	want := curves(t, dir, run(t, dir, "--set", "train.feature_cache=off"))
	if len(cached(t, dir)) != 0 {
		t.Fatal("features were kept with the cache off")
	}
	check := func(what string, known string, warnings int) {
		t.Helper()
		id := run(t, dir)
		if curves(t, dir, id) != want {
			t.Errorf("%s: the metrics differ from those without kept features", what)
		}
		e := events(t, dir, id)
		if len(e["info"]) != 2 || !strings.Contains(e["info"][0], "image tower: "+known) || len(e["warning"]) != warnings {
			t.Errorf("%s: events %q", what, e)
		}
	}
	check("empty", "0 known", 0)
	check("full", "100 known", 0)
	for _, name := range cached(t, dir) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 0x55
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("damaged", "100 known", 2)
	if err := os.RemoveAll(filepath.Join(dir, ".cache")); err != nil {
		t.Fatal(err)
	}
	var both []*exec.Cmd
	var ids [2]bytes.Buffer
	for i := range ids {
		cmd := command(t, dir, "run", "lit.yaml", "-q")
		cmd.Stdout = &ids[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		both = append(both, cmd)
	}
	for i, cmd := range both {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if curves(t, dir, strings.TrimSpace(ids[i].String())) != want {
			t.Error("two at once: the metrics differ")
		}
	}
	check("after two at once", "100 known", 0)
	if e := events(t, dir, run(t, dir, "--set", "seed=3")); !strings.Contains(e["info"][0], "image tower: 0 known") {
		t.Errorf("another seed, and so other random weights: %q", e)
	}
}

// A run that is killed while features are computed, and resumed, has the numbers of one that was not.
func TestKilledWhileFeaturesAreComputed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lit.yaml", lit)
	want := curves(t, dir, run(t, dir, "--set", "train.feature_cache=off"))
	killAtCheckpoint(t, dir, command(t, dir, "run", "lit.yaml", "-q"))
	// What a kill in the middle of a write leaves.
	dirs, err := filepath.Glob(filepath.Join(dir, ".cache/tandem/features/*"))
	if err != nil || len(dirs) != 2 {
		t.Fatalf("%v (%v)", dirs, err)
	}
	for _, d := range dirs {
		write(t, d, "half.features", "tandem features1 and no more")
		write(t, d, "123.tmp", "tandem")
	}
	id := strings.TrimSpace(must(t, dir, "run", "--resume", "-q"))
	if curves(t, dir, id) != want {
		t.Error("the metrics differ from those of an uninterrupted run")
	}
	if e := events(t, dir, id); len(e["warning"]) != 2 || !strings.Contains(e["warning"][0], "half.features") {
		t.Errorf("events %q", e)
	}
}

// Where something changes the features they are not kept, and a warning says what.
func TestChangingFeaturesAreNotKept(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lit.yaml", lit)
	for set, want := range map[string]string{
		"image.with.patch_dropout=0.5":           "patch_dropout",
		"data.train.augment=random_resized_crop": "data.train.augment",
		"data.train.with.jitter=0.3":             "jitter",
	} {
		e := events(t, dir, run(t, dir, "--set", set, "--set", "train.max_steps=2"))
		if len(e["warning"]) != 1 || !strings.Contains(e["warning"][0], want) || len(e["info"]) != 1 {
			t.Errorf("%s: events %q", set, e)
		}
	}
}

// Ctrl-C keeps the features that were computed.
func TestAnInterruptedRunKeepsItsFeatures(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lit.yaml", lit)
	cmd := command(t, dir, "run", "lit.yaml", "-q", "--set", "train.max_steps=1000000", "--set", "train.checkpoint_every=8")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-*/state.json"))
		return len(found) > 0
	})
	signal(t, cmd.Process.Pid, syscall.SIGINT)
	_ = cmd.Wait() // exit status 130
	if n := len(cached(t, dir)); n != 2 {
		t.Errorf("%d files of features, want one of each tower", n)
	}
}

// Weights that the image tower alone takes leave the text tower free to have another form; runs of several
// seeds then share its features.
func TestOneTowerTakesWeights(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	source := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q"))
	from := filepath.Join("results/runs", source, "checkpoints/step-00000024")
	write(t, dir, "lit.yaml", strings.Replace(lit, "vocab_size: 600}, freeze: all}", "vocab_size: 700}}", 1)+
		"init: {weights: "+from+", towers: [image]}\n")
	first, second := run(t, dir, "--set", "seed=1"), run(t, dir, "--set", "seed=2")
	for id, known := range map[string]string{first: ": 0 known", second: ": 100 known"} {
		if e := events(t, dir, id); len(e["info"]) != 1 || !strings.Contains(e["info"][0], known) {
			t.Errorf("events %q, want%q", e, known)
		}
	}
	if curves(t, dir, first) == curves(t, dir, second) {
		t.Error("the seed changes nothing")
	}
	if r := try(t, dir, "run", "lit.yaml", "--set", "init.towers=[image, text]"); r.code == 0 || !strings.Contains(r.stderr, "vocab_size 600, this one has 700") {
		t.Errorf("both towers took weights of another form: exit code %d, %s", r.code, r.stderr)
	}
}
