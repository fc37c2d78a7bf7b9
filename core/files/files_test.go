package files

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/core/fault"
)

func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func link(t *testing.T, to, from string) {
	t.Helper()
	if err := os.Symlink(to, from); err != nil {
		t.Fatal(err)
	}
}

func TestSpecialFilesAreNeverOpened(t *testing.T) {
	dir := t.TempDir()
	pipe, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	link(t, "/dev/zero", filepath.Join(dir, "zero"))
	for path, want := range map[string]string{pipe: "a pipe", socket: "a socket", "/dev/zero": "a device",
		filepath.Join(dir, "zero"): "a device", dir: "a folder"} {
		_, err := Read(path, 10)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.File != path || !strings.Contains(f.Msg, want) {
			t.Errorf("%s: %v, want fault.Invalid with %q", path, err, want)
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1234")
	for limit, ok := range map[int64]bool{3: false, 4: true, 5: true} {
		data, err := Read(filepath.Join(dir, "1234"), limit)
		if (err == nil) != ok || ok && string(data) != "1234" {
			t.Errorf("at most %d bytes: %q, %v", limit, data, err)
		}
	}
	// Files below /proc have no size.
	if data, err := Read("/proc/self/status", 1<<20); err != nil || len(data) == 0 {
		t.Errorf("/proc/self/status: %d bytes, %v", len(data), err)
	}
	if _, err := Read("/proc/self/status", 10); fault.KindOf(err) != fault.Invalid {
		t.Errorf("/proc/self/status, at most 10 bytes: %v", err)
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	_, err := Open("/nonexistent/x.png")
	if fault.KindOf(err) != fault.NotFound || !errors.Is(err, os.ErrNotExist) || err.Error() != "/nonexistent/x.png: no such file or directory" {
		t.Errorf("%v", err)
	}
	if err := Error("x", syscall.EIO); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, syscall.EIO) {
		t.Errorf("EIO: %v", err)
	}
}

func TestPicturesAreFoundAsPeopleLayThemOut(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "real/cat/a.png", "real/cat/deep/b.JPG", "real/dog/c.WebP", "set/fox/d.jpeg", "set/fox/notes.md", "set/fox/e.heic",
		"set/.ipynb_checkpoints/x.png", "set/fox/._d.jpeg", "set/fox/.DS_Store", "set/__MACOSX/fox/y.png", "set/fox/@eaDir/z.jpg", "set/fox/Thumbs.db",
		"elsewhere/f.png")
	link(t, "../real/cat", filepath.Join(dir, "set/cat"))
	link(t, filepath.Join(dir, "real/dog"), filepath.Join(dir, "set/dog"))
	link(t, "../../elsewhere/f.png", filepath.Join(dir, "set/fox/linked.png"))
	link(t, "nowhere.png", filepath.Join(dir, "set/fox/gone.png"))
	link(t, "../gone", filepath.Join(dir, "set/owl"))
	link(t, "..", filepath.Join(dir, "set/fox/loop"))
	link(t, ".", filepath.Join(dir, "set/fox/self"))
	if err := syscall.Mkfifo(filepath.Join(dir, "set/fox/pipe.png"), 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, "set", filepath.Join(dir, "linked"))
	for _, root := range []string{"set", "linked"} {
		l, err := Pictures(context.Background(), filepath.Join(dir, root))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"cat/a.png", "cat/deep/b.JPG", "dog/c.WebP", "fox/d.jpeg", "fox/linked.png"}; !slices.Equal(l.Pictures, want) {
			t.Errorf("%s: pictures %q", root, l.Pictures)
		}
		if !slices.Equal(l.Dangling, []string{"fox/gone.png", "owl"}) || !slices.Equal(l.Loops, []string{"fox/loop", "fox/self"}) ||
			!slices.Equal(l.Special, []string{"fox/pipe.png"}) || l.Others[".heic"] != 1 {
			t.Errorf("%s: %+v", root, l)
		}
		if said := strings.Join(l.Remarks(), "\n"); !strings.Contains(said, "2 links lead nowhere, the first is fox/gone.png") ||
			!strings.Contains(said, ".heic") || !strings.Contains(said, "fox/pipe.png is a pipe") {
			t.Errorf("%s: said %q", root, said)
		}
	}
}

func TestLinksThatWereWrittenAsTextAreSaid(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "real/cat/a.png", "set/fox/b.png", "set/LICENSE")
	for name, to := range map[string]string{"set/cat": "../real/cat", "linked": "set\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(to), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Pictures(context.Background(), filepath.Join(dir, "set"))
	if err != nil || !slices.Equal(l.Texts, []string{"cat"}) || len(l.Remarks()) != 1 || !strings.HasPrefix(l.Remarks()[0], "cat is a text with the path") {
		t.Errorf("%+v, %v", l, err)
	}
	_, err = Pictures(context.Background(), filepath.Join(dir, "linked"))
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid || !strings.Contains(f.Hint, "a link was meant") {
		t.Errorf("%v", err)
	}
}

func TestLinksThatDoubleAtEveryLevelEnd(t *testing.T) {
	dir := t.TempDir()
	const levels = 30 // 2³⁰ ways
	for i := range levels {
		name := func(k int) string { return string(rune('A' + k)) }
		write(t, dir, name(i)+"/p.png")
		if i > 0 {
			link(t, "../"+name(i), filepath.Join(dir, name(i-1), "x"))
			link(t, "../"+name(i), filepath.Join(dir, name(i-1), "y"))
		}
	}
	l, err := Pictures(context.Background(), filepath.Join(dir, "A"))
	if err != nil || len(l.Pictures) > levels*maxVisits || len(l.Loops) == 0 {
		t.Errorf("%d pictures, %d loops, %v", len(l.Pictures), len(l.Loops), err)
	}
}

func TestAFolderThatIsNoneIsSaid(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "x.png")
	if _, err := Pictures(context.Background(), filepath.Join(dir, "x.png")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("file: %v", err)
	}
	if _, err := Pictures(context.Background(), filepath.Join(dir, "y")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("absent: %v", err)
	}
}
