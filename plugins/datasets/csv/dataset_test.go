package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

// folder writes a.png … d.png, greys from 10, 20, 30 and 40 on, broken.png and the table.
func folder(t *testing.T, table string) (file string) {
	t.Helper()
	dir := t.TempDir()
	for i, name := range []string{"a", "b", "c", "d"} {
		m := image.NewGray(image.Rect(0, 0, 5, 4))
		for k := range m.Pix {
			m.Pix[k] = uint8(10*(i+1) + k)
		}
		f, err := os.Create(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	file = filepath.Join(dir, "table.csv")
	for name, text := range map[string]string{"broken.png": "\x89PNG\r\n\x1a\nnothing", "table.csv": table} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func configure(t *testing.T, table string, with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	t.Helper()
	if with == nil {
		with = map[string]any{}
	}
	with["file"] = folder(t, table)
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 4, Threads: 2})
	return d, info, err
}

// all evaluates every sample of a table that must open.
func all(t *testing.T, table string, with map[string]any) (*clip.Batch, clip.DatasetInfo) {
	t.Helper()
	d, info, err := configure(t, table, with)
	if err != nil {
		t.Fatalf("%q: %v", table, err)
	}
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices})
	if err != nil {
		t.Fatalf("%q: %v", table, err)
	}
	return b, info
}

func TestPromises(t *testing.T) {
	table := "image,caption,kind\n"
	for i := range 12 {
		table += string("abcd"[i%4]) + ".png,caption " + string(rune('a'+i)) + "," + []string{"x", "y", ""}[i%3] + "\n"
	}
	file, _ := json.Marshal(folder(t, table))
	for _, mode := range []string{"merge", "group", "separate"} {
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities,
			With: `{"file": ` + string(file) + `, "label_column": "kind", "same_image": "` + mode + `"}`})
	}
}

func TestReadsEverySortOfTable(t *testing.T) {
	want := []string{"a cat, sitting", `a "big" dog`}
	for name, table := range map[string]string{
		"csv":            "image,caption\na.png,\"a cat, sitting\"\nb.png,\"a \"\"big\"\" dog\"\n",
		"mark and CRLF":  "\ufeffimage,caption\r\na.png,\"a cat, sitting\"\r\nb.png,\"a \"\"big\"\" dog\"\r\n",
		"tabs, unquoted": "image\tcaption\na.png\ta cat, sitting\nb.png\ta \"big\" dog\n",
		"semicolons":     "id;image;caption\n1;a.png;a cat, sitting\n2;b.png;\"a \"\"big\"\" dog\"",
		"pipes":          "caption| image \na cat, sitting|a.png\n\"a \"\"big\"\" dog\"|b.png\n",
		"quoted header":  "\"image\",\"caption\",\"x;y;z;w\"\na.png,\"a cat, sitting\",\nb.png,\"a \"\"big\"\" dog\",\n",
	} {
		b, _ := all(t, table, nil)
		if !slices.Equal(b.Captions, want) || !slices.Equal(b.Keys, []string{"a.png", "b.png"}) {
			t.Errorf("%s: %q of %q", name, b.Captions, b.Keys)
		}
		if b.Images.U8()[0] != 10 || b.Images.U8()[48] != 20 {
			t.Errorf("%s: wrong pictures", name)
		}
	}
}

func TestCaptionAndLabelColumns(t *testing.T) {
	b, info := all(t, "path,title,alt,kind\na.png,A,first,dog\nb.png,B,,cat\nc.png,C,C,\n",
		map[string]any{"image_column": "path", "caption_columns": []string{"title", "alt"}, "label_column": "kind"})
	if len(b.All[0]) != 2 || len(b.All[1]) != 1 || len(b.All[2]) != 1 {
		t.Errorf("captions %q", b.All)
	}
	if !slices.Equal(info.Targets[0].Classes, []string{"cat", "dog"}) || !slices.Equal(b.Labels["label"], []int32{1, 0, -1}) {
		t.Errorf("classes %q, labels %v", info.Targets[0].Classes, b.Labels["label"])
	}
}

func TestRowsOfTheSameImage(t *testing.T) {
	const table = "image,caption\na.png,one\nb.png,two\na.png,three\na.png,one\n"
	for mode, want := range map[string]struct {
		keys   []string
		groups []int64
		first  []string
	}{
		"merge":    {[]string{"a.png", "b.png"}, []int64{0, 1}, []string{"one", "three"}},
		"group":    {[]string{"a.png", "b.png", "a.png#4", "a.png#5"}, []int64{0, 1, 0, 0}, []string{"one"}},
		"separate": {[]string{"a.png", "b.png", "a.png#4", "a.png#5"}, []int64{0, 1, 2, 3}, []string{"one"}},
	} {
		b, _ := all(t, table, map[string]any{"same_image": mode})
		if !slices.Equal(b.Keys, want.keys) || !slices.Equal(b.Groups, want.groups) || !slices.Equal(b.All[0], want.first) {
			t.Errorf("%s: keys %q, groups %v, captions %q", mode, b.Keys, b.Groups, b.All[0])
		}
	}
}

func TestBadRowsAreSkippedAndCountedOrRefused(t *testing.T) {
	const table = "image,caption\na.png,one\nb.png\n,two\nc.png,\nhttp://x/y.png,web\nc.png,\"bad\"quote\nd.png,\xff\xfe\nb.png,two\n"
	b, info := all(t, table, nil)
	if info.Skipped != 6 || !slices.Equal(b.Keys, []string{"a.png", "b.png"}) {
		t.Errorf("%d skipped, keys %q; %s", info.Skipped, b.Keys, info.Note)
	}
	if !strings.Contains(info.Note, "2 samples of 8 rows, 6 refused: line 3 (1 cells, want at least 2)") {
		t.Errorf("note %q", info.Note)
	}
	_, _, err := configure(t, table, map[string]any{"on_error": "fail"})
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Corrupt || e.Line != 3 {
		t.Errorf("on_error fail: %v", err)
	}
}

func TestBrokenPicturesAreReportedAndMissingOnesRefused(t *testing.T) {
	const table = "image,caption\nbroken.png,x\nabsent.png,y\na.png,one\n"
	b, info := all(t, table, nil)
	if info.Len != 2 || info.Skipped != 1 || !slices.Equal(b.Keys, []string{"broken.png", "a.png"}) || len(b.Faults) != 1 {
		t.Errorf("%d samples, %d refused, keys %q, faults %+v", info.Len, info.Skipped, b.Keys, b.Faults)
	}
	if f := b.Faults[0]; f.Index != 0 || !strings.Contains(f.Msg, "broken.png") {
		t.Errorf("fault does not name sample and file: %+v", f)
	}
	if len(info.Remarks) != 1 || !strings.Contains(info.Remarks[0], "absent.png") {
		t.Errorf("remarks %q", info.Remarks)
	}
	if _, _, err := configure(t, table, map[string]any{"on_error": "fail"}); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "absent.png") {
		t.Errorf("on_error fail: %v", err)
	}
	d, _, err := configure(t, "image,caption\nbroken.png,x\na.png,one\n", map[string]any{"on_error": "fail"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{0}}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("on_error fail, a broken picture: %v", err)
	}
}

func TestBrokenTablesSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		table string
		with  map[string]any
		want  string
	}{
		"no column":    {"image,text\na.png,x\n", nil, `no column "caption"`},
		"columns told": {"image,text\na.png,x\n", nil, "the columns are image, text"},
		"label":        {"image,caption\na.png,x\n", map[string]any{"label_column": "class"}, "with.label_column"},
		"empty":        {"", nil, "empty table"},
		"header only":  {"image,caption\n", nil, "no samples"},
		"all refused":  {"image,caption\n,\n", nil, "table.csv:2: all 1 rows are refused"},
		"utf-16":       {"\xff\xfei\x00", nil, "iconv -f utf-16"},
		"utf-32":       {"\xff\xfe\x00\x00i\x00\x00\x00", nil, "iconv -f utf-32"},
		"no mark":      {"i\x00m\x00a\x00g\x00e\x00,\x00c\x00", nil, "utf-16le"},
		"parquet":      {"PAR1\x00\x00\x00\x00\x00\x00", nil, "this is a Parquet file"},
		"no class":     {"image,caption,kind\na.png,x,\n", map[string]any{"label_column": "kind"}, `no row has a class in the column "kind"`},
		"near":         {"Image,caption\na.png,x\n", nil, "did you mean Image?"},
		"two columns":  {"image,caption,caption\na.png,x,y\n", nil, `two columns "caption"`},
		"split":        {"image,caption\na.png,x\n", map[string]any{"split": "test"}, "with.test_fraction"},
	} {
		_, _, err := configure(t, c.table, c.with)
		if err == nil || !strings.Contains(fault.Format(err), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	raw, _ := json.Marshal(map[string]any{"file": "/nonexistent.csv"})
	if _, err := Plugin.New().Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 4}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file: %v", err)
	}
}

func TestLabelsThatContradictAreRefused(t *testing.T) {
	const table = "image,caption,kind\na.png,one,cat\n./a.png,two,\na.png,three,dog\nb.png,x,Cat\n"
	b, info := all(t, table, map[string]any{"label_column": "kind"})
	if info.Skipped != 1 || !slices.Equal(b.Keys, []string{"a.png", "b.png"}) || !slices.Equal(b.All[0], []string{"one", "two"}) ||
		!slices.Equal(info.Targets[0].Classes, []string{"Cat", "cat"}) {
		t.Errorf("%d refused, keys %q, captions %q, classes %q", info.Skipped, b.Keys, b.All[0], info.Targets[0].Classes)
	}
	if !strings.Contains(info.Note, `2 samples of 4 rows, 1 merged with another of the same picture, 1 refused: line 4 (its label "dog" contradicts "cat" of line 2`) {
		t.Errorf("note %q", info.Note)
	}
	if len(info.Remarks) != 1 || !strings.Contains(info.Remarks[0], `"Cat" and "cat"`) {
		t.Errorf("remarks %q", info.Remarks)
	}
	_, _, err := configure(t, table, map[string]any{"label_column": "kind", "on_error": "fail"})
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Corrupt || e.Line != 4 {
		t.Errorf("on_error fail: %v", err)
	}
}

func TestRowsAddUpToTheTables(t *testing.T) {
	var table strings.Builder
	table.WriteString("image,caption\n")
	for i := range 300 {
		fmt.Fprintf(&table, "%c.png,c%d%s\n", 'a'+i%4, i, map[bool]string{true: ",d"}[i%11 == 0])
	}
	_, info, err := configure(t, table.String(), map[string]any{"split": "train", "test_fraction": .5, "split_seed": 1})
	var samples, rows, merged, elsewhere, refused int
	if _, scan := fmt.Sscanf(info.Note[strings.Index(info.Note, ": ")+2:], "%d samples of %d rows, %d merged with another of the same picture, %d of the other split, %d refused",
		&samples, &rows, &merged, &elsewhere, &refused); scan != nil || err != nil {
		t.Fatalf("%q: %v, %v", info.Note, scan, err)
	}
	if rows != 300 || samples != info.Len || samples+merged+elsewhere+refused != 300 || refused != 28 || merged == 0 || elsewhere == 0 {
		t.Errorf("%q", info.Note)
	}
}

func TestAbsentPicturesAreLookedForUnderOtherNames(t *testing.T) {
	for name, c := range map[string]struct{ image, want string }{
		"backslash": {`.\\a.png`, "./a.png is there"}, "percent": {"%61.png", "a.png is there (the table has it percent-encoded)"},
		"capitals": {"a.PNG", "capitals count"}, "ending": {"a", "a.png is there"}, "none": {"zzz.png", ""},
	} {
		image := strings.ReplaceAll(c.image, `\\`, `\`)
		_, info := all(t, "image,caption\nb.png,x\n"+image+",y\nc.png,z\nd.png,z\n", nil)
		said := strings.Join(info.Remarks, "\n") // that the picture is refused, too
		if !strings.Contains(said, c.want) || strings.Contains(said, "of line 3 is not there") != (c.want != "") {
			t.Errorf("%s: remarks %q, want %q", name, info.Remarks, c.want)
		}
	}
}

func TestTablesThatAreNoFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.csv")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{pipe, "/dev/zero", dir} {
		raw, _ := json.Marshal(map[string]any{"file": file})
		_, err := Plugin.New().Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 4})
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != fault.Invalid || e.Path != "with.file" {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSplitsKeepRowsOfAnImageTogether(t *testing.T) {
	var table strings.Builder
	table.WriteString("image,caption\n")
	root := t.TempDir()
	for i := range 200 {
		name := string([]byte{'x', byte('a' + i%20)}) + ".png"
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		table.WriteString(name + "," + string(rune('a'+i%26)) + "\n")
	}
	seen := map[string]string{}
	total := 0
	for _, split := range []string{"train", "test"} {
		d, info, err := configure(t, table.String(), map[string]any{"split": split, "test_fraction": .4, "same_image": "group", "root": root})
		if err != nil {
			t.Fatal(err)
		}
		total += info.Len
		if info.Len%10 != 0 {
			t.Errorf("%s has %d samples: an image is in both", split, info.Len)
		}
		seen[info.Digest] = split
		d.Close()
	}
	if total != 200 || len(seen) != 2 {
		t.Errorf("%d samples in both splits, want 200", total)
	}
}
