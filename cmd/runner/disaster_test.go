package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// training starts a long run in dir and returns when steps of it are recorded.
func training(t *testing.T, dir string, cmd *exec.Cmd) (ended chan error) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	waitFor(t, func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the run ended by itself: %v", err)
		default:
		}
		return steps(t, dir) > 0
	})
	return ended
}

// steps counts the steps recorded in dir.
func steps(t *testing.T, dir string) int {
	t.Helper()
	path := filepath.Join(dir, "results/results.db")
	if !exists(path) {
		return 0
	}
	return figure(t, path, "SELECT coalesce(max(step), 0) FROM point")
}

// figure returns the number that a query gives; 0 while the database is being made.
func figure(t *testing.T, path, query string) int {
	t.Helper()
	r, err := store.OpenReader(path)
	if err != nil {
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.Conflict {
			t.Fatal(err)
		}
		return 0
	}
	defer r.Close()
	table, err := r.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return int(table.Rows[0][0].(int64))
}

// A closed terminal, a lost connection and a reader of the output that is gone are as Ctrl-C; under nohup a
// hang-up is nothing.
func TestAHangUpAndABrokenPipeLeaveACheckpoint(t *testing.T) {
	long := []string{"run", "tiny.yaml", "--no-progress", "--set", "train.max_steps=100000", "--set", "train.checkpoint_every=0"}
	status := func(t *testing.T, dir string) (s struct {
		Status      string
		Checkpoints []any
	}) {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, dir, "show", "latest", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	begin := func(t *testing.T) string {
		dir := t.TempDir()
		write(t, dir, "tiny.yaml", tiny)
		return dir
	}
	interrupted := func(t *testing.T, dir string, cmd *exec.Cmd, ended chan error) {
		t.Helper()
		<-ended
		if s := status(t, dir); cmd.ProcessState.ExitCode() != 130 || s.Status != "interrupted" || len(s.Checkpoints) != 1 {
			t.Errorf("exit code %d, %+v", cmd.ProcessState.ExitCode(), s)
		}
	}
	t.Run("hang-up", func(t *testing.T) {
		t.Parallel()
		dir := begin(t)
		cmd := command(t, dir, long...)
		ended := training(t, dir, cmd)
		for range 3 { // the shell's and the kernel's
			signal(t, cmd.Process.Pid, syscall.SIGHUP)
		}
		interrupted(t, dir, cmd, ended)
	})
	t.Run("broken pipe", func(t *testing.T) {
		t.Parallel()
		dir := begin(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(t, dir, append(long, "--set", "train.eval_every=10")...)
		cmd.Stdout, cmd.Stderr = w, w
		ended := training(t, dir, cmd)
		w.Close()
		r.Close() // the next evaluation has nobody to tell
		interrupted(t, dir, cmd, ended)
	})
	t.Run("nohup", func(t *testing.T) {
		t.Parallel()
		dir := begin(t)
		plain := command(t, dir, long...)
		cmd := exec.Command("sh", append([]string{"-c", `trap "" HUP; exec "$0" "$@"`, plain.Path}, long...)...)
		cmd.Dir, cmd.Env = plain.Dir, plain.Env
		ended := training(t, dir, cmd)
		signal(t, cmd.Process.Pid, syscall.SIGHUP)
		at := steps(t, dir)
		waitFor(t, func() bool { return steps(t, dir) > at+2 })
		signal(t, cmd.Process.Pid, syscall.SIGTERM)
		interrupted(t, dir, cmd, ended)
	})
}

// Ctrl-Z never leaves a transaction open: while a runner is suspended others write.
func TestASuspendedRunnerHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	cmd := command(t, dir, "run", "tiny.yaml", "-q", "--set", "train.max_steps=100000")
	ended := training(t, dir, cmd)
	state := func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[0]
	}
	for range 5 {
		signal(t, cmd.Process.Pid, syscall.SIGTSTP)
		waitFor(t, func() bool { return state() == "T" })
		db, err := store.Open(filepath.Join(dir, "results/results.db"))
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		rec, err := db.Begin(short, store.RunMeta{Experiment: "other"})
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Finish(short, clip.StatusDone, nil); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		signal(t, cmd.Process.Pid, syscall.SIGCONT)
	}
	signal(t, cmd.Process.Pid, syscall.SIGINT)
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d", code)
	}
}
