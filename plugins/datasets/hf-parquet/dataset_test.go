package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

func configure(t *testing.T, with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	t.Helper()
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	t.Cleanup(func() { d.Close() })
	info, err := d.Configure(t.Context(), clip.DatasetConfig{With: raw, ImageSize: 4, Threads: 2})
	return d, info, err
}

// all evaluates every sample of a set that must open.
func all(t *testing.T, with map[string]any) (*clip.Batch, clip.DatasetInfo) {
	t.Helper()
	d, info, err := configure(t, with)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: indices})
	if err != nil {
		t.Fatal(err)
	}
	return b, info
}

// red returns the first byte of each picture, which is its number.
func red(b *clip.Batch) []int {
	var out []int
	for i := range b.Keys {
		out = append(out, int(b.Images.U8()[48*i]))
	}
	return out
}

func numbers(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestPromises(t *testing.T) {
	for _, with := range []string{`{"files": ["testdata/train-*.parquet"]}`, `{"files": ["testdata/train-*.parquet"], "split": "train", "test_fraction": 0.3}`,
		`{"files": ["testdata/train-*.parquet"], "caption_columns": ["caption"], "negatives": ["alt"]}`,
		`{"files": ["testdata/paths.parquet"]}`, `{"files": ["testdata/bytes.parquet"], "pages_mib": 0}`} {
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: with})
	}
}

// The files of tools/goldens/parquet/generate.py are those of datasets 5.2.0: it declares picture and classes.
func TestASetOfHuggingFaceIsReadAsItIs(t *testing.T) {
	b, info := all(t, map[string]any{"files": []string{"testdata/*.parquet"}, "split": "train"})
	if !slices.Equal(red(b), numbers(0, 16)) || len(b.Faults) > 0 {
		t.Errorf("pictures %v, %v", red(b), b.Faults)
	}
	if !slices.Equal(info.Shards, []int{4, 4, 1, 4, 3}) {
		t.Errorf("shards %v", info.Shards)
	}
	if !slices.Equal(info.Targets[0].Classes, []string{"cat", "dog", "a fox"}) || !slices.Equal(b.Labels["label"][:6], []int32{-1, 1, 2, 0, -1, 2}) {
		t.Errorf("%v, %v", info.Targets, b.Labels)
	}
	if !slices.Equal(b.All[2], []string{"picture 2", "alt 2 0", "alt 2 1"}) || !slices.Equal(b.All[5], []string{"alt 5 0", "alt 5 1"}) {
		t.Errorf("captions %q", b.All)
	}
	if b.Keys[0] != "train-00000-of-00002.parquet#0" || b.Keys[15] != "train-00001-of-00002.parquet#6" {
		t.Errorf("keys %q", b.Keys)
	}
	b, _ = all(t, map[string]any{"files": []string{"testdata"}, "split": "test"})
	if !slices.Equal(red(b), numbers(16, 20)) {
		t.Errorf("pictures of the test split %v", red(b))
	}
}

func TestRandomSplitsAreDisjointAndTogetherEverything(t *testing.T) {
	var seen []int
	for _, split := range []string{"train", "test"} {
		b, info := all(t, map[string]any{"files": []string{"testdata/t*-of-*.parquet"}, "split": split, "test_fraction": .4})
		total := 0
		for _, n := range info.Shards {
			total += n
		}
		if total != info.Len || info.Len < 4 {
			t.Errorf("%s: %d samples in shards of %d", split, info.Len, total)
		}
		seen = append(seen, red(b)...)
	}
	slices.Sort(seen)
	if !slices.Equal(seen, numbers(0, 20)) {
		t.Errorf("%v", seen)
	}
}

func TestPicturesAreBytesOrPaths(t *testing.T) {
	b, _ := all(t, map[string]any{"files": []string{"testdata/bytes.parquet"}})
	if !slices.Equal(red(b), numbers(40, 43)) || !slices.Equal(b.Captions, []string{"a", "b", "c"}) {
		t.Errorf("%v, %q", red(b), b.Captions)
	}
	b, info := all(t, map[string]any{"files": []string{"testdata/paths.parquet"}})
	if !slices.Equal(red(b), numbers(30, 33)) || info.Skipped != 1 || info.Skips[0].Reason != "missing picture" || info.Shards != nil {
		t.Errorf("%v, %+v", red(b), info)
	}
	dir := t.TempDir()
	data, err := os.ReadFile("testdata/paths.parquet")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.parquet"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	root, _ := filepath.Abs("testdata")
	if b, _ := all(t, map[string]any{"files": []string{dir}, "root": root}); !slices.Equal(red(b), numbers(30, 33)) {
		t.Errorf("with root: %v", red(b))
	}
}

func TestWhatIsBrokenIsCountedByReason(t *testing.T) {
	b, info := all(t, map[string]any{"files": []string{"testdata/broken.parquet"}})
	if len(info.Skips) != 2 || info.Skips[0].Reason != "no picture" || info.Skips[1].Reason != "no caption" || !strings.Contains(info.Skips[1].First, "broken.parquet:5") {
		t.Errorf("%+v", info.Skips)
	}
	if !slices.Equal(b.All[0], []string{"s0 0", "s0 1"}) || red(b)[0] != 50 || red(b)[3] != 53 {
		t.Errorf("captions %q, pictures %v", b.All, red(b))
	}
	var reasons []string
	for _, f := range b.Faults {
		reasons = append(reasons, f.Reason)
		if !strings.Contains(f.Msg, "broken.parquet:") {
			t.Errorf("a fault does not name the file: %q", f.Msg)
		}
	}
	if !slices.Equal(reasons, []string{"truncated picture", "empty picture"}) {
		t.Errorf("%+v", b.Faults)
	}
	if _, _, err := configure(t, map[string]any{"files": []string{"testdata/broken.parquet"}, "on_error": "fail"}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "broken.parquet:2") {
		t.Errorf("on_error fail: %v", err)
	}
}

// Sets such as cifar10 and food101 have classes and no captions.
func TestClassesMakeCaptions(t *testing.T) {
	b, _ := all(t, map[string]any{"files": []string{"testdata/train-*"}, "caption_columns": []string{"alt"}, "templates": []string{"a {}", "one {}"}})
	if !slices.Equal(b.All[0], []string{"a dog", "one dog", "alt 1 0"}) && !slices.Equal(b.All[0], []string{"alt 1 0", "a dog", "one dog"}) {
		t.Errorf("%q", b.All)
	}
	alike := map[int64]int{}
	for i, g := range b.Groups {
		if slices.Equal(b.All[i], []string{"a cat", "one cat"}) {
			alike[g]++
		}
	}
	if len(alike) != 1 || alike[b.Groups[2]] != 4 || len(b.All) != 14 { // pictures 3, 6, 9, 15 are cats without an alt; 0 and 12 have neither class nor alt
		t.Errorf("groups %v of %q", b.Groups, b.All)
	}
	b, info := all(t, map[string]any{"files": []string{"testdata/train-*"}, "label_column": "caption"})
	if len(info.Targets[0].Classes) != 15 || b.Labels["label"][5] != -1 {
		t.Errorf("labels that are texts: %v, %v", info.Targets[0].Classes, b.Labels)
	}
}

func TestColumnsThatAreMissingAreNamed(t *testing.T) {
	for want, with := range map[string]map[string]any{
		"did you mean caption?":                       {"files": []string{"testdata/train-*"}, "caption_columns": []string{"captoin"}},
		"none of 3 files is called after the split":   {"files": []string{"testdata/t*-of-*"}, "split": "validation"},
		"with.files: ":                                {"files": []string{"testdata/nothing-*.parquet"}},
		"the files are of test, train":                {"files": []string{"testdata/t*-of-*"}, "split": "dev"},
		"with.image_column: \"number\" holds neither": {"files": []string{"../../../core/data/parquet/testdata/plain.parquet"}, "image_column": "number"},
		"a row has several pictures in \"list\"":      {"files": []string{"../../../core/data/parquet/testdata/plain.parquet"}, "image_column": "list"},
		"with.label_column: no column of classes":     {"files": []string{"testdata/bytes.parquet"}, "templates": []string{"a {}"}},
		"with test_fraction, want all, train or test": {"files": []string{"testdata/bytes.parquet"}, "split": "validation", "test_fraction": .5},
	} {
		_, _, err := configure(t, with)
		if err == nil || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%v: %v, want %q", with, fault.Format(err), want)
		}
	}
}

// The pictures of other files than the first are read where they lie, and a file that is cut off leaves the others.
func TestAFileThatIsCutOffLeavesTheOthers(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			data = data[:len(data)-100]
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.parquet", i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, info := all(t, map[string]any{"files": []string{dir}})
	if !slices.Equal(red(b), append(numbers(0, 9), numbers(16, 20)...)) || info.Skips[0].Reason != "corrupt shard" || len(info.Remarks) == 0 {
		t.Errorf("%v, %+v", red(b), info)
	}
	if _, _, err := configure(t, map[string]any{"files": []string{dir}, "on_error": "fail"}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "1.parquet") {
		t.Errorf("%v", err)
	}
}

// The digest stands for the pictures, too, and is the same for a copy.
func TestTheDigestIsOfTheContents(t *testing.T) {
	_, one := all(t, map[string]any{"files": []string{"testdata/train-*"}})
	dir := t.TempDir()
	for _, name := range []string{"train-00000-of-00002.parquet", "train-00001-of-00002.parquet"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, two := all(t, map[string]any{"files": []string{dir}}); one.Digest != two.Digest {
		t.Error("a copy has another digest")
	}
	if _, other := all(t, map[string]any{"files": []string{"testdata/train-*"}, "caption_columns": []string{"caption"}}); one.Digest == other.Digest {
		t.Error("the digest does not tell captions apart")
	}
}
