package process_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"tandem/core/plugin/process"
)

// held describes what this process holds of the system.
type held struct{ descriptors, arenas, goroutines int }

func nowHeld(t *testing.T) held {
	t.Helper()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell what a process holds")
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return held{len(descriptors), bytes.Count(maps, []byte("tandem-arena")), runtime.NumGoroutine()}
}

// Plugins that are started and killed again and again, at work or not, in the sandbox or not, leave nothing: no process, no
// folder, no shared memory, no descriptor, no goroutine. `make test-long` does it a hundred times.
func TestStartingAndKillingLeavesNothing(t *testing.T) {
	cycles := 12
	if os.Getenv("TANDEM_LONG") != "" {
		cycles = 100
	}
	c, temp := testCatalog(t), t.TempDir()
	t.Setenv("TMPDIR", temp)
	cycle := func(i int) {
		work := t.TempDir()
		s, err := process.NewSession(process.SessionOptions{Catalog: c, LogDir: filepath.Join(work, "logs")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e, p := guarded(t, s, process.StartOptions{Guard: process.Guard{Strict: i%2 == 1, Memory: 1 << 30}, Write: []string{work}})
		switch i % 3 {
		case 0: // at work, with a child
			pid, never := grandchild(t, e, work), filepath.Join(work, "never")
			go func() {
				awaitFile(never + ".begun")
				_ = syscall.Kill(p.PID(), syscall.SIGKILL)
			}()
			if err := forward(t, e, "stubborn "+never); err == nil {
				t.Error("a killed plugin answers")
			}
			waitDead(t, "grandchild", pid)
		case 1: // idle
			_ = syscall.Kill(p.PID(), syscall.SIGKILL)
			<-p.Done()
		}
	}
	cycle(0) // whatever is made once
	cycle(1)
	before := nowHeld(t)
	for i := range cycles {
		cycle(i)
	}
	var after held
	waitFor(t, func() bool {
		after = nowHeld(t)
		return after.descriptors <= before.descriptors && after.arenas <= before.arenas && after.goroutines <= before.goroutines+2
	}, func() {
		stacks := make([]byte, 1<<20)
		t.Fatalf("before %+v, after %+v\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
	})
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range processes {
		if text, _ := os.ReadFile(name); strings.Contains(string(text), "TMPDIR="+temp) && strings.Contains(string(text), "RUNNER_MEMBER=") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			t.Errorf("left behind: %q", line)
		}
	}
}
