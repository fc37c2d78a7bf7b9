package infer

import (
	"image/color"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"tandem/core/experiment/lab/labtest"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

func TestRetrieveRanksByCosineAndKeepsFeatures(t *testing.T) {
	l, id := trained(t)
	dir := t.TempDir()
	red, blue := painted(t, dir, "red.png", color.RGBA{255, 0, 0, 255}), painted(t, dir, "blue.png", color.RGBA{0, 0, 255, 255})
	again := painted(t, dir, "z-red.png", color.RGBA{255, 0, 0, 255})
	s := Search{Run: id, Pool: []string{blue, again, red}, Texts: []string{"even"}, Pictures: []string{red}, Top: 2, KeepIn: t.TempDir()}
	first, err := Retrieve(t.Context(), l, s, &listener{})
	labtest.Must(t, err)
	if first.Images != 3 || first.Known != 0 || len(first.Queries) != 2 {
		t.Fatalf("%+v", first)
	}
	if q := first.Queries[1]; !q.Picture || q.Query != red || len(q.Hits) != 2 || q.Hits[0].Image != red || q.Hits[1].Image != again || math.Abs(q.Hits[0].Cosine-1) > 1e-5 {
		t.Errorf("%+v", q)
	}
	m, err := NewMatcher(t.Context(), l, id)
	labtest.Must(t, err)
	defer m.Close()
	for _, h := range first.Queries[0].Hits {
		data, err := os.ReadFile(h.Image)
		labtest.Must(t, err)
		p, err := vision.Decode(data, vision.Options{})
		labtest.Must(t, err)
		want, err := m.Match(t.Context(), []vision.Picture{p}, []string{"even"})
		labtest.Must(t, err)
		if math.Abs(h.Cosine-float64(want[0])) > 1e-5 {
			t.Errorf("%s: cosine %g, want %g", h.Image, h.Cosine, want[0])
		}
	}
	second, err := Retrieve(t.Context(), l, s, &listener{})
	labtest.Must(t, err)
	if second.Known != 2 || !reflect.DeepEqual(second.Queries, first.Queries) {
		t.Errorf("the second search knows %d and finds %+v", second.Known, second.Queries)
	}
}

func TestRetrieveLeavesOutWhatCannotBeRead(t *testing.T) {
	l, id := trained(t)
	dir := t.TempDir()
	red, broken := painted(t, dir, "red.png", color.RGBA{255, 0, 0, 255}), filepath.Join(dir, "broken.png")
	labtest.Must(t, os.WriteFile(broken, []byte("no picture"), 0o644))
	s := Search{Run: id, Pool: []string{broken, red}, Texts: []string{"even"}, Top: 5, KeepIn: t.TempDir()}
	if _, err := Retrieve(t.Context(), l, s, &listener{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("broken: %v", err)
	}
	s.SkipUnreadable = true
	for range 2 { // also where all the others are known
		w := &listener{}
		found, err := Retrieve(t.Context(), l, s, w)
		labtest.Must(t, err)
		if found.Images != 1 || found.LeftOut != 1 || len(found.Queries[0].Hits) != 1 || len(w.events) != 1 {
			t.Errorf("%+v, told %q", found, w.events)
		}
	}
	s.Pictures = []string{broken}
	if _, err := Retrieve(t.Context(), l, s, &listener{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a query that is broken: %v", err)
	}
	s.Pictures, s.Pool = nil, []string{broken}
	if _, err := Retrieve(t.Context(), l, s, &listener{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("nothing to search: %v", err)
	}
}
