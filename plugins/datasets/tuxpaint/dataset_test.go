package main

import (
	"bytes"
	"context"
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

// picture returns a PNG: a photograph has a colour of its own at every pixel, a drawing one colour on white.
func picture(t *testing.T, w, h int, photograph bool) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			switch {
			case x == 0 || y == 0: // transparent
			case photograph:
				img.Set(x, y, color.NRGBA{uint8(x * 7), uint8(y * 5), uint8(x*h + y), 255})
			default:
				img.Set(x, y, color.NRGBA{200, 30, 40, 255})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// stampsRoot writes stamps of a few animals and tools.
func stampsRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	put := func(name string, data []byte) {
		file := filepath.Join(root, "stamps", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, caption := range map[string]string{
		"animals/birds/heron.png":        "A great blue heron.\nde.utf8=Ein Kanadareiher.\nja.utf8=オオアオサギ\n",
		"animals/birds/lark.png":         "A lark.\nde.utf8=Eine Lerche.\n",
		"animals/cartoon/cat.png":        "A cat.\n",
		"household/tools/hammer.png":     "A hammer.\nfr.utf8=Un marteau.\n",
		"household/tools/hammer-2.png":   "A hammer!\n",
		"symbols/alphabets/A_filled.png": "\nde.utf8=Das A\n",
	} {
		put(name, picture(t, 12, 9, strings.HasPrefix(name, "animals/birds")))
		put(strings.TrimSuffix(name, ".png")+".txt", []byte(caption))
	}
	put("household/tools/hammer_mirror.png", picture(t, 4, 4, false))
	put("household/tools/nail.png", picture(t, 4, 4, false)) // has no caption
	put("household/tools/saw.svg", []byte("<svg/>"))
	put("household/tools/saw.txt", []byte("A saw.\n"))
	put("household/tools/latin.png", picture(t, 4, 4, false))
	put("household/tools/latin.txt", []byte("caf\xe9"))
	return root
}

func opened(t *testing.T, with map[string]any) (clip.Dataset, clip.DatasetInfo) {
	t.Helper()
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 2})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return d, info
}

func everything(t *testing.T, d clip.Dataset, info clip.DatasetInfo, train bool) *clip.Batch {
	t.Helper()
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: indices, Train: train})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPromises(t *testing.T) {
	root := stampsRoot(t)
	for _, with := range []map[string]any{{"root": root}, {"root": root, "languages": []string{"all"}, "name_share": .5, "shrink": 64}} {
		raw, _ := json.Marshal(with)
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: string(raw)})
	}
}

func TestStampsHaveCaptionsAndFolders(t *testing.T) {
	d, info := opened(t, map[string]any{"root": stampsRoot(t)})
	b := everything(t, d, info, false)
	want := []string{"animals/birds/heron.png", "animals/birds/lark.png", "animals/cartoon/cat.png", "household/tools/hammer-2.png", "household/tools/hammer.png"}
	if !slices.Equal(b.Keys, want) {
		t.Fatalf("keys %q, want %q", b.Keys, want)
	}
	if b.All[0][0] != "A great blue heron." || b.Groups[3] != b.Groups[4] || b.Groups[0] == b.Groups[1] {
		t.Errorf("captions %q, groups %v", b.All, b.Groups)
	}
	class := func(target string, i int) string {
		for _, x := range info.Targets {
			if id := b.Labels[target][i]; x.Name == target && id >= 0 {
				return x.Classes[id]
			}
		}
		return ""
	}
	for i, want := range [][2]string{{"animals", "birds"}, {"animals", "birds"}, {"animals", ""}, {"household", "tools"}} {
		if class("folder", i) != want[0] || class("subfolder", i) != want[1] {
			t.Errorf("%s is in %q, %q", b.Keys[i], class("folder", i), class("subfolder", i))
		}
	}
	if len(info.Skips) != 1 || info.Skips[0].Reason != "not UTF-8" || info.Skipped != 1 {
		t.Errorf("skips %+v", info.Skips)
	}
	for _, part := range []string{"1 without a caption in the languages", "1 SVG drawings", "1 pictures without captions"} {
		if !strings.Contains(info.Note, part) {
			t.Errorf("%q is not in the note %q", part, info.Note)
		}
	}
}

func TestLanguagesAreChosen(t *testing.T) {
	root := stampsRoot(t)
	for _, c := range []struct {
		languages []string
		want      []string
	}{
		{[]string{"de"}, []string{"Ein Kanadareiher.", "Eine Lerche.", "Das A"}},
		{[]string{"de", "fr"}, []string{"Ein Kanadareiher.", "Eine Lerche.", "Un marteau.", "Das A"}},
	} {
		d, info := opened(t, map[string]any{"root": root, "languages": c.languages})
		var got []string
		for _, all := range everything(t, d, info, false).All {
			got = append(got, all...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.languages, got, c.want)
		}
	}
	raw, _ := json.Marshal(map[string]any{"root": root, "languages": []string{"de", "dee"}})
	if _, err := Plugin.New().Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 2}); err == nil || !strings.Contains(fault.Format(err), `with.languages: no stamp has a caption in the language "dee"`) {
		t.Errorf("an unknown language: %v", err)
	}
	d, info := opened(t, map[string]any{"root": root, "languages": []string{"all"}})
	if b := everything(t, d, info, false); len(b.All[0]) != 3 {
		t.Errorf("all languages: %q", b.All[0])
	}
}

func TestKindsAreToldApartByColours(t *testing.T) {
	root := stampsRoot(t)
	for kind, n := range map[string]int{"photograph": 2, "drawing": 3} {
		d, info := opened(t, map[string]any{"root": root, "kind": kind})
		if b := everything(t, d, info, false); len(b.Keys) != n || strings.Contains(b.Keys[0], "birds") != (kind == "photograph") {
			t.Errorf("%s: %q", kind, b.Keys)
		}
	}
}

func TestSplitsKeepStampsOfOneThingTogether(t *testing.T) {
	root := stampsRoot(t)
	for seed := range 8 {
		seen := map[string]string{}
		total := 0
		for _, split := range []string{"train", "test"} {
			raw, _ := json.Marshal(map[string]any{"root": root, "split": split, "test_fraction": .5, "split_seed": seed})
			d := Plugin.New()
			info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 1})
			if err != nil {
				continue // one side may be empty
			}
			b := everything(t, d, info, false)
			total += len(b.Keys)
			for i := range b.Keys {
				stem := strings.Trim(b.All[i][0], ".!")
				if other, ok := seen[stem]; ok && other != split {
					t.Errorf("seed %d: %s is in both splits", seed, stem)
				}
				seen[stem] = split
			}
		}
		if total != 5 && total != 0 && len(seen) == 4 {
			t.Errorf("seed %d: %d stamps in both splits", seed, total)
		}
	}
}

func TestNamesAreCaptionsWhereAsked(t *testing.T) {
	d, info := opened(t, map[string]any{"root": stampsRoot(t), "name_share": 1})
	b := everything(t, d, info, true)
	if b.Captions[0] != "birds heron" || b.Captions[2] != "animals cat" {
		t.Errorf("captions %q", b.Captions)
	}
}

func TestFoldersAreCaptionsWhereAsked(t *testing.T) {
	d, info := opened(t, map[string]any{"root": stampsRoot(t), "folder_share": 1})
	b := everything(t, d, info, true)
	if c := b.Captions; c[0] != "animals" && c[0] != "birds" || c[2] != "animals" {
		t.Errorf("captions %q", c)
	}
}

func TestAbsentStampsSayHowToGetThem(t *testing.T) {
	raw, _ := json.Marshal(map[string]any{"root": t.TempDir()})
	_, err := Plugin.New().Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 1})
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "apt-get install tuxpaint-stamps-default") {
		t.Errorf("error %v", fault.Format(err))
	}
}

// The whole set is tried where Debian's package is installed.
func TestTheWholeSet(t *testing.T) {
	if _, err := os.Stat(defaultRoot + "/stamps"); err != nil {
		t.Skip("tuxpaint-stamps-default is not installed")
	}
	_, all := opened(t, map[string]any{})
	_, photographs := opened(t, map[string]any{"kind": "photograph"})
	if all.Len < 700 || photographs.Len < 350 || photographs.Len > all.Len-350 {
		t.Errorf("%d stamps, %d photographs", all.Len, photographs.Len)
	}
	_, german := opened(t, map[string]any{"languages": []string{"de"}})
	if german.Len < 500 {
		t.Errorf("%d stamps with German captions", german.Len)
	}
	t.Logf("%s; %d photographs, %d German", all.Note, photographs.Len, german.Len)
}
