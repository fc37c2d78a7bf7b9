package infer

import (
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// trained makes a run of one step.
func trained(t *testing.T) (lab.Lab, string) {
	t.Helper()
	l := labtest.New(t)
	out, err := run.Start(t.Context(), l, labtest.Spec(t, l, "train.max_steps=1"), nil, run.Quiet{})
	labtest.Must(t, err)
	return l, out.ID
}

// painted writes a picture of one colour and returns its path.
func painted(t *testing.T, dir, name string, c color.RGBA) string {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		m.SetRGBA(i%8, i/8, c)
	}
	path := filepath.Join(dir, name)
	f, err := os.Create(path)
	labtest.Must(t, err)
	labtest.Must(t, png.Encode(f, m))
	labtest.Must(t, f.Close())
	return path
}

// listener keeps warnings.
type listener struct {
	run.Quiet
	events []string
}

func (l *listener) Event(_, message string) { l.events = append(l.events, message) }

func TestClassifyRanksTheLabels(t *testing.T) {
	l, id := trained(t)
	dir, w := t.TempDir(), &listener{}
	red, blue := painted(t, dir, "red.png", color.RGBA{255, 0, 0, 255}), painted(t, dir, "blue.png", color.RGBA{0, 0, 255, 255})
	found, err := Classify(t.Context(), l, id, []string{red, blue}, []string{"even", "odd", " EVEN"}, nil, false, w)
	labtest.Must(t, err)
	if len(found) != 2 || found[0].Image != red || len(found[0].Guesses) != 3 {
		t.Fatalf("%+v", found)
	}
	sum := 0.0
	for i, g := range found[0].Guesses {
		sum += g.Probability
		if i > 0 && g.Cosine > found[0].Guesses[i-1].Cosine {
			t.Errorf("not ranked: %+v", found[0].Guesses)
		}
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("the probabilities sum to %g", sum)
	}
	if len(w.events) != 1 || !strings.Contains(w.events[0], `labels: classes have the same name`) {
		t.Errorf("told %q", w.events)
	}
	if found[0].Guesses[0].Cosine == found[1].Guesses[0].Cosine {
		t.Error("red and blue look the same")
	}
}

func TestClassifyTellsOfPromptsThatAreCut(t *testing.T) {
	l, id := trained(t)
	w := &listener{}
	file := painted(t, t.TempDir(), "p.png", color.RGBA{1, 2, 3, 255})
	_, err := Classify(t.Context(), l, id, []string{file}, []string{"even", "odd"}, []string{"a very very very long prompt of {}"}, false, w)
	labtest.Must(t, err)
	if len(w.events) != 1 || !strings.Contains(w.events[0], "2 of 2 prompts (100 %) are longer than the context of 6 tokens") {
		t.Errorf("told %q", w.events)
	}
}

func TestAFileThatIsNoPictureIsRefused(t *testing.T) {
	l := labtest.New(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text.png")
	labtest.Must(t, os.WriteFile(text, []byte("no picture"), 0o644))
	if _, err := Classify(t.Context(), l, "any", []string{text}, []string{"a", "b"}, nil, false, run.Quiet{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), text) {
		t.Errorf("a text: %v", err)
	}
	if _, err := Classify(t.Context(), l, "any", []string{filepath.Join(dir, "none.png")}, []string{"a", "b"}, nil, false, run.Quiet{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file: %v", err)
	}
}

func TestEmbedWritesWhatItEmbedded(t *testing.T) {
	l, id := trained(t)
	dir, w := t.TempDir(), &listener{}
	good := painted(t, dir, "a.png", color.RGBA{255, 0, 0, 255})
	bad := filepath.Join(dir, "b.png")
	labtest.Must(t, os.WriteFile(bad, []byte("no picture"), 0o644))
	e := Embedding{Run: id, Images: []string{good, bad}, Texts: []string{"dot 1", "one two three four five six"}, Remarks: []string{"a remark"}}
	out := filepath.Join(dir, "out.safetensors")
	_, err := Embed(t.Context(), l, e, out, w)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "--skip-unreadable leaves such pictures out") {
		t.Errorf("with a picture that cannot be read: %v", err)
	}
	e.SkipUnreadable = true
	w.events = nil
	done, err := Embed(t.Context(), l, e, out, w)
	labtest.Must(t, err)
	if done.Images != 1 || done.LeftOut != 1 || done.Texts != 2 || done.TextsCut != 1 || done.EmbedDim != 4 || math.Abs(done.LogitScale-10) > 1e-5 {
		t.Errorf("%+v", done)
	}
	if all := strings.Join(w.events, "\n"); !strings.Contains(all, "a remark") || !strings.Contains(all, "1 of 2 pictures") || !strings.Contains(all, "the longest has 8") {
		t.Errorf("told %q", w.events)
	}
	f, err := weights.Open(out)
	labtest.Must(t, err)
	defer f.Close()
	if f.Metadata()["images"] != `["`+good+`"]` || f.Metadata()["normalized"] != "true" {
		t.Errorf("metadata %v", f.Metadata())
	}
	texts, err := f.F32("text_features", 2, 4)
	labtest.Must(t, err)
	length := 0.0
	for _, v := range texts[:4] {
		length += float64(v) * float64(v)
	}
	if math.Abs(length-1) > 1e-6 {
		t.Errorf("a row has the squared length %g", length)
	}
	e.Raw = true
	if _, err := Embed(t.Context(), l, e, out, &listener{}); err != nil {
		t.Fatal(err)
	}
	raw, err := weights.Open(out)
	labtest.Must(t, err)
	defer raw.Close()
	if got, err := raw.F32("text_features", 2, 4); err != nil || slices.Equal(got, texts) {
		t.Errorf("raw features are those of unit length: %v", err)
	}
}

func TestThereHasToBeSomethingToEmbed(t *testing.T) {
	l := labtest.New(t)
	if _, err := Embed(t.Context(), l, Embedding{Run: "any"}, "out", run.Quiet{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestARunWithoutCheckpointCannotBeUsed(t *testing.T) {
	l := labtest.New(t)
	stop := filepath.Join(t.TempDir(), "stop")
	labtest.Must(t, os.WriteFile(stop, nil, 0o644))
	out, err := run.Start(t.Context(), l, labtest.Spec(t, l, "data.train.with.stop="+stop), nil, run.Quiet{})
	if err == nil {
		t.Fatal("the run did not fail")
	}
	if _, err := Embed(t.Context(), l, Embedding{Run: out.ID, Texts: []string{"x"}}, "out", run.Quiet{}); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "has no checkpoint") {
		t.Errorf("got %v", err)
	}
}

func TestPicturesOfAFolderOrAList(t *testing.T) {
	dir := t.TempDir()
	labtest.Must(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	for _, name := range []string{"b.png", "sub/a.jpg", "notes.txt"} {
		labtest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644))
	}
	list, _, err := Pictures(t.Context(), dir)
	if err != nil || !slices.Equal(list, []string{filepath.Join(dir, "b.png"), filepath.Join(dir, "sub", "a.jpg")}) {
		t.Errorf("of a folder: %v, %v", list, err)
	}
	file := filepath.Join(dir, "list.txt")
	labtest.Must(t, os.WriteFile(file, []byte("sub/a.jpg\n\n/elsewhere/c.png\r\n"), 0o644))
	list, _, err = Pictures(t.Context(), file)
	if err != nil || !slices.Equal(list, []string{filepath.Join(dir, "sub", "a.jpg"), "/elsewhere/c.png"}) {
		t.Errorf("of a list: %v, %v", list, err)
	}
	if _, _, err := Pictures(t.Context(), t.TempDir()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("of an empty folder: %v", err)
	}
	if _, _, err := Pictures(t.Context(), filepath.Join(dir, "none")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of nothing: %v", err)
	}
}

func TestLinesAreThoseThatSaySomething(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines.txt")
	for text, want := range map[string][]string{
		"\ufeffone\r\ntwo \n\n   \nthree": {"one", "two ", "three"},
		"":                                nil,
		"\n\n":                            nil,
		strings.Repeat("x", 100_000):      {strings.Repeat("x", 100_000)},
	} {
		labtest.Must(t, os.WriteFile(file, []byte(text), 0o644))
		if got, err := Lines(file); err != nil || !slices.Equal(got, want) {
			t.Errorf("of %.20q: %.20q, %v", text, got, err)
		}
	}
	labtest.Must(t, os.WriteFile(file, []byte("fine\n"+strings.Repeat("x", 2<<20)), 0o644))
	if _, err := Lines(file); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), file+":2") {
		t.Errorf("of a line without end: %v", err)
	}
}

func TestTheTemplatesAreThoseOfTheSpec(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l)
	if got := specTemplates(s); !slices.Equal(got, []string{"a {} dot"}) {
		t.Errorf("%q", got)
	}
	s.Eval = nil
	if got := specTemplates(s); len(got) != 1 || strings.Count(got[0], "{}") != 1 {
		t.Errorf("without evaluations: %q", got)
	}
}

func TestAveragedWeightsAreThoseOfRunsThatKeepThem(t *testing.T) {
	l, id := trained(t)
	_, err := Embed(t.Context(), l, Embedding{Run: id, Texts: []string{"x"}, Averaged: true}, "out", run.Quiet{})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "keeps no averaged weights") {
		t.Errorf("%v", err)
	}
}

// Captions are matched with pictures by the cosines that classification finds for the same texts.
func TestMatchGivesTheCosinesOfPairs(t *testing.T) {
	l, id := trained(t)
	dir := t.TempDir()
	files := []string{painted(t, dir, "red.png", color.RGBA{255, 0, 0, 255}), painted(t, dir, "blue.png", color.RGBA{0, 0, 255, 255})}
	captions := []string{"even", "odd"}
	m, err := NewMatcher(t.Context(), l, id)
	labtest.Must(t, err)
	defer m.Close()
	var pictures []vision.Picture
	for _, f := range files {
		p, err := readPicture(f)
		labtest.Must(t, err)
		pictures = append(pictures, p)
	}
	got, err := m.Match(t.Context(), pictures, captions)
	labtest.Must(t, err)
	found, err := Classify(t.Context(), l, id, files, captions, []string{"{}"}, false, run.Quiet{})
	labtest.Must(t, err)
	for i, c := range captions {
		at := slices.IndexFunc(found[i].Guesses, func(g Guess) bool { return g.Label == c })
		if want := found[i].Guesses[at].Cosine; math.Abs(float64(got[i])-want) > 1e-5 {
			t.Errorf("%s: %g, want %g", c, got[i], want)
		}
	}
	if _, err := m.Match(t.Context(), pictures, captions[:1]); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a caption short: %v", err)
	}
}
