package nn

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// LoRA chooses matrices and how they are adapted (Hu et al. 2022, arXiv 2106.09685, §4.1).
type LoRA struct {
	Rank    int
	Alpha   float64 // over the rank, the scale of the product
	Dropout float64 // share of A's inputs that are zero in training
	// Targets are globs of the names of matrices or of their layers (the name without .weight or _weight); each must
	// match one. None means DefaultTargets, of which one must.
	Targets []string
	Train   []string // globs of parameters that are trained beside the adapters
}

// DefaultTargets names the matrices of attention in the published models' words.
var DefaultTargets = []string{"*attn*", "*attention*"}

// An adapter replaces W [rows, …] by W + scale·B·A, where A [rank, …] is a weight of the same inputs and B is
// [rows, rank]. B begins at zero, so that the network begins as it was.
type adapter struct {
	a, b           *Param
	scale, dropout float64
}

// Adapt gives the chosen ones among layers, a network's matrices (Graph.Layers), an adapter each, and freezes every other
// parameter but those of Train. A bad rank, alpha, dropout or glob is fault.Invalid with
// the path rank, alpha, dropout, targets or train.
func (s *Set) Adapt(layers []*Param, l LoRA) error {
	if err := l.check(); err != nil {
		return err
	}
	chosen, err := s.targets(layers, l.Targets)
	if err != nil {
		return err
	}
	for _, w := range chosen {
		if most := min(w.Shape[0], w.Len()/w.Shape[0]); l.Rank > most {
			return fault.New(fault.Invalid, "%d is more than the rank of %s %v can be, %d", l.Rank, w.Name, w.Shape, most).
				WithPath("rank").WithHint("at most %d; ranks of 4 to 64 are usual", most)
		}
	}
	var trained []*Param
	for _, glob := range l.Train {
		found, err := s.match(glob)
		if err != nil {
			return at("train", err)
		}
		trained = append(trained, found...)
	}
	s.FreezeAll()
	for _, p := range trained {
		if slices.Contains(chosen, p) {
			return fault.New(fault.Invalid, "%s is adapted, so that its own values are not trained", p.Name).WithPath("train")
		}
		p.Frozen = false
	}
	block := s.block
	defer s.Enter(block)
	for _, w := range chosen {
		s.Enter(w.Block)
		w.adapter = &adapter{
			a:     s.Param(w.Name+weights.SuffixA, FanIn, append([]int{l.Rank}, w.Shape[1:]...)...),
			b:     s.Param(w.Name+weights.SuffixB, Zeros, w.Shape[0], l.Rank),
			scale: l.Alpha / float64(l.Rank), dropout: l.Dropout,
		}
	}
	return nil
}

// check finds numbers that no adapter can have.
func (l LoRA) check() error {
	outside := func(path string, v any, want string) *fault.Error {
		return fault.New(fault.Invalid, "%v, want %s", v, want).WithPath(path)
	}
	switch {
	case l.Rank < 1:
		return outside("rank", l.Rank, "1 or more").WithHint("leave lora out to train without adapters")
	case !(l.Alpha > 0) || l.Alpha-l.Alpha != 0:
		return outside("alpha", l.Alpha, "more than 0")
	case !(l.Dropout >= 0 && l.Dropout < 1):
		return outside("dropout", l.Dropout, "a number in [0, 1)")
	}
	return nil
}

// targets returns those of layers that globs name.
func (s *Set) targets(layers []*Param, globs []string) (chosen []*Param, err error) {
	byDefault := len(globs) == 0
	if byDefault {
		globs = DefaultTargets
	}
	for _, glob := range globs {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fault.New(fault.Invalid, "%q is not a glob: %w", glob, err).WithPath("targets")
		}
		none := true
		for _, w := range layers {
			whole, _ := path.Match(glob, w.Name)
			layer, _ := path.Match(glob, layerName(w))
			if none = none && !whole && !layer; (whole || layer) && !slices.Contains(chosen, w) {
				chosen = append(chosen, w)
			}
		}
		if none && !byDefault {
			return nil, s.noTarget(layers, glob)
		}
	}
	if len(chosen) == 0 {
		return nil, fault.New(fault.Invalid, "the network has no matrix of attention, which are the targets that are left out").WithPath("targets").
			WithHint("name some: %s", some(layers))
	}
	return chosen, nil
}

// layerName returns the name of the layer that a matrix belongs to.
func layerName(w *Param) string {
	for _, ending := range []string{".weight", "_weight"} {
		if name, ok := strings.CutSuffix(w.Name, ending); ok {
			return name
		}
	}
	return w.Name
}

// noTarget explains a glob that chooses no matrix.
func (s *Set) noTarget(layers []*Param, glob string) error {
	if found, err := s.match(glob); err == nil {
		p := found[0]
		return fault.New(fault.Invalid, "%q matches %s %v, which is not a layer's matrix", glob, p.Name, p.Shape).WithPath("targets").
			WithHint("matrices are %s", some(layers))
	}
	names := make([]string, len(layers))
	for i, w := range layers {
		names[i] = w.Name
	}
	e := fault.New(fault.Invalid, "no layer's matrix matches %q", glob).WithPath("targets")
	if near := fault.Nearest(glob, names); near != "" {
		return e.WithHint("did you mean %s?", near)
	}
	return e.WithHint("matrices are %s", some(layers))
}

// some lists the first names of layers' matrices.
func some(layers []*Param) string {
	const most = 4
	var names []string
	for _, w := range layers[:min(len(layers), most)] {
		names = append(names, w.Name)
	}
	text := strings.Join(names, ", ")
	if more := len(layers) - most; more > 0 {
		text += fmt.Sprintf(", … (%d more)", more)
	}
	return text
}

// at gives a fault a path.
func at(path string, err error) error {
	if e, ok := err.(*fault.Error); ok {
		return e.WithPath(path)
	}
	return err
}
