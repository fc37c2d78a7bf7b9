package spec

import (
	"slices"
	"strings"

	"tandem/core/clip"
)

// augmentNames lists the augmentations that a name alone asks for; the second is also a key of the map.
var augmentNames = []string{"none", "random_resized_crop"}

// cropKeys lists the settings of random_resized_crop.
var cropKeys = []Key{
	rangeKey("scale", 1e-6, 1, 0.9, 1.0, "range of the crop's area, as a share of the picture's"),
	rangeKey("ratio", 1e-3, 1e3, 3.0/4, 4.0/3, "range of its aspect ratio"),
	key("hflip", clip.TypeFloat, 0.0, "probability of a mirror image").min(0).max(1),
}

// jitterNames lists the strengths of color_jitter in the order of clip.Augment.ColorJitter.
var jitterNames = []string{"brightness", "contrast", "saturation", "hue"}

// alterKeys lists what may follow the crop, each optional. Datasets need clip.CapAugment for them.
var alterKeys = []Key{
	section("randaugment", "operations drawn from RandAugment's fourteen",
		key("ops", clip.TypeInt, int64(2), "how many, one after the other; 0: none").min(0).max(100),
		key("magnitude", clip.TypeInt, int64(9), "how strong each is").min(0).max(30)).optional(),
	section("color_jitter", "random changes of colour, in random order",
		key("brightness", clip.TypeFloat, 0.0, "factors from 1 - brightness to 1 + brightness").min(0).max(100),
		key("contrast", clip.TypeFloat, 0.0, "likewise").min(0).max(100),
		key("saturation", clip.TypeFloat, 0.0, "likewise").min(0).max(100),
		key("hue", clip.TypeFloat, 0.0, "turns of the colour circle, from -hue to hue").min(0).max(0.5),
		key("prob", clip.TypeFloat, 1.0, "probability that a picture is changed at all").min(0).max(1)).optional(),
	key("grayscale", clip.TypeFloat, nil, "probability that a picture becomes grey").min(0).max(1),
	section("blur", "a Gaussian blur",
		key("prob", clip.TypeFloat, 0.5, "its probability").min(0).max(1),
		rangeKey("sigma", 1e-3, 100, 0.1, 2.0, "range of its standard deviation, in pixels of the crop")).optional(),
}

// augment checks how training pictures are augmented: none, random_resized_crop, or a map. In a map the crop has its
// defaults when it is left out; none in its place means the transform of evaluation. What a map asks for that changes
// nothing is removed, so that it does not make another run.
func (c *checker) augment(value any, p path) any {
	crop := augmentNames[1]
	if name, ok := value.(string); ok {
		if !slices.Contains(augmentNames, name) {
			c.fault(p, "unknown augmentation %q", name).WithHint("%s", acceptsHint("augment", name, augmentNames))
			return bad{}
		}
		if name == "none" {
			return "none"
		}
		value = map[string]any{name: map[string]any{}}
	}
	m, ok := value.(map[string]any)
	if !ok {
		return c.wrongType(p, "a name or a map", value)
	}
	before := len(c.faults)
	keys := append([]Key{section(crop, "", cropKeys...)}, alterKeys...)
	noCrop := m[crop] == "none"
	if noCrop {
		keys[0] = key(crop, clip.TypeString, nil, "").enum("none")
	}
	c.section(m, keys, p, "augment")
	if len(c.faults) > before {
		return bad{}
	}
	for _, of := range []path{{crop, "scale"}, {crop, "ratio"}, {"blur", "sigma"}} {
		if r, ok := lookup(m, of).([]any); ok && r[0].(float64) > r[1].(float64) {
			c.fault(append(p.with(of[0]), of[1]), "%v is more than %v", r[0], r[1]).WithHint("the smaller first")
		}
	}
	c.dropIdle(m, p)
	if noCrop && len(m) == 1 {
		return "none"
	}
	return m
}

// dropIdle removes what changes no picture. Jitter without any strength is a fault, as it was hardly meant.
func (c *checker) dropIdle(m map[string]any, p path) {
	if j, ok := m["color_jitter"].(map[string]any); ok {
		idle := !slices.ContainsFunc(jitterNames, func(name string) bool { return j[name] != 0.0 })
		if idle && j["prob"] != 0.0 {
			c.fault(p.with("color_jitter"), "changes nothing").WithHint("for instance {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, prob: 0.8}")
		}
		if j["prob"] == 0.0 {
			delete(m, "color_jitter")
		}
	}
	if lookup(m, path{"randaugment", "ops"}) == int64(0) {
		delete(m, "randaugment")
	}
	if lookup(m, path{"blur", "prob"}) == 0.0 {
		delete(m, "blur")
	}
	if m["grayscale"] == 0.0 {
		delete(m, "grayscale")
	}
}

// checkPictures reports augmentations of the section m at p (data.train), and kept pictures, that the dataset d does not
// have.
func (c *checker) checkPictures(tree, m map[string]any, d clip.Descriptor, p path) {
	if d.Name == "" {
		return
	}
	augment, _ := m["augment"].(map[string]any)
	for _, name := range sortedKeys(augment) {
		if _, isCrop := augment[name].(map[string]any); name == augmentNames[1] && isCrop {
			continue
		}
		if !slices.Contains(d.Capabilities, clip.CapAugment) {
			c.fault(p.with("augment").with(name), "datasets/%s augments by random_resized_crop alone", d.Name).
				WithHint("%s", c.datasetsWith(clip.CapAugment))
			break
		}
	}
	if lookup(tree, path{"data", "cache"}) != nil && !slices.Contains(d.Capabilities, clip.CapCache) {
		c.fault(path{"data", "cache"}, "datasets/%s keeps no pictures", d.Name).WithHint("%s", c.datasetsWith(clip.CapCache))
	}
}

// datasetsWith tells which datasets found have a capability.
func (c *checker) datasetsWith(capability string) string {
	k := c.keyOf(path{"data", "train", "dataset"})
	var fit []string
	for _, name := range c.fittingPlugins(k) {
		if d, err := c.catalog.Describe(k.Kind, name); err == nil && slices.Contains(d.Capabilities, capability) {
			fit = append(fit, name)
		}
	}
	if len(fit) == 0 {
		return "none of the datasets found has the capability " + capability
	}
	return "datasets found with the capability " + capability + ": " + strings.Join(fit, ", ")
}

// cache checks where data.cache is in bytes.
func (c *checker) cache(tree map[string]any) {
	p := path{"data", "cache", "max"}
	if text, ok := lookup(tree, p).(string); ok {
		switch m, err := ParseMemory(text); {
		case err != nil: // told already
		case m.Bytes == 0:
			c.fault(p, "a share of what?").WithHint("write bytes: 20 GiB")
		case m.Bytes < 1<<20:
			c.fault(p, "%s is too little to keep pictures in", text).WithHint("write 20 GiB; at least 1 MiB")
		}
	}
}

// decodableAugment returns an augmentation in the form of clip.Augment's JSON; nil for none.
func decodableAugment(value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	out := map[string]any{"name": "none"}
	if crop, ok := m[augmentNames[1]].(map[string]any); ok {
		out = crop
		out["name"] = augmentNames[1]
	}
	if j, ok := m["color_jitter"].(map[string]any); ok {
		var strengths []any
		for _, name := range jitterNames {
			strengths = append(strengths, j[name])
		}
		out["color_jitter"], out["color_jitter_prob"] = strengths, j["prob"]
	}
	if v, ok := m["grayscale"]; ok {
		out["grayscale"] = v
	}
	if b, ok := m["blur"].(map[string]any); ok {
		out["blur"], out["blur_sigma"] = b["prob"], b["sigma"]
	}
	if r, ok := m["randaugment"].(map[string]any); ok {
		out["randaugment_ops"], out["randaugment_magnitude"] = r["ops"], r["magnitude"]
	}
	return out
}

// neutralCache removes from a tree what data.cache does not change of a run's numbers: all of it where pictures are kept
// as they are, else how many.
func neutralCache(tree map[string]any) {
	data, _ := tree["data"].(map[string]any)
	cache, ok := data["cache"].(map[string]any)
	if !ok {
		return
	}
	if delete(cache, "max"); cache["format"] == "raw" {
		delete(data, "cache")
	}
}
