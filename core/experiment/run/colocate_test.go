package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// Towers and loss give the same losses and the same files in one process as in three, and the run's record is the same.
func TestARunInOneProcessGivesTheSameBits(t *testing.T) {
	l := labtest.New(t)
	labtest.Colocate(t, l)
	apart, err := Start(t.Context(), l, labtest.Spec(t, l), nil, Quiet{})
	labtest.Must(t, err)
	w := newWitness(0)
	together, err := Start(t.Context(), l, labtest.Spec(t, l, "train.colocate=true", "name=together"), nil, w)
	labtest.Must(t, err)
	_, want := lossesOf(t, l, apart.ID)
	if _, got := lossesOf(t, l, together.ID); !slices.Equal(got, want) {
		t.Errorf("losses %v, in three processes %v", got, want)
	}
	if !slices.Contains(w.events, "info: towers and loss share a process on cpu") {
		t.Errorf("told %q", w.events)
	}
	if a, b := detailOf(t, l, apart.ID), detailOf(t, l, together.ID); !slices.Equal(a.Plugins, b.Plugins) || a.Identity != b.Identity {
		t.Errorf("recorded as %s with %v, in three processes %s with %v", b.Identity, b.Plugins, a.Identity, a.Plugins)
	}
	logs := filesIn(t, l.Dir(together.ID)+"/logs")
	if !slices.Contains(logs, "plugin-colocated.log") || slices.Contains(logs, "plugin-image.log") {
		t.Errorf("the logs are %v", logs)
	}
}

// The death of the process is recorded as that of a plugin, and the run goes on from its checkpoint to the same losses.
func TestARunWhoseOneProcessDiesIsResumed(t *testing.T) {
	l := labtest.New(t)
	labtest.Colocate(t, l)
	s := labtest.Spec(t, l, "train.colocate=true")
	whole, err := Start(t.Context(), l, s, nil, Quiet{})
	labtest.Must(t, err)
	_, want := lossesOf(t, l, whole.ID)

	s = labtest.Spec(t, l, "train.colocate=true", "name=again")
	killer := &killer{witness: newWitness(0), after: 3}
	out, err := Start(t.Context(), l, s, nil, killer)
	if fault.KindOf(err) != fault.PluginDied || out.Status != clip.StatusFailed {
		t.Fatalf("%+v, %v", out, err)
	}
	d := detailOf(t, l, out.ID)
	if d.Status != string(clip.StatusFailed) || d.Error == nil || !strings.Contains(d.Error.Message, "the process ended unexpectedly") {
		t.Errorf("recorded: %s, %+v", d.Status, d.Error)
	}
	again, err := Resume(t.Context(), l, out.ID, nil, Quiet{})
	labtest.Must(t, err)
	if _, got := lossesOf(t, l, again.ID); again.Status != clip.StatusDone || !slices.Equal(got, want) {
		t.Errorf("%s: losses %v, of the whole run %v", again.Status, got, want)
	}
}

// killer ends the process that serves the towers after a step.
type killer struct {
	*witness
	after int
}

func (k *killer) Step(r train.StepReport) {
	k.witness.Step(r)
	if r.Step != k.after {
		return
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		dir := filepath.Dir(name)
		text, _ := os.ReadFile(name)
		status, _ := os.ReadFile(dir + "/status")
		pid, err := strconv.Atoi(filepath.Base(dir))
		if string(text) == "colocated\n" && err == nil && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// What cannot share a process says why, at the key that asked for it.
func TestWhyPluginsDoNotShareAProcess(t *testing.T) {
	l := labtest.New(t)
	refused := func(want string, set ...string) {
		t.Helper()
		s := labtest.Spec(t, l, append(set, "train.colocate=true")...)
		m, err := assemble.Open(context.Background(), s, assemble.Options{Catalog: l.Catalog}, Quiet{})
		if err == nil {
			m.Close()
		}
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Format(err), want) || !strings.Contains(fault.Format(err), "train.colocate") {
			t.Errorf("want %q: %v", want, fault.Format(err))
		}
	}
	refused("make build makes it")
	path := labtest.Colocate(t, l)
	refused("image computes on cpu, loss on host", "loss.device=host")
	refused("limit each plugin alone", "plugins.cores=1")
	text, err := os.ReadFile(path + ".json")
	labtest.Must(t, err)
	for from, want := range map[string]string{`losses/pull":"`: "was not built together with", `losses/pull"`: "holds no losses/pull"} {
		to := map[string]string{`losses/pull":"`: `losses/pull":"0`, `losses/pull"`: `losses/other"`}[from]
		labtest.Must(t, os.WriteFile(path+".json", []byte(strings.Replace(string(text), from, to, 1)), 0o644))
		refused(want)
	}
	apart := labtest.Spec(t, l) // on the CPU, auto is a process each
	m, err := assemble.Open(t.Context(), apart, assemble.Options{Catalog: l.Catalog}, Quiet{})
	labtest.Must(t, err)
	defer m.Close()
	if m.Processes[assemble.RoleImage].Colocated() || m.Processes[assemble.RoleImage].PID() == m.Processes[assemble.RoleLoss].PID() {
		t.Error("they share a process")
	}
}
