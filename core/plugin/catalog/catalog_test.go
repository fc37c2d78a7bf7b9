package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

// The test binary is its own plugins: under the name that a plugin has it describes itself.
func TestMain(m *testing.M) {
	if d, ok := descriptors[filepath.Base(os.Args[0])]; ok {
		fmt.Println(d)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var descriptors = map[string]string{
	"echo": `{"kind": "encoder", "name": "echo", "version": "1", "protocol": 1, "modality": "text", "summary": "gives back what it gets",
		"schema": [{"name": "width", "type": "int", "default": 8}]}`,
	"dot":   `{"kind": "loss", "name": "dot", "version": "1", "protocol": 1}`,
	"count": `{"kind": "dataset", "name": "count", "version": "1", "protocol": 1}`,
}

// plugins lays the test binary out as a folder of plugins.
func plugins(t testing.TB) *catalog.Catalog {
	t.Helper()
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"encoders/echo", "losses/dot", "datasets/count"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, path); err != nil {
			t.Fatal(err)
		}
	}
	return &catalog.Catalog{Roots: []string{root}}
}

func TestPluginsAreFoundByNameKindAndPath(t *testing.T) {
	c := plugins(t)
	want := filepath.Join(c.Roots[0], "encoders", "echo")
	for _, ref := range []string{"echo", "encoders/echo", want} {
		if got, err := c.Find(clip.KindEncoder, ref); err != nil || got != want {
			t.Errorf("Find(%q) = %q, %v", ref, got, err)
		}
	}
	for _, bad := range []struct {
		kind clip.Kind
		ref  string
		err  fault.Kind
		text string
	}{
		{clip.KindLoss, "echo", fault.Invalid, "echo is an encoder, not a loss"},
		{clip.KindLoss, "encoders/echo", fault.Invalid, "encoders/echo is an encoder, not a loss"},
		{clip.KindLoss, want, fault.Invalid, "is an encoder, not a loss"},
		{clip.KindEncoder, "ecko", fault.NotFound, "did you mean echo?"},
		{clip.KindEncoder, "ecko", fault.NotFound, filepath.Dir(want)},
		{clip.KindEncoder, "../encoders/ecko", fault.NotFound, "there is no plugin at"},
		{clip.KindEncoder, "stuff/echo", fault.NotFound, "is not the name of a plugin"},
		{clip.KindEncoder, "encoders/../losses/dot", fault.NotFound, "is not the name of a plugin"},
		{clip.KindEncoder, "", fault.NotFound, "is not the name of a plugin"},
		{clip.KindEncoder, c.Roots[0], fault.NotFound, "has no program"},
		{clip.KindEncoder, "/bin/true", fault.Invalid, "is not a tandem plugin"},
		{clip.KindEncoder, "/bin/true", fault.Invalid, "it prints nothing"},
		{clip.KindEncoder, script(t, "echo 'hello {you}'\nexec "+want+" --describe"), fault.Invalid, `prints "hello {you}" before its descriptor`},
		{clip.KindEncoder, script(t, "sleep 100 & exit 0"), fault.Invalid, "leaves a process behind"},
	} {
		_, _, err := c.Describe(bad.kind, bad.ref)
		if fault.KindOf(err) != bad.err || !strings.Contains(fault.Format(err), bad.text) {
			t.Errorf("%s %q gives %v, want %q", bad.kind, bad.ref, err, bad.text)
		}
	}
}

// script writes a program in shell and returns its path.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFirstRootWins(t *testing.T) {
	first, second := plugins(t), plugins(t)
	t.Setenv("RUNNER_PLUGIN_PATH", first.Roots[0]+string(os.PathListSeparator)+second.Roots[0])
	t.Setenv("XDG_DATA_HOME", "/data")
	c := catalog.New()
	if len(c.Roots) != 4 || c.Roots[3] != "/data/tandem/plugins" || !strings.HasSuffix(c.Roots[2], "/plugins") {
		t.Errorf("roots are %v", c.Roots)
	}
	if got, err := c.Find(clip.KindEncoder, "echo"); err != nil || filepath.Dir(filepath.Dir(got)) != first.Roots[0] {
		t.Errorf("found %q, %v", got, err)
	}
}

func TestDescriptorComesFromTheManifestWhenItIsTheBinarys(t *testing.T) {
	c := plugins(t)
	path := filepath.Join(c.Roots[0], "encoders", "echo")
	d, b, err := c.Describe(clip.KindEncoder, "echo")
	if err != nil || d.Summary != "gives back what it gets" || d.Schema[0].Default != 8.0 || b.Ref() != "encoders/echo" {
		t.Fatalf("%+v, %v", d, err)
	}
	write := func(file, sum, summary string) {
		text := `{"sha256":"` + sum + `","descriptor":{"kind":"encoder","name":"echo","protocol":1,"summary":"` + summary + `"}}`
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(summary string) {
		t.Helper()
		if d, _, err := c.Describe(clip.KindEncoder, "echo"); err != nil || d.Summary != summary {
			t.Errorf("summary %q, %v, want %q", d.Summary, err, summary)
		}
	}
	write(path+".json", "0000", "stale")
	expect("gives back what it gets")
	c.CacheDir = t.TempDir()
	expect("gives back what it gets")
	cached := filepath.Join(c.CacheDir, b.SHA256+".json")
	if _, err := os.Stat(cached); err != nil {
		t.Error("the descriptor was not cached")
	}
	write(cached, b.SHA256, "from the cache")
	expect("from the cache")
	write(path+".json", b.SHA256, "from the manifest")
	expect("from the manifest")
}

func TestListHasEveryPluginAndWhatIsWrongWithIt(t *testing.T) {
	c := plugins(t)
	if err := os.WriteFile(filepath.Join(c.Roots[0], "losses", "broken"), []byte("#!/bin/sh\necho no >&2; exit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Roots[0], "losses", "notes.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range c.List() {
		name := e.Binary.Ref()
		if e.Err != nil {
			name += " " + string(fault.KindOf(e.Err))
		}
		got = append(got, name)
	}
	if s := strings.Join(got, ", "); s != "encoders/echo, losses/broken invalid, losses/dot, datasets/count" {
		t.Errorf("list is %s", s)
	}
}

func TestAFolderStandsForTheProgramInIt(t *testing.T) {
	root := t.TempDir()
	c := &catalog.Catalog{Roots: []string{root}}
	for _, program := range []string{"losses/built/built", "losses/script/plugin.py"} {
		path := filepath.Join(root, program)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{filepath.Dir(path), filepath.Base(filepath.Dir(path))} {
			if got, err := c.Find(clip.KindLoss, ref); err != nil || got != path {
				t.Errorf("%s is %q (%v), want %q", ref, got, err, path)
			}
		}
	}
	if got := c.Names(clip.KindLoss); !slices.Equal(got, []string{"built", "script"}) {
		t.Errorf("the names are %q", got)
	}
	if _, err := c.Find(clip.KindLoss, root); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a folder without a program: %v", err)
	}
}
