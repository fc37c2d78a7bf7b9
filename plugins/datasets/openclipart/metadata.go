package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// metadata holds what an SVG file says of its drawing.
type metadata struct {
	title, description, creator, language string
	keywords                              []string
}

// maxSVG limits the size of a drawing in bytes.
const maxSVG = 64 << 20

// readMetadata reads the RDF of an SVG file. A file without any has no metadata, which is no error.
func readMetadata(file string) (metadata, error) {
	data, err := files.Read(file, maxSVG)
	if err != nil {
		return metadata{}, err
	}
	m, err := parseMetadata(data)
	if err != nil {
		return m, fault.New(fault.Corrupt, "metadata: %w", err).WithFile(file, 0, 0).WithReason("corrupt record")
	}
	return m, nil
}

// parseMetadata reads the element RDF alone: the paths of a drawing are most of its file.
func parseMetadata(svg []byte) (m metadata, err error) {
	from := bytes.Index(svg, []byte("<rdf:RDF"))
	if from < 0 {
		return m, nil
	}
	to := bytes.Index(svg[from:], []byte("</rdf:RDF>"))
	if to < 0 {
		return m, errors.New("rdf:RDF does not end")
	}
	d := xml.NewDecoder(bytes.NewReader(svg[from:][:to+len("</rdf:RDF>")]))
	d.Strict = false // prefixes are declared further up
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	var path []string
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		switch x := token.(type) {
		case xml.StartElement:
			path = append(path, x.Name.Local)
			text.Reset()
		case xml.CharData:
			text.Write(x)
		case xml.EndElement:
			m.take(path, text.String())
			text.Reset()
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		}
	}
}

// take keeps the text of an element: only that of the drawing itself, not of its licence or of who made it.
func (m *metadata) take(path []string, text string) {
	at := strings.Join(path, "/")
	text = strings.Join(strings.Fields(html.UnescapeString(text)), " ") // some are escaped twice
	switch {
	case at == "RDF/Work/title" && m.title == "":
		m.title = text
	case at == "RDF/Work/description" && m.description == "":
		m.description = text
	case at == "RDF/Work/creator/Agent/title" && m.creator == "":
		m.creator = text
	case at == "RDF/Work/language" && m.language == "":
		m.language = text
	case strings.HasPrefix(at, "RDF/Work/subject/") && strings.HasSuffix(at, "/li") && text != "":
		m.keywords = append(m.keywords, text)
	}
}
