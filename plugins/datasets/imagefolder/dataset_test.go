package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

// folder writes pictures (names without =, the left edge their number in the list as grey) and texts
// (name=content).
func folder(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for i, name := range names {
		name, text, isText := strings.Cut(name, "=")
		data := []byte(text)
		if !isText {
			m := image.NewGray(image.Rect(0, 0, 4, 6))
			for k := range m.Pix {
				m.Pix[k] = uint8(i + 20*(k%4))
			}
			var b bytes.Buffer
			if err := png.Encode(&b, m); err != nil {
				t.Fatal(err)
			}
			data = b.Bytes()
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func configure(root string, with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	if with == nil {
		with = map[string]any{}
	}
	with["root"] = root
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 4, Threads: 2})
	return d, info, err
}

func all(t *testing.T, root string, with map[string]any) (*clip.Batch, clip.DatasetInfo) {
	t.Helper()
	d, info, err := configure(root, with)
	if err != nil {
		t.Fatal(err)
	}
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices})
	if err != nil {
		t.Fatal(err)
	}
	return b, info
}

func TestPromises(t *testing.T) {
	root, _ := json.Marshal(folder(t, "a/1.png", "a/2.png", "b/1.png", "b/1.txt=one\ntwo", "b/2.png", "c/1.png", "c/2.png", "c/3.png"))
	conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: `{"root": ` + string(root) + `}`})
}

func TestFoldersAreClasses(t *testing.T) {
	root := folder(t, "zebra/1.png", "polar_bear/b.PNG", "polar_bear/deep/a.png", ".hidden/x.png", "zebra/.x.png", "zebra/notes.md=hello")
	b, info := all(t, root, map[string]any{"templates": []string{"a {}", "one {}"}, "class_names": map[string]string{"zebra": "striped horse"}})
	if want := []string{"polar_bear/b.PNG", "polar_bear/deep/a.png", "zebra/1.png"}; !slices.Equal(b.Keys, want) {
		t.Fatalf("keys %q", b.Keys)
	}
	if !slices.Equal(info.Targets[0].Classes, []string{"polar bear", "striped horse"}) || !slices.Equal(b.Labels["label"], []int32{0, 0, 1}) {
		t.Errorf("classes %q, labels %v", info.Targets[0].Classes, b.Labels["label"])
	}
	if !slices.Equal(b.All[1], []string{"a polar bear", "one polar bear"}) || !slices.Equal(b.Groups, []int64{0, 0, 1}) {
		t.Errorf("captions %q, groups %v", b.All, b.Groups)
	}
	if b.Images.U8()[0] != 1 || b.Images.U8()[48] != 2 || b.Images.U8()[96] != 0 {
		t.Error("pictures and keys do not belong together")
	}
}

func TestSidecarCaptions(t *testing.T) {
	root := folder(t, "cat/1.png", "cat/1.txt=a cat on a bed\r\n\n asleep \na cat on a bed", "cat/2.png", "loose.png", "loose.txt=\ufeffa thing", "lost.png", "cat/3.png", "cat/3.txt=\xff")
	b, info := all(t, root, map[string]any{"templates": []string{"a {}"}})
	if want := []string{"cat/1.png", "cat/2.png", "loose.png"}; !slices.Equal(b.Keys, want) || info.Skipped != 1 ||
		!slices.ContainsFunc(info.Remarks, func(r string) bool { return strings.HasPrefix(r, "1 pictures lie in ") }) {
		t.Fatalf("auto: keys %q, %d skipped", b.Keys, info.Skipped)
	}
	if !slices.Equal(b.All[0], []string{"a cat on a bed", "asleep"}) || !slices.Equal(b.All[1], []string{"a cat"}) || b.All[2][0] != "a thing" {
		t.Errorf("auto: captions %q", b.All)
	}
	if !slices.Equal(b.Labels["label"], []int32{0, 0, -1}) || b.Groups[0] == b.Groups[1] || b.Groups[0] == b.Groups[2] {
		t.Errorf("auto: labels %v, groups %v", b.Labels, b.Groups)
	}
	if b, _ := all(t, root, map[string]any{"sidecar": "only"}); !slices.Equal(b.Keys, []string{"cat/1.png", "loose.png"}) {
		t.Errorf("only: keys %q", b.Keys)
	}
	if b, _ := all(t, root, map[string]any{"sidecar": "never"}); !slices.Equal(b.Keys, []string{"cat/1.png", "cat/2.png", "cat/3.png"}) {
		t.Errorf("never: keys %q", b.Keys)
	}
	if _, _, err := configure(root, map[string]any{"on_error": "fail"}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("fail: %v", err)
	}
}

// Pictures without a folder have no class, so that the set has no labelling.
func TestPicturesOfOneFolderHaveNoClasses(t *testing.T) {
	b, info := all(t, folder(t, "a.png", "a.txt=one", "b.png", "b.txt=two"), map[string]any{"sidecar": "only"})
	if len(info.Targets) != 0 || len(b.Labels) != 0 || len(b.Keys) != 2 || b.All[1][0] != "two" {
		t.Errorf("%v: %v %v %q", info.Targets, b.Keys, b.Labels, b.All)
	}
}

func TestBrokenPicturesAreReportedOrRefused(t *testing.T) {
	root := folder(t, "a/1.png", "a/2.png=not a picture", "b/3.png")
	b, info := all(t, root, nil)
	if info.Len != 3 || b.Keys[1] != "a/2.png" || b.Labels["label"][1] != 0 || len(b.Faults) != 1 || b.Faults[0].Key != "a/2.png" {
		t.Errorf("keys %q, labels %v, faults %+v", b.Keys, b.Labels, b.Faults)
	}
	d, _, err := configure(root, map[string]any{"on_error": "fail"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{1}}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "2.png") {
		t.Errorf("fail: %v", err)
	}
}

func TestSplitsAreDisjointAndAgreeOnClasses(t *testing.T) {
	var names []string
	for i := range 60 {
		names = append(names, string(rune('a'+i%6))+"/"+string(rune('A'+i/6))+".png")
	}
	root := folder(t, names...)
	train, info := all(t, root, map[string]any{"split": "train", "test_fraction": .3})
	test, other := all(t, root, map[string]any{"split": "test", "test_fraction": .3})
	if !slices.Equal(info.Targets[0].Classes, other.Targets[0].Classes) || info.Digest == other.Digest {
		t.Error("classes differ or digests agree")
	}
	joined := slices.Sorted(slices.Values(append(slices.Clone(train.Keys), test.Keys...)))
	slices.Sort(names)
	if !slices.Equal(joined, names) {
		t.Errorf("%d + %d samples of 60", len(train.Keys), len(test.Keys))
	}
}

func TestLinksAreFollowedAndLitterIsPassedOver(t *testing.T) {
	real := folder(t, "cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")
	root := folder(t, "fox/5.PNG", "fox/._5.png=x", "fox/.ipynb_checkpoints/6.png", "__MACOSX/fox/7.png=x")
	for _, class := range []string{"cat", "dog"} {
		if err := os.Symlink(filepath.Join(real, class), filepath.Join(root, class)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(root, filepath.Join(root, "fox", "again")); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.Symlink(root, linked); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{root, linked} {
		b, info := all(t, at, nil)
		if want := []string{"cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png", "fox/5.PNG"}; !slices.Equal(b.Keys, want) || len(b.Faults) != 0 {
			t.Errorf("%s: keys %q, faults %v", at, b.Keys, b.Faults)
		}
		if !slices.Equal(info.Targets[0].Classes, []string{"cat", "dog", "fox"}) || len(info.Remarks) != 1 || !strings.Contains(info.Remarks[0], "fox/again") {
			t.Errorf("%s: classes %q, remarks %q", at, info.Targets[0].Classes, info.Remarks)
		}
	}
}

func TestFoldersOfOneNameAreSaid(t *testing.T) {
	_, info := all(t, folder(t, "polar_bear/1.png", "polar-bear/2.png", "Polar bear/3.png", "owl/4.png", "empty/notes.md=x"), nil)
	said := strings.Join(info.Remarks, "\n")
	for _, want := range []string{`the folders polar-bear and polar_bear are two classes of one name, "polar bear"`, `"Polar bear" and "polar bear"`,
		"empty is a folder without pictures"} {
		if !strings.Contains(said, want) {
			t.Errorf("remarks %q, want %q", said, want)
		}
	}
	if len(info.Targets[0].Classes) != 4 {
		t.Errorf("classes %q", info.Targets[0].Classes)
	}
}

func TestNamesThatAreNotUTF8AreKeysAllTheSame(t *testing.T) {
	b, info := all(t, folder(t, "caf\xe9/\xff1.png", "caf\xe9/2.png"), nil)
	if want := []string{`caf\xe9/2.png`, `caf\xe9/\xff1.png`}; !slices.Equal(b.Keys, want) || len(b.Faults) != 0 {
		t.Errorf("keys %q, faults %v", b.Keys, b.Faults)
	}
	if c := b.Captions[0]; !utf8.ValidString(c) || len(info.Remarks) != 1 || !strings.Contains(info.Remarks[0], "UTF-8") {
		t.Errorf("caption %q, remarks %q", c, info.Remarks)
	}
}

func TestEmptyAndAbsentFoldersSayWhatIsExpected(t *testing.T) {
	for _, root := range []string{t.TempDir(), "/nonexistent"} {
		if _, _, err := configure(root, nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", root, err)
		}
	}
	if _, _, err := configure(folder(t, "a/1.png"), map[string]any{"templates": []string{"thing"}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("template: %v", err)
	}
}
