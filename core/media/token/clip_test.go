package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/core/fault"
)

// golden holds one entry of testdata/clip.json, which tools/goldens/token made with OpenCLIP 3.3.0.
type golden struct {
	Text  string
	Clean string
	IDs   []int32 // under testdata/merges.txt
	Full  []int32 // under the published merges

	// Long texts start with a unit so many times.
	TextUnit   string `json:"text_unit"`
	TextTimes  int    `json:"text_times"`
	CleanUnit  string `json:"clean_unit"`
	CleanTimes int    `json:"clean_times"`
}

func goldens(t *testing.T) []golden {
	t.Helper()
	data, err := os.ReadFile("testdata/clip.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []golden
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for i, g := range list {
		list[i].Text = strings.Repeat(g.TextUnit, g.TextTimes) + g.Text
		list[i].Clean = strings.Repeat(g.CleanUnit, g.CleanTimes) + g.Clean
	}
	if len(list) < 300 {
		t.Fatalf("only %d goldens", len(list))
	}
	return list
}

// limit returns the context length of a golden: the generator cuts texts that are much longer than 77 ids to
// 77.
func limit(ids []int32) int {
	if len(ids) == 77 {
		return 77
	}
	return 0
}

func TestCleanIsThatOfOpenCLIP(t *testing.T) {
	for _, g := range goldens(t) {
		if got := Clean(g.Text); got != g.Clean {
			t.Errorf("%+.200q\n got %+.200q\nwant %+.200q", g.Text, got, g.Clean)
		}
	}
}

func TestIDsAreThoseOfOpenCLIP(t *testing.T) {
	clip, err := ReadMerges("testdata/merges.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens(t) {
		if got := clip.Encode(g.Text, limit(g.IDs)); !slices.Equal(got, g.IDs) {
			t.Errorf("%+.200q\n got %v\nwant %v", g.Text, got, g.IDs)
		}
	}
}

func TestIDsUnderThePublishedMerges(t *testing.T) {
	clip := NewCLIP()
	if clip.VocabSize() != 49408 || clip.SOT() != 49406 || clip.EOT() != 49407 {
		t.Errorf("vocabulary of %d, SOT %d, EOT %d", clip.VocabSize(), clip.SOT(), clip.EOT())
	}
	for _, g := range goldens(t) {
		if got := clip.Encode(g.Text, limit(g.Full)); !slices.Equal(got, g.Full) {
			t.Errorf("%+.200q\n got %v\nwant %v", g.Text, got, g.Full)
		}
	}
}

func TestAMergesFileIsARegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "merges.txt")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]fault.Kind{pipe: fault.Invalid, "/dev/zero": fault.Invalid, "/nonexistent": fault.NotFound} {
		if _, err := ReadMerges(path); fault.KindOf(err) != kind || !strings.Contains(err.Error(), "merges file: "+path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBrokenMergesFileNamesTheLine(t *testing.T) {
	for content, want := range map[string]int{
		"#version\ni n\nt h e\n":         3,
		"#version\ni n\n\nin g\nxyz q\n": 5,
		"#version\nn</w> i\n":            2,
		"#version\ni n\ni n\n":           3,
		"#version\ni n\n\x01 n\n":        3,
	} {
		path := filepath.Join(t.TempDir(), "merges.txt")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadMerges(path)
		e, ok := err.(*fault.Error)
		if !ok || e.Kind != fault.Corrupt || e.Line != want || e.File != path {
			t.Errorf("%q: got %v, want fault.Corrupt in line %d", content, err, want)
		}
	}
	if _, err := ReadMerges(filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing file: %v", err)
	}
}
