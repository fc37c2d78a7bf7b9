package nn

import (
	"math"

	"tandem/core/fault"
)

// Group gives the parameters whose names match one of the globs (path.Match, where * stands for dots too) a scale of
// the learning rate, a weight decay or both, nil leaving either as it is, and the number of steps before they start. A
// parameter belongs to the first group that it matches. A malformed glob or one that matches nothing is fault.Invalid.
func (s *Set) Group(globs []string, lrScale, decay *float64, start int) error {
	var members []*Param
	for _, glob := range globs {
		found, err := s.match(glob)
		if err != nil {
			return err
		}
		members = append(members, found...)
	}
	for _, p := range members {
		if p.grouped {
			continue
		}
		p.grouped = true
		if lrScale != nil {
			p.LRScale *= *lrScale
		}
		p.Decay, p.Start = decay, start
	}
	return nil
}

// DecayLayers multiplies the learning rate of each parameter by factor^(L+1−l) (Clark et al. 2020, arXiv 2003.10555),
// where L is the number of blocks and l is 0 in the stem, n in block n, and L+1 in the head. A network without blocks
// is fault.Invalid.
func (s *Set) DecayLayers(factor float64) error {
	blocks := s.Blocks()
	if blocks == 0 {
		return fault.New(fault.Invalid, "the network has no blocks to count").
			WithHint("give parameters rates of their own by name: groups: [{params: [a glob], lr_scale: 0.1}]")
	}
	for _, p := range s.params {
		if p.Block != Head {
			p.LRScale *= math.Pow(factor, float64(blocks+1-p.Block))
		}
	}
	return nil
}
