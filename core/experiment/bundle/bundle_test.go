package bundle

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const sweepText = labtest.Text + `ablate:
  design: one-at-a-time
  metric: train/loss
  baseline: {rate: 0.01}
  seeds: [0, 1]
  factors: {rate: {key: train.lr, choices: [0.01, 0.02]}}
`

// small returns a laboratory and a program of a few bytes that stands for the runner.
func small(t *testing.T) (lab.Lab, Options) {
	t.Helper()
	l := labtest.New(t)
	program := filepath.Join(filepath.Dir(l.DB), "runner")
	labtest.Must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	return l, Options{Root: filepath.Join(filepath.Dir(l.DB), "cluster"), Runner: program}
}

func load(t *testing.T, l lab.Lab, text string, set ...string) *sweep.Sweep {
	t.Helper()
	s, err := schedule.Load(l, labtest.File(t, l, text), set)
	labtest.Must(t, err)
	return s
}

func freeze(t *testing.T, l lab.Lab, s *sweep.Sweep, o Options) *Bundle {
	t.Helper()
	b, err := Freeze(l, s, o)
	labtest.Must(t, err)
	return b
}

func TestEqualInputsGiveTheSameBundleAndItsTrialsTheirIdentities(t *testing.T) {
	l, o := small(t)
	s := load(t, l, sweepText)
	dry := o
	dry.DryRun = true
	planned := freeze(t, l, s, dry)
	if _, err := os.Stat(o.Root); err == nil {
		t.Error("a dry run wrote")
	}
	b := freeze(t, l, s, o)
	again := freeze(t, l, load(t, l, sweepText), o)
	if b.Existed || !again.Existed || b.Dir != again.Dir || b.Dir != planned.Dir {
		t.Errorf("%s (%v), %s (%v), planned %s", b.Dir, b.Existed, again.Dir, again.Existed, planned.Dir)
	}
	if other := freeze(t, l, load(t, l, sweepText, "train.max_steps=6"), o); other.Dir == b.Dir {
		t.Error("another spec has the same bundle")
	}
	opened, err := Open(b.Dir)
	labtest.Must(t, err)
	if len(opened.Trials()) != 4 || opened.Name() != "tiny" || opened.Metric() != "train/loss" {
		t.Fatalf("%+v", opened.Trials())
	}
	want := map[string]bool{}
	for _, trial := range s.Trials {
		want[trial.Identity] = true
	}
	// What the plugins were made of may go.
	labtest.Must(t, os.RemoveAll(l.Catalog.Roots[0]))
	for _, trial := range opened.Trials() {
		one, used, err := opened.Load(trial)
		labtest.Must(t, err)
		if !want[one.Identity] || one.Spec.Seed != trial.Seed || one.Spec.Variant != trial.Variant() || len(used) != 5 {
			t.Errorf("%+v with %d plugins", one, len(used))
		}
	}
	if first := opened.Trials(); first[0].Variant() == first[1].Variant() {
		t.Error("a variant comes under its second seed before others come under their first")
	}
	e, cells := opened.Experiment()
	wantE, wantCells := schedule.Planned(s)
	if diff := cmp.Diff(wantE, e); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wantCells, cells); diff != "" {
		t.Error(diff)
	}
}

func TestABundleThatWasChangedIsRefused(t *testing.T) {
	l, o := small(t)
	b := freeze(t, l, load(t, l, labtest.Text), o)
	trial := b.Trials()[0]
	spec := filepath.Join(b.Dir, trial.Spec)
	text, err := os.ReadFile(spec)
	labtest.Must(t, err)
	labtest.Must(t, os.WriteFile(spec, append(text, ' '), 0o644))
	if _, _, err := b.Load(trial); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("an edited spec: %v", err)
	}
	labtest.Must(t, os.WriteFile(spec, text, 0o644))
	plugin := filepath.Join(b.Dir, "bin/plugins/losses/pull")
	f, err := os.OpenFile(plugin, os.O_APPEND|os.O_WRONLY, 0)
	labtest.Must(t, err)
	_, err = f.Write([]byte{0})
	labtest.Must(t, err)
	f.Close()
	fresh, err := Open(b.Dir)
	labtest.Must(t, err)
	if _, _, err := fresh.Load(trial); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("another plugin: %v", err)
	}
	manifest := filepath.Join(b.Dir, File)
	text, err = os.ReadFile(manifest)
	labtest.Must(t, err)
	labtest.Must(t, os.WriteFile(manifest, bytes.Replace(text, []byte(`"name": "tiny"`), []byte(`"name": "other"`), 1), 0o644))
	if _, err := Open(b.Dir); err == nil {
		t.Error("an edited manifest was opened")
	}
	if _, err := Open(t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a folder that is none: %v", err)
	}
}

func TestWeightsAreCopiedAndTheIdentityStays(t *testing.T) {
	l, o := small(t)
	weights := filepath.Join(filepath.Dir(l.DB), "start.safetensors")
	labtest.Must(t, os.WriteFile(weights, []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), 0o644))
	s := load(t, l, labtest.Text, "init.weights="+weights)
	b := freeze(t, l, s, o)
	labtest.Must(t, os.Remove(weights))
	one, _, err := b.Load(b.Trials()[0])
	labtest.Must(t, err)
	if one.Identity != s.Trials[0].Identity || filepath.Dir(filepath.Dir(filepath.Dir(one.Spec.Init.Weights))) != b.Root() {
		t.Errorf("weights %s", one.Spec.Init.Weights)
	}
}

func TestSweepsWhoseTrialsDependOnOneAnotherAreRefusedWithARemedy(t *testing.T) {
	l, o := small(t)
	search := labtest.Text + "ablate: {design: search, metric: train/loss, budget: {trials: 3}, factors: {rate: {key: train.lr, log_range: [0.001, 0.1]}}}\n"
	for remedy, text := range map[string]string{
		"take ablate.stop out of the spec, or run the sweep in one job: sbatch --wrap": sweepText + "  stop: {rule: median, metric: train/loss}\n",
		"run it in one job: sbatch --wrap":                                             search,
	} {
		if _, err := Freeze(l, load(t, l, text), o); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), remedy) {
			t.Errorf("%s: %v", remedy, err)
		}
	}
}

const script = `import json, sys
import helper
if sys.argv[1:] == ["--describe"]:
    print(json.dumps({"kind": "loss", "name": "scripted", "version": helper.version, "protocol": 1}))
`

// What a script imports from its folder is frozen with it, and it keeps its interpreter.
func TestAScriptIsFrozenWithWhatItReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 on this machine: freezing plugins in Python is not tested")
	}
	t.Setenv(catalog.EnvPython, python)
	l, o := small(t)
	dir := filepath.Join(l.Catalog.Roots[0], "losses/scripted")
	labtest.Must(t, os.MkdirAll(dir, 0o755))
	labtest.Must(t, os.WriteFile(filepath.Join(dir, "plugin.py"), []byte(script), 0o755))
	labtest.Must(t, os.WriteFile(filepath.Join(dir, "helper.py"), []byte("version = '1.2.3'\n"), 0o644))
	s := load(t, l, strings.Replace(labtest.Text, "plugin: pull", "plugin: scripted", 1))
	b := freeze(t, l, s, o)
	t.Setenv(catalog.EnvPython, "")
	labtest.Must(t, os.RemoveAll(dir))
	opened, err := Open(b.Dir)
	labtest.Must(t, err)
	one, used, err := opened.Load(opened.Trials()[0])
	labtest.Must(t, err)
	for _, u := range used {
		if u.Binary.Name == "scripted" && (u.Binary.Interpreter != python || u.Descriptor.Version != "1.2.3" || !strings.HasPrefix(u.Binary.Path, b.Dir)) {
			t.Errorf("%+v", u)
		}
	}
	if one.Identity != s.Trials[0].Identity {
		t.Errorf("identity %s", one.Identity)
	}
}

// A bundle holds the program that serves several plugins in one process, and its trials find it there.
func TestABundleHoldsTheProgramOfSeveralPlugins(t *testing.T) {
	l, o := small(t)
	if _, err := Freeze(l, load(t, l, labtest.Text, "train.colocate=true"), o); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "train.colocate") {
		t.Errorf("without such a program: %v", err)
	}
	without := freeze(t, l, load(t, l, labtest.Text), o)
	labtest.Colocate(t, l)
	b := freeze(t, l, load(t, l, labtest.Text), o)
	if b.Existed || b.Dir == without.Dir {
		t.Error("the bundle without is that with the program")
	}
	labtest.Must(t, os.RemoveAll(l.Catalog.Roots[0]))
	opened, err := Open(b.Dir)
	labtest.Must(t, err)
	one, used, err := opened.Load(opened.Trials()[0])
	labtest.Must(t, err)
	found, err := assemble.ColocatedProgram(&catalog.Catalog{Roots: []string{b.path(pluginsDir)}}, one.Spec, used)
	if err != nil || found.Path != b.path(pluginsDir+"/colocated") {
		t.Errorf("the trial finds %q, %v", found.Path, err)
	}
}
