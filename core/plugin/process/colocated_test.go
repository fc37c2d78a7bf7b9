package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/plugin/wire"
	"tandem/core/tensor"
)

// colocated starts two echoes and a dot in one process, all at the same time.
func colocated(t *testing.T, s *process.Session, o process.StartOptions) (encoders [2]clip.Encoder, l clip.Loss, p [3]*process.Process) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "colocated")
	sum, err := wire.SHA256(self)
	if err = errors.Join(err, os.Symlink(self, path)); err != nil {
		t.Fatal(err)
	}
	o.Colocated = process.NewColocated(catalog.Binary{Name: "colocated", Path: path, SHA256: sum},
		[]string{"image", "text", "loss"}, []string{"encoders/echo", "encoders/echo", "losses/dot"})
	started := make(chan error, 3)
	for i, label := range []string{"image", "text"} {
		o := o
		o.Label = label
		go func() {
			var err error
			encoders[i], p[i], err = s.StartEncoder(t.Context(), "encoders/echo", o)
			started <- err
		}()
	}
	go func() {
		var err error
		o.Label = "loss"
		l, p[2], err = s.StartLoss(t.Context(), "losses/dot", o)
		started <- err
	}()
	if err := errors.Join(<-started, <-started, <-started); err != nil {
		t.Fatal(fault.Format(err))
	}
	for _, e := range encoders {
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 4}); err != nil {
			t.Fatal(fault.Format(err))
		}
	}
	if _, err := l.Configure(t.Context(), clip.LossConfig{BatchSize: 2}); err != nil {
		t.Fatal(fault.Format(err))
	}
	return encoders, l, p
}

// Plugins that share a process are instances of their own, also two of one plugin, with calls of their own at the same time.
// The process ends after the last.
func TestOneProcessServesSeveralPlugins(t *testing.T) {
	bothWays(t, func(t *testing.T, o process.SessionOptions) {
		s := session(t, o)
		e, l, p := colocated(t, s, process.StartOptions{Threads: 3})
		for i, x := range p {
			if x.PID() != p[0].PID() || x.PID() == 0 || !x.Colocated() || x.Attached() {
				t.Errorf("plugin %d is served by process %d, want %d", i, x.PID(), p[0].PID())
			}
		}
		if p[0].Name() != "encoders/echo" || p[2].Name() != "losses/dot" || p[2].Descriptor.Kind != clip.KindLoss {
			t.Errorf("the plugins are %s and %s", p[0].Name(), p[2].Name())
		}
		release := filepath.Join(t.TempDir(), "release")
		waiting := make(chan error)
		go func() { waiting <- forward(t, e[0], "stubborn "+release) }()
		awaitFile(release + ".begun")
		if err := forward(t, e[1], "hello"); err != nil { // while the other computes
			t.Error(err)
		}
		image, text := tensor.FromF32([]float32{1, 2, 3, 4}, 2, 2), tensor.FromF32([]float32{5, 6, 7, 8}, 2, 2)
		if r, err := l.Compute(t.Context(), clip.LossRequest{Image: image, Text: text}); err != nil || r.Value == 0 {
			t.Errorf("the loss is %v, %v", r, err)
		}
		if err := os.WriteFile(release, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		pid := p[0].PID()
		p[0].Stop()
		p[2].Stop()
		if err := forward(t, e[1], "hello"); err != nil || !alive(pid) {
			t.Errorf("after two of three have ended the third gives %v", err)
		}
		p[1].Stop()
		waitDead(t, "the process", pid)
		for _, x := range p {
			if err := x.Err(); err != nil {
				t.Errorf("%s ended with %v", x.Name(), err)
			}
		}
	})
}

// When the process dies, every plugin of it has died, each under its own name, and one log has the last words.
func TestAProcessOfSeveralThatDiesIsTheEndOfAll(t *testing.T) {
	logs := t.TempDir()
	s := session(t, process.SessionOptions{LogDir: logs})
	e, l, p := colocated(t, s, process.StartOptions{})
	if err := forward(t, e[0], "garbage"); err != nil { // something for the log
		t.Fatal(err)
	}
	never := filepath.Join(t.TempDir(), "never")
	go func() {
		awaitFile(never + ".begun")
		_ = syscall.Kill(p[0].PID(), syscall.SIGKILL)
	}()
	err := forward(t, e[1], "stubborn "+never)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.PluginDied || f.Plugin != "encoders/echo" || !strings.Contains(f.Msg, "signal: killed") || !strings.Contains(f.Detail, "progress") {
		t.Errorf("a killed process gives %v", fault.Format(err))
	}
	<-p[2].Done()
	if err := l.Step(t.Context(), 1, 1, 1); !errors.As(err, &f) || f.Kind != fault.PluginDied || f.Plugin != "losses/dot" {
		t.Errorf("the loss gives %v", err)
	}
	s.Close()
	if text, err := os.ReadFile(filepath.Join(logs, "plugin-colocated.log")); err != nil || !strings.Contains(string(text), "progress") {
		t.Errorf("the log is %q, %v", text, err)
	}
	if found, _ := filepath.Glob(filepath.Join(logs, "*")); len(found) != 1 {
		t.Errorf("the logs are %v", found)
	}
}

// A call that takes too long ends the process; the other plugins say whose call it was.
func TestTheWatchEndsAProcessOfSeveral(t *testing.T) {
	limits := process.DefaultLimits()
	limits.Compute = time.Second
	s := session(t, process.SessionOptions{Limits: limits})
	e, l, p := colocated(t, s, process.StartOptions{})
	if err := forward(t, e[0], "stubborn "+filepath.Join(t.TempDir(), "never")); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a call without end gives %v", err)
	}
	<-p[2].Done()
	var f *fault.Error
	if err := l.Step(t.Context(), 1, 1, 1); !errors.As(err, &f) || f.Kind != fault.Exhausted || f.Plugin != "encoders/echo" {
		t.Errorf("the loss gives %v", err)
	}
}

// A program that was built anew since it was looked at does not start.
func TestAChangedProgramOfSeveralDoesNotStart(t *testing.T) {
	s := session(t, process.SessionOptions{})
	path := filepath.Join(t.TempDir(), "colocated")
	self, err := os.Executable()
	if err = errors.Join(err, os.Symlink(self, path)); err != nil {
		t.Fatal(err)
	}
	c := process.NewColocated(catalog.Binary{Name: "colocated", Path: path, SHA256: strings.Repeat("0", 64)}, []string{"image"}, []string{"encoders/echo"})
	_, _, err = s.StartEncoder(t.Context(), "encoders/echo", process.StartOptions{Label: "image", Colocated: c})
	if !errors.Is(err, process.ErrChanged) {
		t.Errorf("it gives %v", err)
	}
	if _, p, err := s.StartEncoder(t.Context(), "encoders/echo", process.StartOptions{Label: "other", Colocated: c}); err != nil || p.Colocated() {
		t.Errorf("a plugin that the program is not for: %v", err)
	}
}
