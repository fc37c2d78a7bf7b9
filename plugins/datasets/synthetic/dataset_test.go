package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

func configure(t testing.TB, with string, size int) (clip.Dataset, clip.DatasetInfo) {
	t.Helper()
	d := Plugin.New()
	info, err := d.Configure(t.Context(), clip.DatasetConfig{With: json.RawMessage(with), ImageSize: size, Threads: 2})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	t.Cleanup(func() { d.Close() })
	return d, info
}

// all returns every sample of a set.
func all(t testing.TB, with string, size int, negatives bool) (*clip.Batch, clip.DatasetInfo) {
	t.Helper()
	d, info := configure(t, with, size)
	indices := make([]int, info.Len)
	for i := range indices {
		indices[i] = i
	}
	b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: indices, Negatives: negatives})
	if err != nil {
		t.Fatal(err)
	}
	return b, info
}

func TestPromises(t *testing.T) {
	for _, with := range []string{`{"samples": 120, "negatives": 3}`, `{"samples": 200, "holdout": "combinations", "noise": 0.05}`} {
		conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: with})
	}
}

// The pixels show what the captions say: the colours of both kinds, each in its half.
func TestPicturesShowWhatCaptionsSay(t *testing.T) {
	const side = 48
	b, _ := all(t, `{"samples": 300, "groups": [2]}`, side, false)
	halves := map[string]func(x, y int) bool{
		"left of": func(x, _ int) bool { return x < side/2 }, "right of": func(x, _ int) bool { return x >= side/2 },
		"above": func(_, y int) bool { return y < side/2 }, "below": func(_, y int) bool { return y >= side/2 },
	}
	for i, caption := range b.Captions {
		var first, second, relation string
		for r := range halves {
			if a, z, ok := strings.Cut(caption, " "+r+" "); ok {
				first, second, relation = a, z, r
			}
		}
		pix := b.Images.U8()[3*side*side*i:]
		for name, colour := range palette {
			var in, out int
			for at := range side * side {
				if p := pix[3*at : 3*at+3]; float64(p[0]) == colour[0] && float64(p[1]) == colour[1] && float64(p[2]) == colour[2] {
					if halves[relation](at%side, at/side) {
						in++
					} else {
						out++
					}
				}
			}
			if said := strings.Contains(first, name); said != (in > 0) {
				t.Errorf("%s: %d pixels of %s where the first kind is", caption, in, name)
			}
			if said := strings.Contains(second, name); said != (out > 0) {
				t.Errorf("%s: %d pixels of %s where the second kind is", caption, out, name)
			}
		}
	}
}

// The statement of the second kind is as true as that of the first, and both are captions.
func TestScenesOfTwoKindsHaveTwoCaptions(t *testing.T) {
	w := newWorld(Defaults)
	s := scene{two: true, kinds: [2]kind{{colour: 0, shape: 0, size: 0, count: 2}, {colour: 2, shape: 1, size: 1, count: 1}}}
	if got := w.captions(s); !slices.Equal(got, []string{"two small red circles left of a large blue square", "a large blue square right of two small red circles"}) {
		t.Errorf("%q", got)
	}
	s.two = false
	s.kinds[0] = kind{colour: 5, shape: 3, size: 0, count: 1}
	w.Sizes = []string{"large"}
	if got := w.captions(s); !slices.Equal(got, []string{"an orange cross"}) {
		t.Errorf("%q", got)
	}
}

// Held-out combinations are in no scene of training and in every one of the test; their colours and shapes are in training.
func TestHeldOutCombinationsAreNewAndTheirPartsAreNot(t *testing.T) {
	const with = `{"samples": 3000, "holdout": "combinations", "test_fraction": 0.25, "split": "%s"}`
	objects := map[string]map[string]bool{}
	seen := map[string]map[string]bool{}
	for _, split := range []string{"train", "test"} {
		b, _ := all(t, fmt.Sprintf(with, split), 8, false)
		objects[split], seen[split] = map[string]bool{}, map[string]bool{}
		for _, c := range b.Captions {
			words := strings.Fields(c)
			for i, word := range words {
				if word = strings.TrimSuffix(strings.TrimSuffix(word, "s"), "e"); word == "cros" || word == "cross" {
					word = "cross"
				}
				if slices.Contains(Defaults.Colours, words[max(0, i-1)]) {
					objects[split][words[i-1]+" "+word], seen[split][words[i-1]], seen[split][word] = true, true, true
				}
			}
		}
	}
	held := newWorld(Config{Colours: Defaults.Colours, Shapes: Defaults.Shapes, Holdout: "combinations", TestFraction: .25}).held
	if len(held) < 4 || len(seen["train"]) != len(Defaults.Colours)+len(Defaults.Shapes) {
		t.Fatalf("%d held out, training knows %v", len(held), seen["train"])
	}
	for pair := range held {
		name := Defaults.Colours[pair[0]] + " " + strings.TrimSuffix(Defaults.Shapes[pair[1]], "e")
		if pair[1] != 3 && (objects["train"][name] || !objects["test"][name]) {
			t.Errorf("%s: in training %v, in the test %v", name, objects["train"][name], objects["test"][name])
		}
	}
}

func TestNegativesAreWrong(t *testing.T) {
	b, info := all(t, `{"samples": 400, "negatives": 6}`, 8, true)
	if info.Negatives != 6 {
		t.Fatalf("%d negatives", info.Negatives)
	}
	for i, list := range b.Negatives {
		if len(list) != 6 {
			t.Fatalf("%q", list)
		}
		for _, n := range list {
			if slices.Contains(b.All[i], n) {
				t.Errorf("%q is right of %q", n, b.All[i])
			}
		}
	}
	w := newWorld(Defaults)
	w.NegativeRules = []string{"colour", "relation"}
	s := scene{two: true, kinds: [2]kind{{colour: 0, shape: 0, count: 1}, {colour: 2, shape: 1, count: 1}}}
	if got := w.negatives(s); !slices.Equal(got, []string{"a small blue circle left of a small red square", "a small blue square left of a small red circle"}) {
		t.Errorf("%q", got)
	}
}

// With few captions what they say is a class, whichever way it is said; scenes that show the same are positives of each other.
func TestCaptionsAreClassesWhereTheyAreFew(t *testing.T) {
	b, info := all(t, `{"samples": 300, "groups": [2], "shapes": ["circle", "square"], "colours": ["red", "blue"], "sizes": ["large"], "max_count": 1}`, 8, false)
	last := info.Targets[len(info.Targets)-1]
	if last.Name != "caption" || len(last.Classes) != 8 {
		t.Fatalf("%s of %d classes", last.Name, len(last.Classes))
	}
	groups := map[string]int64{}
	for i := range b.Captions {
		c := last.Classes[b.Labels["caption"][i]]
		if !slices.Contains(b.All[i], c) || !strings.HasPrefix(c, "a blue") {
			t.Errorf("%q have the class %q", b.All[i], c)
		}
		if g, ok := groups[c]; ok && g != b.Groups[i] {
			t.Errorf("%q has the groups %d and %d", c, g, b.Groups[i])
		}
		groups[c] = b.Groups[i]
	}
	if _, info := all(t, `{"samples": 9000, "groups": [2]}`, 1, false); len(info.Targets) != 6 {
		t.Error("thousands of captions are classes")
	}
}

func TestImpossibleSettingsAreRefused(t *testing.T) {
	for with, path := range map[string]string{
		`"colours": ["red"]`: "with.colours", `"shapes": ["circle", "circle"]`: "with.shapes", `"groups": []`: "with.groups",
		`"split": "test", "test_fraction": 1`: "with.test_fraction", `"sizes": []`: "with.sizes",
	} {
		_, err := Plugin.New().Configure(t.Context(), clip.DatasetConfig{With: json.RawMessage(`{` + with + `}`), ImageSize: 8, Threads: 1})
		if f, ok := err.(*fault.Error); !ok || f.Path != path {
			t.Errorf("%s: %v", with, err)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{32, 224} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, _ := configure(b, `{"samples": 10000}`, size)
			indices := make([]int, 256)
			for i := range indices {
				indices[i] = i
			}
			for b.Loop() {
				if _, err := d.Batch(b.Context(), clip.BatchRequest{Indices: indices, Train: true}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
