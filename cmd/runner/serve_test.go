package main_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// served is a server that a test started.
type served struct {
	cmd     *exec.Cmd
	address string // with a / at its end, and the token
	stderr  *strings.Builder
	ended   chan error
	ends    atomic.Bool // the test ended it: viewers are not answered any more
}

// startServer starts the server in dir and waits for its address.
func startServer(t *testing.T, dir string, args ...string) *served {
	t.Helper()
	s := &served{cmd: command(t, dir, append([]string{"serve"}, args...)...), stderr: &strings.Builder{}, ended: make(chan error, 1)}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() { s.cmd.Process.Kill() })
	if err != nil {
		t.Fatalf("no address: %v, %v, %s", err, <-s.ended, s.stderr)
	}
	s.address = strings.TrimSpace(line)
	return s
}

// page asks for a page and returns its status and text.
func (s *served) page(t *testing.T, path string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", s.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		if !s.ends.Load() {
			t.Error(err)
		}
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil && !s.ends.Load() {
		t.Error(err)
	}
	return answer.StatusCode, string(text)
}

// view does as an open page: it fetches its pages again whenever it hears of a change, until the stream ends.
func (s *served) view(t *testing.T, ctx context.Context, fetched *atomic.Int64, paths ...string) {
	r, err := http.NewRequestWithContext(ctx, "GET", s.address+"live", nil)
	if err != nil {
		t.Error(err)
		return
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if lines.Text() != "event: changed" {
			continue
		}
		for _, p := range paths {
			if status, text := s.page(t, p); status >= 500 && !s.ends.Load() {
				t.Errorf("%s: %d %s", p, status, text)
			}
			fetched.Add(1)
		}
	}
}

// A server that is started before there is a database shows a run as it is made. Five viewers neither lock the database nor keep its log,
// and Ctrl-C ends the server while they listen.
func TestServeFollowsARun(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	s := startServer(t, dir, "--addr", "127.0.0.1:0")
	if status, text := s.page(t, ""); status != 404 || !strings.Contains(text, "as soon as there is one") {
		t.Errorf("without a database: %d %s", status, text)
	}
	var viewers sync.WaitGroup
	var fetched atomic.Int64
	for range 5 {
		viewers.Go(func() { s.view(t, t.Context(), &fetched, "", "e/tiny", "run/latest") })
	}
	r := try(t, dir, "run", "tiny.yaml", "-q")
	if r.code != 0 || strings.Contains(r.stderr, "locked") {
		t.Fatalf("the run ends with %d: %s", r.code, r.stderr)
	}
	id := strings.TrimSpace(r.stdout)
	waitFor(t, func() bool {
		status, text := s.page(t, "")
		return status == 200 && strings.Contains(text, id) && strings.Contains(text, "✓ done") && fetched.Load() > 0
	})
	if status, text := s.page(t, "e/tiny"); status != 200 || !strings.Contains(text, "<dd>1 of 1</dd>") {
		t.Errorf("the board: %d %s", status, text)
	}
	waitFor(t, func() bool { return !exists(filepath.Join(dir, "results/results.db-wal")) })
	s.ends.Store(true)
	signal(t, s.cmd.Process.Pid, syscall.SIGINT)
	if err := <-s.ended; err != nil {
		t.Errorf("Ctrl-C: %v, %s", err, s.stderr)
	}
	viewers.Wait()
}

func TestServeBeyondLoopbackAsksForItsToken(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, "--addr", "0.0.0.0:0", "--host", "127.0.0.1")
	base, token, found := strings.Cut(s.address, "?token=")
	if !found || len(token) < 20 {
		t.Fatalf("the address is %s", s.address)
	}
	s.address = base
	if status, text := s.page(t, ""); status != 401 || strings.Contains(text, token) {
		t.Errorf("without a token: %d %s", status, text)
	}
	if status, _ := s.page(t, "", "Authorization", "Bearer "+token); status != 404 { // there is no database
		t.Errorf("with the token: %d", status)
	}
	signal(t, s.cmd.Process.Pid, syscall.SIGINT)
	if err := <-s.ended; err != nil || !strings.Contains(s.stderr.String(), "without TLS") {
		t.Errorf("%v, %s", err, s.stderr)
	}
}

func TestServeSaysWhatIsWrongWithItsFlags(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write(t, dir, "notes.txt", strings.Repeat("notes ", 1000))
	write(t, dir, "short", "abc")
	if err := os.Chmod(filepath.Join(dir, "short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--addr", l.Addr().String()}, 1, "another program listens there"},
		{[]string{"--addr", "8080"}, 2, "--addr HOST:PORT"},
		{[]string{"--db", "notes.txt", "--addr", "127.0.0.1:0"}, 1, "notes.txt"},
		{[]string{"--token-file", "short", "--addr", "127.0.0.1:0"}, 2, "has 3 characters"},
		{[]string{"--tls-cert", "short", "--addr", "127.0.0.1:0"}, 2, "belong together"},
		{[]string{"--tls-cert", "short", "--tls-key", "short", "--addr", "127.0.0.1:0"}, 2, "both are PEM files"},
	} {
		r := try(t, dir, append([]string{"serve"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: exit code %d, want %d, and %q in: %s", c.args, r.code, c.code, c.want, r.stderr)
		}
	}
}
