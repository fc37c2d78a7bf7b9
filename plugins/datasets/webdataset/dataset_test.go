package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

// shards returns the path of shards that webdataset wrote (tools/goldens/webdataset).
func shards(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../../core/data/shard/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func configure(with map[string]any, threads int) (clip.Dataset, clip.DatasetInfo, error) {
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: threads, Seed: 3,
		Augment: &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{.5, 1}, Ratio: [2]float64{.75, 1.33}}})
	return d, info, err
}

// all returns every sample.
func all(t *testing.T, with map[string]any) (*clip.Batch, clip.DatasetInfo) {
	t.Helper()
	d, info, err := configure(with, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices, Negatives: info.Negatives > 0})
	if err != nil {
		t.Fatal(err)
	}
	return b, info
}

func TestPromises(t *testing.T) {
	list, _ := json.Marshal([]string{shards(t, "written-{000000..000001}.tar"), shards(t, "packed.tar.gz")})
	conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities,
		With: `{"shards": ` + string(list) + `, "negatives": ["json:tags"], "captions": ["txt", "json:caption"]}`})
}

func TestSamplesOfShards(t *testing.T) {
	b, info := all(t, map[string]any{"shards": []string{shards(t, "written-*.tar")}, "captions": []string{"txt;json:caption", "json:meta.alt"},
		"label": "cls", "negatives": []string{"json:tags"}, "negatives_count": 3})
	if info.Len != 10 || !slices.Equal(info.Shards, []int{6, 4}) || info.Skipped != 0 || info.Negatives != 3 {
		t.Fatalf("%+v", info)
	}
	if want := []string{"caption number 7 – Straße", "deep 7"}; b.Keys[7] != "000007" || !slices.Equal(b.All[7], want) || b.Keys[0] != "part 0/000000" {
		t.Errorf("%q has %q", b.Keys[7], b.All[7])
	}
	if !slices.Equal(info.Targets[0].Classes, []string{"0", "1", "2"}) || !slices.Equal(b.Labels["label"], []int32{0, 1, 2, 0, 1, 2, 0, 1, 2, 0}) {
		t.Errorf("classes %q, labels %v", info.Targets[0].Classes, b.Labels)
	}
	if got := slices.Compact(slices.Sorted(slices.Values(b.Negatives[7]))); !slices.Equal(got, []string{"one", "tag 7"}) {
		t.Errorf("negatives %q", b.Negatives[7])
	}
	b, info = all(t, map[string]any{"shards": []string{shards(t, "written-000001.tar")}, "label": "cls", "classes": []string{"cat", "dog", "fox", "owl"}})
	if !slices.Equal(info.Targets[0].Classes, []string{"cat", "dog", "fox", "owl"}) || b.Labels["label"][0] != 0 || b.Labels["label"][2] != 2 {
		t.Errorf("classes %q, labels %v", info.Targets[0].Classes, b.Labels)
	}
}

// The layout of img2dataset: tables and statistics beside the shards, shards without samples, captions that are empty.
func TestFoldersOfImg2dataset(t *testing.T) {
	b, info := all(t, map[string]any{"shards": []string{shards(t, "img2dataset")}})
	if !slices.Equal(b.Keys, []string{"000000000", "000000002"}) || b.All[0][0] != "alt text 0" || !slices.Equal(info.Shards, []int{2, 0}) {
		t.Errorf("%q %q %v", b.Keys, b.All, info.Shards)
	}
	if len(info.Skips) != 1 || info.Skips[0].Reason != "no caption" || !strings.Contains(info.Skips[0].First, "00000.tar: member 000000003.jpg: ") {
		t.Errorf("%+v", info.Skips)
	}
	said := strings.Join(info.Remarks, "\n")
	if !strings.Contains(said, "4 files beside the shards") || !strings.Contains(said, "1 shards have no samples, the first is ") {
		t.Errorf("%s", said)
	}
}

// Broken records are counted by reason, at once where the index shows them, otherwise when they are read.
func TestAwkwardPictures(t *testing.T) {
	b, info := all(t, map[string]any{"shards": []string{shards(t, "pictures.tar")}})
	var got []string
	for _, s := range info.Skips {
		got = append(got, s.Reason+" "+string(rune('0'+s.Count))+" "+s.First[strings.Index(s.First, "pictures.tar"):])
	}
	want := []string{"empty picture 1 pictures.tar: member b-empty.jpg: has no bytes", "not UTF-8 1 pictures.tar: member r-latin.txt: this text is not UTF-8",
		"no caption 2 pictures.tar: member p-silent.jpg: its sample has none in txt;text;caption;json:caption"}
	if !slices.Equal(got, want) || info.Skipped != 4 {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	got = nil
	for _, f := range b.Faults {
		got = append(got, f.Key+" "+f.Reason)
		if !strings.Contains(f.Msg, "pictures.tar: member "+f.Key+".") {
			t.Errorf("%s", f.Msg)
		}
	}
	if want := []string{"c-truncated truncated picture", "d-text corrupt picture", "f-grey16 unsupported picture", "k-huge too many pixels"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestOnErrorFailNamesShardAndMember(t *testing.T) {
	for member, edit := range map[string]func(with map[string]any){
		"b-empty.jpg": func(map[string]any) {},
		"000000003.jpg": func(with map[string]any) {
			with["shards"] = []string{shards(t, "img2dataset/00000.tar")}
		},
	} {
		with := map[string]any{"shards": []string{shards(t, "pictures.tar")}, "on_error": "fail"}
		edit(with)
		_, _, err := configure(with, 1)
		if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), ".tar: member "+member) {
			t.Errorf("%s: %v", member, err)
		}
	}
	// A picture that only decoding shows to be broken: cut the flaws of the index out of the shard.
	data, err := os.ReadFile(shards(t, "pictures.tar"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.tar")
	from, to := strings.Index(string(data), "c-truncated.jpg"), strings.Index(string(data), "e-cmyk.jpg")
	if err := os.WriteFile(path, data[from:to], 0o644); err != nil {
		t.Fatal(err)
	}
	d, info, err := configure(map[string]any{"shards": []string{path}, "on_error": "fail"}, 1)
	if err != nil || info.Len != 2 {
		t.Fatalf("%+v %v", info, err)
	}
	if _, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{0}}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "cut.tar: member c-truncated.jpg") {
		t.Errorf("%v", err)
	}
}

func TestBatchesAreTheSameForAnyNumberOfWorkers(t *testing.T) {
	var first *clip.Batch
	var digest string
	for _, threads := range []int{1, 2, 8} {
		d, info, err := configure(map[string]any{"shards": []string{shards(t, "written-*.tar")}, "captions": []string{"txt", "json:caption"}}, threads)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{9, 3, 4, 4, 0, 7, 8, 1}, Epoch: 5, Train: true})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first, digest = b, info.Digest
			continue
		}
		if !slices.Equal(b.Images.U8(), first.Images.U8()) || !slices.Equal(b.Captions, first.Captions) || info.Digest != digest {
			t.Errorf("%d workers give another batch", threads)
		}
	}
}

func TestSplitsAreDisjoint(t *testing.T) {
	var keys []string
	for _, split := range []string{"train", "test"} {
		b, info := all(t, map[string]any{"shards": []string{shards(t, "written-*.tar"), shards(t, "packed.tar.gz")}, "split": split, "test_fraction": .4})
		if n := info.Shards[0] + info.Shards[1] + info.Shards[2]; n != info.Len || n == 0 {
			t.Errorf("%v", info.Shards)
		}
		keys = append(keys, b.Keys...)
	}
	slices.Sort(keys)
	if n := len(slices.Compact(keys)); n != 13 {
		t.Errorf("%d samples of 13", n)
	}
}

func TestKeysOfSeveralShardsAreToldApart(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "again.tar")
	data, err := os.ReadFile(shards(t, "written-000001.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, data, 0o644); err != nil {
		t.Fatal(err)
	}
	b, info := all(t, map[string]any{"shards": []string{shards(t, "written-000001.tar"), copied}})
	if len(b.Keys) != 8 || b.Keys[1] != "000007" || b.Keys[5] != "000007#1.1" || !strings.Contains(strings.Join(info.Remarks, "\n"), "4 samples have the key of an earlier one") {
		t.Errorf("%q %q", b.Keys, info.Remarks)
	}
}

func TestSettingsThatDoNotFit(t *testing.T) {
	for want, edit := range map[string]map[string]any{
		"with.captions: no captions":                  {"captions": []string{}},
		`with.captions: "json:" names no text`:        {"captions": []string{"json:"}},
		"with.image: no endings":                      {"image": []string{}},
		"with.classes: classes without label":         {"classes": []string{"cat"}},
		`with.classes: the label "1" of 000001 is no`: {"classes": []string{"cat"}, "label": "cls"},
		"with.shards: no file matches":                {"shards": []string{"absent/*.tar"}},
		"10 records are refused, the first: ":         {"captions": []string{"text"}},
		"with.test_fraction":                          {"split": "test"},
		"with.label: no sample has a class in nope":   {"label": "nope"},
		"is not there (missing shard)":                {"shards": []string{"absent.tar"}},
	} {
		with := map[string]any{"shards": []string{shards(t, "written-*.tar")}}
		for k, v := range edit {
			with[k] = v
		}
		if _, _, err := configure(with, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// What the samples are decides the digest, not where they are.
func TestTheDigestStandsForTheSamples(t *testing.T) {
	digest := func(with map[string]any) string {
		if with["shards"] == nil {
			with["shards"] = []string{shards(t, "written-*.tar")}
		}
		_, info := all(t, with)
		return info.Digest
	}
	first := digest(map[string]any{})
	dir := t.TempDir()
	for i, name := range []string{"written-000000.tar", "written-000001.tar"} {
		data, err := os.ReadFile(shards(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".tar"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if digest(map[string]any{"shards": []string{dir}}) != first {
		t.Error("a copy has another digest")
	}
	seen := map[string]int{first: -1}
	for i, with := range []map[string]any{{"shards": []string{shards(t, "written-000001.tar")}}, {"captions": []string{"json:caption"}}, {"captions": []string{"txt", "json:caption"}},
		{"label": "cls"}, {"label": "cls", "classes": []string{"a", "b", "c"}}, {"negatives": []string{"json:tags"}}, {"negatives": []string{"json:tags"}, "negatives_count": 2},
		{"split": "train", "test_fraction": .5}, {"split": "test", "test_fraction": .5}, {"image": []string{"seg.png"}}, {"lines": true}} {
		d := digest(with)
		if before, ok := seen[d]; ok {
			t.Errorf("%v has the digest of %d", with, before)
		}
		seen[d] = i
	}
}

// A cache folder that cannot be written costs time, and is told; a folder that the settings name must be writable.
func TestACacheFolderThatCannotBeWrittenIsDoneWithout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	with := map[string]any{"shards": []string{shards(t, "written-*.tar")}}
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	defer d.Close()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 1, CacheDir: file})
	if err != nil || info.Len != 10 || !strings.Contains(strings.Join(info.Remarks, "\n"), "indexes of shards are not kept") {
		t.Errorf("%+v, %v", info, err)
	}
	with["index_dir"] = filepath.Join(file, "x")
	if _, _, err := configure(with, 1); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("%v", err)
	}
}
