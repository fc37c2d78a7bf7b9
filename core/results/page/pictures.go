package page

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/metric"
)

// pictures holds the pictures of examples as data URIs, and the example that stands for each class.
type pictures struct {
	of      map[int]template.URL // by index
	example map[int]int          // by class
}

// lookUp asks for the names of the classes and the pictures of all examples that are shown.
func (o *Outcome) lookUp(ctx context.Context, src Source, albums Albums, p *Page) {
	rows := o.Sides[0].rows[0]
	o.pictures = &pictures{map[int]template.URL{}, map[int]int{}}
	var indices []int
	want := func(i int) {
		if !slices.Contains(indices, i) {
			indices = append(indices, i)
		}
	}
	for _, g := range o.Groups {
		for _, e := range g.Shown {
			want(e.Index)
		}
	}
	for _, f := range o.Found {
		for _, h := range f.Shown {
			want(h.Index)
		}
	}
	for i, r := range rows {
		if _, has := o.pictures.example[int(r.Label)]; !has {
			o.pictures.example[int(r.Label)] = i
		}
	}
	for _, pair := range o.Pairs {
		for _, c := range []int{pair.Label, pair.Guess} {
			if i, has := o.pictures.example[c]; has {
				want(i)
			}
		}
	}
	if albums == nil {
		o.NoPictures = "This page was made without pictures and class names."
		return
	}
	keys := make([]string, len(indices))
	for i, index := range indices {
		keys[i] = rows[index].Key
	}
	at := slices.IndexFunc(p.Runs, func(r Run) bool { return r.Variant == o.Sides[0].Variant && r.Seed == o.Sides[0].Seeds[0] })
	var album *Album
	run, err := src.Get(ctx, p.Runs[at].ID)
	if err == nil {
		album, err = albums(ctx, run, metric.Live(o.Evaluation), o.Target, pictureSide, indices, keys)
	}
	if err != nil {
		o.NoPictures = "No pictures and class names: the evaluation's data could not be opened (" + errorLine(err) + ")."
		return
	}
	o.Names = album.Classes
	gone := 0
	for i, picture := range album.Pictures {
		if picture == nil {
			gone++
			continue
		}
		if uri := dataURI(picture); uri != "" {
			o.pictures.of[indices[i]] = uri
		}
	}
	switch {
	case len(album.Pictures) == 0 && len(indices) > 0:
		o.NoPictures = "This page was made without pictures."
	case gone > 0:
		o.NoPictures = fmt.Sprintf("%d of %d pictures are missing: the dataset has other examples there now.", gone, len(indices))
	}
}

// errorLine writes an error in a line.
func errorLine(err error) string {
	var e *fault.Error
	text := err.Error()
	if errors.As(err, &e) {
		text = e.Msg
	}
	return strings.Join(strings.Fields(text), " ")
}

// dataURI writes a picture as a PNG, or as a JPEG where that is a good deal smaller: photographs.
func dataURI(m image.Image) template.URL {
	var drawn, photo bytes.Buffer
	if png.Encode(&drawn, m) != nil || jpeg.Encode(&photo, m, &jpeg.Options{Quality: 85}) != nil {
		return "" // neither fails on a picture in memory
	}
	kind, data := "png", drawn.Bytes()
	if 2*photo.Len() < drawn.Len() {
		kind, data = "jpeg", photo.Bytes()
	}
	return template.URL("data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString(data))
}

// Name returns the name of a class.
func (o *Outcome) Name(class int) string {
	if class >= 0 && class < len(o.Names) {
		return fault.Printable(o.Names[class])
	}
	if class < 0 {
		return "nothing"
	}
	return fmt.Sprintf("class %d", class)
}

// Key returns the key of an example.
func (o *Outcome) Key(index int) string { return o.Sides[0].rows[0][index].Key }

// Picture returns the data URI of an example; "" without one.
func (o *Outcome) Picture(index int) template.URL { return o.pictures.of[index] }

// Example returns the picture of an example of a class; "" without one.
func (o *Outcome) Example(class int) template.URL {
	if i, has := o.pictures.example[class]; has {
		return o.pictures.of[i]
	}
	return ""
}
