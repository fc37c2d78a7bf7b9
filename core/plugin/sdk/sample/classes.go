package sample

import (
	"fmt"
	"strings"

	"tandem/core/clip"
)

// Classes numbers the names of classes in the order in which they are added. The zero value has none.
type Classes struct {
	names []string
	ids   map[string]int32
}

// Add adds a name, unless it is there, and returns its number. "" is no class: its number is -1.
func (c *Classes) Add(name string) int32 {
	if id := c.ID(name); id >= 0 || name == "" {
		return id
	}
	if c.ids == nil {
		c.ids = map[string]int32{}
	}
	id := int32(len(c.names))
	c.names, c.ids[name] = append(c.names, name), id
	return id
}

// ID returns the number of a name, -1 for one that was not added.
func (c *Classes) ID(name string) int32 {
	if id, ok := c.ids[name]; ok {
		return id
	}
	return -1
}

// Target returns the labelling by these classes.
func (c *Classes) Target(name string) clip.Target { return clip.Target{Name: name, Classes: c.names} }

// FolderTarget returns the labelling by classes that are paths of folders: each is called by its last part, or, with unique, by all of
// it where two end alike, "computer games".
func (c *Classes) FolderTarget(name string, unique bool) clip.Target {
	last := func(n string) string { return n[strings.LastIndex(n, "/")+1:] }
	ends := map[string]int{}
	for _, n := range c.names {
		ends[last(n)]++
	}
	texts := make([]string, len(c.names))
	for i, n := range c.names {
		if texts[i] = last(n); unique && ends[texts[i]] > 1 {
			texts[i] = strings.ReplaceAll(n, "/", " ")
		}
	}
	return clip.Target{Name: name, Classes: texts}
}

// ByClass returns a sample for each label, the number of a class, with the templates filled with the class as captions. Its key
// is its place in the split. The samples of a class are positives of one another and share their captions.
func ByClass(split string, labels []byte, classes, templates []string) []Sample {
	captions := make([][]string, len(classes))
	for i, name := range classes {
		captions[i] = FillAll(templates, name)
	}
	out := make([]Sample, len(labels))
	for i, label := range labels {
		out[i] = Sample{Key: fmt.Sprintf("%s/%05d", split, i), Group: int64(label), Captions: captions[label], Labels: []int32{int32(label)}}
	}
	return out
}
