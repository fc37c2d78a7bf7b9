package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// svg returns a drawing with metadata as the archive has it.
func svg(title, creator, language string, keywords ...string) string {
	items := ""
	for _, k := range keywords {
		items += "<rdf:li>" + k + "</rdf:li>"
	}
	return fmt.Sprintf(`<?xml version="1.0"?><svg><metadata><rdf:RDF><cc:Work rdf:about=""><dc:title>%s</dc:title>
<dc:description>drawn &amp;amp; shaded</dc:description><dc:subject><rdf:Bag>%s</rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>%s</dc:title></cc:Agent></dc:creator><dc:language>%s</dc:language></cc:Work></rdf:RDF></metadata><path/></svg>`,
		title, items, creator, language)
}

// library writes a small library: its drawings by path, "" for the metadata leaves the element out.
func library(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	put := func(name string, data []byte) {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	draw := func(path, text string) {
		n++
		img := image.NewNRGBA(image.Rect(0, 0, 12, 6))
		for x := range 12 {
			img.Set(x, n%6, color.NRGBA{uint8(20 * n), uint8(10 * x), 50, 255})
		}
		var out bytes.Buffer
		if err := png.Encode(&out, img); err != nil {
			t.Fatal(err)
		}
		put("png/"+path+".png", out.Bytes())
		put("svg/"+path+".svg", []byte(text))
	}
	draw("animals/birds/seagull_nicu_buculei_01", svg("Clipart by Nicu Buculei - sea_gull", "Nicu Buculei", "en", "bird", "hash(0x8a3ecd4)", "", "Nicu Buculei"))
	draw("animals/mammals/dog_01", svg("Dog", "", "en", "animal", "pet"))
	draw("animals/mammals/dog_red_02", svg("Red Dog 2", "", "en"))
	draw("animals/scorpion-md-v0.1", "<svg/>")
	draw("animals/lucchetto_ottone_archite_01", svg("Lucchetto ottone", "Architetto Francesco Rollandini", "en"))
	draw("food/kaas", svg("Kaas", "", "NL"))
	draw("food/00", svg("12", "", "en"))
	draw("unsorted/thing", svg("Thing", "", "en"))
	draw("shapes/stars/star_44pt09step", svg("gramastar", "codifiedivining", "en"))
	for i := range crowd {
		draw(fmt.Sprintf("computer/icons/theme/%s-icon", []string{"alarm", "mail", "phone", "printer", "search", "folder"}[i]), svg("Part of the Icon Theme", "A. Artist", "en"))
	}
	draw("computer/broken", "<svg><rdf:RDF><cc:Work></svg>")
	put("svg/food/lost.svg", []byte(svg("Lost", "", "en"))) // has no picture
	if err := os.Symlink("../mammals/dog_01.png", filepath.Join(root, "png/animals/birds/dog_01.png")); err != nil {
		t.Fatal(err)
	}
	put("svg/animals/birds/dog_01.svg", []byte(svg("Dog", "", "en")))
	return root
}

func opened(t *testing.T, with map[string]any) (*clip.Batch, clip.DatasetInfo, clip.Dataset) {
	t.Helper()
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 2})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return batch(t, d, info, clip.BatchRequest{}), info, d
}

func batch(t *testing.T, d clip.Dataset, info clip.DatasetInfo, r clip.BatchRequest) *clip.Batch {
	t.Helper()
	r.Indices = make([]int, info.Len)
	for i := range r.Indices {
		r.Indices[i] = i
	}
	b, err := d.Batch(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPromises(t *testing.T) {
	root := library(t)
	for _, with := range []map[string]any{{"root": root}, {"root": root, "captions": "both", "shrink": 64}} {
		raw, _ := json.Marshal(with)
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: string(raw)})
	}
}

func TestDrawingsAreNamedByTitleOrFile(t *testing.T) {
	b, info, _ := opened(t, map[string]any{"root": library(t), "captions": "both"})
	got := map[string]string{}
	for i, key := range b.Keys {
		got[key] = b.All[i][0]
	}
	for key, want := range map[string]string{
		"animals/birds/seagull_nicu_buculei_01": "sea gull, bird, animals, birds",
		"animals/mammals/dog_01":                "dog, animal, pet, animals, mammals",
		"animals/scorpion-md-v0.1":              "scorpion, animals",
		"computer/icons/theme/mail-icon":        "mail icon, computer, icons, theme", // a title of so many is a collection's
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	if !strings.Contains(info.Note, "left out by rule: 1 duplicate, 1 generated, 2 foreign, 1 unsorted, 1 nameless") {
		t.Errorf("note %q", info.Note)
	}
	if want := []clip.Skip{{Reason: "missing picture", Count: 1, First: "no picture of svg/food/lost.svg"}, {Reason: "corrupt record", Count: 1}}; len(info.Skips) != 2 ||
		info.Skips[0] != want[0] || info.Skips[1].Reason != want[1].Reason {
		t.Errorf("skips %+v, want %+v", info.Skips, want)
	}
}

func TestFileNamesLoseAuthorAndNumber(t *testing.T) {
	for _, c := range [][3]string{
		{"animals/armadillo_architetto_fra_01.svg", "Architetto Francesco Rollandini", "armadillo"},
		{"a/people_juliane_krug_02b.svg", "Juliane Krug", "people juliane krug 02b"},
		{"a/southen_cross_01.svg", "Someone", "southen cross"},
		{"a/trumpet_harmon_mute__ganson.svg", "Ganson", "trumpet harmon mute ganson"},
		{"food/steak-v0.1.svg", "", "steak"},
		{"a/tabNew_bg.svg", "", "tab new bg"},
	} {
		if got := fileName(c[0], c[1]); got != c[2] {
			t.Errorf("%s of %s: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestEachRuleCanBeTurnedOff(t *testing.T) {
	root := library(t)
	_, all, _ := opened(t, map[string]any{"root": root})
	for rule, more := range map[string]int{ruleDuplicate: 1, ruleGenerated: 1, ruleForeign: 2, ruleUnsorted: 1, ruleNameless: 0, ruleBlank: 0} {
		rules := slices.DeleteFunc(slices.Clone(ruleNames), func(r string) bool { return r == rule })
		if _, info, _ := opened(t, map[string]any{"root": root, "rules": rules}); info.Len != all.Len+more {
			t.Errorf("without %s: %d drawings, want %d and %d", rule, info.Len, all.Len, more)
		}
	}
}

func TestFoldersAreClasses(t *testing.T) {
	b, info, _ := opened(t, map[string]any{"root": library(t)})
	at := slices.Index(b.Keys, "animals/mammals/dog_01")
	if f, s := info.Targets[0], info.Targets[1]; f.Classes[b.Labels["folder"][at]] != "animals" || s.Classes[b.Labels["subfolder"][at]] != "mammals" {
		t.Errorf("%v, %v", f, s)
	}
	if at := slices.Index(b.Keys, "animals/scorpion-md-v0.1"); b.Labels["subfolder"][at] != -1 {
		t.Error("a drawing in a first folder has a subfolder")
	}
}

// Drawings of one name are never divided, whatever the seed.
func TestSplitsKeepDrawingsOfOneThingTogether(t *testing.T) {
	root := library(t)
	sides := map[string]bool{}
	for seed := range 12 {
		for _, split := range []string{"train", "test"} {
			b, _, _ := opened(t, map[string]any{"root": root, "split": split, "test_fraction": .5, "split_seed": seed})
			dog, red := slices.Contains(b.Keys, "animals/mammals/dog_01"), slices.Contains(b.Keys, "animals/mammals/dog_red_02")
			if dog != red {
				t.Errorf("seed %d, %s: one dog without the other in %q", seed, split, b.Keys)
			}
			if dog {
				sides[split] = true
			}
		}
	}
	// Nor does a rule that is turned off bring a picture of one side to the other.
	all := []string{}
	train, _, _ := opened(t, map[string]any{"root": root, "split": "train", "test_fraction": .5, "rules": all})
	test, _, _ := opened(t, map[string]any{"root": root, "split": "test", "test_fraction": .5})
	for _, key := range test.Keys {
		if slices.Contains(train.Keys, key) || strings.Contains(key, "dog") && slices.Contains(train.Keys, "animals/birds/dog_01") {
			t.Errorf("%s or a link to it is in both splits", key)
		}
	}
	if len(sides) != 2 {
		t.Errorf("the dogs are always in %v", sides)
	}
}

func TestCaptionsAreDrawnOfTitleAndKeywords(t *testing.T) {
	root := library(t)
	for captions, ok := range map[string]func(string) bool{
		"title":    func(c string) bool { return c == "clip art of dog" },
		"keywords": func(c string) bool { return !strings.Contains(c, "dog") && c != "" },
		"both":     func(c string) bool { return strings.HasPrefix(c, "dog, ") },
	} {
		_, info, d := opened(t, map[string]any{"root": root, "captions": captions, "templates": []string{"clip art of {}"}})
		seen := map[string]bool{}
		for epoch := range 8 {
			b := batch(t, d, info, clip.BatchRequest{Train: true, Epoch: epoch})
			c := b.Captions[slices.Index(b.Keys, "animals/mammals/dog_01")]
			if seen[c] = true; !ok(c) {
				t.Errorf("%s: %q", captions, c)
			}
		}
		if captions != "title" && len(seen) < 3 {
			t.Errorf("%s: only %v in 8 epochs", captions, seen)
		}
	}
}

func TestFoldersAreCaptionsWhereAsked(t *testing.T) {
	_, info, d := opened(t, map[string]any{"root": library(t), "folder_share": 1, "templates": []string{"a {}"}})
	b := batch(t, d, info, clip.BatchRequest{Train: true})
	if c := b.Captions[slices.Index(b.Keys, "animals/mammals/dog_01")]; c != "a animals" && c != "a mammals" {
		t.Errorf("%q", c)
	}
}

func TestMetadataIsOfTheDrawingAlone(t *testing.T) {
	m, err := parseMetadata([]byte(svg("A &quot;bat&quot;", "Someone", "en", "bat")))
	if err != nil || m.title != `A "bat"` || m.creator != "Someone" || m.description != "drawn & shaded" || !slices.Equal(m.keywords, []string{"bat"}) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAbsentDrawingsSayHowToGetThem(t *testing.T) {
	raw, _ := json.Marshal(map[string]any{"root": t.TempDir()})
	_, err := Plugin.New().Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 1})
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "apt-get install openclipart-png openclipart-svg") {
		t.Errorf("error %v", fault.Format(err))
	}
}

// The whole library is tried where Debian's packages are installed.
func TestTheWholeLibrary(t *testing.T) {
	if _, err := os.Stat(defaultRoot + "/svg"); err != nil {
		t.Skip("openclipart-svg is not installed")
	}
	raw, _ := json.Marshal(map[string]any{"captions": "both"})
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 2})
	if err != nil || info.Len < 4000 || info.Skipped > 10 {
		t.Fatalf("%+v, %v", info, err)
	}
	t.Log(info.Note, info.Skips)
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices, NoImages: true})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for i, l := range b.Labels["folder"] {
		if l >= 0 {
			counts[info.Targets[0].Classes[l]]++
		}
		if i%120 == 0 {
			t.Log(b.Keys[i], "|", b.All[i][0])
		}
	}
	t.Log(counts)
}
