package run

import (
	"fmt"
	"strings"
	"sync"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// catalog is host.Catalog as core/experiment/spec asks for it; each plugin is looked at once.
type catalog struct {
	*process.Catalog
	mu   sync.Mutex
	seen map[string]described
}

type described struct {
	d   clip.Descriptor
	b   process.Binary
	err error
}

func newCatalog(c *process.Catalog) *catalog {
	return &catalog{Catalog: c, seen: map[string]described{}}
}

// Describe implements spec.Catalog.
func (c *catalog) Describe(kind clip.Kind, name string) (clip.Descriptor, error) {
	d := c.look(kind, name)
	return d.d, d.err
}

func (c *catalog) look(kind clip.Kind, name string) described {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := string(kind) + " " + name
	d, ok := c.seen[key]
	if !ok {
		d.d, d.b, d.err = c.Catalog.Describe(kind, name)
		c.seen[key] = d
	}
	return d
}

var _ spec.Catalog = (*catalog)(nil)

// The roles of plugins in a run. Those of evaluations are roleEval and the evaluation's name.
const (
	roleImage = "image"
	roleText  = "text"
	roleLoss  = "loss"
	roleData  = "data.train"
	roleEval  = "eval."
)

// part is a plugin of a spec.
type part struct {
	role       string
	binary     process.Binary
	descriptor clip.Descriptor
}

// parts are all plugins of a spec, in a stable order.
type parts []part

// plugins finds the plugins of a spec.
func (l Lab) plugins(s *spec.Spec) (parts, error) { return newCatalog(l.Catalog).plugins(s) }

func (c *catalog) plugins(s *spec.Spec) (parts, error) {
	var out parts
	var faults fault.List
	add := func(role string, kind clip.Kind, name string) {
		d := c.look(kind, name)
		if d.err != nil {
			faults = append(faults, fault.New(fault.KindOf(d.err), "%w", d.err).WithPath(role))
		}
		out = append(out, part{role, d.b, d.d})
	}
	add(roleData, clip.KindDataset, s.Data.Train.Dataset)
	add(roleImage, clip.KindEncoder, s.Image.Encoder)
	add(roleText, clip.KindEncoder, s.Text.Encoder)
	add(roleLoss, clip.KindLoss, s.Loss.Plugin)
	for _, e := range s.Eval {
		add(roleEval+e.Name, clip.KindDataset, e.Dataset)
	}
	return out, faults.Err()
}

// sha256 is the digest of the plugin of a role; "" when it is not known.
func (p parts) sha256(role string) string {
	for _, x := range p {
		if x.role == role {
			return x.binary.SHA256
		}
	}
	return ""
}

// digests are the checksums of the binaries by plugin name, for the run's identity.
func (p parts) digests() map[string]string {
	m := map[string]string{}
	for _, x := range p {
		m[x.binary.Ref()] = x.binary.SHA256
	}
	return m
}

// rows are the plugins as the store keeps them.
func (p parts) rows() []store.Plugin {
	rows := make([]store.Plugin, len(p))
	for i, x := range p {
		rows[i] = store.Plugin{Role: x.role, Name: x.binary.Ref(), Version: x.descriptor.Version, SHA256: x.binary.SHA256}
	}
	return rows
}

// changedPlugins are the names of plugins whose binary is not the one recorded, with their digests.
func changedPlugins(before []store.Plugin, now parts) []string {
	digests, seen := now.digests(), map[string]bool{}
	for _, b := range before {
		if sha := digests[b.Name]; sha != b.SHA256 {
			seen[fmt.Sprintf("%s (%.12s, before %.12s)", b.Name, sha, b.SHA256)] = true
		}
	}
	return sorted(seen)
}

func list(names []string) string { return strings.Join(names, ", ") }
