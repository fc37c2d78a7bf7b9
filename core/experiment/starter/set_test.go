package starter

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// train returns the dataset of data.train in a spec, with its settings, as text.
func train(t *testing.T, d *Data) string {
	t.Helper()
	data := written(t, d)["data"].(map[string]any)["train"].(map[string]any)
	return fmt.Sprint(data["dataset"], " ", data["with"])
}

func TestParquetFilesOfHuggingFaceAreRecognised(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"} {
		data, err := os.ReadFile("../../../plugins/datasets/hf-parquet/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "data", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := look(t, dir)
	if got := train(t, d); !strings.HasPrefix(got, "hf-parquet ") || !strings.Contains(got, "split:train") || strings.Contains(got, "templates") {
		t.Errorf("%s", got)
	}
	if d.Train.Pictures != 16 || d.Eval == nil || d.Eval.Pictures != 4 || d.NClasses != 3 {
		t.Errorf("%+v, eval %+v", d, d.Eval)
	}
	one := look(t, filepath.Join(dir, "data", "test-00000-of-00001.parquet"))
	if one.Train.Pictures != 4 || one.Eval != nil {
		t.Errorf("%+v", one)
	}
}

func TestShardsAreRecognised(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range 40 {
		for name, data := range map[string]string{"jpg": "no matter", "txt": "a cat on a mat"} {
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%03d.%s", i, name), Size: int64(len(data)), Mode: 0o644}); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(w, data)
		}
	}
	w.Close()
	for _, name := range []string{"00000.tar", "00001.tar"} {
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := look(t, dir)
	if got := train(t, d); !strings.HasPrefix(got, "webdataset map[shards:[") || !strings.Contains(got, "*.tar") || !strings.Contains(got, "test_fraction") {
		t.Errorf("%s", got)
	}
	if d.Train.Pictures != 80 || d.Words != 5 {
		t.Errorf("%d pictures, %d words", d.Train.Pictures, d.Words)
	}
}

func TestCaptionsOfCOCOAreRecognised(t *testing.T) {
	own := `captions_%s2017.json={"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}], "annotations": [{"image_id": 1, "caption": "x"}]}`
	d := look(t, tree(t, "annotations/"+fmt.Sprintf(own, "train"), "annotations/"+fmt.Sprintf(own, "val")))
	if got := train(t, d); !strings.HasPrefix(got, "coco map[annotations:") || d.Train.Pictures != 2 || d.Eval == nil || !strings.Contains(d.Eval.Path, "val2017") {
		t.Errorf("%s, %+v", got, d.Eval)
	}
	d = look(t, tree(t, `dataset_coco.json={"images": [{"filename": "1.jpg", "split": "train", "sentences": [{"raw": "x"}]}, {"filename": "2.jpg", "split": "val", "sentences": [{"raw": "x"}]}]}`))
	if got := train(t, d); !strings.Contains(got, "split:train") || d.Train.Pictures != 1 || d.Split != "val" {
		t.Errorf("%s, %+v", got, d)
	}
}

func TestTablesOfJSONAndParquetAreRecognised(t *testing.T) {
	root := tree(t, append(several(40, "pictures/%d.png"), strings.ReplaceAll(tableOf("t.jsonl", "", `{"image":"pictures/%d.png","caption":["a dog on a hill","two"],"kind":3}`, 40), "=\n", "="))...)
	d := look(t, root)
	if got := train(t, d); !strings.HasPrefix(got, "csv ") || !strings.Contains(got, "t.jsonl") || !strings.Contains(got, "caption_columns:[caption]") || d.Train.Pictures != 40 || d.Words != 5 {
		t.Errorf("%s: %+v", got, d)
	}
	data, err := os.ReadFile("../../../plugins/datasets/hf-parquet/testdata/paths.parquet")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tree(t, "pictures/0.png", "pictures/1.png"), "t.parquet")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := train(t, look(t, file)); !strings.HasPrefix(got, "csv ") || !strings.Contains(got, "t.parquet") {
		t.Errorf("%s", got)
	}
}
