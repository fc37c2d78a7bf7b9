package nn

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

// matrices returns those of a transformer of two blocks, as its graph would tell them, beside its parameters.
func matrices(s *Set) (layers []*Param) {
	for _, p := range s.Params() {
		if strings.HasPrefix(p.Name, "t.") && len(p.Shape) == 2 {
			layers = append(layers, p)
		}
	}
	return layers
}

func adapted(s *Set) (names []string) {
	for _, p := range s.Params() {
		if p.adapter != nil {
			names = append(names, strings.TrimPrefix(p.Name, "t.resblocks."))
		}
	}
	return names
}

func TestTargetsNameMatricesOrTheirLayers(t *testing.T) {
	for glob, want := range map[string][]string{
		"":                         {"0.attn.in_proj_weight", "0.attn.out_proj.weight", "1.attn.in_proj_weight", "1.attn.out_proj.weight"},
		"*.attn.in_proj":           {"0.attn.in_proj_weight", "1.attn.in_proj_weight"},
		"t.resblocks.1.*.c_fc":     {"1.mlp.c_fc.weight"},
		"*resblocks.0.mlp.*weight": {"0.mlp.c_fc.weight", "0.mlp.c_proj.weight"},
	} {
		s := layered()
		l := LoRA{Rank: 2, Alpha: 4, Targets: []string{glob}, Train: []string{"ln.weight"}}
		if glob == "" {
			l.Targets = nil
		}
		if err := s.Adapt(matrices(s), l); err != nil {
			t.Fatal(err)
		}
		if got := adapted(s); !slices.Equal(got, want) {
			t.Errorf("%q adapts %v, want %v", glob, got, want)
		}
		if names := trained(s); len(names) != 1+2*len(want) || names[0] != "ln.weight" {
			t.Errorf("%q trains %v", glob, names)
		}
	}
}

func TestAdaptersStandWhereTheirMatrixDoes(t *testing.T) {
	s := layered()
	if err := s.Adapt(matrices(s), LoRA{Rank: 1, Alpha: 1}); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Params() {
		if a := p.adapter; a != nil && (a.a.Block != p.Block || a.b.Block != p.Block) {
			t.Errorf("%s is in block %d, its adapter in %d and %d", p.Name, p.Block, a.a.Block, a.b.Block)
		}
	}
}

// What cannot be adapted is refused with its name and what there is instead.
func TestAdaptersThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		lora       LoRA
		path, says string
	}{
		{LoRA{Rank: 0, Alpha: 1}, "rank", "0, want 1 or more"},
		{LoRA{Rank: 3, Alpha: 1}, "rank", "t.resblocks.0.attn.in_proj_weight [6 2]"},
		{LoRA{Rank: 1}, "alpha", "more than 0"},
		{LoRA{Rank: 1, Alpha: 1, Dropout: 1}, "dropout", "[0, 1)"},
		{LoRA{Rank: 1, Alpha: 1, Targets: []string{"embedding"}}, "targets", "embedding [3], which is not a layer's matrix"},
		{LoRA{Rank: 1, Alpha: 1, Targets: []string{"*.attn.in_prog"}}, "targets", `no layer's matrix matches "*.attn.in_prog"`},
		{LoRA{Rank: 1, Alpha: 1, Targets: []string{"[x"}}, "targets", "not a glob"},
		{LoRA{Rank: 1, Alpha: 1, Train: []string{"*.in_proj_weight"}}, "train", "is adapted"},
	} {
		s := layered()
		err := s.Adapt(matrices(s), c.lora)
		if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Invalid || f.Path != c.path || !strings.Contains(f.Msg, c.says) {
			t.Errorf("%+v: got %v, want %q at %s", c.lora, err, c.says, c.path)
		}
	}
	var flat Set
	err := flat.Adapt([]*Param{flat.Param("w", Zeros, 2, 2)}, LoRA{Rank: 1, Alpha: 1})
	if f, ok := err.(*fault.Error); !ok || f.Path != "targets" || !strings.Contains(f.Hint, "w") {
		t.Errorf("without attention: %v", err)
	}
}
