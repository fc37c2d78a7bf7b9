package spec

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
)

// The values of TrainData.Shuffle.
const (
	ShuffleGlobal = "global" // the samples of a source in random order
	ShuffleShards = "shards" // its shards in random order, with windows of samples shuffled in them
	ShuffleNone   = "none"   // as they lie
)

// defaultWindow is the number of samples that ShuffleShards shuffles together where the spec does not say.
const defaultWindow = int64(10000)

// sourceKeys lists the keys of data.train when it is a map.
var sourceKeys = []Key{
	plugin("dataset", clip.KindDataset, "", "dataset plugin"), with,
	key("augment", typeAugment, "none", "`none`, `random_resized_crop`, or a map: `{random_resized_crop: {scale: [.9, 1], ratio: [.75, 1.3333], hflip: 0}, color_jitter: {…}, grayscale: .2, blur: {…}, randaugment: {…}}` ([below](#augmentation))"),
	key("shuffle", typeShuffle, true, "`true` or `global`: a seeded permutation per epoch; `shards`: shards in seeded order, of whose samples each window is shuffled, for disks and stores that are slow to jump; `false` keeps the file's order"),
	key("shuffle_window", clip.TypeInt, nil, "with `shuffle: shards`, how many samples are shuffled together; 10000 when left out").min(1).max(maxInt),
}

// shareKeys lists what an element of the list data.train has beside.
var shareKeys = []Key{
	key("name", clip.TypeString, nil, "in a list: names the source in keys, logs and paths (`data.train[NAME].weight`); the dataset's name when left out"),
	key("weight", clip.TypeFloat, nil, "in a list: the source's share of the training samples, in proportion to the other weights ([mixtures](datasets.md#mixtures))").min(0).max(1e9),
	key("quota", clip.TypeInt, nil, "in a list: exactly so many samples of each batch, instead of a weight").min(1).max(1 << 20),
}

var trainKey = mixed("train", "the training samples: a map, or a list of them to mix", sourceKeys, shareKeys)

// mixed returns a key whose value is a map or a list of maps, which have more keys.
func mixed(name, help string, alone, more []Key) Key {
	return Key{Field: clip.Field{Name: name, Type: typeMixture, Help: help}, Alone: alone, Sub: slices.Concat(alone, more)}
}

// mixture checks data.train or loss: a map, or a list of them. A list of one is the same as the map.
func (c *checker) mixture(k Key, value any, p path) any {
	shares, names, noun := k.Sub[len(k.Alone):], k.Alone[0].Name, k.Alone[0].Kind
	switch v := value.(type) {
	case map[string]any:
		for _, share := range shares {
			if _, given := v[share.Name]; given {
				c.faultAt(c.origin(p.with(share.Name)).key(), p.with(share.Name), "has no effect: there is one %s", noun).
					WithHint("leave it out, or write %s as a list: [{%s: …, weight: 1}, …]", p, names)
				delete(v, share.Name)
			}
		}
		c.section(v, k.Alone, p, k.Name)
		return v
	case []any:
		if len(v) == 0 {
			c.fault(p, "names no %s", noun).WithHint("write [{%s: …}, …]", names)
			return bad{}
		}
		for i := range v {
			v[i] = c.value(section(k.Name+" entry", "", k.Sub...), v[i], p.with(strconv.Itoa(i)))
		}
		m, ok := v[0].(map[string]any)
		if len(v) > 1 || !ok {
			return v
		}
		if _, given := m["quota"]; given {
			c.fault(p.with("0").with("quota"), "has no effect: a source alone fills every batch").WithHint("leave it out")
		}
		if w, given := m["weight"]; given && k.Name == lossKey.Name && w != 1.0 {
			c.fault(p.with("0").with("weight"), "%s, and a loss alone counts whole", show(w)).WithHint("leave it out; train.lr says how large steps are")
		}
		for _, share := range shares {
			delete(m, share.Name)
		}
		c.moveOrigins(p.with("0"), p)
		return m
	}
	return c.wrongType(p, "a map or a list of maps", value)
}

// moveOrigins gives the origins of what lies at a place to another.
func (c *checker) moveOrigins(from, to path) {
	for q, o := range c.origins {
		if q == from.join() || strings.HasPrefix(q, from.join()+sep) {
			delete(c.origins, q)
			c.origins[to.join()+strings.TrimPrefix(q, from.join())] = o
		}
	}
}

// shuffle checks in what order samples come.
func (c *checker) shuffle(value any, p path) any {
	switch value {
	case true, ShuffleGlobal:
		return true
	case false:
		return false
	case ShuffleShards:
		return value
	}
	c.fault(p, "unknown order %s", show(value)).WithHint("true, false, global or shards")
	return bad{}
}

// trainSections returns the places of the sources of data.train.
func trainSections(tree map[string]any) []path { return mixedSections(tree, path{"data", "train"}) }

// mixedSections returns the place of a map, or of each one of a list of them.
func mixedSections(tree map[string]any, p path) []path {
	list, ok := lookup(tree, p).([]any)
	if !ok {
		return []path{p}
	}
	out := make([]path, len(list))
	for i := range list {
		out[i] = p.with(strconv.Itoa(i))
	}
	return out
}

// isMember reports whether p is the key of an element of the list at list.
func isMember(p path, key string, list ...string) bool {
	n := len(list)
	return len(p) == n+2 && slices.Equal(p[:n], path(list)) && p[n+1] == key
}

// sources checks the plugins of data.train and what its sources say of each other. It returns how many samples they have
// together; 0 where that is not known.
func (c *checker) sources(tree map[string]any, used map[string]clip.Descriptor) (samples int) {
	sections := trainSections(tree)
	first := map[string]path{}
	known := true
	for _, p := range sections {
		m, ok := lookup(tree, p).(map[string]any)
		if !ok {
			known = false
			continue
		}
		d := c.plugin(m, c.keyOf(p.with("dataset")), p)
		c.checkPictures(tree, m, d, p)
		used[p.String()] = d
		c.window(m, p)
		with, _ := m["with"].(map[string]any)
		n := samplesOf(d, with)
		known = known && n > 0
		samples += n
		if len(sections) == 1 {
			continue
		}
		c.memberName(m, "dataset", d, p, first)
		if quota, ok := m["quota"].(int64); ok && n > 0 && quota > int64(n) {
			c.fault(p.with("quota"), "%d is more than the source's %d samples", quota, n).WithHint("at most %d: no sample is in a batch twice", n)
		}
	}
	if len(sections) > 1 {
		c.shares(tree, sections)
	}
	if !known {
		return 0
	}
	return samples
}

// window checks shuffle_window against shuffle.
func (c *checker) window(m map[string]any, p path) {
	_, given := m["shuffle_window"]
	switch {
	case m["shuffle"] == ShuffleShards && !given:
		c.setDefault(m, p.with("shuffle_window"), defaultWindow, "default")
	case m["shuffle"] != ShuffleShards && given:
		if _, isBad := m["shuffle"].(bad); !isBad {
			c.fault(p.with("shuffle_window"), "has no effect with shuffle: %v", m["shuffle"]).WithHint("set shuffle: shards")
		}
	}
}

// memberName fills in the name of one of several maps of a list, that of its plugin, and checks it. names is the key that
// names the plugin; first remembers who has which name.
func (c *checker) memberName(m map[string]any, names string, d clip.Descriptor, p path, first map[string]path) {
	at := p.with("name")
	if _, ok := m["name"]; !ok {
		if name, ok := m[names].(string); ok {
			c.setDefault(m, at, filepath.Base(orElse(d.Name, name)), "default")
		}
	}
	name, ok := m["name"].(string)
	if !ok {
		return
	}
	c.nameForm(m, at, nameForm)
	if _, err := strconv.Atoi(name); err == nil {
		c.fault(at, "%q could be a place in the list too", name).WithHint("%s[0] is the first; give the name a letter", p[:len(p)-1])
		return
	}
	if prev, taken := first[name]; taken {
		if c.origin(at).Line == 0 {
			at = p
		}
		c.fault(at, "%q is the name of %s too", name, prev).WithHint("give each a name of its own")
		return
	}
	first[name] = p
}

// shares checks that weights and quotas make whole batches.
func (c *checker) shares(tree map[string]any, sections []path) {
	weighted, quotas, total := 0, 0, int64(0)
	var without []path
	for _, p := range sections {
		m, ok := lookup(tree, p).(map[string]any)
		if !ok {
			return
		}
		w, hasWeight := m["weight"]
		q, hasQuota := m["quota"]
		if _, isBad := w.(bad); isBad {
			return
		}
		if _, isBad := q.(bad); isBad {
			return
		}
		switch {
		case hasWeight && hasQuota:
			c.fault(p.with("quota"), "beside a weight").WithHint("give a source one of the two")
			return
		case w == 0.0:
			c.fault(p.with("weight"), "0, want more than 0").WithHint("remove a source that gives nothing")
			return
		case hasWeight:
			weighted++
		case hasQuota:
			quotas++
			total += q.(int64)
		default:
			without = append(without, p)
		}
	}
	if len(without) > 0 && len(without) < len(sections) {
		c.fault(without[0], "has neither weight nor quota, others have").WithHint("give every source a weight or a quota; without any, each counts by its size")
		return
	}
	batch, ok := lookup(tree, path{"train", "batch_size"}).(int64)
	if !ok || quotas == 0 {
		return
	}
	last := sections[len(sections)-1]
	switch {
	case total > batch:
		c.fault(last, "the quotas of the sources are %d together, and a batch has %d", total, batch).WithHint("lower them, or raise train.batch_size")
	case total == batch && weighted > 0:
		c.fault(last, "the quotas fill the batch of %d and leave nothing to the sources with a weight", batch).WithHint("lower them, or raise train.batch_size")
	case total < batch && weighted == 0:
		c.fault(last, "the quotas of the sources are %d together, and a batch has %d", total, batch).
			WithHint("make them add up, or give a source a weight instead: it takes the rest")
	}
}

// decodableTrain returns data.train in the form of Data.Train's JSON: a list.
func decodableTrain(value any) any {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		m["augment"] = decodableAugment(m["augment"])
		switch m["shuffle"] {
		case true:
			m["shuffle"] = ShuffleGlobal
		case false:
			m["shuffle"] = ShuffleNone
		}
	}
	return list
}

// TrainSection returns the place of a source of the training data in the spec.
func (s *Spec) TrainSection(source int) string {
	if len(s.Data.Train) <= 1 {
		return "data.train"
	}
	return "data.train[" + strconv.Itoa(source) + "]"
}
