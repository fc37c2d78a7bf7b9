package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// sep joins the elements of a path inside this package. YAML cannot contain it, so a key with a dot in it stays
// one key.
const sep = "\x1f"

// path names a place in a spec by keys and list indices.
type path []string

func (p path) join() string { return strings.Join(p, sep) }

// with returns p and one more element, never sharing memory with another child of p.
func (p path) with(elem string) path { return append(p[:len(p):len(p)], elem) }

// String returns the path as a person writes it: eval[0].with.split.
func (p path) String() string {
	var b strings.Builder
	for i, elem := range p {
		if _, err := strconv.Atoi(elem); err == nil && i > 0 {
			b.WriteString("[" + elem + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(elem)
	}
	return b.String()
}

// Origin tells where a value was set.
type Origin struct {
	// Source names a file, "--set a.b=c", "RUNNER_SET_A__B", "default" or "default of encoders/vit".
	Source       string
	Line, Column int // of the value; 0 when Source is no file
	// KeyLine and KeyColumn are of the key, or of the list element.
	KeyLine, KeyColumn int
	// Dir is the folder that a relative path given here starts from; "" means the working directory.
	Dir string
	raw string // the text of an override before YAML reads it
}

// String returns "file:line:column", or the source alone.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.Source
	}
	return fmt.Sprintf("%s:%d:%d", o.Source, o.Line, o.Column)
}

// key returns o with the place of the key instead of the value.
func (o Origin) key() Origin {
	o.Line, o.Column = o.KeyLine, o.KeyColumn
	return o
}
