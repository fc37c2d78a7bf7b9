package registry

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

// member is a file of an archive, or a link.
type member struct{ name, link string }

func write(t *testing.T, file string, fill func(io.Writer) error) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), file))
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func tarOf(members []member) func(io.Writer) error {
	return func(w io.Writer) error {
		out := tar.NewWriter(w)
		for _, m := range members {
			h := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Size: 2, Mode: 0o644}
			if m.link != "" {
				h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, m.link
			}
			if err := out.WriteHeader(h); err != nil {
				return err
			}
			if m.link == "" {
				if _, err := out.Write([]byte("{}")); err != nil {
					return err
				}
			}
		}
		return out.Close()
	}
}

func zipped(fill func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		z := gzip.NewWriter(w)
		if err := fill(z); err != nil {
			return err
		}
		return z.Close()
	}
}

// unpacked lists what an archive leaves in a folder.
func unpacked(t *testing.T, p Package, archive string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := p.unpack(archive, dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, filepath.ToSlash(rel))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// Of an archive of each registry the wanted files are taken, and none goes outside the folder.
func TestWantedFilesAreTakenAndNoneGoesOutside(t *testing.T) {
	npm := Package{Registry: NPM, Name: "@a/pics", Version: "1.0.0", Folder: "pics", Want: regexp.MustCompile(`^(package\.json|img/.*\.png)$`)}
	got := unpacked(t, npm, write(t, "x.tgz", zipped(tarOf([]member{{name: "package/package.json"}, {name: "package/img/1.png"}, {name: "package/sheet.png"},
		{name: "package/../../package.json"}, {name: "/package.json"}}))))
	if want := []string{"pics/img/1.png", "pics/package.json"}; !slices.Equal(got, want) {
		t.Errorf("npm: %v, want %v", got, want)
	}
	module := Package{Registry: Go, Name: "example.com/Digits", Version: "v1.0.0", Folder: "d", Want: regexp.MustCompile(`^data/.*\.gz$`)}
	got = unpacked(t, module, write(t, "x.zip", func(w io.Writer) error {
		z := zip.NewWriter(w)
		for _, name := range []string{"example.com/Digits@v1.0.0/data/a.gz", "example.com/Digits@v1.0.0/digits.go", "../data/b.gz"} {
			m, err := z.Create(name)
			if err != nil {
				return err
			}
			if _, err := m.Write([]byte("x")); err != nil {
				return err
			}
		}
		return z.Close()
	}))
	if want := []string{"d/data/a.gz"}; !slices.Equal(got, want) {
		t.Errorf("go: %v, want %v", got, want)
	}
	debian := Package{Registry: Debian, Name: "clips", Folder: "png", Below: "usr/share/clips/png", Want: regexp.MustCompile(`\.png$`)}
	got = unpacked(t, debian, write(t, "x.tar", tarOf([]member{{name: "./usr/share/clips/png/a.png"}, {name: "./usr/share/doc/a.png"},
		{name: "./usr/share/clips/png/b/c.png", link: "../a.png"}, {name: "./usr/share/clips/png/d.png", link: "../../../../../etc/x.png"},
		{name: "./usr/share/clips/png/e.png", link: "/etc/x.png"}})))
	if want := []string{"png/a.png", "png/b/c.png"}; !slices.Equal(got, want) {
		t.Errorf("debian: %v, want %v", got, want)
	}
}

// A link to a folder outside does not lead a later member there.
func TestMembersDoNotFollowLinksOutside(t *testing.T) {
	dir := t.TempDir()
	p := Package{Registry: Debian, Name: "evil", Folder: "in", Want: regexp.MustCompile(`.`)}
	archive := write(t, "x.tar", tarOf([]member{{name: "q/d", link: ".."}, {name: "q/up", link: "d/.."}, {name: "q/up/out.txt"}}))
	if err := p.unpack(archive, dir); err == nil {
		t.Error("the archive was unpacked")
	}
	for _, outside := range []string{"out.txt", "in"} {
		if _, err := os.Lstat(filepath.Join(dir, outside)); err == nil {
			t.Errorf("%s is there", outside)
		}
	}
}

func TestAnArchiveWithoutWantedFilesLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	p := Package{Registry: NPM, Name: "x", Version: "1", Folder: "x", Want: regexp.MustCompile(`^a$`)}
	err := p.unpack(write(t, "x.tgz", zipped(tarOf([]member{{name: "package/b"}}))), dir)
	if fault.KindOf(err) != fault.Corrupt {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestWhatIsThereIsNotFetchedAgain(t *testing.T) {
	t.Setenv("PATH", "")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x", "package.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var said []string
	err := Get(context.Background(), dir, []Package{{Registry: NPM, Name: "x", Folder: "x", Proof: "package.json"}}, func(s string) { said = append(said, s) })
	if err != nil || len(said) != 1 || !strings.HasPrefix(said[0], "all packages are in") {
		t.Errorf("said %q, error %v", said, err)
	}
}

func TestWithoutTheProgramTheCommandsAreTold(t *testing.T) {
	t.Setenv("PATH", "")
	for registry, want := range map[Registry]string{
		NPM:    "curl -L https://registry.npmjs.org/@a/Pics/-/Pics-1.0.0.tgz | tar xz",
		Go:     "https://proxy.golang.org/@a/!pics/@v/1.0.0.zip",
		Debian: "dpkg-deb --extract",
	} {
		p := Package{Registry: registry, Name: "@a/Pics", Version: "1.0.0", Folder: "x", Proof: "p"}
		err := Get(context.Background(), t.TempDir(), []Package{p}, func(string) {})
		f, _ := err.(*fault.Error)
		if f == nil || f.Kind != fault.Unavailable || !strings.Contains(f.Detail, want) {
			t.Errorf("%s: error %v, want %q", registry, fault.Format(err), want)
		}
	}
}
