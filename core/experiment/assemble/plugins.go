package assemble

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/results/store"
)

// The roles of plugins in a run. An evaluation's dataset has RoleEval followed by the evaluation's name.
const (
	RoleImage        = "image"
	RoleText         = "text"
	RoleLoss         = "loss" // see LossRoles
	RoleTeacherImage = "teacher.image"
	RoleTeacherText  = "teacher.text"
	RoleData         = "data.train" // see DataRoles
	RoleEval         = "eval."
	RoleEvalTrain    = "eval-train." // likewise, of the samples that its measures learn from
)

// Catalog looks every plugin up once and remembers the answer, also a failure. It implements spec.Catalog
// and may be used from several goroutines.
type Catalog struct {
	*catalog.Catalog
	mu     sync.Mutex
	seen   map[string]described
	others map[string]*Catalog // with other interpreters
}

// described holds what the catalog answered about one plugin.
type described struct {
	descriptor clip.Descriptor
	binary     catalog.Binary
	err        error
}

var (
	_ spec.Catalog    = (*Catalog)(nil)
	_ spec.WithPython = (*Catalog)(nil)
)

// NewCatalog returns a Catalog that remembers nothing yet: it sees plugins as they are now.
func NewCatalog(c *catalog.Catalog) *Catalog {
	return &Catalog{Catalog: c, seen: map[string]described{}, others: map[string]*Catalog{}}
}

// WithPython implements spec.WithPython.
func (c *Catalog) WithPython(interpreter string) spec.Catalog { return c.withPython(interpreter) }

func (c *Catalog) withPython(interpreter string) *Catalog {
	if interpreter == "" || interpreter == c.Python {
		return c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.others[interpreter] == nil {
		other := *c.Catalog
		other.Python = interpreter
		c.others[interpreter] = NewCatalog(&other)
	}
	return c.others[interpreter]
}

// Describe implements spec.Catalog.
func (c *Catalog) Describe(kind clip.Kind, name string) (clip.Descriptor, error) {
	d := c.lookUp(kind, name)
	return d.descriptor, d.err
}

func (c *Catalog) lookUp(kind clip.Kind, name string) described {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := string(kind) + " " + name
	d, ok := c.seen[key]
	if !ok {
		d.descriptor, d.binary, d.err = c.Catalog.Describe(kind, name)
		c.seen[key] = d
	}
	return d
}

// Plugin tells which binary fills a role of a spec.
type Plugin struct {
	Role       string
	Binary     catalog.Binary
	Descriptor clip.Descriptor
}

// Plugins lists the plugins of a spec in a stable order: training data, image tower, text tower, loss, teachers,
// the data of each evaluation, then what evaluations learn from.
type Plugins []Plugin

// Plugins finds the plugins of a spec. The error names every one that is not found or cannot be described.
func (c *Catalog) Plugins(s *spec.Spec) (Plugins, error) {
	c = c.withPython(s.Python)
	var out Plugins
	var faults fault.List
	add := func(role string, kind clip.Kind, name string) {
		d := c.lookUp(kind, name)
		if d.err != nil {
			faults = append(faults, fault.New(fault.KindOf(d.err), "%w", d.err).WithPath(role))
		}
		out = append(out, Plugin{role, d.binary, d.descriptor})
	}
	for i, role := range DataRoles(s) {
		add(role, clip.KindDataset, s.Data.Train[i].Dataset)
	}
	add(RoleImage, clip.KindEncoder, s.Image.Encoder)
	add(RoleText, clip.KindEncoder, s.Text.Encoder)
	for _, role := range LossRoles(s) {
		add(role, clip.KindLoss, lossOf(s, role).Plugin)
	}
	for _, role := range teachers(s) {
		add(role, clip.KindEncoder, towerOf(s, role).Encoder)
	}
	for _, e := range s.Eval {
		add(RoleEval+e.Name, clip.KindDataset, e.Dataset)
	}
	for _, e := range s.Eval {
		if e.Train != nil {
			add(RoleEvalTrain+e.Name, clip.KindDataset, e.Train.Dataset)
		}
	}
	return out, faults.Err()
}

// digestOf returns the sha256 of the binary that fills a role; "" when it is not known.
func (p Plugins) digestOf(role string) string {
	for _, x := range p {
		if x.Role == role {
			return x.Binary.SHA256
		}
	}
	return ""
}

// Digests returns the sha256 of each binary by plugin name.
func (p Plugins) Digests() map[string]string {
	m := map[string]string{}
	for _, x := range p {
		m[x.Binary.Ref()] = x.Binary.SHA256
	}
	return m
}

// DevFiles says which plugins files of somebody's work stand in for (catalog.Catalog.Dev), as a clause; "" when none do.
func (p Plugins) DevFiles() string {
	used := map[string]bool{}
	for _, x := range p {
		if x.Binary.Dev {
			used[fmt.Sprintf("%s stood in for %s (%.12s)", x.Binary.Path, x.Binary.Ref(), x.Binary.SHA256)] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(used)), ", ")
}

// Rows returns the plugins as the store keeps them.
func (p Plugins) Rows() []store.Plugin {
	rows := make([]store.Plugin, len(p))
	for i, x := range p {
		rows[i] = store.Plugin{Role: x.Role, Name: x.Binary.Ref(), Version: x.Descriptor.Version, SHA256: x.Binary.SHA256}
	}
	return rows
}

// ChangedSince lists, joined by commas, the recorded plugins whose binary is another one now, with both
// digests; "" when none is.
func (p Plugins) ChangedSince(recorded []store.Plugin) string {
	digests, changed := p.Digests(), map[string]bool{}
	for _, r := range recorded {
		if sha := digests[r.Name]; sha != r.SHA256 {
			changed[fmt.Sprintf("%s (%.12s, before %.12s)", r.Name, sha, r.SHA256)] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(changed)), ", ")
}

// hasCapability reports whether a plugin claims a capability.
func hasCapability(d clip.Descriptor, name string) bool { return slices.Contains(d.Capabilities, name) }
