package gallery

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func TestPeekSpreadsOverTheSet(t *testing.T) {
	l := labtest.New(t)
	p, err := Peek(t.Context(), l.Catalog, labtest.Spec(t, l, "data.train.with.broken=16", "data.train.with.refused=8"), 4)
	labtest.Must(t, err)
	var keys []string
	for _, s := range p.Samples {
		keys = append(keys, s.Key)
	}
	if want := []string{"dot-0", "dot-8", "dot-16", "dot-24"}; !slices.Equal(keys, want) {
		t.Errorf("shown %v", keys)
	}
	first, broken := p.Samples[0], p.Samples[2]
	if first.Caption != "dot 0" || len(first.Captions) != 2 || first.Labels["parity"] != "even" || first.Tokens != 4 {
		t.Errorf("the first is %+v", first)
	}
	if broken.Unreadable != "no picture" || first.Unreadable != "" {
		t.Errorf("unreadable: %q and %q", broken.Unreadable, first.Unreadable)
	}
	if p.Plugin != "datasets/dots" || p.Len != 32 || p.Captions != 32 || p.Longest != 4 || p.Context != labtest.Context || p.Cut != 0 {
		t.Errorf("%+v", p)
	}
	if all := strings.Join(p.Remarks, "\n"); !strings.Contains(all, "8 of 40 records are refused (20.0 %)") || !strings.Contains(all, "1 of 4 samples shown cannot be read (25.0 %)") {
		t.Errorf("remarks %q", p.Remarks)
	}
}

func TestPeekSaysHowManyCaptionsAreCut(t *testing.T) {
	l := labtest.New(t)
	p, err := Peek(t.Context(), l.Catalog, labtest.Spec(t, l, "data.train.with.long=true", "data.train.with.samples=8"), 100)
	labtest.Must(t, err)
	if len(p.Samples) != 8 || p.Cut != 8 || len(p.Remarks) != 1 || !strings.Contains(p.Remarks[0], "are longer than the context of 6 tokens and are cut") {
		t.Errorf("%d samples, %d cut, remarks %q", len(p.Samples), p.Cut, p.Remarks)
	}
}

func TestASheetHasEightPicturesInARow(t *testing.T) {
	l := labtest.New(t)
	p, err := Peek(t.Context(), l.Catalog, labtest.Spec(t, l, "image.with.dim=0"), 10)
	labtest.Must(t, err)
	var out bytes.Buffer
	labtest.Must(t, p.Sheet(&out))
	sheet, err := png.Decode(&out)
	labtest.Must(t, err)
	if got := sheet.Bounds().Size(); got.X != 8*(p.ImageSize+2)+2 || got.Y != 2*(p.ImageSize+2)+2 {
		t.Errorf("the sheet has %v", got)
	}
	at := p.Samples[9].Index * 37 % 256 // the second in the second row
	if r, g, b, _ := sheet.At(2+p.ImageSize+2, 2+p.ImageSize+2).RGBA(); r>>8 != uint32(at) || g>>8 != uint32(at+80)%256 || b>>8 != uint32(at+160)%256 {
		t.Errorf("its colour is %d %d %d", r>>8, g>>8, b>>8)
	}
	if err := (&Peeked{}).Sheet(&out); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without samples: %v", err)
	}
}

func TestThePicturesHaveTheSizeOfTheEncoder(t *testing.T) {
	for text, want := range map[string]int{`{"image_size": 64}`: 64, `{"image_size": 0}`: 224, `{}`: 224, ``: 224, `{"image_size": "large"}`: 224} {
		if got := imageSize(&spec.Spec{Image: spec.Tower{With: []byte(text)}}); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// recorded makes a run and returns its record.
func recorded(t *testing.T) (lab.Lab, *store.RunDetail) {
	t.Helper()
	l := labtest.New(t)
	out, err := run.Start(t.Context(), l, labtest.Spec(t, l, "train.max_steps=1"), nil, run.Quiet{})
	labtest.Must(t, err)
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	d, err := r.Get(t.Context(), out.ID)
	labtest.Must(t, err)
	return l, d
}

func TestAnAlbumShowsTheExamplesThatAreStillThere(t *testing.T) {
	l, d := recorded(t)
	q := Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6, Indices: []int{1, 2, 99, 3}, Keys: []string{"dot-1", "another", "dot-99", "dot-3"}}
	a, err := Open(t.Context(), l, q)
	labtest.Must(t, err)
	if a.Plugin != "datasets/dots" || !slices.Equal(a.Classes, []string{"even", "odd"}) {
		t.Errorf("%s, classes %v", a.Plugin, a.Classes)
	}
	for i, there := range []bool{true, false, false, true} {
		if (a.Pictures[i] != nil) != there {
			t.Errorf("picture %d is there: %v", i, a.Pictures[i] != nil)
		}
	}
	if got := a.Pictures[0].Bounds().Size(); got.X != 6 || got.Y != 6 {
		t.Errorf("a picture of %v", got)
	}
	if !slices.Equal(a.Captions[3], []string{"dot 3", "spot 3"}) {
		t.Errorf("captions %v", a.Captions[3])
	}
	names, err := Open(t.Context(), l, Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6})
	if err != nil || len(names.Pictures) != 0 || len(names.Classes) != 2 {
		t.Errorf("the classes alone: %+v, %v", names, err)
	}
}

func TestAnAlbumOfWhatIsNotThere(t *testing.T) {
	l, d := recorded(t)
	for _, q := range []Request{{Run: d, Evaluation: "other", Target: "parity", Side: 6}, {Run: d, Evaluation: "dots", Target: "colour", Side: 6}} {
		if _, err := Open(t.Context(), l, q); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s, %s: %v", q.Evaluation, q.Target, err)
		}
	}
}

// Which plugin is started is what one's own spec says; a database from elsewhere decides only where it is trusted.
func TestADatabaseIsNotTrustedUnasked(t *testing.T) {
	l, d := recorded(t)
	labtest.Must(t, os.Remove(filepath.Join(l.Dir(d.ID), lab.SpecFile)))
	q := Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6}
	if _, err := Open(t.Context(), l, q); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without a spec of one's own: %v", err)
	}
	q.Trusted = true
	if _, err := Open(t.Context(), l, q); err != nil {
		t.Errorf("trusted: %v", err)
	}
}

func TestAPeekShowsNegatives(t *testing.T) {
	l := labtest.New(t)
	p, err := Peek(t.Context(), l.Catalog, labtest.Spec(t, l, "data.train.with.negatives=2"), 2)
	labtest.Must(t, err)
	if got := p.Samples[1].Negatives; !slices.Equal(got, []string{"dot 17", "dot 18"}) {
		t.Errorf("negatives of %s: %q", p.Samples[1].Caption, got)
	}
}
