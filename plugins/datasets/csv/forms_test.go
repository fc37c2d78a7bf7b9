package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// written configures the plugin on files beside the pictures of folder.
func written(t *testing.T, files map[string]string, with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	t.Helper()
	dir := filepath.Dir(folder(t, ""))
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	with["file"] = filepath.Join(dir, with["file"].(string))
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(t.Context(), clip.DatasetConfig{With: raw, ImageSize: 4, Threads: 2})
	t.Cleanup(func() { d.Close() })
	return d, info, err
}

func evaluated(t *testing.T, d clip.Dataset, info clip.DatasetInfo) *clip.Batch {
	t.Helper()
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: indices})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const lines = `{"image":"a.png","captions":["one","two","one"],"name":"fox","colour":"red"}
{"image":"b.png","captions":[],"name":"hen","colour":["white","black"]}
{"image":"c.png","captions":"three","name":"","colour":"grey"}
{"image":"d.png","name":"cow"}
`

// A list of captions is several captions of one picture.
func TestListsAreSeveralCaptions(t *testing.T) {
	d, info, err := written(t, map[string]string{"t.jsonl": lines}, map[string]any{"file": "t.jsonl", "caption_columns": []string{"captions"}})
	if err != nil {
		t.Fatal(err)
	}
	b := evaluated(t, d, info)
	if !slices.Equal(b.Keys, []string{"a.png", "c.png"}) || !slices.Equal(b.All[0], []string{"one", "two"}) || !slices.Equal(b.All[1], []string{"three"}) {
		t.Errorf("%q: %q", b.Keys, b.All)
	}
	if len(info.Skips) != 1 || info.Skips[0].Reason != "no caption" || info.Skips[0].Count != 2 || !strings.Contains(info.Skips[0].First, "t.jsonl:2") {
		t.Errorf("%+v", info.Skips)
	}
}

// A sentence is passed over when one of its cells is empty.
func TestSentencesAreMadeOfColumns(t *testing.T) {
	d, info, err := written(t, map[string]string{"t.jsonl": lines}, map[string]any{"file": "t.jsonl",
		"captions": []string{"a {colour} {name}", "the {{name}} is {name}", "{captions}"}})
	if err != nil {
		t.Fatal(err)
	}
	b := evaluated(t, d, info)
	for i, want := range [][]string{{"a red fox", "the {name} is fox", "one", "two"}, {"a white, black hen", "the {name} is hen"}, {"three"}, {"the {name} is cow"}} {
		if !slices.Equal(b.All[i], want) {
			t.Errorf("%s: %q, want %q", b.Keys[i], b.All[i], want)
		}
	}
	for text, want := range map[string]string{"no column": "has no column", "a {name": "without its other one", "a name}": "without its other one", "{ }": "without the name",
		"{nam}": "did you mean name?"} {
		_, _, err := written(t, map[string]string{"t.jsonl": lines}, map[string]any{"file": "t.jsonl", "captions": []string{text}})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), want) || !strings.Contains(err.Error(), "with.captions") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Several tables are one after another. Pictures are relative to the table that names them.
func TestSeveralTablesAreOneSet(t *testing.T) {
	png, err := os.ReadFile(filepath.Join(filepath.Dir(folder(t, "")), "d.png"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"parts/1.csv": "image,caption\nx.png,one\n../a.png,two\n", "parts/2.csv": "image,caption\nx.png,three\n,\n", "parts/x.png": string(png)}
	d, info, err := written(t, files, map[string]any{"file": "parts/{1..2}.csv", "same_image": "group"})
	if err != nil {
		t.Fatal(err)
	}
	b := evaluated(t, d, info)
	if !slices.Equal(b.Keys, []string{"x.png", "../a.png", "x.png#2:2"}) || !slices.Equal(b.Groups, []int64{0, 1, 0}) || b.Images.U8()[0] != 40 || len(b.Faults) > 0 {
		t.Errorf("%q in %v, %+v", b.Keys, b.Groups, b.Faults)
	}
	if !strings.Contains(info.Note, "1 refused: 2.csv line 3 (no picture)") {
		t.Errorf("%q", info.Note)
	}
	more := map[string]string{"p/t.csv": "image,caption\nx.png,one\n", "p/x.png": files["parts/x.png"], "q/t.csv": "image,caption\nx.png,two\n", "q/x.png": files["parts/x.png"]}
	d, info, err = written(t, more, map[string]any{"file": "*/t.csv"})
	if err != nil {
		t.Fatal(err)
	}
	if b := evaluated(t, d, info); !slices.Equal(b.Keys, []string{"p/x.png", "q/x.png"}) || len(b.Faults) > 0 {
		t.Errorf("%q, %+v", b.Keys, b.Faults)
	}
}

func TestRefusalsAreCountedByReason(t *testing.T) {
	table := "image,caption,kind\na.png,x,k\n,x,\nb.png,,\nhttps://x/y.png,x,\nb.png,\"x\"y,\nb.png,\xff,\na.png,x,l\nabsent.png,x,\n"
	_, info, err := written(t, map[string]string{"t.csv": table}, map[string]any{"file": "t.csv", "label_column": "kind"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, s := range info.Skips {
		got[s.Reason] = s.Count
	}
	for reason, n := range map[string]int{"no picture": 1, "no caption": 1, "missing picture": 2, "corrupt record": 1, "not UTF-8": 1, "contradicting label": 1} {
		if got[reason] != n {
			t.Errorf("%s: %d, want %d; %+v", reason, got[reason], n, info.Skips)
		}
	}
	if info.Skipped != 7 || info.Len != 1 {
		t.Errorf("%d refused, %d samples", info.Skipped, info.Len)
	}
}

func TestASettingThatIsNoDelimiterIsRefused(t *testing.T) {
	_, _, err := written(t, map[string]string{"t.csv": "image,caption\na.png,x\n"}, map[string]any{"file": "t.csv", "delimiter": "comma,"})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "with.delimiter") {
		t.Errorf("%v", err)
	}
	d, info, err := written(t, map[string]string{"t.csv": "image~caption\na.png~x, y\n"}, map[string]any{"file": "t.csv", "delimiter": "~"})
	if err != nil {
		t.Fatal(err)
	}
	if b := evaluated(t, d, info); b.Captions[0] != "x, y" {
		t.Errorf("%q", b.Captions)
	}
}
