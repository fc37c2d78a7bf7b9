package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportWritesAPageWithPictures(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	must(t, dir, "run", "tiny.yaml", "-q")
	if out := must(t, dir, "report", "tiny", "--metric", "eval/emoji/top1"); !strings.HasPrefix(out, "tiny.html (") {
		t.Errorf("report says %q", out)
	}
	page := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if html := page("tiny.html"); strings.Count(html, `src="data:image/`) < 4 || strings.Contains(html, "class 3") {
		t.Error("the page lacks pictures or the names of classes")
	}
	must(t, dir, "report", "tiny", "--metric", "eval/emoji/top1", "--no-thumbnails", "-o", "bare.html")
	if html := page("bare.html"); strings.Contains(html, "data:image") || strings.Contains(html, "class 3") || !strings.Contains(html, "made without pictures") {
		t.Error("the page without pictures has some, or lacks the names of classes, or does not say so")
	}
}

func TestReportFaults(t *testing.T) {
	dir := pooling(t)
	for _, c := range []struct {
		args       string
		code       int
		says, hint string
	}{
		{"pool", 2, `no experiment "pool"`, "runner list"},
		{"poling", 2, `no experiment "poling"`, "did you mean pooling?"},
		{"pooling --metric eval/emoji/top2", 2, `no metric "eval/emoji/top2"`, "did you mean eval/emoji/top1?"},
		{"pooling -o nowhere/page.html", 2, "cannot write nowhere/page.html", "-o names"},
		{"pooling -o .", 2, "cannot write .: it is a folder", "-o names"},
	} {
		r := try(t, dir, append([]string{"report", "--db", "r.db"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, c.hint) {
			t.Errorf("report %s: exit code %d\n%s", c.args, r.code, r.stderr)
		}
	}
	// Runs without a spec that still loads: a page without pictures, and a word about it.
	r := try(t, dir, "report", "pooling", "--db", "r.db")
	if r.code != 0 || !strings.Contains(r.stderr, "No pictures") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, ".*.tmp"))
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
