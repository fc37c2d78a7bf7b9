package leftover

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain doubles as a process that makes leftovers and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEFTOVER_TEST_DIR"); dir != "" {
		f, err := File(dir, ".rows-", ".tmp")
		if err != nil {
			panic(err)
		}
		path, release, err := Dir("leftover-test-")
		if err != nil {
			panic(err)
		}
		fmt.Println(f.Name(), path)
		io.Copy(io.Discard, os.Stdin) // until it is killed
		release()
		f.Close()
	}
	os.Exit(m.Run())
}

func there(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestWhatAKilledProcessLeftIsTakenAwayAndNothingElse(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	outside := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(outside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link, other := filepath.Join(dir, ".rows-link.tmp"), filepath.Join(dir, "rows-mine.tmp")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEFTOVER_TEST_DIR="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var file, folder string
	if _, err := fmt.Fscan(out, &file, &folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "copy.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	again := func() (string, string) {
		t.Helper()
		f, err := File(dir, ".rows-", ".tmp")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		path, release, err := Dir("leftover-test-")
		if err != nil {
			t.Fatal(err)
		}
		release()
		if there(path) || !strings.HasPrefix(filepath.Base(f.Name()), ".rows-") {
			t.Errorf("%s, %s", f.Name(), path)
		}
		return f.Name(), path
	}
	first, _ := again()
	if !there(file) || !there(folder) {
		t.Fatal("what a living process holds is gone")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	again()
	if there(file) || there(folder) || there(first) {
		t.Error("what a killed process left is still there")
	}
	if !there(link) || !there(outside) || !there(other) {
		t.Error("something else is gone")
	}
}
