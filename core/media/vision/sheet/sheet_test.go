package sheet

import (
	"bytes"
	"image/color"
	"image/png"
	"strings"
	"testing"

	"tandem/core/media/vision"
)

func filled(w, h int, r, g, b byte) vision.Picture {
	p := vision.NewPicture(w, h)
	for i := 0; i < len(p.Pix); i += 3 {
		p.Pix[i], p.Pix[i+1], p.Pix[i+2] = r, g, b
	}
	return p
}

var rows = []Row{
	{Title: "a <red> thing", Cells: []Cell{{filled(320, 80, 255, 0, 0), "0.9 red.png"}, {filled(10, 10, 0, 255, 0), strings.Repeat("long ", 40)}}},
	{Title: "ein Känguru", Cells: []Cell{{Words: "none"}}},
}

func TestPNGHasPicturesInTheirPlaces(t *testing.T) {
	data, err := PNG(rows)
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if b := m.Bounds(); b.Dx() != gap+2*(side+gap) || b.Dy() != gap+2*(2*line+side+gap) {
		t.Fatalf("%v", b)
	}
	middle := func(column, row int) (x, y int) {
		return gap + column*(side+gap) + side/2, gap + row*(2*line+side+gap) + line + side/2
	}
	is := func(x, y int, r, g, b uint8) {
		t.Helper()
		if got := color.NRGBAModel.Convert(m.At(x, y)); got != (color.NRGBA{r, g, b, 255}) {
			t.Errorf("(%d, %d) is %v", x, y, got)
		}
	}
	x, y := middle(0, 0)
	is(x, y, 255, 0, 0)
	is(x, y-side/2+5, 235, 235, 235) // 320 × 80 becomes 160 × 40
	x, y = middle(1, 0)
	is(x, y, 0, 255, 0)
	is(x+10, y, 235, 235, 235) // 10 × 10 stays
	x, y = middle(0, 1)
	is(x, y, 235, 235, 235)
	dark := 0
	for x := range m.Bounds().Dx() {
		for y := gap; y < gap+line; y++ {
			if r, _, _, _ := m.At(x, y).RGBA(); r < 0x8000 {
				dark++
			}
		}
	}
	if dark < 50 {
		t.Errorf("%d dark pixels: the title is not there", dark)
	}
}

func TestHTMLHoldsItsPictures(t *testing.T) {
	data, err := HTML("hits", rows)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if n := strings.Count(text, `src="data:image/png;base64,`); n != 2 {
		t.Errorf("%d pictures", n)
	}
	if !strings.Contains(text, "a &lt;red&gt; thing") || !strings.Contains(text, "ein Känguru") || strings.Contains(text, "ZgotmplZ") {
		t.Error(text)
	}
}
