package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Entry holds one value of a resolved spec.
type Entry struct {
	Path   string // image.with.width, eval[0].zero_shot.templates
	Value  any    // bool, int64, float64, string, []any, or an empty map
	Origin Origin
}

// Entries returns all values, defaults included, in the order of docs/spec.md. A list of scalars is one value;
// a list of maps is taken apart.
func (s *Spec) Entries() []Entry {
	var out []Entry
	var walk func(v any, keys []Key, p path)
	walk = func(v any, keys []Key, p path) {
		switch t := v.(type) {
		case map[string]any:
			for _, name := range orderedKeys(t, keys) {
				var sub []Key
				if i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name }); i >= 0 {
					sub = keys[i].Sub
				}
				walk(t[name], sub, p.with(name))
			}
			if len(t) > 0 {
				return
			}
		case []any:
			if len(t) > 0 {
				if _, isMap := t[0].(map[string]any); isMap {
					for i, e := range t {
						walk(e, keys, p.with(strconv.Itoa(i)))
					}
					return
				}
			}
		}
		o := (&checker{origins: s.origins}).origin(p)
		out = append(out, Entry{Path: p.String(), Value: v, Origin: o})
	}
	walk(s.tree, Keys, nil)
	return out
}

// Locate returns the place of the value at a path, written as Entries writes it, or of the nearest thing around
// it.
func (s *Spec) Locate(at string) Origin {
	p := parsePath(at)
	return (&checker{origins: s.origins}).origin(p)
}

// DeviceKey returns the key that says where a part of the spec (image, text, loss, teacher.image, teacher.text)
// computes: its own, or device.
func (s *Spec) DeviceKey(part string) string {
	if lookup(s.tree, append(parsePath(part), "device")) != nil {
		return part + ".device"
	}
	return "device"
}

// orderedKeys returns the keys of m in schema order, the others sorted after them.
func orderedKeys(m map[string]any, keys []Key) []string {
	rank := func(name string) int {
		if i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name }); i >= 0 {
			return i
		}
		return len(keys)
	}
	names := sortedKeys(m)
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

// YAML writes the resolved spec as a spec file that loads to the same Spec anywhere on this machine: every
// default written out, every path absolute, nothing inherited. With origins, a comment after each value says
// where it was set.
func (s *Spec) YAML(origins bool) string {
	node := s.node(s.tree, Keys, nil, origins)
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		panic("spec: a resolved tree does not encode: " + err.Error())
	}
	return b.String()
}

func (s *Spec) node(v any, keys []Key, p path, origins bool) *yaml.Node {
	comment := func(n *yaml.Node) *yaml.Node {
		if origins {
			n.LineComment = (&checker{origins: s.origins}).origin(p).String()
		}
		return n
	}
	switch t := v.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if len(t) == 0 {
			n.Style = yaml.FlowStyle
			return comment(n)
		}
		for _, name := range orderedKeys(t, keys) {
			var sub []Key
			if i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name }); i >= 0 {
				sub = keys[i].Sub
			}
			k := &yaml.Node{}
			k.SetString(name)
			n.Content = append(n.Content, k, s.node(t[name], sub, p.with(name), origins))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		nested := false
		for i, e := range t {
			_, isMap := e.(map[string]any)
			nested = nested || isMap
			n.Content = append(n.Content, s.node(e, keys, p.with(strconv.Itoa(i)), origins && isMap))
		}
		if !nested {
			n.Style = yaml.FlowStyle
			return comment(n)
		}
		return n
	}
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil {
		panic("spec: a scalar does not encode: " + err.Error())
	}
	return comment(n)
}

// JSON writes the resolved spec, keys sorted: the same bytes for the same values.
func (s *Spec) JSON() []byte {
	data, err := json.Marshal(s.tree)
	if err != nil {
		panic("spec: a resolved tree does not encode: " + err.Error())
	}
	return data
}

// neutralKeys lists the keys that change what is shown or kept, not what is computed; they are no part of an
// identity. Threads and device are part of it: they change the last bits.
var neutralKeys = []path{
	{"name"}, {"description"}, {"variant"}, {"model"}, {"device_memory"}, {"timeouts"}, {"plugins"}, {"python"}, {"report"}, {"data", "max_bad_share"}, {"data", "workers"}, {"data", "prefetch"},
	{"train", "parallel_towers"}, {"train", "colocate"}, {"train", "feature_cache"}, {"train", "log_every"}, {"train", "checkpoint_every"}, {"train", "keep_checkpoints"},
}

// Identity returns the hex sha256 of what determines a run's numbers: the resolved values, except those that
// only change what is shown or kept, the sha256 of each plugin binary under a stable name ("encoders/vit"), and
// those of init.weights and teacher.init.weights under "init" and "teacher.init". Paths of data count as the absolute
// paths they resolve to; those of weights do not count, nor does a setting whose content has a digest under its key
// ("text.with.folder").
func (s *Spec) Identity(plugins map[string]string) string {
	tree := clone(s.tree).(map[string]any)
	for _, p := range neutralKeys {
		if m, ok := lookup(tree, p[:len(p)-1]).(map[string]any); ok {
			delete(m, p[len(p)-1])
		}
	}
	if device := lookup(tree, path{"train", "eval_device"}); device != nil && (device == "auto" || device == tree["device"]) { // the same bits
		delete(tree["train"].(map[string]any), "eval_device")
	}
	neutralCache(tree)
	delete(tree, "init")
	if teacher, ok := tree["teacher"].(map[string]any); ok {
		delete(teacher, "init")
	}
	for key := range plugins {
		if section, name, ok := strings.Cut(key, ".with."); ok {
			if m, ok := lookup(tree, append(path(strings.Split(section, ".")), "with")).(map[string]any); ok {
				delete(m, name)
			}
		}
	}
	for _, s := range pluginSections {
		dropZeros(lookup(tree, s.section.with("with")))
	}
	for _, p := range append(trainSections(tree), lossSections(tree)...) {
		dropZeros(lookup(tree, p.with("with")))
	}
	list, _ := tree["eval"].([]any)
	for i := range list {
		dropZeros(lookup(list, path{strconv.Itoa(i), "with"}))
		dropZeros(lookup(list, path{strconv.Itoa(i), "train", "with"}))
		if m, ok := list[i].(map[string]any); ok {
			delete(m, "max_bad_share")
			for _, key := range []string{"equal_captions", "calibration", "choices"} {
				if m[key] == false {
					delete(m, key)
				}
			}
		}
	}
	data, err := json.Marshal(tree)
	if err != nil {
		panic("spec: a resolved tree does not encode: " + err.Error())
	}
	h := sha256.New()
	h.Write(data)
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		h.Write([]byte("\n" + name + " " + plugins[name]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// dropZeros removes zero values from a with block. A setting for which the plugin declares no default is zero
// when it is left out; writing the zero must not make another run.
func dropZeros(with any) {
	m, _ := with.(map[string]any)
	for name, v := range m {
		if isZero(v) {
			delete(m, name)
		}
	}
}

// Params returns the entries as a flat map, for comparing runs by key.
func (s *Spec) Params() map[string]any {
	out := map[string]any{}
	for _, e := range s.Entries() {
		out[e.Path] = clone(e.Value)
	}
	return out
}
