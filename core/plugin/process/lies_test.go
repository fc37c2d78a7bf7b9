package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/plugin/wire"
)

// Every call of the protocol has a limit of a kind that the spec sets.
func TestEveryCallHasALimit(t *testing.T) {
	methods := 0
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			if !strings.HasPrefix(string(service.FullName()), "tandem.") {
				continue
			}
			for k := range service.Methods().Len() {
				methods++
				if name := string(service.Methods().Get(k).Name()); process.Kinds[name] == "" {
					t.Errorf("%s.%s has no kind of limit", service.Name(), name)
				}
			}
		}
		return true
	})
	if methods < 20 {
		t.Errorf("only %d methods are known", methods)
	}
}

// A call that takes longer than its limit ends with the plugin, which is named with the limit.
func TestACallThatNeverEndsIsEndedAtItsLimit(t *testing.T) {
	limits := process.DefaultLimits()
	limits.Compute = 2 * time.Second
	s := session(t, process.SessionOptions{Limits: limits})
	told := make(chan process.Slow, 8)
	s.OnSlow(func(x process.Slow) { told <- x })
	e, p := encoder(t, s)
	err := forward(t, e, "stubborn "+filepath.Join(t.TempDir(), "never"))
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Exhausted || f.Plugin != "encoders/echo" || !strings.Contains(f.Msg, "Forward did not end within 2s") ||
		!strings.Contains(f.Hint, "timeouts.compute") {
		t.Errorf("got %v", fault.Format(err))
	}
	<-p.Done()
	if x := <-told; !x.Tell || !strings.Contains(x.String(), "Forward did not end within 2s") {
		t.Errorf("told %v", x)
	}
	if err := forward(t, e, "x"); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a call after it gives %v", err)
	}
}

// After a stop was asked for, a plugin that hangs is ended, whatever its limit is.
func TestAHangingPluginDoesNotHoldUpAStop(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, _ := encoder(t, s)
	if err := forward(t, e, "x"); err != nil {
		t.Fatal(err)
	}
	s.Stopping(true)
	err := forward(t, e, "stubborn "+filepath.Join(t.TempDir(), "never"))
	if fault.KindOf(err) != fault.Canceled || !strings.Contains(err.Error(), "encoders/echo: Forward had not ended") {
		t.Errorf("got %v", err)
	}
}

// A plugin that fills the shared memory which nobody was given is ended before the system has none left, and what it took is
// given back. Another that computes meanwhile goes on.
func TestAPluginThatFillsTheSharedMemoryIsEnded(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, p := encoder(t, s)
	other, _ := encoder(t, s)
	release, ended := filepath.Join(t.TempDir(), "release"), make(chan error)
	go func() {
		_, _, err := other.Forward(t.Context(), clip.ForwardRequest{Texts: []string{"stubborn " + release}})
		ended <- err
	}()
	for _, err := os.Stat(release + ".begun"); err != nil; _, err = os.Stat(release + ".begun") {
		time.Sleep(time.Millisecond)
	}
	err := forward(t, e, "scribbler")
	if !errors.Is(err, wire.ErrRule) || !strings.Contains(err.Error(), "encoders/echo: Forward broke a rule") || !strings.Contains(err.Error(), "where nothing was given") {
		t.Fatalf("got %v", fault.Format(err))
	}
	<-p.Done()
	for s.Arena().Stray() > 64<<20 {
		time.Sleep(time.Millisecond)
	}
	if err := forward(t, e, "x"); err == nil {
		t.Error("it was called again")
	}
	if err := os.WriteFile(release, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the other plugin: %v", fault.Format(err))
	}
}

// A child that leaves the plugin's process group ends with the plugin too.
func TestChildrenThatLeaveTheGroupEndWithThePlugin(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, p := encoder(t, s)
	file := filepath.Join(t.TempDir(), "pid")
	if err := forward(t, e, "leaver "+file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || !alive(pid) {
		t.Fatalf("no child %q", text)
	}
	p.Stop()
	waitDead(t, "child of another group", pid)
}

// What runs is the file that was hashed: one that was put in its place is another plugin.
func TestAReplacedPluginIsAnother(t *testing.T) {
	c := testCatalog(t)
	path := filepath.Join(c.Roots[0], "encoders/echo")
	self, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(more string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", append(self, more...), 0o755), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	put("")
	_, before, err := c.Describe(clip.KindEncoder, "echo")
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, process.SessionOptions{Catalog: c})
	_, p, err := s.StartEncoder(t.Context(), "echo", process.StartOptions{SHA256: before.SHA256})
	if err != nil || p.Binary.SHA256 != before.SHA256 {
		t.Fatalf("%v, %+v", err, p)
	}
	if name, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/comm"); err == nil && string(name) != "echo\n" {
		t.Errorf("the process is called %q", name)
	}
	put("more")
	if _, _, err := s.StartEncoder(t.Context(), "echo", process.StartOptions{SHA256: before.SHA256}); !errors.Is(err, process.ErrChanged) {
		t.Errorf("a replaced plugin gives %v", err)
	}
	if _, now, err := c.Describe(clip.KindEncoder, "echo"); err != nil || now.SHA256 == before.SHA256 {
		t.Errorf("%v, digest %s as before", err, now.SHA256)
	}
}

// A plugin gets no descriptor but those that are meant for it.
func TestInheritedDescriptorsAreClosed(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_DUPFD, 77) // stays open when a program is executed
	if errno != 0 {
		t.Fatal(errno)
	}
	defer syscall.Close(int(fd))
	_, p := encoder(t, session(t, process.SessionOptions{}))
	if link, err := os.Readlink("/proc/" + strconv.Itoa(p.PID()) + "/fd/" + strconv.Itoa(int(fd))); err == nil && link == os.DevNull {
		t.Error("the plugin has a descriptor of its parent's")
	}
}

// Folders of sockets that a killed runner left are removed; those of runners that live are not.
func TestFoldersOfKilledRunnersAreSwept(t *testing.T) {
	root := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"tandem-123", "tandem-123/plugin-dir1", "tandem-456", "tandem-features-1", "other-1", "tandem-789"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "tandem-789", "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(filepath.Join(root, "tandem-456"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tandem-123", "tandem-456", "tandem-features-1", "other-1", "tandem-789"} {
		if err := os.Chtimes(filepath.Join(root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	process.SweepSockets(root)
	for name, stays := range map[string]bool{"tandem-123": false, "tandem-456": true, "tandem-features-1": true, "other-1": true, "tandem-789": true} {
		if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != stays {
			t.Errorf("%s stays: %v, want %v", name, err == nil, stays)
		}
	}
}

// leave starts a process in a session of its own and writes its id to a file.
func leave(_ context.Context, file string) error {
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
}
