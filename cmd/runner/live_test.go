package main_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tandem/core/results/web/webtest"
)

// serve starts runner serve in dir and returns the address of its pages. The server ends with the test.
func serve(t *testing.T, dir, addr string) (base string, server *exec.Cmd) {
	t.Helper()
	server = command(t, dir, "serve", "--addr", addr)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if server.ProcessState == nil {
			_ = server.Process.Kill()
			_ = server.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("runner serve says %q: %v", line, err)
	}
	return strings.TrimSuffix(strings.TrimSpace(line), "/"), server
}

// stays marks an open page, so that still finds out whether it was loaded again.
const stays, still = `(window.__same = true)`, `window.__same === true`

// A sweep that another process makes appears on an open page, fills and ends there, without the page being loaded again.
func TestOpenPagesFollowASweep(t *testing.T) {
	browser := webtest.Start(t)
	dir := t.TempDir()
	write(t, dir, "first.yaml", tiny+"name: first\n")
	write(t, dir, "later.yaml", strings.Replace(tiny, "max_steps: 24", "max_steps: 60", 1)+"name: later\n"+sweepBlock)
	must(t, dir, "run", "first.yaml", "-q")
	base, _ := serve(t, dir, "127.0.0.1:0")
	home := browser.Open(t, base, "/", webtest.View{Width: 1280})
	if webtest.Eval[bool](home, `document.body.innerText.includes("later")`) {
		t.Fatal("the sweep is there before it begins")
	}
	webtest.Eval[bool](home, stays)
	sweep := command(t, dir, "run", "later.yaml", "-q")
	if err := sweep.Start(); err != nil {
		t.Fatal(err)
	}
	home.Until(`document.body.innerText.includes("later")`)
	// Rows of what runs and of the newest runs come and go; the experiments stay where they are.
	const place = `JSON.stringify([...document.querySelectorAll("[aria-labelledby=experiments] a")].map(a => [a.textContent, a.getBoundingClientRect().top, a.getBoundingClientRect().left]))`
	before := webtest.Eval[string](home, place)
	board := browser.Open(t, base, "/e/later", webtest.View{Width: 1280})
	webtest.Eval[bool](board, stays)
	board.Until(`document.querySelectorAll("td.state-done").length > 1`)
	if err := sweep.Wait(); err != nil {
		t.Fatal(err)
	}
	home.Until(`/later[^\n]*\s8 of 8/.test(document.body.innerText)`)
	board.Until(`document.querySelectorAll("td.state-done").length === 8`)
	for name, tab := range map[string]*webtest.Tab{"/": home, "/e/later": board} {
		if !webtest.Eval[bool](tab, still) {
			t.Errorf("%s was loaded again", name)
		}
		for _, f := range tab.Faults() {
			t.Errorf("%s: %s", name, f)
		}
	}
	if after := webtest.Eval[string](home, place); after != before {
		t.Errorf("the experiments stood at %s and stand at %s", before, after)
	}
	if sum, moved := board.Shifts(); sum > 0 {
		t.Errorf("the board moved by %.4f: %s", sum, moved)
	}
}

// A training goes on to the same bits while the server of its pages and the browser that shows them are killed. The server, started
// again, is found by the open page.
func TestKilledServersAndViewersHarmNothing(t *testing.T) {
	browser := webtest.Start(t)
	dir, calm := t.TempDir(), t.TempDir()
	const steps = 400
	for _, d := range []string{dir, calm} {
		write(t, d, "tiny.yaml", strings.Replace(tiny, "max_steps: 24", fmt.Sprintf("max_steps: %d", steps), 1)+"name: watched\n")
		write(t, d, "first.yaml", tiny+"name: first\n")
	}
	must(t, dir, "run", "first.yaml", "-q") // there is a database to look at
	alone := strings.TrimSpace(must(t, calm, "run", "tiny.yaml", "-q"))
	base, server := serve(t, dir, "127.0.0.1:0")
	tab := browser.Open(t, base, "/", webtest.View{Width: 1280})
	webtest.Eval[bool](tab, stays)
	training := command(t, dir, "run", "tiny.yaml", "-q")
	var id strings.Builder
	training.Stdout = &id
	if err := training.Start(); err != nil {
		t.Fatal(err)
	}
	tab.Until(`document.body.innerText.includes("watched")`)
	signal(t, server.Process.Pid, syscall.SIGKILL)
	_ = server.Wait()
	tab.Until(`document.getElementById("live").textContent === "not reached"`)
	_ = tab.Faults() // of requests that nobody answers
	serve(t, dir, strings.TrimPrefix(base, "http://"))
	tab.Until(`document.getElementById("live").textContent === "live"`)
	_ = tab.Faults()
	if !webtest.Eval[bool](tab, still) {
		t.Error("the page was loaded again")
	}
	browser.Kill()
	if err := training.Wait(); err != nil {
		t.Fatalf("the training failed: %v", err)
	}
	same(t, files(t, calm, alone, steps), files(t, dir, strings.TrimSpace(id.String()), steps))
}

// Looking at pages writes nothing to the database.
func TestPagesWriteNothing(t *testing.T) {
	browser := webtest.Start(t)
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	id := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q"))
	content := func() (sum [32]byte) {
		data, err := os.ReadFile(filepath.Join(dir, "results/results.db"))
		if err != nil {
			t.Fatal(err)
		}
		if wal, err := os.Stat(filepath.Join(dir, "results/results.db-wal")); err == nil && wal.Size() > 0 {
			t.Errorf("the log of changes has %d bytes", wal.Size())
		}
		return sha256.Sum256(data)
	}
	before := content()
	base, _ := serve(t, dir, "127.0.0.1:0")
	tab := browser.Open(t, base, "/", webtest.View{Width: 1280})
	for _, path := range []string{"/e/tiny", "/e/tiny/answer", "/run/" + id, "/compare", "/query"} {
		tab.Go(path)
	}
	if content() != before {
		t.Error("the database has changed")
	}
}
