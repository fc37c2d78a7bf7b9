package process_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// serveByHand starts an echo as a developer does, and returns what to export.
func serveByHand(t *testing.T, path string) (export string, pid int) {
	t.Helper()
	cmd := exec.Command(path, "--serve")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C ends it with %v", err)
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, value, ok := strings.Cut(lines.Text(), process.EnvReattach+"='"); ok {
			return strings.TrimSuffix(value, "'"), cmd.Process.Pid
		}
	}
	t.Fatal("it printed nothing to export")
	return "", 0
}

// A plugin that a developer started serves run after run, and several of its instances at once. No limit of time ends it.
func TestAPluginThatADeveloperStartedIsUsed(t *testing.T) {
	c := testCatalog(t)
	export, pid := serveByHand(t, filepath.Join(c.Roots[0], "encoders/echo"))
	t.Setenv(process.EnvReattach, export)
	limits := process.DefaultLimits()
	limits.Compute = time.Second
	for range 2 {
		s := session(t, process.SessionOptions{Catalog: c, Limits: limits})
		e, p := encoder(t, s)
		other, _ := encoder(t, s)
		if p.PID() != pid || !p.Attached() {
			t.Errorf("process %d is used, want %d", p.PID(), pid)
		}
		if err := forward(t, other, "hello"); err != nil {
			t.Fatal(err)
		}
		release := filepath.Join(t.TempDir(), "release")
		go func() {
			awaitFile(release + ".begun")
			time.Sleep(2500 * time.Millisecond)
			_ = os.WriteFile(release, nil, 0o644)
		}()
		if err := forward(t, e, "stubborn "+release); err != nil {
			t.Error(fault.Format(err))
		}
		s.Close()
		if !alive(pid) {
			t.Fatal("it was ended")
		}
	}
	l, p, err := session(t, process.SessionOptions{Catalog: c}).StartLoss(t.Context(), "dot", process.StartOptions{})
	if err != nil || p.Attached() || l == nil {
		t.Errorf("another plugin: %v", err)
	}
}

func TestWhatCannotBeAttachedToSaysSo(t *testing.T) {
	c := testCatalog(t)
	export, _ := serveByHand(t, filepath.Join(c.Roots[0], "encoders/echo"))
	socket := strings.Split(export, `"`)[strings.Count(export[:strings.Index(export, "socket")], `"`)+2]
	for value, want := range map[string]string{
		"nonsense":                                                 "RUNNER_REATTACH",
		`{"encoders/echo": {}}`:                                    "encoders/echo has no socket",
		`{"encoders/echo": "hello"}`:                               "no handshake",
		`{"encoders/echo": "1|9|unix|/x|grpc|"}`:                   "a protocol that is not 1 to",
		`{"encoders/echo": "1|1|unix|/none|grpc|"}`:                "no such file",
		fmt.Sprintf(`{"losses/dot": "1|2|unix|%s|grpc|"}`, socket): "is encoders/echo",
	} {
		t.Setenv(process.EnvReattach, value)
		s, err := process.NewSession(process.SessionOptions{Catalog: c})
		if err == nil {
			if _, _, err = s.StartEncoder(t.Context(), "echo", process.StartOptions{}); err == nil {
				_, _, err = s.StartLoss(t.Context(), "dot", process.StartOptions{})
			}
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", value, err, want)
		}
	}
}

// The services of go-plugin itself (GRPCController, GRPCStdio, GRPCBroker) need not be there.
func TestAPluginNeedsNoneOfGoPluginsServices(t *testing.T) {
	c := testCatalog(t)
	path := foreign(t, c, "bare")
	s := session(t, process.SessionOptions{Catalog: c, NoSharedMemory: true})
	e, p, err := s.StartEncoder(t.Context(), path, process.StartOptions{})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 4}); err != nil {
		t.Fatal(err)
	}
	if err := forward(t, e, "hello"); err != nil {
		t.Error(err)
	}
	s.Close()
	waitDead(t, "plugin", p.PID())
}
