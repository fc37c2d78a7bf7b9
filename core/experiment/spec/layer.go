package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"gopkg.in/yaml.v3"

	"tandem/core/fault"
)

// EnvPrefix starts the environment variables that set spec keys. The rest is the path in upper case,
// its elements joined by two underscores: RUNNER_SET_TRAIN__BATCH_SIZE is train.batch_size.
const EnvPrefix = "RUNNER_SET_"

// merged holds the layers put together.
type merged struct {
	k       *koanf.Koanf
	origins map[string]Origin
	ablate  *block
}

// pluginSections lists the places of a plugin's name and of the with block that belongs to it.
var pluginSections = []struct{ section, name path }{
	{path{"image"}, path{"image", "encoder"}},
	{path{"text"}, path{"text", "encoder"}},
	{path{"loss"}, path{"loss", "plugin"}},
	{path{"data", "train"}, path{"data", "train", "dataset"}},
	{path{"teacher", "image"}, path{"teacher", "image", "encoder"}},
	{path{"teacher", "text"}, path{"teacher", "text", "encoder"}},
}

func newMerged() *merged {
	return &merged{k: koanf.New(sep), origins: map[string]Origin{}}
}

// add lays l over m.
func (m *merged) add(l layer) {
	for _, s := range pluginSections {
		below, above := m.k.Get(s.name.join()), lookup(l.tree, s.name)
		if below != nil && above != nil && below != above {
			with := s.section.with("with").join()
			m.k.Delete(with)
			m.forget(with)
		}
	}
	// confmap with no delimiter and a merge of maps cannot fail.
	_ = m.k.Load(confmap.Provider(l.tree, ""), nil)
	replaced := map[string]bool{}
	for p := range l.origins {
		if _, isMap := lookup(l.tree, split(p)).(map[string]any); !isMap {
			replaced[p] = true
		}
	}
	for q := range m.origins {
		if isUnder(q, replaced) {
			delete(m.origins, q)
		}
	}
	for p, o := range l.origins {
		m.origins[p] = o
	}
	if l.ablate != nil {
		m.ablate = l.ablate
	}
}

// isUnder reports whether a path, or one that it lies inside of, is among those given.
func isUnder(q string, given map[string]bool) bool {
	for i := 0; i < len(q); i++ {
		if strings.HasPrefix(q[i:], sep) && given[q[:i]] {
			return true
		}
	}
	return given[q]
}

// forget drops the origins of p and of everything under it.
func (m *merged) forget(p string) {
	for q := range m.origins {
		if q == p || strings.HasPrefix(q, p+sep) {
			delete(m.origins, q)
		}
	}
}

// overrides reads the environment and --set into m, in that order.
func (r *reader) overrides(m *merged, env, set []string) {
	var names []string
	for _, pair := range env {
		if strings.HasPrefix(pair, EnvPrefix) {
			names = append(names, pair)
		}
	}
	slices.Sort(names)
	for _, pair := range names {
		name, value, _ := strings.Cut(pair, "=")
		p := strings.Split(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "__")
		r.files = append(r.files, name)
		r.override(m, Origin{Source: name}, p, value)
	}
	for _, pair := range set {
		o := Origin{Source: "--set " + pair}
		r.files = append(r.files, o.Source)
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			r.fault(o, nil, fault.Invalid, "no value").WithHint("write --set a.b=c, for example --set train.batch_size=64")
			continue
		}
		r.override(m, o, parsePath(key), value)
	}
}

// override lays one value over m. An index into a list changes that element of the list below.
func (r *reader) override(m *merged, o Origin, p path, text string) {
	o.raw = text
	if slices.Contains(p, "") || p[0] == "extends" || p[0] == "ablate" {
		r.fault(o, p, fault.Invalid, "cannot be set here").WithHint("write --set a.b=c, for example --set train.batch_size=64")
		return
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		r.fault(o, p, fault.Invalid, "%q is not YAML: %s", text, strings.TrimPrefix(err.Error(), "yaml: ")).WithHint("quote it")
		return
	}
	c := converter{reader: r, one: o, layer: layer{origins: map[string]Origin{}}}
	var value any = "" // an empty value is the empty text
	if len(doc.Content) > 0 {
		node := doc.Content[0]
		if node.ShortTag() == "!!str" && node.Style == 0 && node.Kind == yaml.ScalarNode {
			node.Value = strings.TrimSpace(text) // "loss #3": to a shell, what follows is no comment
		}
		value = c.value(node, node, p)
		if node.Kind != yaml.ScalarNode {
			o.raw = ""
		}
	}
	c.layer.origins[p.join()] = o
	if e := m.set(assignment{p, value, o, c.layer.origins}); e != nil {
		r.faults = append(r.faults, e)
	}
}

// assignment sets one value at one place.
type assignment struct {
	p       path
	value   any
	origin  Origin
	origins map[string]Origin // of the value and everything in it
}

// set lays values over m as one layer, so that a plugin's name does not drop the settings given with
// it. An index into a list changes that element of the list below. No place may be inside another.
func (m *merged) set(list ...assignment) *fault.Error {
	l := layer{tree: map[string]any{}, origins: map[string]Origin{}}
	var elements []assignment
	below := m.k.Raw()
	for _, a := range list {
		if listPrefix(below, a.p) > 0 {
			elements = append(elements, a)
			continue
		}
		setIn(l.tree, a.p, clone(a.value))
		for i := 1; i < len(a.p); i++ {
			if _, ok := m.origins[a.p[:i].join()]; !ok {
				l.origins[a.p[:i].join()] = a.origin
			}
		}
		for q, o := range a.origins {
			l.origins[q] = o
		}
	}
	if len(l.tree) > 0 {
		m.add(l)
	}
	for i := range elements {
		elements[i] = m.indexed(elements[i])
	}
	slices.SortStableFunc(elements, func(a, b assignment) int { return len(a.p) - len(b.p) }) // a source's dataset before its settings
	for _, a := range elements {
		i := listPrefix(m.k.Raw(), a.p)
		list := cloneList(lookup(m.k.Raw(), a.p[:i]).([]any))
		if isMember(a.p, "dataset", "data", "train") || isMember(a.p, "plugin", "loss") {
			member, names := a.p[:len(a.p)-1], a.p[len(a.p)-1]
			if of, ok := lookup(list, member[i:]).(map[string]any); ok && of[names] != a.value {
				delete(of, "with")
				m.forget(member.with("with").join())
			}
		}
		if !setIn(list, a.p[i:], clone(a.value)) {
			return noElement(list, a.p, i).WithFile(a.origin.Source, a.origin.Line, a.origin.Column)
		}
		// Only the element changes hands: the rest of the list keeps its origins.
		_ = m.k.Load(confmap.Provider(nest(a.p[:i], list), ""), nil)
		m.forget(a.p.join())
		for q, o := range a.origins {
			m.origins[q] = o
		}
	}
	return nil
}

// noElement reports a path whose element i is no element of a list.
func noElement(list []any, p path, i int) *fault.Error {
	if _, err := strconv.Atoi(p[i]); err == nil {
		return fault.New(fault.Invalid, "the list %s is of length %d", p[:i], len(list)).WithPath(p.String()).WithHint("indices count from 0")
	}
	var names []string
	for k, e := range list {
		names = append(names, orElse(nameOf(e), strconv.Itoa(k)))
	}
	return fault.New(fault.Invalid, "none or several of the list %s are called %q", p[:i], p[i]).WithPath(fmt.Sprintf("%s[%s]", p[:i], p[i])).
		WithHint("its elements are %s; an index from 0 names one too", strings.Join(names, ", "))
}

// copy returns a copy of m that shares nothing with it.
func (m *merged) copy() *merged {
	c := newMerged()
	_ = c.k.Load(confmap.Provider(m.k.Raw(), ""), nil) // both copy
	c.origins = maps.Clone(m.origins)
	return c
}

// listPrefix returns how many elements of p lead to a list that p goes on into; 0 when none does.
func listPrefix(tree map[string]any, p path) int {
	for i := 1; i < len(p); i++ {
		if _, ok := lookup(tree, p[:i]).([]any); ok {
			return i
		}
	}
	return 0
}

// lookup returns the value at p, through maps and lists; nil when there is none.
func lookup(tree any, p path) any {
	for _, elem := range p {
		switch t := tree.(type) {
		case map[string]any:
			tree = t[elem]
		case []any:
			i := element(t, elem)
			if i < 0 {
				return nil
			}
			tree = t[i]
		default:
			return nil
		}
	}
	return tree
}

// setIn sets the value at p inside a map or list, and makes maps on the way. It returns false when an index is
// out of range or p goes on into a scalar.
func setIn(in any, p path, value any) bool {
	switch t := in.(type) {
	case map[string]any:
		if len(p) == 1 {
			t[p[0]] = value
			return true
		}
		switch t[p[0]].(type) {
		case map[string]any, []any:
		default:
			t[p[0]] = map[string]any{}
		}
		return setIn(t[p[0]], p[1:], value)
	case []any:
		i := element(t, p[0])
		if i < 0 {
			return false
		}
		if len(p) == 1 {
			t[i] = value
			return true
		}
		return setIn(t[i], p[1:], value)
	}
	return false
}

// element returns the place in a list that an element of a path means: an index, or the name of the one map that has it,
// or whose plugin has it where maps have no names. It returns -1 when there is none.
func element(list []any, elem string) int {
	if i, err := strconv.Atoi(elem); err == nil {
		if i < 0 || i >= len(list) {
			return -1
		}
		return i
	}
	found := -1
	for i, e := range list {
		if nameOf(e) != elem {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// nameOf returns what a path calls an element of a list of maps; "" when it has no name.
func nameOf(e any) string {
	m, _ := e.(map[string]any)
	for _, key := range []string{"name", "dataset", "plugin"} {
		if name, ok := m[key].(string); ok {
			return name
		}
	}
	return ""
}

// byIndex returns p with the names of list elements replaced by their indices.
func (m *merged) byIndex(p path) path {
	tree := m.k.Raw()
	for i := 1; i < len(p); i++ {
		list, ok := lookup(tree, p[:i]).([]any)
		if !ok {
			continue
		}
		if at := element(list, p[i]); at >= 0 && p[i] != strconv.Itoa(at) {
			p = slices.Clone(p)
			p[i] = strconv.Itoa(at)
		}
	}
	return p
}

// indexed returns an assignment with the names of list elements replaced by their indices.
func (m *merged) indexed(a assignment) assignment {
	p := m.byIndex(a.p)
	if slices.Equal(p, a.p) {
		return a
	}
	origins := map[string]Origin{}
	for q, o := range a.origins {
		if q == a.p.join() || strings.HasPrefix(q, a.p.join()+sep) {
			q = p.join() + strings.TrimPrefix(q, a.p.join())
		}
		origins[q] = o
	}
	return assignment{p, a.value, a.origin, origins}
}

func nest(p path, value any) map[string]any {
	for i := len(p) - 1; i >= 0; i-- {
		value = map[string]any{p[i]: value}
	}
	return value.(map[string]any)
}

// clone returns a copy of maps and lists that shares nothing.
func clone(v any) any {
	switch t := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, e := range t {
			out[k] = clone(e)
		}
		return out
	case []any:
		return cloneList(t)
	}
	return v
}

func cloneList(list []any) []any {
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = clone(e)
	}
	return out
}

func split(joined string) path {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, sep)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
