package spec

import (
	"bytes"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
)

// linesLimit limits the size of a file of texts, in bytes.
const linesLimit = 64 << 20

// lines checks a list of texts. It is written out, or it names a file, relative to the spec, of which the lines
// that are not blank count. The resolved spec holds the texts themselves.
func (c *checker) lines(k Key, value any, p path) any {
	list := clip.Field{Name: k.Name, Type: clip.TypeList, Elem: clip.TypeString, Help: k.Help}
	if text, ok := value.(string); ok {
		c.fault(p, "want a list of texts or {file: PATH}, not %s", show(value)).WithHint("write [%s], or {file: %s} for the lines of a file", show(text), text)
		return bad{}
	}
	m, ok := value.(map[string]any)
	if !ok {
		return c.field(list, value, p)
	}
	at := p.with("file")
	c.section(m, []Key{{Field: clip.Field{Name: "file", Type: clip.TypePath, Required: true, Help: "a text file, one a line"}}}, p, k.Name)
	name, ok := m["file"].(string)
	if !ok {
		return bad{}
	}
	text, err := files.Read(name, linesLimit)
	if err != nil {
		e := c.fault(at, "%w", err)
		e.Kind = fault.KindOf(err)
		return bad{}
	}
	if !utf8.Valid(text) {
		c.fault(at, "%s is not UTF-8", name).WithHint("convert it, for example with iconv -t UTF-8")
		return bad{}
	}
	out := []any{}
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		if line = bytes.TrimRight(line, "\r\n"); len(bytes.TrimSpace(line)) > 0 {
			out = append(out, string(line))
		}
	}
	if len(out) == 0 {
		c.fault(at, "%s has no lines", name).WithHint("one text a line")
		return bad{}
	}
	return out
}
