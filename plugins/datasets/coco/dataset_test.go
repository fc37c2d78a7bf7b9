package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

// unpacked lays out a folder as COCO is unpacked: annotations/ and val2017/ with 1.jpg … of numbered reds. texts are the files of
// annotations by name.
func unpacked(t *testing.T, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range texts {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	for i := range 4 {
		var data strings.Builder
		m := image.NewRGBA(image.Rect(0, 0, 6, 4))
		for k := range 24 {
			m.SetRGBA(k%6, k/6, color.RGBA{uint8(10 * (i + 1)), uint8(k * 9), uint8(k), 255})
		}
		if err := png.Encode(&data, m); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "val2017", string(rune('1'+i))+".jpg"), []byte(data.String()))
	}
	return dir
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func configure(t *testing.T, with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	t.Helper()
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	t.Cleanup(func() { d.Close() })
	info, err := d.Configure(t.Context(), clip.DatasetConfig{With: raw, ImageSize: 4, Threads: 2})
	return d, info, err
}

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

// The files have the fields of COCO 2017's and of Karpathy's.
const captions = `{"info": {"description": "COCO 2017 Dataset", "year": 2017}, "licenses": [{"id": 1, "name": "x", "url": "http://x"}],
"images": [
 {"license": 4, "file_name": "1.jpg", "coco_url": "http://images.cocodataset.org/val2017/1.jpg", "height": 427, "width": 640, "date_captured": "2013-11-14 17:02:52", "id": 397133},
 {"license": 1, "file_name": "2.jpg", "height": 4, "width": 6, "id": 37777},
 {"license": 1, "file_name": "3.jpg", "height": 4, "width": 6, "id": 252219},
 {"license": 1, "file_name": "4.jpg", "height": 4, "width": 6, "id": 7}],
"annotations": [
 {"image_id": 37777, "id": 38, "caption": "A bicycle replica with a clock as the front wheel.\n"},
 {"image_id": 397133, "id": 67, "caption": "The bike has a clock as a tire."},
 {"image_id": 397133, "id": 68, "caption": "A room. "},
 {"image_id": 397133, "id": 69, "caption": "A room."},
 {"image_id": 397133, "id": 70, "caption": "A third one"},
 {"image_id": 252219, "id": 71, "caption": "Four"}, {"image_id": 252219, "id": 72, "caption": " "}]}`

const instances = `{"annotations": [
 {"segmentation": [[1.0, 2.0]], "area": 10.5, "iscrowd": 0, "image_id": 397133, "bbox": [1, 2, 3, 4], "category_id": 18, "id": 1},
 {"segmentation": {"counts": [1, 2], "size": [4, 6]}, "area": 8, "iscrowd": 1, "image_id": 397133, "bbox": [1, 2, 3, 4], "category_id": 1, "id": 2},
 {"area": 8, "image_id": 397133, "category_id": 1, "id": 3},
 {"area": 1, "image_id": 37777, "category_id": 18, "id": 4}, {"area": 1, "image_id": 999, "category_id": 1, "id": 5}],
"categories": [{"supercategory": "person", "id": 1, "name": "person"}, {"supercategory": "animal", "id": 18, "name": "dog"}], "images": [{"id": 397133}]}`

const karpathy = `{"images": [
 {"filepath": "val2017", "sentids": [770337, 771687], "filename": "1.jpg", "imgid": 0, "split": "test", "cocoid": 397133,
  "sentences": [{"tokens": ["a", "man"], "raw": "A man with a red helmet. ", "imgid": 0, "sentid": 770337}, {"tokens": ["b"], "raw": "Second.", "imgid": 0, "sentid": 771687}]},
 {"filepath": "val2017", "filename": "2.jpg", "imgid": 1, "split": "train", "cocoid": 37777, "sentences": [{"raw": "Two."}]},
 {"filepath": "val2017", "filename": "3.jpg", "imgid": 2, "split": "restval", "cocoid": 252219, "sentences": [{"raw": "Three."}]},
 {"filepath": "val2017", "filename": "4.jpg", "imgid": 3, "split": "val", "cocoid": 7, "sentences": [{"raw": "Four."}]}], "dataset": "coco"}`

func TestPromises(t *testing.T) {
	dir := unpacked(t, map[string]string{"annotations/captions_val2017.json": captions, "annotations/instances_val2017.json": instances, "dataset_coco.json": karpathy})
	for _, with := range []map[string]any{{"annotations": dir + "/annotations/captions_val2017.json", "instances": dir + "/annotations/instances_val2017.json"},
		{"annotations": dir + "/dataset_coco.json"}} {
		raw, _ := json.Marshal(with)
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: string(raw)})
	}
}

// A picture is one sample with all its captions, so that five captions are its positives, and each has one picture.
func TestCaptionsOfCOCOBelongToTheirPictures(t *testing.T) {
	dir := unpacked(t, map[string]string{"annotations/captions_val2017.json": captions})
	b, info := all(t, map[string]any{"annotations": dir + "/annotations/captions_val2017.json"})
	for i, want := range [][]string{{"The bike has a clock as a tire.", "A room.", "A third one"}, {"A bicycle replica with a clock as the front wheel."}, {"Four"}} {
		if !slices.Equal(b.All[i], want) || b.Groups[i] != int64(i) || b.Images.U8()[48*i] != uint8(10*(i+1)) {
			t.Errorf("%s: %q, group %d, red %d", b.Keys[i], b.All[i], b.Groups[i], b.Images.U8()[48*i])
		}
	}
	if len(info.Skips) != 1 || info.Skips[0].Reason != "no caption" || !strings.Contains(info.Skips[0].First, "4.jpg") || len(b.Faults) > 0 {
		t.Errorf("%+v, %v", info.Skips, b.Faults)
	}
	b, _ = all(t, map[string]any{"annotations": dir + "/annotations/captions_val2017.json", "max_captions": 2, "root": dir + "/val2017"})
	if !slices.Equal(b.All[0], []string{"The bike has a clock as a tire.", "A room."}) {
		t.Errorf("%q", b.All)
	}
}

func TestKarpathysSplits(t *testing.T) {
	dir := unpacked(t, map[string]string{"dataset_coco.json": karpathy})
	for _, c := range []struct {
		split   string
		restval bool
		want    []string
	}{{"train", true, []string{"val2017/2.jpg", "val2017/3.jpg"}}, {"train", false, []string{"val2017/2.jpg"}}, {"test", true, []string{"val2017/1.jpg"}},
		{"val", true, []string{"val2017/4.jpg"}}, {"restval", true, []string{"val2017/3.jpg"}}} {
		b, _ := all(t, map[string]any{"annotations": dir + "/dataset_coco.json", "split": c.split, "restval": c.restval})
		if !slices.Equal(b.Keys, c.want) {
			t.Errorf("%s: %q", c.split, b.Keys)
		}
	}
	b, info := all(t, map[string]any{"annotations": dir + "/dataset_coco.json"})
	if len(b.Keys) != 4 || !slices.Equal(b.All[0], []string{"A man with a red helmet.", "Second."}) || !strings.Contains(info.Note, "4 pictures with 5 captions") {
		t.Errorf("%q, %q", b.All, info.Note)
	}
	flickr := strings.NewReplacer(`"filepath": "val2017", `, "", `"filename": "`, `"filename": "val2017/`, `"restval"`, `"train"`).Replace(karpathy)
	dir = unpacked(t, map[string]string{"dataset_flickr30k.json": flickr})
	if b, _ := all(t, map[string]any{"annotations": dir + "/dataset_flickr30k.json", "root": dir, "split": "train"}); len(b.Keys) != 2 {
		t.Errorf("Flickr30k: %q", b.Keys)
	}
	_, _, err := configure(t, map[string]any{"annotations": dir + "/dataset_flickr30k.json", "split": "restval"})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "it has test, train, val") {
		t.Errorf("%v", err)
	}
}

func TestInstancesAreClasses(t *testing.T) {
	dir := unpacked(t, map[string]string{"annotations/captions_val2017.json": captions, "annotations/instances_val2017.json": instances, "k.json": karpathy})
	for label, want := range map[string][]int32{"largest": {0, 1, -1}, "single": {-1, 1, -1}} {
		b, info := all(t, map[string]any{"annotations": dir + "/annotations/captions_val2017.json", "instances": dir + "/annotations/instances_val2017.json", "label": label})
		if !slices.Equal(b.Labels["label"], want) || !slices.Equal(info.Targets[0].Classes, []string{"person", "dog"}) {
			t.Errorf("%s: %v of %v", label, b.Labels, info.Targets)
		}
	}
	if b, _ := all(t, map[string]any{"annotations": dir + "/k.json", "instances": dir + "/annotations/instances_val2017.json"}); !slices.Equal(b.Labels["label"], []int32{0, 1, -1, -1}) {
		t.Errorf("with Karpathy's file: %v", b.Labels)
	}
}

// The lists of a file may come in any order.
func TestAnnotationsMayComeBeforeTheirPictures(t *testing.T) {
	at := strings.Index(captions, `"annotations"`)
	pictures := strings.Index(captions, `"images"`)
	turned := "{" + strings.TrimSuffix(captions[at:], "}") + ", " + strings.TrimSuffix(strings.TrimSpace(captions[pictures:at]), ",") + "}"
	dir := unpacked(t, map[string]string{"a.json": captions, "b.json": turned})
	one, _ := all(t, map[string]any{"annotations": dir + "/a.json", "root": dir + "/val2017"})
	two, _ := all(t, map[string]any{"annotations": dir + "/b.json", "root": dir + "/val2017"})
	if !slices.EqualFunc(one.All, two.All, slices.Equal[[]string]) || !slices.Equal(one.Keys, two.Keys) {
		t.Errorf("%q\n%q", one.All, two.All)
	}
}

func TestBrokenRecordsAreCountedByReason(t *testing.T) {
	text := `{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 1, "file_name": "2.jpg"}, {"id": 3, "file_name": "1.jpg"}, {"id": 4}, {"id": "x"}, {"id": 9, "file_name": "9.jpg"}],
 "annotations": [{"image_id": 1, "caption": "x"}, {"image_id": 77, "caption": "y"}, {"image_id": 78, "caption": "y"}, {"image_id": 9, "caption": 3}, {"image_id": 9, "caption": "z"}]}`
	dir := unpacked(t, map[string]string{"a.json": text})
	with := map[string]any{"annotations": dir + "/a.json", "root": dir + "/val2017"}
	b, info := all(t, with)
	got := map[string]int{}
	for _, s := range info.Skips {
		got[s.Reason] = s.Count
	}
	for reason, n := range map[string]int{"duplicate key": 2, "no picture": 1, "corrupt record": 4, "missing picture": 1} {
		if got[reason] != n {
			t.Errorf("%s: %d, want %d: %+v", reason, got[reason], n, info.Skips)
		}
	}
	if !slices.Equal(b.Keys, []string{"1.jpg"}) {
		t.Errorf("%q", b.Keys)
	}
	with["on_error"] = "fail"
	if _, _, err := configure(t, with); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "images[1]") || !strings.Contains(err.Error(), "a.json") {
		t.Errorf("%v", err)
	}
}

func TestFilesThatAreNotOfCOCOSaySo(t *testing.T) {
	for want, text := range map[string]string{"with.annotations": `{"images": [{"id": 1`, "unexpected EOF": `{"images": [{"id": 1}]`, "begins with [": `[1]`, "want a list": `{"images": {}}`,
		"no samples in": `{"a": 1}`, "the file has no splits": `{"images": [{"id": 1, "file_name": "1.jpg"}]}`, "is in none of": `{"images": [{"filename": "7.jpg", "sentences": [{"raw": "x"}]}]}`} {
		dir := unpacked(t, map[string]string{"a.json": text})
		with := map[string]any{"annotations": dir + "/a.json"}
		if want == "the file has no splits" {
			with["split"] = "train"
		}
		if _, _, err := configure(t, with); err == nil || !strings.Contains(fault.Format(err), want) || !strings.Contains(fault.Format(err), "a.json") && want != "is in none of" {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestInstancesWithoutCategoriesAreRefused(t *testing.T) {
	dir := unpacked(t, map[string]string{"annotations/captions_val2017.json": captions})
	file := dir + "/annotations/captions_val2017.json"
	if _, _, err := configure(t, map[string]any{"annotations": file, "instances": file}); err == nil || !strings.Contains(fault.Format(err), "with.instances: "+file+" has no categories") {
		t.Errorf("%v", err)
	}
}
