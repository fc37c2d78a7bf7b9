// Package objecttest starts a real S3 server for tests: Versity's gateway over a folder.
package objecttest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Module names the server's program and its version, as go install takes it.
const Module = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

// The keys of its only user.
const (
	AccessKey = "TANDEMTESTKEY"
	SecretKey = "tandem-test-secret"
)

// S3 holds a server on the loopback interface.
type S3 struct {
	Endpoint string
	t        testing.TB
	program  string
	args     []string
	cmd      *exec.Cmd
}

// Start starts a server, which ends with the test. Where its program is neither on the PATH nor in the repository's bin, it is
// built in a folder of the user's cache if TANDEM_LONG is set; otherwise the test is skipped.
func Start(t testing.TB) *S3 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	root := t.TempDir()
	for _, dir := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &S3{Endpoint: "http://" + address, t: t, program: find(t), args: []string{"--quiet", "--port", address, "--access", AccessKey,
		"--secret", SecretKey, "posix", "--sidecar", filepath.Join(root, "meta"), filepath.Join(root, "data")}}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// Env sets the environment of the test to that of the server's user.
func (s *S3) Env() {
	t := s.t.(interface{ Setenv(name, value string) })
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": s.Endpoint, "AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey,
		"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": "", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": ""} {
		t.Setenv(name, value)
	}
}

// Restart starts the server after Kill, with what it held, at the same address.
func (s *S3) Restart() {
	s.t.Helper()
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Endpoint[len("http://"):])
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			s.Kill()
			s.t.Fatalf("the server does not answer: %v", err)
		}
	}
}

// Kill ends the server as a crash does.
func (s *S3) Kill() {
	s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// find returns the server's program.
func find(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(string(out)), "bin", "versitygw")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("there is no S3 server: make s3, or TANDEM_LONG=1")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "tandem", "test", filepath.Base(Module))
	build := exec.Command("go", "install", Module)
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "versitygw")
}
