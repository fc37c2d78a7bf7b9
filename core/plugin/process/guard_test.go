package process_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// guarded starts and configures an echo with a guard.
func guarded(t *testing.T, s *process.Session, o process.StartOptions) (clip.Encoder, *process.Process) {
	t.Helper()
	e, p, err := s.StartEncoder(t.Context(), "echo", o)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 4}); err != nil {
		t.Fatal(err)
	}
	return e, p
}

// A strictly guarded plugin does its work, and nothing else.
func TestAGuardedPluginReachesOnlyWhatItNeeds(t *testing.T) {
	if lacks := process.Unconfined(); len(lacks) > 0 {
		t.Skipf("this machine cannot confine: %v", lacks)
	}
	bothWays(t, func(t *testing.T, o process.SessionOptions) {
		mine, data := t.TempDir(), t.TempDir()
		secret, given := filepath.Join(mine, "secret"), filepath.Join(data, "captions.csv")
		if err := errors.Join(os.WriteFile(secret, []byte("x"), 0o644), os.WriteFile(given, []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
		server, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		s := session(t, o)
		e, p := guarded(t, s, process.StartOptions{Guard: process.Guard{Strict: true}, Read: []string{data}, Files: filepath.Join(mine, "run")})
		for word, want := range map[string]string{
			"hello":                            "",
			"read " + given:                    "",
			"write /dev/null":                  "",
			"shell echo x > $TMPDIR/x":         "",
			"write " + given:                   "permission denied",
			"read " + secret:                   "permission denied",
			"write " + secret:                  "permission denied",
			"write " + mine + "/new":           "permission denied",
			"shell cat " + secret:              "Permission denied",
			"chmod " + given:                   "operation not permitted",
			"dial " + server.Addr().String():   "permission denied",
			fmt.Sprint("signal ", os.Getpid()): "operation not permitted",
			"read /etc/shadow":                 "permission denied",
			fmt.Sprintf("read /proc/%d/environ", os.Getpid()): "permission denied",
		} {
			err := forward(t, e, word)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%q gives %v, want %q", word, err, want)
			}
		}
		var f *fault.Error
		if err := forward(t, e, "read "+secret); !errors.As(err, &f) || !strings.Contains(f.Hint, "plugins.read") {
			t.Errorf("the sandbox is not named: %v", fault.Format(err))
		}
		path := filepath.Join(mine, "saved")
		if err := errors.Join(e.Step(t.Context(), 9, 1e-3, 0.5), e.Save(t.Context(), path), e.Load(t.Context(), path)); err != nil {
			t.Error(fault.Format(err))
		}
		if err := e.Load(t.Context(), filepath.Join(mine, "absent")); fault.KindOf(err) != fault.NotFound {
			t.Errorf("loading what is not there: %v", err)
		}
		if name, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/comm"); err == nil && string(name) != "echo\n" {
			t.Errorf("the process is called %q", name)
		}
		s.Close()
		var left []string
		_ = filepath.WalkDir(mine, func(path string, _ os.DirEntry, _ error) error { left = append(left, filepath.Base(path)); return nil })
		if len(left) != 3 { // the folder itself, secret, saved
			t.Errorf("left: %v", left)
		}
	})
}

// The number of processors holds for a plugin's children too, and needs no strict guard.
func TestAPluginKeepsToItsCores(t *testing.T) {
	e, _ := guarded(t, session(t, process.SessionOptions{}), process.StartOptions{Guard: process.Guard{Cores: 1}})
	if err := forward(t, e, "cores 1"); err != nil {
		t.Error(err)
	}
	if err := forward(t, e, "shell grep -q 'Cpus_allowed_list:.[0-9]*$' /proc/self/status"); err != nil {
		t.Error(err)
	}
}

// A plugin that takes more memory than it may, itself or through a child, is ended, and the limit is named.
func TestAPluginKeepsToItsMemory(t *testing.T) {
	for _, hog := range []string{"hog", "shell head -c 400000000 /dev/zero | tail | sleep 60"} {
		s := session(t, process.SessionOptions{})
		e, p := guarded(t, s, process.StartOptions{Guard: process.Guard{Memory: 300 << 20}})
		if err := forward(t, e, "hello"); err != nil {
			t.Fatal(err)
		}
		err := forward(t, e, hog)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Exhausted || f.Plugin != "encoders/echo" || f.Path != "plugins.memory" || !strings.Contains(f.Msg, "300.0 MiB is allowed") {
			t.Errorf("%q gives %v", hog, fault.Format(err))
		}
		<-p.Done()
		s.Close()
	}
}

// A plugin that starts process after process is ended, with all of them.
func TestAPluginMayNotHaveTooManyProcesses(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, p := guarded(t, s, process.StartOptions{Guard: process.Guard{Strict: len(process.Unconfined()) == 0, Processes: 20}})
	err := forward(t, e, "shell while :; do sleep 271 & done")
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Exhausted || f.Plugin != "encoders/echo" || f.Path != "plugins.processes" || !strings.Contains(f.Msg, "20 are allowed") {
		t.Errorf("got %v", fault.Format(err))
	}
	<-p.Done()
	s.Close()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range all {
		if line, _ := os.ReadFile(name); strings.HasPrefix(string(line), "sleep\x00271\x00") && alive(pidOf(name)) {
			t.Errorf("left behind: %s", name)
		}
	}
}

func pidOf(name string) int {
	pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
	return pid
}

// What the runner shares with a plugin is not the plugin's memory.
func TestSharedMemoryDoesNotCountAsThePlugins(t *testing.T) {
	s := session(t, process.SessionOptions{})
	l, _, err := s.StartLoss(t.Context(), "dot", process.StartOptions{Guard: process.Guard{Memory: 250 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Configure(t.Context(), clip.LossConfig{}); err != nil {
		t.Fatal(err)
	}
	a, err := s.Arena().Alloc(tensor.F32, 40<<20/1024, 1024) // 160 MiB, twice
	if err != nil {
		t.Fatal(err)
	}
	defer a.Free()
	for i := range a.F32() {
		a.F32()[i] = 1
	}
	for range 3 {
		if _, err := l.Compute(t.Context(), clip.LossRequest{Image: a, Text: a}); err != nil {
			t.Fatal(fault.Format(err))
		}
	}
}

// A plugin inherits no descriptor that is not meant for it, in the sandbox or not.
func TestAPluginInheritsOnlyItsDescriptors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(file, syscall.O_RDONLY, 0) // as a library that knows nothing of children does
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for _, strict := range []bool{false, true} {
		e, _ := guarded(t, session(t, process.SessionOptions{}), process.StartOptions{Guard: process.Guard{Strict: strict}})
		if err := forward(t, e, "descriptors"); err != nil {
			t.Errorf("strict %v: %v", strict, err)
		}
	}
}
