package nn

import (
	"slices"
	"testing"

	"tandem/core/fault"
)

// layered has a stem, two blocks and a head, registered out of order.
func layered() *Set {
	var s Set
	s.Enter(Head)
	s.Param("proj", Zeros, 2)
	s.Enter(Stem)
	s.Param("embedding", Zeros, 3)
	NewTransformer(&s, "t", 2, BlockConfig{Width: 2, Heads: 1, Hidden: 2})
	s.Param("ln.weight", Zeros, 5)
	return &s
}

func trained(s *Set) (names []string) {
	for _, p := range s.Params() {
		if !p.Frozen {
			names = append(names, p.Name)
		}
	}
	return names
}

func TestBlocksAreFrozenFromTheInputOn(t *testing.T) {
	const block = 12 // arrays of a block
	for n, want := range map[int]int{0: 2 + 2*block, 1: 2 + block, 2: 2, -1: 2 + block, -2: 2 + 2*block} {
		s := layered()
		if err := s.FreezeBlocks(n); err != nil {
			t.Fatal(err)
		}
		names := trained(s)
		if len(names) != want || names[0] != "proj" || names[len(names)-1] != "ln.weight" || slices.Contains(names, "embedding") {
			t.Errorf("blocks: %d leaves %v", n, names)
		}
	}
	for _, n := range []int{3, -3} {
		if err := layered().FreezeBlocks(n); fault.KindOf(err) != fault.Invalid {
			t.Errorf("blocks: %d of 2: %v", n, err)
		}
	}
	var flat Set
	flat.Param("w", Zeros, 1)
	if err := flat.FreezeBlocks(0); fault.KindOf(err) != fault.Invalid {
		t.Errorf("blocks of a network without: %v", err)
	}
}

func TestGlobsNameParameters(t *testing.T) {
	s := layered()
	if err := s.FreezeParams("t.*.bias"); err != nil {
		t.Fatal(err)
	}
	if names := trained(s); slices.Contains(names, "t.resblocks.1.mlp.c_fc.bias") || !slices.Contains(names, "t.resblocks.1.mlp.c_fc.weight") {
		t.Errorf("left: %v", names)
	}
	err := s.FreezeParams("ln.wieght")
	if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Invalid || f.Hint != "did you mean ln.weight?" {
		t.Errorf("a name that is not there: %v", err)
	}
	if err := s.FreezeParams("[x"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no glob: %v", err)
	}
}

func TestFrozenScalarsAreCounted(t *testing.T) {
	s := layered()
	if s.Frozen() != 0 || s.AllFrozen() {
		t.Error("something is frozen at first")
	}
	if err := s.FreezeParams("embedding"); err != nil || s.Frozen() != 3 {
		t.Errorf("%d scalars are frozen (%v)", s.Frozen(), err)
	}
	if s.FreezeAll(); s.Frozen() != s.Count() || !s.AllFrozen() {
		t.Errorf("%d of %d", s.Frozen(), s.Count())
	}
}
