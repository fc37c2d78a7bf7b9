package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

const table = `"Food Code; code","Food Name; name","Scientific Name; scie","Local Name; lang","Food Group; grup","Energy; enerc"
A001,"Amaranth seed, black","Amaranthus cruentus","H. Ramdana; Tam. Keerai vidai","Cereals and Millets",1490
A003,Bajra,"Pennisetum typhoideum","A., Kash. Baajra; E. Pearl millet, Spiked millet; [Place of collection: Goa]","Cereals and Millets",1456
E041,"Mango, ripe, paheri","Mangifera indica","H. Aam (paka)",Fruits,200
E042,"Mango, ripe, totapari","Mangifera indica","",Fruits,210
O053,"Pork, liver","","","Animal Meat",500
Q001,Crab,"Menippe mercenaria","E. Florida stone crab","Marine Shellfish",300
`

// foodRoot writes the table with photographs: those of the two mangoes are one file, and so are those of pork and crab.
// change may take files away.
func foodRoot(t *testing.T, change func(files map[string][]byte)) string {
	t.Helper()
	photo := func(v uint8) []byte {
		img := image.NewGray(image.Rect(0, 0, 16, 9))
		for i := range img.Pix {
			img.Pix[i] = v + uint8(i%7)
		}
		img.Set(3, 3, color.White)
		var out bytes.Buffer
		if err := jpeg.Encode(&out, img, nil); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	files := map[string][]byte{"compositions/index.csv": []byte(table)}
	for code, v := range map[string]uint8{"A001": 10, "A003": 40, "E041": 80, "E042": 80, "O053": 120, "Q001": 120} {
		files["pictures/assets/"+code+".jpeg"] = photo(v)
	}
	if change != nil {
		change(files)
	}
	root := t.TempDir()
	for name, data := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func configure(with map[string]any) (*clip.Batch, clip.DatasetInfo, error) {
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 2})
	if err != nil {
		return nil, info, err
	}
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices})
	return b, info, err
}

func TestPromises(t *testing.T) {
	with, _ := json.Marshal(map[string]any{"root": foodRoot(t, nil), "languages": []string{"en", "hi", "scientific"}, "same_image": "separate"})
	conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: string(with)})
}

func TestFoodsOfOnePhotographAreOneSample(t *testing.T) {
	b, info, err := configure(map[string]any{"root": foodRoot(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A001", "A003", "E041", "O053"}; !slices.Equal(b.Keys, want) {
		t.Fatalf("keys %q, want %q", b.Keys, want)
	}
	for i, want := range [][]string{{"black amaranth seed"}, {"bajra", "Pearl millet", "Spiked millet"}, {"paheri ripe mango", "totapari ripe mango"},
		{"liver pork", "crab", "Florida stone crab"}} {
		if !slices.Equal(b.All[i], want) {
			t.Errorf("captions %q, want %q", b.All[i], want)
		}
	}
	groups, kinds := info.Targets[0].Classes, info.Targets[1].Classes
	if want := []string{"cereals and millets", "fruits", "animal meat", "marine shellfish"}; !slices.Equal(groups, want) {
		t.Errorf("groups %q", groups)
	}
	if l := b.Labels["group"]; !slices.Equal(l, []int32{0, 0, 1, -1}) { // the last is of two groups
		t.Errorf("group labels %v", l)
	}
	if l := b.Labels["kind"]; kinds[l[2]] != "mango" || l[3] != -1 {
		t.Errorf("kind labels %v of %q", l, kinds)
	}
}

func TestFoodsOfOnePhotographArePositivesOfOneAnother(t *testing.T) {
	b, info, err := configure(map[string]any{"root": foodRoot(t, nil), "same_image": "separate"})
	if err != nil || info.Len != 6 {
		t.Fatalf("%d samples, %v", info.Len, err)
	}
	if g := b.Groups; g[2] != g[3] || g[4] != g[5] || g[2] == g[4] || g[0] == g[1] {
		t.Errorf("groups %v", g)
	}
}

func TestLanguagesAreChosen(t *testing.T) {
	root := foodRoot(t, nil)
	b, info, err := configure(map[string]any{"root": root, "languages": []string{"as", "ks", "scientific"}})
	if err != nil || !slices.Equal(b.All[1], []string{"Baajra", "Pennisetum typhoideum"}) {
		t.Errorf("%q, %v", b.All, err)
	}
	if _, info, err = configure(map[string]any{"root": root, "languages": []string{"ta"}}); err != nil || info.Len != 1 || !strings.Contains(info.Note, "3 without a name") {
		t.Errorf("Tamil: %d samples, %q, %v", info.Len, info.Note, err)
	}
	if _, _, err = configure(map[string]any{"root": root, "languages": []string{"fr"}}); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "scientific") {
		t.Errorf("French: %v", err)
	}
}

func TestMissingPhotographsAreCounted(t *testing.T) {
	root := foodRoot(t, func(f map[string][]byte) { delete(f, "pictures/assets/A001.jpeg") })
	_, info, err := configure(map[string]any{"root": root})
	if err != nil || info.Len != 3 || len(info.Skips) != 1 || info.Skips[0].Reason != "missing picture" {
		t.Errorf("%d samples, %+v, %v", info.Len, info.Skips, err)
	}
	if _, _, err = configure(map[string]any{"root": root, "on_error": "fail"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("on_error: fail: %v", err)
	}
}

func TestAbsentAndBrokenPackagesSayHowToGetThem(t *testing.T) {
	for name, root := range map[string]string{
		"nothing":    t.TempDir(),
		"no column":  foodRoot(t, func(f map[string][]byte) { f["compositions/index.csv"] = []byte("code,name\n") }),
		"no picture": foodRoot(t, func(f map[string][]byte) { withoutPhotographs(f) }),
	} {
		if _, _, err := configure(map[string]any{"root": root}); !strings.Contains(fault.Format(err), "runner data get ifct") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func withoutPhotographs(f map[string][]byte) {
	for name := range f {
		if strings.HasSuffix(name, ".jpeg") {
			delete(f, name)
		}
	}
}

// The whole set is tried where TANDEM_IFCT_ROOT names what data get ifct fetched.
func TestTheWholeSet(t *testing.T) {
	root := os.Getenv("TANDEM_IFCT_ROOT")
	if root == "" {
		t.Skip("TANDEM_IFCT_ROOT is not set")
	}
	b, info, err := configure(map[string]any{"root": root, "on_error": "fail"})
	if err != nil || info.Len < 440 || len(info.Targets[0].Classes) != 20 {
		t.Fatalf("%d photographs, %v", info.Len, err)
	}
	none := 0
	for _, l := range b.Labels["group"] {
		if l < 0 {
			none++
		}
	}
	t.Log(info.Note, fmt.Sprintf("%d of several groups, %d kinds", none, len(info.Targets[1].Classes)))
}
