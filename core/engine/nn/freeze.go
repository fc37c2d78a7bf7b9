package nn

import (
	"math"
	"path"
	"slices"

	"tandem/core/fault"
)

// The values of Param.Block that are no block.
const (
	Stem = 0             // before the first block: patch and token embeddings, positions
	Head = math.MaxInt32 // after the last: final norm, pooling, projection
)

// Enter says where the parameters registered from now on are: Stem, as at first, in block n, counted
// from 1, or Head. A block is the unit of freezing: a residual attention block, a stage of a ResNet.
func (s *Set) Enter(block int) { s.block = block }

// Blocks returns the number of blocks, 0 when the network declares none.
func (s *Set) Blocks() (n int) {
	for _, p := range s.params {
		if p.Block != Head {
			n = max(n, p.Block)
		}
	}
	return n
}

// FreezeAll freezes every parameter.
func (s *Set) FreezeAll() { s.freeze(func(*Param) bool { return true }) }

// FreezeBlocks freezes the stem and the first n blocks; a negative n counts from the end, so that −1
// leaves the last block and the head. More blocks than there are is fault.Invalid.
func (s *Set) FreezeBlocks(n int) error {
	blocks := s.Blocks()
	switch {
	case blocks == 0:
		return fault.New(fault.Invalid, "the network has no blocks to count").
			WithHint("freeze: all, or freeze: {params: [a glob of parameter names]}")
	case n > blocks || n < -blocks:
		return fault.New(fault.Invalid, "%d, but the number of blocks is %d", n, blocks).
			WithHint("0 freezes the stem alone, %d all but the head; %d to -1 count from the end", blocks, -blocks)
	case n < 0:
		n += blocks
	}
	s.freeze(func(p *Param) bool { return p.Block <= n })
	return nil
}

// FreezeParams freezes the parameters whose names match a glob of path.Match, where * stands for dots
// too. A malformed glob or one that matches nothing is fault.Invalid.
func (s *Set) FreezeParams(glob string) error {
	found, err := s.match(glob)
	for _, p := range found {
		p.Frozen = true
	}
	return err
}

// match returns the parameters whose names match a glob. A malformed glob or one that matches nothing is
// fault.Invalid.
func (s *Set) match(glob string) (found []*Param, err error) {
	if _, err := path.Match(glob, ""); err != nil {
		return nil, fault.New(fault.Invalid, "%q is not a glob: %w", glob, err)
	}
	names := make([]string, len(s.params))
	for i, p := range s.params {
		names[i] = p.Name
		if ok, _ := path.Match(glob, p.Name); ok {
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	e := fault.New(fault.Invalid, "no parameter matches %q", glob)
	if near := fault.Nearest(glob, names); near != "" {
		return nil, e.WithHint("did you mean %s?", near)
	}
	return nil, e.WithHint("names are those of published checkpoints; the first here is %s", names[0])
}

// freeze freezes what which names.
func (s *Set) freeze(which func(*Param) bool) {
	for _, p := range s.params {
		if which(p) {
			p.Frozen = true
		}
	}
}

// Frozen counts the scalars of frozen parameters.
func (s *Set) Frozen() (n int64) {
	for _, p := range s.params {
		if p.Frozen {
			n += int64(p.Len())
		}
	}
	return n
}

// AllFrozen says that no parameter is trained.
func (s *Set) AllFrozen() bool {
	return !slices.ContainsFunc(s.params, func(p *Param) bool { return !p.Frozen })
}
