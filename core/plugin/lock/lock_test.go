package lock

import (
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

// sha returns a digest that is easy to tell.
func sha(c string) string { return strings.Repeat(c, 64) }

func TestPlatformsAddUpAndOtherPluginsStay(t *testing.T) {
	f := &File{}
	f.Lock("linux/amd64", []Plugin{{"losses/clip", "1.0.0", 2, sha("a")}, {"encoders/vit", "1.0.0", 2, sha("b")}})
	f.Lock("linux/arm64", []Plugin{{"losses/clip", "1.0.0", 2, sha("c")}})
	f.Lock("linux/amd64", []Plugin{{"losses/clip", "1.1.0 beta", 2, sha("e")}, {"losses/clip", "1.1.0 beta", 2, sha("d")}})
	const want = `runner.lock 1

encoders/vit version "1.0.0" protocol 2
  linux/amd64 sha256:B

losses/clip version "1.0.0" protocol 2
  linux/arm64 sha256:C

losses/clip version "1.1.0 beta" protocol 2
  linux/amd64 sha256:D
  linux/amd64 sha256:E
`
	text := string(f.Text())
	for _, c := range "abcde" {
		text = strings.ReplaceAll(text, sha(string(c)), strings.ToUpper(string(c)))
	}
	if !strings.HasSuffix(text, want) {
		t.Errorf("the file is\n%s", text)
	}
	f.Path = filepath.Join(t.TempDir(), Name)
	if err := f.Write(); err != nil {
		t.Fatal(err)
	}
	again, err := Read(f.Path)
	if err != nil || string(again.Text()) != string(f.Text()) {
		t.Errorf("read again it is\n%s, %v", again.Text(), err)
	}
}

func TestAPluginStandsToALock(t *testing.T) {
	f := &File{}
	f.Lock("linux/amd64", []Plugin{{"losses/clip", "1.0.0", 2, sha("a")}})
	for _, x := range []struct {
		platform string
		plugin   Plugin
		want     State
	}{
		{"linux/amd64", Plugin{"losses/clip", "1.0.0", 2, sha("a")}, Same},
		{"linux/amd64", Plugin{"losses/clip", "1.0.0", 2, sha("b")}, Changed},
		{"linux/arm64", Plugin{"losses/clip", "1.0.0", 2, sha("a")}, Unknown},
		{"linux/amd64", Plugin{"losses/siglip", "1.0.0", 2, sha("a")}, Unknown},
	} {
		if got, _ := f.Check(x.platform, x.plugin); got != x.want {
			t.Errorf("%s %s is %s, want %s", x.platform, x.plugin.Plugin, got, x.want)
		}
	}
}

func TestWhatIsNoLockIsRefusedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "has no line",
		"runner.lock 2\n":  ":1:1",
		"runner.lock 1\nx": ":2:1",
		"runner.lock 1\n  linux/amd64 sha256:" + sha("a"):                                                       "is no digest of a platform",
		"runner.lock 1\nlosses/clip version \"1\" protocol 2\n  linux/amd64 sha256:12":                          ":3:1",
		"runner.lock 1\n<<<<<<< HEAD\n":                                                                         "conflict of a merge",
		"runner.lock 1\nlosses/a version \"1\" protocol 1\nlosses/a version \"1\" protocol 1\n":                 "twice",
		"runner.lock 1\nlosses/a version \"\\q\" protocol 1\n":                                                  ":2:1",
		"runner.lock 1\nlosses/a version \"1\" protocol 99999999999999999999999999999\n":                        ":2:1",
		"runner.lock 1\nlosses/a version \"1\" protocol 1\n" + strings.Repeat("  a/b sha256:"+sha("0")+"\n", 2): ":4:1",
	} {
		_, err := Parse("x/runner.lock", []byte(text))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%q gives %v, want %q", text, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), Name)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file gives %v", err)
	}
}

func TestAGuardRefusesOrTellsOnce(t *testing.T) {
	f := &File{Path: "runner.lock"}
	f.Lock(Platform(), []Plugin{{"losses/clip", "1.0.0", 2, sha("a")}})
	changed := catalog.Binary{Kind: clip.KindLoss, Name: "clip", SHA256: sha("b")}
	same, d := changed, clip.Descriptor{Version: "1.0.0", Protocol: 2}
	same.SHA256 = sha("a")
	unknown := catalog.Binary{Kind: clip.KindLoss, Name: "mine", SHA256: sha("a")}

	strict := &Guard{File: f, Strict: true}
	if err := strict.Accept(same, d); err != nil {
		t.Error(err)
	}
	for _, x := range []struct {
		b    catalog.Binary
		want []string
	}{{changed, []string{"losses/clip", sha("a"), sha("b"), "runner plugin lock"}}, {unknown, []string{"losses/mine", sha("a"), "runner plugin lock"}}} {
		err := strict.Accept(x.b, d)
		for _, want := range x.want {
			if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Format(err), want) {
				t.Errorf("%s gives %v, want %s", x.b.Ref(), err, want)
			}
		}
	}

	var told []string
	lax := &Guard{File: f, Tell: func(s string) { told = append(told, s) }}
	for range 2 {
		for _, b := range []catalog.Binary{same, changed, unknown} {
			if err := lax.Accept(b, d); err != nil {
				t.Error(err)
			}
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], sha("b")) || !strings.Contains(told[1], "losses/mine") {
		t.Errorf("told %q", told)
	}
}
