package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/core/fault"
)

// wheel makes a zip of files.
func wheel(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// serveArchive starts a server that has a package, and makes a fetcher that does not wait between tries.
func serveArchive(t *testing.T, content []byte, serve http.HandlerFunc) (pack, *fetcher) {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	sum := sha256.Sum256(content)
	f := &fetcher{cache: t.TempDir(), client: s.Client(), log: io.Discard, pauses: make([]time.Duration, 2), stalled: time.Hour}
	return pack{name: "x", urls: []string{s.URL + "/x.whl"}, sha256: hex.EncodeToString(sum[:])}, f
}

func TestAPackageIsFetchedOnceAndUnpacked(t *testing.T) {
	content, asked := wheel(t, map[string]string{"nvidia/include/cuda.h": "h", "nvidia/lib/big.so": "so"}), 0
	p, f := serveArchive(t, content, func(w http.ResponseWriter, r *http.Request) { asked++; w.Write(content) })
	p.files = []string{"nvidia/include"}
	for range 2 {
		folder, err := f.fetch(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(folder, "nvidia/include/cuda.h")); err != nil || string(text) != "h" {
			t.Errorf("cuda.h is %q, %v", text, err)
		}
		if _, err := os.Stat(filepath.Join(folder, "nvidia/lib")); err == nil {
			t.Error("a file that is not wanted was unpacked")
		}
	}
	if asked != 1 {
		t.Errorf("the server was asked %d times", asked)
	}
}

func TestABrokenDownloadGoesOnWhereItBroke(t *testing.T) {
	content := wheel(t, map[string]string{"a": strings.Repeat("tandem", 1000)})
	var ranges []string
	p, f := serveArchive(t, content, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) == 1 {
			w.Header().Set("Content-Length", "1000000")
			w.Write(content[:50])
			return // the connection breaks
		}
		http.ServeContent(w, r, "x.whl", time.Time{}, bytes.NewReader(content))
	})
	if _, err := f.fetch(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 2 || ranges[1] != "bytes=50-" {
		t.Errorf("asked for %q, want everything and then from byte 50", ranges)
	}
}

func TestAWrongSumLeavesNothing(t *testing.T) {
	content := wheel(t, map[string]string{"a": "b"})
	p, f := serveArchive(t, content, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("another file")) })
	_, err := f.fetch(context.Background(), p)
	if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), p.sha256) {
		t.Errorf("got %v, want corrupt with the sums", err)
	}
	if left, _ := filepath.Glob(filepath.Join(f.cache, "archives", "*")); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}

func TestWithoutANetworkTheErrorSaysWhereToPutTheFile(t *testing.T) {
	p, f := serveArchive(t, nil, func(http.ResponseWriter, *http.Request) {})
	p.urls = []string{"http://127.0.0.1:1/x.whl"}
	_, err := f.fetch(context.Background(), p)
	if exitCode(err) != 3 || !strings.Contains(fault.Format(err), "put x.whl into "+filepath.Join(f.cache, "archives")) {
		t.Errorf("got %s, exit code %d", fault.Format(err), exitCode(err))
	}
}

func TestAnArchiveThatLiesThereNeedsNoNetwork(t *testing.T) {
	content := wheel(t, map[string]string{"a": "b"})
	p, f := serveArchive(t, content, func(w http.ResponseWriter, r *http.Request) { t.Error("the server was asked") })
	if err := os.MkdirAll(filepath.Join(f.cache, "archives"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.cache, "archives", "x.whl"), content, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := f.fetch(context.Background(), p); err != nil {
		t.Error(err)
	}
}

func TestAnArchiveCannotLeaveItsFolder(t *testing.T) {
	content := wheel(t, map[string]string{"../escaped": "x"})
	p, f := serveArchive(t, content, func(w http.ResponseWriter, r *http.Request) { w.Write(content) })
	if _, err := f.fetch(context.Background(), p); err == nil {
		t.Error("a path with .. was unpacked")
	}
	if _, err := os.Stat(filepath.Join(f.cache, "escaped")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestPackagesArePinned(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages {
		if seen[p.name] || len(p.sha256) != 64 || len(p.urls) == 0 {
			t.Errorf("%s: listed twice, or without a sum or a URL", p.name)
		}
		seen[p.name] = true
		for _, u := range p.urls {
			if !strings.HasPrefix(u, "https://files.pythonhosted.org/") && !strings.Contains(u, "debian.org/") {
				t.Errorf("%s: %s is neither PyPI's nor Debian's", p.name, u)
			}
		}
	}
}
