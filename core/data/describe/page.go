package describe

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"html/template"
	"image"
	"image/png"
	"io"
	"strings"

	"tandem/core/fault"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// twin is a pair with its pictures as addresses.
type twin struct {
	Pair Pair
	A, B template.URL
}

// Page writes the report as an HTML page of its own, with the pictures of the examples, which picture gives (nil for none).
func (r *Report) Page(w io.Writer, title string, picture func(Place) image.Image) error {
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		return err
	}
	type sheet struct {
		Name  string
		Pairs []twin
	}
	data := struct {
		Title, Text string
		Sheets      []sheet
	}{Title: title, Text: text.String()}
	var failed error
	add := func(name string, pairs []Pair) {
		s := sheet{Name: name}
		for _, p := range pairs {
			a, errA := address(picture(p.A))
			b, errB := address(picture(p.B))
			if errA != nil || errB != nil {
				failed = fault.New(fault.Internal, "a picture of %s cannot be written: %v %v", p.A.Key, errA, errB)
				return
			}
			s.Pairs = append(s.Pairs, twin{p, a, b})
		}
		if len(pairs) > 0 {
			data.Sheets = append(data.Sheets, s)
		}
	}
	for _, l := range r.Leaks {
		add(l.Eval+": pictures that are in "+l.Train+" too", l.Examples)
	}
	for _, s := range r.Sets {
		add(s.Name+": the same pictures", s.ExactTwins.Examples)
		add(s.Name+": pictures that look alike", s.NearTwins.Examples)
	}
	if failed != nil {
		return failed
	}
	return page.Execute(w, data)
}

// address returns a picture as a PNG in an address; "" for none.
func address(m image.Image) (template.URL, error) {
	if m == nil {
		return "", nil
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}
