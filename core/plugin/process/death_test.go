package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[0] != "Z" && fields[0] != "X"
}

func waitDead(t *testing.T, what string, pid int) {
	t.Helper()
	waitFor(t, func() bool { return !alive(pid) }, func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Fatalf("%s %d is still there", what, pid)
	})
}

// waitFor waits for what is to come. The time limit of all tests decides that it never does, and no clock of
// this one's: a machine may be busy.
func waitFor(t *testing.T, ready func() bool, never func()) {
	t.Helper()
	for end, limited := t.Deadline(); !ready(); time.Sleep(10 * time.Millisecond) {
		if limited && time.Until(end) < 20*time.Second {
			never()
			return
		}
	}
}

// awaitFile returns when there is a file at path.
func awaitFile(path string) {
	for _, err := os.Stat(path); err != nil; _, err = os.Stat(path) {
		time.Sleep(time.Millisecond)
	}
}

// grandchild makes the plugin start a process and gives that one's id, which the plugin writes to a folder.
func grandchild(t *testing.T, e clip.Encoder, dir string) int {
	t.Helper()
	file := filepath.Join(dir, "pid")
	if err := forward(t, e, "child "+file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || !alive(pid) {
		t.Fatalf("no grandchild %q", text)
	}
	return pid
}

func TestKilledPluginEndsThePendingCall(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, p := encoder(t, s)
	pid := grandchild(t, e, t.TempDir())
	if err := forward(t, e, "garbage"); err != nil { // something for the tail
		t.Fatal(err)
	}
	never := filepath.Join(t.TempDir(), "never")
	go func() {
		awaitFile(never + ".begun")
		_ = syscall.Kill(p.PID(), syscall.SIGKILL)
	}()
	err := forward(t, e, "stubborn "+never)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.PluginDied || f.Plugin != "encoders/echo" ||
		!strings.Contains(f.Msg, "signal: killed") || !strings.Contains(f.Detail, "progress") {
		t.Errorf("a killed plugin gives %v", fault.Format(err))
	}
	<-p.Done()
	if err := forward(t, e, "x"); fault.KindOf(err) != fault.PluginDied {
		t.Errorf("a call after the death gives %v", err)
	}
	if fault.KindOf(p.Err()) != fault.PluginDied {
		t.Errorf("process error is %v", p.Err())
	}
	waitDead(t, "grandchild", pid)
	s.Close()
	if fault.KindOf(p.Err()) != fault.PluginDied {
		t.Errorf("after Close the process error is %v", p.Err())
	}
	if n := s.Arena().Stats().Slots; n != 0 {
		t.Errorf("%d slots are still in use", n)
	}
}

func TestExitingPluginIsQuoted(t *testing.T) {
	e, _ := encoder(t, session(t, process.SessionOptions{}))
	err := forward(t, e, "exit")
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.PluginDied || !strings.Contains(f.Msg, "exit status 5") || !strings.Contains(f.Detail, "my last words") {
		t.Errorf("a plugin that exits gives %v", fault.Format(err))
	}
}

func TestGrandchildrenEndWithTheSession(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, _ := encoder(t, s)
	pid := grandchild(t, e, t.TempDir())
	s.Close()
	waitDead(t, "grandchild", pid)
}

// actAsRunner plays the process in the middle of the next test: it starts plugins, says which, and waits to be
// killed.
func actAsRunner() {
	s, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{Roots: []string{os.Getenv("TANDEM_TEST_RUNNER")}}})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	e, p1, err := s.StartEncoder(ctx, "echo", process.StartOptions{})
	if err != nil {
		panic(err)
	}
	if _, err := e.Configure(ctx, clip.EncoderConfig{EmbedDim: 2}); err != nil {
		panic(err)
	}
	file := os.Getenv("TANDEM_TEST_RUNNER") + "/pid"
	if _, _, err := e.Forward(ctx, clip.ForwardRequest{Texts: []string{"child " + file}}); err != nil {
		panic(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	child, _ := strconv.Atoi(string(text))
	_, p2, err := s.StartDataset(ctx, "count", process.StartOptions{})
	if err != nil {
		panic(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode([]int{p1.PID(), p2.PID(), child})
	_, _, err = e.Forward(ctx, clip.ForwardRequest{Texts: []string{"sleep"}}) // a plugin at work
	panic(err)
}

func TestKilledRunnerLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	runner := exec.Command(os.Args[0])
	runner.Env = append(os.Environ(), "TANDEM_TEST_RUNNER="+testCatalog(t).Roots[0], "TMPDIR="+temp)
	runner.Stderr = os.Stderr
	out, err := runner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pids []int
	if err := errors.Join(err, json.Unmarshal([]byte(line), &pids)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("%d is not running", pid)
		}
	}
	if err := runner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = runner.Wait()
	for i, what := range []string{"encoder", "dataset", "grandchild"} {
		waitDead(t, what, pids[i])
	}
	var left []string
	waitFor(t, func() bool {
		left, _ = filepath.Glob(filepath.Join(temp, "*"))
		return len(left) == 0
	}, func() { t.Fatalf("left behind: %v", left) })
}

func TestWhatIsNoPluginSaysSo(t *testing.T) {
	c := testCatalog(t)
	for name, want := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"older":  {fault.Invalid, "the plugin speaks protocol 7, this runner speaks protocols 1 to 2"},
		"crash":  {fault.PluginDied, "exit status 3"},
		"chatty": {fault.Invalid, `it printed "hello, I am no plugin"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := foreign(t, c, name)
			s := session(t, process.SessionOptions{Catalog: c})
			_, _, err := s.StartEncoder(t.Context(), path, process.StartOptions{})
			if fault.KindOf(err) != want.kind || !strings.Contains(err.Error(), want.text) {
				t.Errorf("got %v", fault.Format(err))
			}
			if name == "crash" && !strings.Contains(fault.Format(err), "libfoo.so") {
				t.Errorf("the last words are missing: %v", fault.Format(err))
			}
		})
	}
}

func TestStartCanBeInterrupted(t *testing.T) {
	c := testCatalog(t)
	path := foreign(t, c, "mute")
	s := session(t, process.SessionOptions{Catalog: c})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	// The plugin never answers: nothing else ends this.
	if _, _, err := s.StartEncoder(ctx, path, process.StartOptions{}); fault.KindOf(err) != fault.Canceled {
		t.Error(err)
	}
}

// foreign makes a binary that passes for a plugin (its manifest says so) but is none.
func foreign(t *testing.T, c *catalog.Catalog, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	_, b, err := c.Describe(clip.KindEncoder, "echo")
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf(`{"sha256":%q,"descriptor":{"kind":"encoder","name":%q,"protocol":1}}`, b.SHA256, name)
	if err := os.WriteFile(path+".json", []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
