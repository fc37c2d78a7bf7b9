package spec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
)

// Draft holds a spec whose layers are put together and whose values are not checked yet. The spec itself and
// those of a sweep's cells come from one draft.
type Draft struct {
	File   string
	Ablate *Ablate // nil when there is none, or one with faults

	reader *reader
	merged *merged
	opts   Options
}

// Choice holds what a cell changes in a spec. The zero value changes nothing.
type Choice struct {
	Variant   string // "": as the spec says
	Overrides []Override
}

// Read reads the layers of a spec and its ablate block. Err returns what is wrong with them.
func Read(file string, opts Options) *Draft { return read(&reader{}, file, opts) }

func read(r *reader, file string, opts Options) *Draft {
	r.readFile(filepath.Clean(file), nil, Origin{})
	m := newMerged()
	for _, l := range r.layers {
		m.add(l)
	}
	r.overrides(m, opts.Env, opts.Set)
	d := &Draft{File: file, reader: r, merged: m, opts: opts}
	if m.ablate != nil && !r.broken {
		d.Ablate = r.ablate(m.ablate)
	}
	return d
}

// Resolve checks the spec with a choice laid over all its layers. With faults it returns nil and the faults. It
// also returns nil, perhaps without faults, when Err has some already.
func (d *Draft) Resolve(choice Choice) (*Spec, fault.List) {
	if d.reader.broken {
		return nil, nil
	}
	m := d.merged.copy()
	c := &checker{catalog: d.opts.Catalog, origins: m.origins, begun: d.opts.Begun}
	c.origins[""] = Origin{Source: filepath.Clean(d.File), Line: 1, Column: 1, KeyLine: 1, KeyColumn: 1, Dir: filepath.Dir(d.File)}
	byIndex := slices.Clone(choice.Overrides)
	for i := range byIndex {
		byIndex[i].p = m.byIndex(byIndex[i].p)
	}
	c.overlaps(byIndex)
	if len(c.faults) == 0 {
		c.faults = m.choose(choice)
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	tree := m.k.Raw()
	c.model(tree)
	c.section(tree, Keys[1:], nil, "a spec") // extends is used up
	c.relations(tree, d.File)
	if len(c.faults) > 0 || len(d.reader.faults) > 0 { // a value that could not be read has no other fault
		return nil, c.faults
	}
	s := &Spec{}
	data, err := json.Marshal(decodableTree(tree))
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		err = dec.Decode(s)
	}
	if err != nil {
		return nil, fault.List{fault.New(fault.Internal, "spec: the checked tree does not decode: %w", err).WithFile(d.File, 0, 0)}
	}
	s.File, s.Ablate, s.tree, s.origins = d.File, d.Ablate, tree, c.origins
	if len(choice.Overrides) > 0 || choice.Variant != "" {
		s.Ablate = nil // a cell has none
	}
	return s, nil
}

// Err returns every fault of the draft and those of more, in file order, none twice; nil without any.
func (d *Draft) Err(more ...*fault.Error) error {
	all := append(d.reader.faults[:len(d.reader.faults):len(d.reader.faults)], more...)
	d.reader.sort(all)
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(e *fault.Error) bool {
		key := d.key(e)
		defer func() { seen[key] = true }()
		return seen[key]
	})
	const most = 100
	if n := len(all) - most; n > 0 {
		all = append(all[:most:most], fault.New(fault.Invalid, "%d more faults", n).WithFile(d.File, 0, 0).WithHint("mend those above first"))
	}
	return all.Err()
}

// key identifies a fault, whichever cell it was found in.
func (d *Draft) key(e *fault.Error) string {
	bare := *e
	bare.Op = ""
	return bare.Error()
}

func (d *Draft) spec() (*Spec, error) {
	s, faults := d.Resolve(Choice{})
	if err := d.Err(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

// sort orders faults by file, in the order read, then by place.
func (r *reader) sort(list fault.List) {
	slices.SortStableFunc(list, func(a, b *fault.Error) int {
		return cmp.Or(slices.Index(r.files, a.File)-slices.Index(r.files, b.File), a.Line-b.Line, a.Column-b.Column,
			strings.Compare(a.Path, b.Path))
	})
}
