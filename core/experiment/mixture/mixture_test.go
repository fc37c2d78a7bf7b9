package mixture

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

func plan(t *testing.T, batch int, sources ...Source) *Plan {
	t.Helper()
	p, err := New(sources, batch, 7)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// One source is seen as it was before there were mixtures: an epoch is an order of all, cut into batches.
func TestOneSourceIsGoneThroughInEpochs(t *testing.T) {
	p := plan(t, 10, Source{Name: "a", Len: 35, Shuffle: Global})
	for step := range 10 {
		epoch := step / 3
		want := Order(35, 7, epoch, true)[step%3*10:][:10]
		for i, pick := range p.Step(step) {
			if pick != (Pick{0, want[i], epoch}) {
				t.Fatalf("step %d, place %d: %+v, want sample %d of epoch %d", step, i, pick, want[i], epoch)
			}
		}
	}
}

// Weights are kept to the sample, quotas exactly, no batch has a sample twice, and each source has rounds of its own.
func TestSharesOfSources(t *testing.T) {
	for _, sources := range [][]Source{
		{{Name: "a", Len: 1000, Weight: 0.7, Shuffle: Global}, {Name: "b", Len: 40, Weight: 0.2, Shuffle: Global}, {Name: "c", Len: 77, Weight: 0.1}},
		{{Name: "a", Len: 300, Weight: 1e-3}, {Name: "b", Len: 300, Weight: 1}, {Name: "c", Len: 300, Weight: 1}},
		{{Name: "a", Len: 300, Quota: 9}, {Name: "b", Len: 500, Weight: 1, Shuffle: Shards, Window: 20}, {Name: "c", Len: 60, Weight: 2, Shuffle: Global}},
		{{Name: "a", Len: 12, Quota: 12}, {Name: "b", Len: 20, Quota: 20, Shuffle: Global}},
		{{Name: "a", Len: 990}, {Name: "b", Len: 10}},
	} {
		const batch, steps = 32, 200
		p := plan(t, batch, sources...)
		sum, rest := 0.0, batch
		for _, s := range p.sources {
			sum += s.Weight
			rest -= s.Quota
		}
		given, rounds := make([]int, len(sources)), make([]map[int][]int, len(sources))
		for i := range rounds {
			rounds[i] = map[int][]int{}
		}
		for step := range steps {
			picks := p.Step(step)
			in, counts := map[int]bool{}, make([]int, len(sources))
			for _, x := range picks {
				first, behind := p.Range(x.Source)
				if x.Index < first || x.Index >= behind || in[x.Index] || p.Find(x.Index) != x.Source {
					t.Fatalf("step %d: %+v is outside its source or twice in the batch", step, x)
				}
				in[x.Index] = true
				counts[x.Source]++
				rounds[x.Source][x.Epoch] = append(rounds[x.Source][x.Epoch], x.Index)
			}
			for i, s := range p.sources {
				given[i] += counts[i]
				if s.Quota > 0 && counts[i] != s.Quota {
					t.Fatalf("step %d has %d of %s, want %d", step, counts[i], s.Name, s.Quota)
				}
				if want := s.Weight / sum * float64(rest*(step+1)); s.Quota == 0 && (float64(given[i]) < want-1.001 || float64(given[i]) > want+1.001) {
					t.Fatalf("after %d steps %s has given %d, want %.2f", step+1, s.Name, given[i], want)
				}
			}
			if half := picks[:batch/2]; len(sources) == 2 && counts[0] == 12 {
				n := 0
				for _, x := range half {
					n += 1 - x.Source
				}
				if n != 6 {
					t.Errorf("the first half of a batch has %d of 12", n)
				}
			}
		}
		for i, list := range rounds {
			for round := range len(list) {
				seen := slices.Compact(slices.Sorted(slices.Values(list[round])))
				if len(seen) != len(list[round]) {
					t.Fatalf("round %d of %s has samples twice", round, sources[i].Name)
				}
			}
			if len(list) > 2 && sources[i].Shuffle == Global && slices.Equal(list[0], list[1]) {
				t.Errorf("two rounds of %s are alike", sources[i].Name)
			}
		}
	}
}

// A step is the same whatever was asked before it, and the order of a source does not depend on the others.
func TestStepsFollowFromSeedAndStep(t *testing.T) {
	a := Source{Name: "a", Len: 50, Weight: 1, Shuffle: Global}
	b := Source{Name: "b", Len: 90, Weight: 2, Shuffle: Shards, Shards: []int{30, 60}, Window: 7}
	one, two := plan(t, 12, a, b), plan(t, 12, a, b)
	for step := range 40 {
		one.Step(step)
	}
	for _, step := range []int{39, 5, 6, 5, 17} {
		if x, y := one.Step(step), two.Step(step); !slices.Equal(x, y) {
			t.Errorf("step %d: %v and %v", step, x, y)
		}
	}
	locals := func(p *Plan, source int) (out []int) {
		first, _ := p.Range(source)
		for step := range 6 {
			for _, x := range p.Step(step) {
				if x.Source == source {
					out = append(out, x.Index-first)
				}
			}
		}
		return out
	}
	swapped := plan(t, 12, b, a, Source{Name: "c", Len: 30, Weight: 1})
	if x, y := locals(two, 0), locals(swapped, 1); !slices.Equal(x[:len(y)], y) {
		t.Errorf("samples of a: %v, beside another %v", x, y)
	}
}

func TestSharesThatCannotBe(t *testing.T) {
	for want, sources := range map[string][]Source{
		"the training set has only 5":             {{Name: "a", Len: 5}},
		"a batch has 2 samples at least":          {{Name: "a", Len: 1}},
		"20 samples of each batch are to be of a": {{Name: "a", Len: 19, Quota: 20}, {Name: "b", Len: 100, Weight: 1}},
		"16 samples of each batch are to be of b": {{Name: "a", Len: 100, Weight: 1}, {Name: "b", Len: 15, Weight: 1}},
		"the quotas are 40 together":              {{Name: "a", Len: 100, Quota: 20}, {Name: "b", Len: 100, Quota: 20}},
		"no source has a weight":                  {{Name: "a", Len: 100, Quota: 20}, {Name: "b", Len: 100, Quota: 2}},
		"leave nothing":                           {{Name: "a", Len: 100, Quota: 32}, {Name: "b", Len: 100, Weight: 2}},
		"b has 100 samples, weight 0":             {{Name: "a", Len: 100, Weight: 32}, {Name: "b", Len: 100}},
		"a has 0 samples":                         {{Name: "a"}, {Name: "b", Len: 100}},
		"no sources":                              nil,
	} {
		if _, err := New(sources, 32, 0); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
