package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

// A file that stands in for a plugin is found by the plugin's name, and only by that.
func TestAFileStandsInForAPlugin(t *testing.T) {
	c, mine := plugins(t), filepath.Join(t.TempDir(), "dot")
	script := "#!/bin/sh\necho '{\"kind\": \"loss\", \"name\": \"NAME\", \"version\": \"2\", \"protocol\": 1}'\n"
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(mine, []byte(strings.Replace(script, "NAME", name, 1)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("dot")
	var err error
	if c.Dev, err = catalog.ParseDev([]string{"losses/dot=" + mine}); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"dot", "losses/dot"} {
		if d, b, err := c.Describe(clip.KindLoss, ref); err != nil || b.Path != mine || d.Version != "2" || !b.Dev {
			t.Errorf("%s is %+v, %v", ref, b, err)
		}
	}
	if _, b, err := c.Describe(clip.KindLoss, filepath.Join(c.Roots[0], "losses", "dot")); err != nil || b.Dev {
		t.Errorf("a path is %+v, %v", b, err)
	}
	if _, b, err := c.Describe(clip.KindEncoder, "echo"); err != nil || b.Dev {
		t.Errorf("another plugin is %+v, %v", b, err)
	}
	write("sum")
	if _, _, err := c.Describe(clip.KindLoss, "dot"); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "stands in for losses/dot and says that it is losses/sum") {
		t.Errorf("a file of another name gives %v", err)
	}
}

func TestWhatStandsInIsChecked(t *testing.T) {
	for _, text := range []string{"losses/dot", "dot=/bin/true", "sofas/dot=/bin/true", "losses/=/bin/true", "losses/dot=", "losses/dot=/nowhere"} {
		if _, err := catalog.ParseDev([]string{text}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := catalog.ParseDev([]string{"losses/dot=/bin/true", "losses/dot=/bin/false"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("two files for one plugin give %v", err)
	}
}

// Accept is asked about every plugin that is described.
func TestAPluginMayBeRefused(t *testing.T) {
	c := plugins(t)
	var asked []string
	c.Accept = func(b catalog.Binary, d clip.Descriptor) error {
		asked = append(asked, b.Ref()+" "+d.Version)
		return fault.New(fault.Conflict, "not this one")
	}
	if _, _, err := c.Describe(clip.KindLoss, "dot"); fault.KindOf(err) != fault.Conflict || len(asked) != 1 || asked[0] != "losses/dot 1" {
		t.Errorf("%v, asked about %v", err, asked)
	}
}

// A digest names a plugin that another of its name hides.
func TestAPluginIsFoundByItsDigest(t *testing.T) {
	c := &catalog.Catalog{}
	var all []catalog.Binary
	for _, version := range []string{"1", "2"} {
		root := t.TempDir()
		path := filepath.Join(root, "losses", "dot")
		text := "#!/bin/sh\necho '{\"kind\": \"loss\", \"name\": \"dot\", \"version\": \"" + version + "\", \"protocol\": 1}'\n"
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
		c.Roots = append(c.Roots, root)
		_, b, err := c.Describe(clip.KindLoss, path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	for _, want := range all {
		if b, _, err := c.FindDigest(want.SHA256[:12]); err != nil || b.Path != want.Path {
			t.Errorf("found %s, %v", b.Path, err)
		}
	}
	if b, _, err := c.FindDigest("xyz"); err != nil || b.Path != "" {
		t.Errorf("found %s, %v", b.Path, err)
	}
	if _, _, err := c.FindDigest(""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("what begins two digests gives %v", err)
	}
}
