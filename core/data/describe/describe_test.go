package describe

import (
	"bytes"
	"image"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/media/vision"
	"tandem/core/random"
)

// blots draws a picture of a few large patches, another one for each number.
func blots(number int) vision.Picture {
	p := vision.NewPicture(64, 64)
	r := random.New(uint64(number), "blots")
	for range 12 {
		x, y, w, h := r.IntN(48), r.IntN(48), 8+r.IntN(30), 8+r.IntN(30)
		c := [3]byte{byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}
		for v := y; v < min(64, y+h); v++ {
			for u := x; u < min(64, x+w); u++ {
				copy(p.Row(v)[3*u:], c[:])
			}
		}
	}
	return p
}

// brighter returns a picture whose values are a little larger.
func brighter(p vision.Picture) vision.Picture {
	out := vision.NewPicture(p.W, p.H)
	for i, v := range p.Pix {
		out.Pix[i] = byte(min(255, int(v)+6))
	}
	return out
}

func collect(name string, pictures ...vision.Picture) *Collector {
	c := New(name, []clip.Target{{Name: "label", Classes: []string{"a", "b", "c"}}})
	for i, p := range pictures {
		c.Add(Sample{Index: i, Key: string(rune('a' + i)), Captions: []string{"picture " + string(rune('a'+i))}, Picture: p, Labels: []int32{int32(min(i, 1))}})
	}
	return c
}

func TestPicturesThatAreThereTwiceAreFound(t *testing.T) {
	one, flat := blots(1), vision.NewPicture(64, 64)
	s := collect("set", one, blots(2), one, brighter(one), blots(3), flat, brighter(flat), one).Set(4)
	if x := s.ExactTwins; x.Groups != 1 || x.Pictures != 3 || x.Extra != 2 || len(x.Examples) != 2 || x.Examples[0].A.Key != "a" || x.Examples[0].B.Key != "c" {
		t.Errorf("exact: %+v", x)
	}
	if x := s.NearTwins; x.Groups != 1 || x.Extra != 1 || x.Examples[0].A.Key != "a" || x.Examples[0].B.Key != "d" || x.Examples[0].Bits > 4 {
		t.Errorf("near: %+v", x)
	}
	if s.Flat != 2 || s.NearSkipped != 2 {
		t.Errorf("%d flat", s.Flat)
	}
}

// Small things in the middle of white have hashes and thumbnails that are near.
func TestSmallThingsOnOneBackgroundAreToldApart(t *testing.T) {
	thing := func(c [3]byte, draw func(x, y int) bool) vision.Picture {
		p := vision.NewPicture(64, 64)
		for i := range p.Pix {
			p.Pix[i] = 255
		}
		for y := range 64 {
			for x := range 64 {
				if draw(x-32, y-32) {
					copy(p.Row(y)[3*x:], c[:])
				}
			}
		}
		return p
	}
	disc := thing([3]byte{90, 80, 20}, func(x, y int) bool { return x*x+y*y < 40 })
	bar := thing([3]byte{150, 90, 40}, func(x, y int) bool { return x*x < 80 && y*y < 12 })
	if x := collect("set", disc, bar).Set(16).NearTwins; x.Groups != 0 {
		t.Errorf("%+v", x)
	}
	if x := collect("set", disc, brighter(disc)).Set(4).NearTwins; x.Groups != 1 {
		t.Errorf("a copy: %+v", x)
	}
}

func TestWhatAnEvaluationSharesWithTrainingIsFound(t *testing.T) {
	train := collect("train", blots(1), blots(2), blots(3), blots(4))
	eval := collect("eval", blots(7), brighter(blots(2)), blots(3), blots(8), blots(9))
	l := Compare(train, eval, 4, false)
	if l.Exact != 1 || l.Near != 1 || l.Captions != 4 || !l.Different || l.LookedAt != [2]int{4, 5} {
		t.Fatalf("%+v", l)
	}
	if e := l.Examples; len(e) != 2 || e[0].A.Key != "c" || e[0].B.Key != "c" || e[1].A.Key != "b" || e[1].B.Set != "eval" {
		t.Errorf("%+v", e)
	}
}

func TestNumbersOfCaptionsSizesAndClasses(t *testing.T) {
	c := New("set", []clip.Target{{Name: "label", Classes: []string{"x", "y", "z", "w"}}})
	c.Add(Sample{Captions: []string{"a photo of a cat that sleeps on the red sofa in the evening", "猫"}, W: 640, H: 480, Labels: []int32{0}})
	c.Add(Sample{Captions: []string{"猫"}, W: 100, H: 100, Labels: []int32{0}})
	c.Add(Sample{Captions: []string{"cat"}, W: 100, H: 300, Labels: []int32{2}})
	c.Add(Sample{Captions: []string{"cat", "猫"}, Labels: []int32{-1}})
	c.Unreadable("truncated picture")
	c.Tokens([]int{3, 15, 3}, 10)
	s := c.Set(4)
	if s.Looked != 5 || s.Unreadable[0] != (Count{"truncated picture", 1}) || s.Captions != 6 || s.Distinct != 3 || s.Cut != 1 {
		t.Errorf("%+v", s)
	}
	if s.MostCommon[0] != (Count{"猫", 3}) || s.MostCommon[1] != (Count{"cat", 2}) || len(s.MostCommon) != 2 {
		t.Errorf("most common %v", s.MostCommon)
	}
	if !slices.Equal(s.Languages, []Count{{"zh", 3}, {TooShort, 2}, {"en", 1}}) {
		t.Errorf("languages %v", s.Languages)
	}
	if s.Widths.Max != 640 || s.Heights.Min != 100 || s.Shapes != 3 || !slices.Equal(s.Aspects, []Count{{"under 1:2", 1}, {"square", 1}, {"4:3 to 2:1", 1}}) {
		t.Errorf("sizes %+v %+v %v", s.Widths, s.Heights, s.Aspects)
	}
	if x := s.Classes[0]; x.Labelled != 3 || x.Present != 2 || x.Largest[0] != (Count{"x", 2}) || x.Effective < 1.88 || x.Effective > 1.9 {
		t.Errorf("%+v", x)
	}
}

func TestTheReportIsTextAndPage(t *testing.T) {
	train, eval := collect("train", blots(1), blots(2)), collect("eval", blots(2))
	r := &Report{Sets: []*Set{train.Set(4), eval.Set(4)}, Leaks: []*Leak{Compare(train, eval, 4, false)}}
	var text, page bytes.Buffer
	if err := r.Text(&text); err != nil || !strings.Contains(text.String(), "of 1 pictures 1 (100.0 %) are in train pixel by pixel") {
		t.Errorf("%v: %s", err, text.String())
	}
	err := r.Page(&page, "A <set>", func(p Place) image.Image { return blots(p.Index).Image() })
	if err != nil || !strings.Contains(page.String(), "A &lt;set&gt;") || strings.Count(page.String(), "data:image/png;base64,") != 2 {
		t.Errorf("%v: %d pictures", err, strings.Count(page.String(), "data:image/png"))
	}
}

func TestSizesAreNotCalledUnknownWhereNoPictureCanBeRead(t *testing.T) {
	c := New("set", nil)
	c.Unreadable("truncated picture")
	var text bytes.Buffer
	if err := (&Report{Sets: []*Set{c.Set(4)}}).Text(&text); err != nil || !strings.Contains(text.String(), "truncated picture 1") || strings.Contains(text.String(), "unknown") {
		t.Errorf("%v: %s", err, text.String())
	}
}
