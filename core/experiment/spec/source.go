package spec

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"tandem/core/fault"
	"tandem/core/files"
)

// bad stands for a value that already has a fault, so that no other fault of it is reported.
type bad struct{}

// layer holds one source of values with the place of each: maps (map[string]any), lists ([]any) and the scalars
// bool, int64, float64, string and bad.
type layer struct {
	tree    map[string]any
	origins map[string]Origin // by joined path, of every map, list, element and scalar
	ablate  *block            // unread: the last one counts
}

// reader collects layers and their faults.
type reader struct {
	layers []layer
	files  []string // in the order read, for sorting faults
	faults fault.List
	text   map[string][]byte // what stands for the content of a file
	broken bool              // a file could not be taken in: what would follow from its absence is noise
}

func (r *reader) fault(o Origin, p path, kind fault.Kind, format string, args ...any) *fault.Error {
	e := fault.New(kind, format, args...).WithPath(p.String()).WithFile(o.Source, o.Line, o.Column)
	r.faults = append(r.faults, e)
	return e
}

// readFile appends the layers of a file: first those of the files it extends. stack holds the files being read,
// outermost first; from is where the file was named.
func (r *reader) readFile(file string, stack []string, from Origin) {
	at := path{"extends"}
	if slices.Contains(stack, file) {
		r.broken = true
		r.fault(from, at, fault.Invalid, "circular: %s extends itself", file).
			WithHint("the chain is %s", strings.Join(append(stack[slices.Index(stack, file):len(stack):len(stack)], file), " → "))
		return
	}
	if len(stack) > 32 {
		r.broken = true
		r.fault(from, at, fault.Invalid, "more than 32 files deep")
		return
	}
	data, err := r.text[file], error(nil)
	if data == nil {
		data, err = files.Read(file, maxSpec)
	}
	if err != nil {
		r.broken = true
		own, ok := err.(*fault.Error)
		if !ok {
			own = fault.New(fault.Invalid, "%w", err)
		}
		near := ""
		if own.Kind == fault.NotFound {
			if near = nearFile(file); near != "" {
				near = "did you mean " + near + "?"
			}
		}
		if len(stack) == 0 {
			r.faults = append(r.faults, fault.New(own.Kind, "%s", own.Msg).WithFile(file, 0, 0).WithHint("%s", orElse(near, "give the path of a spec, such as experiments/quickstart.yaml")))
		} else {
			r.fault(from, at, own.Kind, "%s: %s", file, own.Msg).WithHint("%s", orElse(near, "paths are relative to the file that names them"))
		}
		return
	}
	if !slices.Contains(r.files, file) {
		r.files = append(r.files, file)
	}
	root, ok := r.parse(file, data)
	if !ok {
		r.broken = true
		return
	}
	c := converter{reader: r, file: file, layer: layer{tree: map[string]any{}, origins: map[string]Origin{}}}
	top := Origin{Source: file, Line: 1, Column: 1, KeyLine: 1, KeyColumn: 1, Dir: filepath.Dir(file)}
	if root != nil {
		if root.Kind != yaml.MappingNode {
			r.broken = true
			r.fault(c.at(root, root), nil, fault.Invalid, "a spec is a map of keys, not %s", describe(root)).WithHint("see docs/spec.md")
			return
		}
		c.layer.tree = c.mapping(root, nil)
	}
	c.layer.origins[""] = top
	if value, ok := c.layer.tree["extends"]; ok {
		list, isList := value.([]any)
		if _, isBad := value.(bad); !isList && !isBad {
			r.fault(c.layer.origins["extends"], at, fault.Invalid, "want a list, not %v", value).WithHint("write extends: [%v]", value)
		}
		for i, elem := range list {
			o := c.layer.origins[at.with(strconv.Itoa(i)).join()]
			name, isText := elem.(string)
			if !isText {
				if _, isBad := elem.(bad); !isBad {
					r.fault(o, at.with(strconv.Itoa(i)), fault.Invalid, "want the path of a spec file, not %v", elem)
				}
				continue
			}
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(file), name)
			}
			r.readFile(filepath.Clean(name), append(stack[:len(stack):len(stack)], file), o)
		}
		delete(c.layer.tree, "extends")
	}
	r.layers = append(r.layers, c.layer)
}

// maxSpec limits the size of a spec file. A large one has some kilobytes.
const maxSpec = 1 << 20

// nearFile returns a spec whose name is like that of a file that is not there; "" when there is none.
func nearFile(file string) string {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries[:min(len(entries), 1000)] {
		if ext := filepath.Ext(e.Name()); ext == ".yaml" || ext == ".yml" {
			names = append(names, e.Name())
		}
	}
	base := filepath.Base(file)
	near := fault.Nearest(base, names)
	for _, ext := range []string{".yaml", ".yml"} {
		if slices.Contains(names, base+ext) {
			near = base + ext
		}
	}
	if near == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(file), near)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// parse returns the root node; nil for an empty file.
func (r *reader) parse(file string, data []byte) (*yaml.Node, bool) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if err != nil && err.Error() == "EOF" {
		return nil, true
	}
	if err != nil {
		line, msg := 1, strings.TrimPrefix(err.Error(), "yaml: ")
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
			msg = m[2]
			if strings.HasPrefix(msg, "did not find") {
				line++ // yaml.v3 counts lines from 0 in errors of its parser, from 1 in those of its scanner
			}
		}
		e := r.fault(Origin{Source: file, Line: line, Column: 1}, nil, fault.Invalid, "not YAML: %s", msg)
		lines := strings.Split(string(data), "\n")
		for i := max(0, line-2); i < min(len(lines), line+1); i++ {
			if strings.Contains(lines[i], "{}") && strings.Contains(lines[i], "[") {
				e.WithHint("quote a text with {} in it: [\"a photo of a {}.\"]")
			}
			if strings.HasPrefix(strings.TrimLeft(lines[i], " "), "\t") {
				e.WithHint("indent with spaces; YAML forbids tabs")
			}
		}
		return nil, false
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) { // another one, whole or broken
		r.fault(Origin{Source: file, Line: max(second.Line, 1), Column: max(second.Column, 1)}, nil, fault.Invalid, "a second document").
			WithHint("one spec per file; remove everything from the --- on")
		return nil, false
	}
	return doc.Content[0], true
}

// converter turns YAML nodes into values.
type converter struct {
	*reader
	file  string // "" for --set and environment
	one   Origin // the place of everything when file is ""
	layer layer
}

func (c *converter) at(key, value *yaml.Node) Origin {
	o := c.one
	if c.file != "" {
		o = Origin{Source: c.file, Line: value.Line, Column: value.Column, KeyLine: key.Line, KeyColumn: key.Column, Dir: filepath.Dir(c.file)}
	}
	if value.Kind == yaml.ScalarNode {
		o.raw = value.Value
	}
	return o
}

// pair holds a key and its value in a YAML map.
type pair struct {
	key   string
	node  *yaml.Node
	o     Origin
	p     path
	keyed *yaml.Node
}

// pairs returns the keys of a map in file order. It reports keys that are no plain word or a duplicate as
// faults and leaves them out.
func (c *converter) pairs(node *yaml.Node, p path) []pair {
	var out []pair
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		o := c.at(k, v)
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			hint := "keys are plain words"
			if k.Tag == "!!merge" {
				hint = "use extends to share settings between files"
			}
			c.fault(o.key(), p, fault.Invalid, "a key that is %s", describe(k)).WithHint("%s", hint)
			continue
		}
		here := p.with(k.Value)
		if prev := first[k.Value]; prev != nil {
			c.fault(o.key(), here, fault.Invalid, "duplicate key, first given on line %d", prev.Line).WithHint("keep one of the two")
			continue
		}
		first[k.Value] = k
		c.layer.origins[here.join()] = o
		out = append(out, pair{k.Value, v, o, here, k})
	}
	return out
}

func (c *converter) mapping(node *yaml.Node, p path) map[string]any {
	out := map[string]any{}
	for _, e := range c.pairs(node, p) {
		if len(p) == 0 && e.key == "ablate" {
			c.layer.ablate = &block{e.node, e.o, c.file}
			continue
		}
		out[e.key] = c.value(e.keyed, e.node, e.p)
	}
	return out
}

func (c *converter) value(key, node *yaml.Node, p path) any {
	o := c.at(key, node)
	switch node.Kind {
	case yaml.MappingNode:
		return c.mapping(node, p)
	case yaml.SequenceNode:
		out := make([]any, len(node.Content))
		for i, child := range node.Content {
			here := p.with(strconv.Itoa(i))
			c.layer.origins[here.join()] = c.at(child, child)
			out[i] = c.value(child, child, here)
		}
		return out
	case yaml.ScalarNode:
		return c.scalar(o, node, p)
	}
	c.fault(o, p, fault.Invalid, "an alias").WithHint("write the value out; anchors and aliases are no part of a spec")
	return bad{}
}

func (c *converter) scalar(o Origin, node *yaml.Node, p path) any {
	switch node.ShortTag() {
	case "!!null":
		hint := "give a value or remove the key"
		if o.raw != "" {
			hint += fmt.Sprintf("; quote it where a text is meant: %q", o.raw)
		}
		c.fault(o, p, fault.Invalid, "no value").WithHint("%s", hint)
		return bad{}
	case "!!bool":
		var v bool
		if node.Decode(&v) == nil {
			return v
		}
	case "!!int":
		var v int64
		if node.Decode(&v) == nil {
			return v
		}
		c.fault(o, p, fault.Invalid, "%s is too large", node.Value).WithHint("quote it where a text is meant: %q", node.Value)
		return bad{}
	case "!!float":
		var v float64
		if node.Decode(&v) == nil {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				c.fault(o, p, fault.Invalid, "%s is not a finite number", node.Value).WithHint("quote it where a text is meant: %q", node.Value)
				return bad{}
			}
			return v
		}
	case "!!str", "!!timestamp":
		return node.Value
	}
	c.fault(o, p, fault.Invalid, "%s is not a value that a spec can have", node.Value).WithHint("remove the tag %s", node.Tag)
	return bad{}
}

// describe names the kind of a node.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!merge" {
		return "a merge (<<)"
	}
	return strconv.Quote(n.Value)
}
