package starter

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"tandem/core/fault"
)

// tree writes files: pictures of 40 × 30 pixels by their names, texts as name=content.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "my birds")
	for _, name := range names {
		name, text, isText := strings.Cut(name, "=")
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if isText {
			_, err = f.WriteString(text)
		} else {
			err = png.Encode(f, image.NewGray(image.Rect(0, 0, 40, 30)))
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return root
}

// several returns n names made from a form.
func several(n int, form string) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf(form, i))
	}
	return names
}

// tableOf returns a table of n rows in the form of a name for tree.
func tableOf(name, head, row string, n int) string {
	return name + "=" + head + "\n" + strings.Join(several(n, row), "\n") + "\n"
}

func look(t *testing.T, path string) *Data {
	t.Helper()
	d, err := Look(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// written returns the spec of data as it reads from a folder beside it.
func written(t *testing.T, d *Data) map[string]any {
	t.Helper()
	text := d.Spec(filepath.Join(filepath.Dir(d.Train.Path), "specs", "x.yaml"), ".tandem/spec.schema.json")
	var m map[string]any
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=.tandem/spec.schema.json\n") {
		t.Errorf("the first line is not the schema's:\n%s", text)
	}
	return m
}

func dataOf(m map[string]any) map[string]any {
	return m["data"].(map[string]any)["train"].(map[string]any)
}
func withOf(m map[string]any) map[string]any { return dataOf(m)["with"].(map[string]any) }
func evalOf(m map[string]any) map[string]any { return m["eval"].([]any)[0].(map[string]any) }

func TestClassFoldersAreToldApart(t *testing.T) {
	d := look(t, tree(t, slices.Concat(several(30, "red/%d.png"), several(30, "sky_blue/%d.png"), []string{"loose.png"})...))
	if d.IsTable || d.NClasses != 2 || d.Train.Pictures != 60 || d.Loose != 1 || d.PictureWidth != 40 || d.Name != "my-birds" {
		t.Errorf("%+v", d)
	}
	m := written(t, d)
	if dataOf(m)["dataset"] != "imagefolder" || withOf(m)["root"] != "../my birds" || withOf(m)["test_fraction"] != 0.2 || withOf(m)["split"] != "train" {
		t.Errorf("%v", m["data"])
	}
	if e := evalOf(m); e["zero_shot"] == nil || e["retrieval"] != false || e["with"].(map[string]any)["split"] != "test" {
		t.Errorf("%v", e)
	}
}

func TestATableIsReadByItsColumns(t *testing.T) {
	for name, c := range map[string]struct{ head, row string }{
		"usual names":       {"image,caption,label", "images/%d.png,a bird,kind%[1]d"},
		"semicolons":        {"nr;file name;alt;species", "%d;images/%[1]d.png;a small bird;kind%[1]d"},
		"byte order mark":   {"\ufefffilepath\ttitle\tclass", "images/%d.png\ta bird\tkind%[1]d"},
		"by what is inside": {"a|b|label", "a very small bird, number %d|images/%[1]d.png|kind%[1]d"},
	} {
		ext := map[bool]string{true: ".tsv", false: ".csv"}[strings.Contains(c.head, "\t")]
		d := look(t, tree(t, append(several(40, "images/%d.png"), tableOf("captions"+ext, c.head, c.row, 40))...))
		if !d.IsTable || d.Train.Pictures != 40 || d.Image == "" || len(d.Texts) != 1 || d.Label == "" || d.Words < 2 || d.PictureHeight != 30 || len(d.Remarks) > 0 {
			t.Errorf("%s: %+v", name, d)
		}
		m := written(t, d)
		if dataOf(m)["dataset"] != "csv" || withOf(m)["image_column"] != strings.TrimPrefix(d.Image, "\ufeff") || evalOf(m)["retrieval"] != true || evalOf(m)["zero_shot"] == nil {
			t.Errorf("%s: %v", name, m["data"])
		}
	}
}

// Paths may be relative to a folder in that of the table, or in full; what is not there is remarked on.
func TestTheFolderOfATablesPicturesIsFound(t *testing.T) {
	root := tree(t, append(several(9, "photos/%d.png"), tableOf("t.csv", "image,caption", "%d.png,\"a, b\"", 10))...)
	d := look(t, root)
	if d.Train.Root != filepath.Join(root, "photos") || len(d.Remarks) != 1 || !strings.Contains(d.Remarks[0], "1 of the first 10 picture files do not exist") {
		t.Errorf("%+v", d)
	}
	if m := written(t, d); withOf(m)["root"] != "../photos" || withOf(m)["split"] != nil {
		t.Errorf("%v", m["data"])
	}
}

func TestPartsThatAreKeptApartStayApart(t *testing.T) {
	folders := look(t, tree(t, slices.Concat(several(3, "train/a/%d.png"), several(3, "train/b/%d.png"), several(2, "val/a/%d.png"), several(2, "val/b/%d.png"))...))
	m := written(t, folders)
	if folders.Eval == nil || folders.Eval.Pictures != 4 || withOf(m)["root"] != "train" && !strings.HasSuffix(withOf(m)["root"].(string), "/train") || withOf(m)["split"] != nil {
		t.Errorf("%+v: %v", folders, m["data"])
	}
	tables := look(t, tree(t, append(several(5, "%d.png"), tableOf("birds_train.csv", "image,caption", "%d.png,a bird", 5), tableOf("birds_val.csv", "image,caption", "%d.png,a bird", 3))...))
	if tables.Eval == nil || tables.Eval.Pictures != 3 || filepath.Base(tables.Train.Path) != "birds_train.csv" {
		t.Errorf("%+v", tables)
	}
}

func TestTextsBesidePicturesAreCaptions(t *testing.T) {
	d := look(t, tree(t, append(several(4, "%d.png"), several(3, "%d.txt=a bird on a very long branch\nanother\n")...)...))
	if d.NClasses != 0 || !d.Captions || d.Train.Pictures != 3 || d.Loose != 1 || d.Words != 7 {
		t.Errorf("%+v", d)
	}
	if m := written(t, d); withOf(m)["sidecar"] != "only" || evalOf(m)["retrieval"] != true || evalOf(m)["zero_shot"] != nil {
		t.Errorf("%v", m)
	}
}

func TestWhatCannotBeTrainedOnSaysWhatIsMissing(t *testing.T) {
	for want, root := range map[string]string{
		"no such file":                 "/nowhere",
		"no pictures and no table":     tree(t, "readme.md=hello"),
		"3 pictures without captions":  tree(t, several(3, "%d.png")...),
		"nothing to tell apart":        tree(t, several(3, "birds/%d.png")...),
		"no column of picture files":   tree(t, tableOf("t.csv", "a,b", "%d,two words here", 3)),
		"no column of captions":        tree(t, tableOf("t.csv", "image,number", "%d.png,1", 3)),
		"at least two columns":         tree(t, "t.csv=image\na.png\n"),
		"no rows":                      tree(t, "t.csv=image,caption\n"),
		"2 tables, none of them calle": tree(t, "a.csv=image,caption\n", "b.csv=image,caption\n"),
	} {
		_, err := Look(context.Background(), root)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if e, ok := err.(*fault.Error); ok && e.Hint == "" && root != "/nowhere" {
			t.Errorf("%v has no hint", err)
		}
	}
}

// A recipe has at least one step an epoch, and a batch that the training part can fill.
func TestRecipesFitTheAmount(t *testing.T) {
	for _, n := range []int{2, 7, 29, 30, 400, 5_000, 60_000, 3_000_000} {
		for _, captions := range []bool{true, false} {
			d := &Data{Train: Part{Pictures: n}, Captions: captions, NClasses: 3, Words: 40, PictureWidth: 640, PictureHeight: 480}
			r := d.Recipe()
			left := n - int(r.TestShare*float64(n))
			if r.Batch < 2 || r.Batch > left || r.Epochs < 1 || r.Warmup >= r.Steps || r.ImageSize%r.PatchSize != 0 || r.Width%32 != 0 || r.TextWidth%32 != 0 || r.Context > 77 {
				t.Errorf("%d pictures: %+v", n, r)
			}
		}
	}
}

func TestTextsOfYAMLReadBackAsTheyAre(t *testing.T) {
	for _, text := range []string{"alt", "file name", "a: b", "true", "null", "1e5", "x, y", "#no", "-", "a\"b", "é", "~", "a]b", "{}"} {
		var back map[string][]any
		if err := yaml.Unmarshal([]byte("v: ["+scalar(text)+"]"), &back); err != nil || len(back["v"]) != 1 || back["v"][0] != any(text) {
			t.Errorf("%q is written as %s: %v %v", text, scalar(text), back, err)
		}
	}
}
