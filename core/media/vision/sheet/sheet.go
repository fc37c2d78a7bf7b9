// Package sheet lays pictures out in rows with words: a contact sheet, as a PNG picture or as one HTML page that holds its pictures.
package sheet

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"tandem/core/media/vision"
)

// Cell is a picture and the words below it. The picture is scaled to fit; without pixels the cell is grey.
type Cell struct {
	Picture vision.Picture
	Words   string
}

// Row is a line of words and the cells below it.
type Row struct {
	Title string
	Cells []Cell
}

// Sizes, in pixels.
const (
	side   = 160 // of a cell's picture
	gap    = 12
	line   = 20 // of words
	letter = 14
)

// thumbnail scales a picture to fit a cell, with its proportions; it is not enlarged.
func thumbnail(p vision.Picture) image.Image {
	if p.W == 0 || p.H == 0 {
		return nil
	}
	w, h := p.W, p.H
	if longest := max(w, h); longest > side {
		w, h = max(1, w*side/longest), max(1, h*side/longest)
	}
	small := vision.NewPicture(w, h)
	var r vision.Resizer
	r.Resize(small.Pix, p, w, h)
	return small.Image()
}

var face = sync.OnceValue(func() font.Face {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		panic("sheet: " + err.Error()) // the font is part of the program
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: letter, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic("sheet: " + err.Error())
	}
	return face
})

// PNG draws the rows. Words that are longer than their place are cut with an ellipsis. The letters are Latin, Greek and
// Cyrillic; others are boxes (HTML has them all).
func PNG(rows []Row) ([]byte, error) {
	columns := 1
	for _, r := range rows {
		columns = max(columns, len(r.Cells))
	}
	const high = line + side + line + gap
	width := gap + columns*(side+gap)
	m := image.NewRGBA(image.Rect(0, 0, width, gap+len(rows)*high))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	for i, r := range rows {
		top := gap + i*high
		write(m, r.Title, gap, top, width-2*gap, color.Black)
		for j, c := range r.Cells {
			box := image.Rect(0, 0, side, side).Add(image.Pt(gap+j*(side+gap), top+line))
			draw.Draw(m, box, image.NewUniform(color.Gray{235}), image.Point{}, draw.Src)
			if t := thumbnail(c.Picture); t != nil {
				at := box.Min.Add(box.Size().Sub(t.Bounds().Size()).Div(2))
				draw.Draw(m, t.Bounds().Add(at), t, image.Point{}, draw.Over)
			}
			write(m, c.Words, box.Min.X, box.Max.Y, side, color.Gray{80})
		}
	}
	var out bytes.Buffer
	err := png.Encode(&out, m)
	return out.Bytes(), err
}

// write draws words from (x, y), the upper left corner of their line, no wider than width.
func write(m draw.Image, words string, x, y, width int, c color.Color) {
	d := font.Drawer{Dst: m, Src: image.NewUniform(c), Face: face(), Dot: fixed.P(x, y+line-6)}
	if letters := []rune(words); d.MeasureString(words).Ceil() > width {
		for len(letters) > 0 && d.MeasureString(string(letters)+"…").Ceil() > width {
			letters = letters[:len(letters)-1]
		}
		words = string(letters) + "…"
	}
	d.DrawString(words)
}

var page = template.Must(template.New("sheet").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #111; background: #fff }
h1 { font-size: 1.2em } h2 { font-size: 1em; margin: 1.2em 0 .4em }
div { display: flex; flex-wrap: wrap; gap: 12px } figure { margin: 0; width: 160px }
span { display: flex; width: 160px; height: 160px; background: #ebebeb; align-items: center; justify-content: center }
figcaption { color: #555; overflow-wrap: anywhere }
</style></head><body><h1>{{.Title}}</h1>
{{range .Rows}}<h2>{{.Title}}</h2><div>
{{range .Cells}}<figure><span>{{if .Picture}}<img src="{{.Picture}}" alt="{{.Words}}">{{end}}</span><figcaption>{{.Words}}</figcaption></figure>
{{end}}</div>
{{end}}</body></html>
`))

// HTML writes the rows as a page that needs no other file.
func HTML(title string, rows []Row) ([]byte, error) {
	type cell struct {
		Picture template.URL
		Words   string
	}
	type row struct {
		Title string
		Cells []cell
	}
	all := make([]row, len(rows))
	for i, r := range rows {
		all[i].Title = r.Title
		for _, c := range r.Cells {
			out := cell{Words: c.Words}
			if t := thumbnail(c.Picture); t != nil {
				var data bytes.Buffer
				if err := png.Encode(&data, t); err != nil {
					return nil, fmt.Errorf("sheet: %w", err)
				}
				out.Picture = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(data.Bytes()))
			}
			all[i].Cells = append(all[i].Cells, out)
		}
	}
	var out bytes.Buffer
	err := page.Execute(&out, map[string]any{"Title": title, "Rows": all})
	return out.Bytes(), err
}
