package main_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// liars lays out a folder of plugins with the lying loss and dataset, and gives the environment that finds them.
func liars(t *testing.T) (root, env string) {
	t.Helper()
	root = t.TempDir()
	liar(t, filepath.Join(root, "losses/liar-loss"), "1")
	liar(t, filepath.Join(root, "datasets/liar-data"), "3") // other bytes: what plugins say is kept by their digest
	return root, "RUNNER_PLUGIN_PATH=" + root
}

func liar(t *testing.T, path, build string) {
	t.Helper()
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.build="+build, "-o", path, "./testdata/liar").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

var honest = strings.NewReplacer("loss: {plugin: clip}", "loss: {plugin: liar-loss}",
	"train: {dataset: emoji, with: {split: train}}", "train: {dataset: liar-data}",
	"  - {dataset: emoji, with: {split: test}, zero_shot: {classes: label, templates: [\"an emoji of {}\"]}, retrieval: true, max_samples: 40}",
	"  - {dataset: liar-data, zero_shot: {classes: class, templates: [\"{}\"]}, retrieval: true}",
	"max_steps: 24", "max_steps: 6", "checkpoint_every: 8", "checkpoint_every: 3").Replace(tiny)

// Each trial whose plugin lies ends with the plugin's name and the rule; the others are done, and nothing is left
// behind: no process, no folder of sockets. Every other trial runs in the sandbox.
func TestASweepWithLiarsGoesOn(t *testing.T) {
	_, env := liars(t)
	dir, temp := t.TempDir(), t.TempDir()
	lies := []struct{ level, settings, said string }{
		{"label", "data.train.with.fault: label", `datasets/liar-data: Batch broke a rule of the protocol: sample`},
		{"captions", "data.train.with.fault: captions", `datasets/liar-data: Batch broke a rule of the protocol: 15 captions for 16 samples`},
		{"length", "data.train.with.fault: length", `datasets/liar-data: Configure broke a rule of the protocol: len is -1`},
		{"random", "data.train.with.fault: random", `read twice, has another picture each time`},
		{"keys", "data.train.with.fault: keys", `have one key, "same"`},
		{"hang", "data.train.with.fault: hang, timeouts.batch: 3", `datasets/liar-data: Batch did not end within 3s; the plugin was ended`},
		{"params", "loss.with.fault: params", `losses/liar-loss: Configure broke a rule of the protocol: parameters is -7`},
		{"nan", "loss.with.fault: nan", `losses/liar-loss: Compute gave NaN in the image gradient, row 0, column 1`},
		{"nothing", "loss.with.fault: save-nothing", `losses/liar-loss: Save broke a rule of the protocol: it said that it was done and wrote no`},
		{"garbage", "loss.with.fault: save-garbage", `losses/liar-loss: Save broke a rule of the protocol: it wrote no safetensors file`},
		{"overwrite", "loss.with.fault: overwrite", `losses/liar-loss: Compute broke a rule of the protocol: it wrote over what it was given to read`},
		{"outside", "loss.with.fault: outside", `losses/liar-loss: Compute broke a rule of the protocol: it wrote`},
		{"shape", "loss.with.fault: shape", `losses/liar-loss: `},
		{"fewer", "loss.with.fault: fewer", `losses/liar-loss: Save broke a rule of the protocol: `},
		{"stuck", "loss.with.fault: hang, timeouts.compute: 3", `losses/liar-loss: Compute did not end within 3s; the plugin was ended`},
		{"exit0", "loss.with.fault: exit0", `losses/liar-loss: the process ended unexpectedly: exit status 0`},
		{"panic", "loss.with.fault: panic", `losses/liar-loss: panic: as asked`},
		{"crash", "loss.with.fault: crash", `losses/liar-loss: the process ended unexpectedly: exit status 2`},
		{"child", "loss.with.fault: child", ""},
		{"children", "loss.with.fault: children", ""},
		{"flood", "loss.with.fault: flood", ""},
	}
	spec := honest + "\nplugins: {log_limit: 256 KiB}\nablate:\n  design: one-at-a-time\n  baseline: {lie: none}\n  retries: 0\n  seeds: [0]\n  factors:\n    lie:\n      none: {}\n"
	for i, l := range lies {
		spec += fmt.Sprintf("      %s: {%s, plugins.sandbox: %s}\n", l.level, l.settings, []string{"strict", "off"}[i%2])
	}
	write(t, dir, "sweep.yaml", spec)
	cmd := command(t, dir, "run", "sweep.yaml", "--jobs", "2", "--json")
	cmd.Env = append(cmd.Env, env, "TMPDIR="+temp)
	r := finish(t, cmd)
	if r.code != 1 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	var rows []struct{ Variant, Status, Message string }
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil || len(rows) != len(lies)+1 {
		t.Fatalf("%v\n%s\n%s", err, r.stdout, r.stderr)
	}
	got := map[string]string{}
	for _, row := range rows {
		got[strings.TrimPrefix(row.Variant, "lie=")] = row.Status + ": " + row.Message
	}
	for _, l := range append(lies, struct{ level, settings, said string }{"baseline", "", ""}) {
		want := "failed: "
		if l.said == "" {
			want = "done: "
		}
		if message := got[l.level]; !strings.HasPrefix(message, want) || !strings.Contains(message, l.said) {
			t.Errorf("%s: %s\n  want %s… %s", l.level, message, want, l.said)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left := processesWith(t, "HOME="+dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/handover")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/logs/plugin-loss.log"))
	for _, log := range logs {
		if stat, err := os.Stat(log); err != nil || stat.Size() > 256<<10 {
			t.Errorf("%s: %d bytes, %v", log, stat.Size(), err)
		}
	}
	checkLogs(t, dir)
}

// checkLogs reads what the liars of a sweep wrote.
func checkLogs(t *testing.T, dir string) {
	t.Helper()
	run := func(lie string) string {
		return strings.TrimSpace(strings.TrimPrefix(must(t, dir, "query", "--csv", "SELECT run_id FROM v_runs WHERE variant = 'lie="+lie+"'"), "run_id\n"))
	}
	crash := run("crash")
	var record struct{ Level, Plugin, Role, Message string }
	line, _, _ := strings.Cut(must(t, dir, "logs", crash, "--plugin", "liar-loss", "--level", "error", "--json"), "\n")
	if err := json.Unmarshal([]byte(line), &record); err != nil || record.Level != "error" || record.Plugin != "losses/liar-loss" || record.Role != "loss" || !strings.HasPrefix(record.Message, "panic: as asked") {
		t.Errorf("%v: %s", err, line)
	}
	if text := must(t, dir, "logs", run("flood"), "-f"); !strings.Contains(text, " info  loss flood flood") || !strings.Contains(text, " warn  loss … ") || strings.Contains(text, "\x1b") {
		t.Errorf("the flood is shown as %.300s", text)
	}
	if r := try(t, dir, "logs", crash, "--plugin", "nobody"); r.code != 2 || !strings.Contains(r.stderr, "these did: loss, losses/liar-loss") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	for _, lie := range []string{"crash", "panic"} {
		if text := must(t, dir, "show", run(lie)); !strings.Contains(text, "in the plugin:") || !strings.Contains(text, "main.(*loss).Compute") || strings.Count(text, ".go:") > 12 {
			t.Errorf("%s is shown as\n%s", lie, text)
		}
	}
}

// processesWith lists the command lines of the processes that have a variable in their environment: those that a test
// started, and not those of another that runs beside it.
func processesWith(t *testing.T, variable string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(all) == 0 {
		t.Fatalf("no processes in /proc (%v)", err)
	}
	for _, name := range all {
		text, _ := os.ReadFile(name) // a process may end meanwhile
		if slices.Contains(strings.Split(string(text), "\x00"), variable) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// A plugin's file that is replaced while a sweep runs: each run's record has the digest of the program that computed it.
func TestAPluginReplacedInMidSweepIsRecordedAsItRan(t *testing.T) {
	root, env := liars(t)
	path := filepath.Join(root, "losses/liar-loss")
	liar(t, path+".next", "2")
	digest := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	digests := map[string]string{"1": digest(path), "2": digest(path + ".next")}
	dir := t.TempDir()
	write(t, dir, "sweep.yaml", honest+`
ablate:
  design: one-at-a-time
  baseline: {lr: low}
  factors:
    lr: {low: {loss.with.fault: replace}, high: {train.lr: 0.01}}
  seeds: [0, 1]
`)
	cmd := command(t, dir, "run", "sweep.yaml")
	cmd.Env = append(cmd.Env, env)
	if r := finish(t, cmd); r.code != 0 || !strings.Contains(r.stderr, "plugins changed since the sweep began: losses/liar-loss (") {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	var rows []struct {
		Build  float64
		SHA256 string `json:"sha256"`
	}
	text := must(t, dir, "query", "--json", `SELECT f.last AS build, p.sha256 FROM v_final f JOIN v_plugins p ON p.run_id = f.run_id
		WHERE f.metric = 'train/build' AND p.role = 'loss'`)
	if err := json.Unmarshal([]byte(text), &rows); err != nil || len(rows) != 4 {
		t.Fatalf("%v: %s", err, text)
	}
	seen := map[float64]int{}
	for _, row := range rows {
		seen[row.Build]++
		if want := digests[fmt.Sprint(row.Build)]; row.SHA256 != want {
			t.Errorf("build %v is recorded as %.12s, want %.12s", row.Build, row.SHA256, want)
		}
	}
	if seen[1] != 1 || seen[2] != 3 {
		t.Errorf("runs by build: %v", seen)
	}
}

// A plugin that hangs does not keep a run from ending after one Ctrl-C, whatever its limits are.
func TestOneInterruptEndsARunWhosePluginHangs(t *testing.T) {
	_, env := liars(t)
	dir := t.TempDir()
	write(t, dir, "hang.yaml", strings.Replace(honest, "{plugin: liar-loss}", "{plugin: liar-loss, with: {fault: hang}}", 1))
	cmd := command(t, dir, "run", "hang.yaml")
	cmd.Env = append(cmd.Env, env)
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	followed := make(chan result, 1) // goes on as long as the run
	go func() {                      // the third step hangs; before it there is nothing to save
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if r := try(t, dir, "query", "--csv", "SELECT count(*) FROM run"); r.code == 0 && atoi(r.stdout) > 0 {
				break
			}
		}
		go func() { followed <- try(t, dir, "logs", "latest", "--follow") }()
		time.Sleep(time.Second)
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}()
	if r := finish(t, cmd); r.code != 130 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if r := <-followed; r.code != 0 {
		t.Errorf("who followed its logs: exit code %d\n%s", r.code, r.stderr)
	}
}
