package sweep

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/experiment/spec"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
	"tandem/core/random"
	"tandem/core/results"
)

// keys lists what the factors of drawn blocks vary, one key each, by kind of value.
var keys = []struct {
	name   string
	values []string
}{
	{"train.lr", []string{"1e-4", "2e-4", "5e-4", "2e-3"}},
	{"train.warmup_steps", []string{"1", "2", "3"}},
	{"image.with.pool", []string{"attention", "average"}},
	{"text.with.width", []string{"64", "32", "96"}},
	{"loss.with.label_smoothing", []string{"0.1", "0.2"}},
	{"eval.0.max_samples", []string{"10", "20", "30"}},
}

// block holds a drawn ablate block: its factors with the number of their levels, and its text, which lists
// factors, levels and seeds in an order of its own.
type block struct {
	factors map[string]int
	seeds   []string
	level   map[string][]string // "name: {key: value}" by factor
}

func drawBlock(s *random.Stream) block {
	b := block{factors: map[string]int{}, level: map[string][]string{}}
	for i, k := range s.Perm(len(keys))[:1+s.IntN(4)] {
		f := fmt.Sprintf("f%d", i)
		b.level[f] = []string{"base: {}"}
		for j, v := range keys[k].values {
			b.level[f] = append(b.level[f], fmt.Sprintf("l%d: {%s: %s}", j, keys[k].name, v))
		}
		if keys[k].name == "image.with.pool" {
			b.level[f] = []string{"base: {image.with.pool: attention}", "l: {image.with.pool: average}"}
		}
		b.factors[f] = len(b.level[f])
	}
	for i := range 1 + s.IntN(3) {
		b.seeds = append(b.seeds, fmt.Sprint(7*i))
	}
	return b
}

func shuffled(s *random.Stream, list []string) []string {
	out := make([]string, len(list))
	for i, j := range s.Perm(len(list)) {
		out[i] = list[j]
	}
	return out
}

func (b block) text(design string, s *random.Stream) string {
	names := shuffled(s, slices.Sorted(maps.Keys(b.factors)))
	var base, factors []string
	for _, f := range names {
		base = append(base, f+": base")
		factors = append(factors, fmt.Sprintf("    %s: {%s}\n", f, strings.Join(shuffled(s, b.level[f]), ", ")))
	}
	return fmt.Sprintf("ablate:\n  design: %s\n  baseline: {%s}\n  seeds: [%s]\n  factors:\n%s", design, strings.Join(base, ", "),
		strings.Join(shuffled(s, b.seeds), ", "), strings.Join(factors, ""))
}

// ids returns the variants of a sweep with seeds, by trial id.
func ids(s *Sweep) map[string]string {
	m := map[string]string{}
	for _, t := range s.Trials {
		m[t.ID] = fmt.Sprintf("%s seed %d", strings.Join(t.Variants(), " = "), t.Seed)
	}
	return m
}

// The number of trials is that of the design, each trial is another run, the order of factors, levels
// and seeds in the file changes no name and no id, and every override is in its trial's spec.
func TestDesigns(t *testing.T) {
	for n := range 12 {
		s := random.New(1, "blocks", n)
		b := drawBlock(s)
		single, product := 1, 1
		for _, levels := range b.factors {
			single += levels - 1
			product *= levels
		}
		for design, cells := range map[string]int{
			spec.OneAtATime: single, spec.Grid: product,
			spec.Random + "\n  trials: 9": 0,
		} {
			text := b.text(design, s)
			sw, again := planned(t, text), planned(t, b.text(design, s))
			if cells > 0 && len(sw.Trials) != cells*len(b.seeds) {
				t.Errorf("%d trials, want %d × %d:\n%s", len(sw.Trials), cells, len(b.seeds), text)
			}
			if cells == 0 { // equal draws are one trial
				names := map[string]bool{}
				for _, tr := range sw.Trials {
					for _, v := range tr.Variants() {
						names[fmt.Sprint(v, tr.Seed)] = true
					}
				}
				if len(names) != 10*len(b.seeds) {
					t.Errorf("%d names of cells, want a baseline and 9 draws × %d:\n%s", len(names), len(b.seeds), text)
				}
			}
			if sw.Trials[0].Cells[0].Variant != Baseline {
				t.Errorf("the first trial is %s", sw.Trials[0].Cells[0].Variant)
			}
			got := ids(sw)
			if len(got) != len(sw.Trials) {
				t.Errorf("%d ids for %d trials:\n%s", len(got), len(sw.Trials), text)
			}
			if !maps.Equal(got, ids(again)) {
				t.Errorf("another order of the file gives other trials:\n%v\n%v", got, ids(again))
			}
			applied(t, sw)
		}
	}
}

// applied checks that every trial's spec has what its cells say.
func applied(t *testing.T, sw *Sweep) {
	t.Helper()
	for _, tr := range sw.Trials {
		if tr.Spec.Seed != tr.Seed || tr.Spec.Variant != tr.Cells[0].Variant || tr.Spec.Ablate != nil {
			t.Errorf("%s: the spec has seed %d and variant %q", tr.ID, tr.Spec.Seed, tr.Spec.Variant)
		}
		for _, c := range tr.Cells {
			for _, o := range c.Overrides {
				if got := tr.Spec.At(o.Path); fmt.Sprint(got) != fmt.Sprint(o.Value) {
					t.Errorf("%s: %s is %v, want %v", c.Variant, o.Path, got, o.Value)
				}
			}
		}
	}
}

// Another draw seed gives other draws; more trials, a factor more and another order of factors leave
// what is there as it is; draws lie in their ranges and reach whole bounds.
func TestRandomIsByPosition(t *testing.T) {
	const lr, width = "    lr: {key: train.lr, log_range: [1e-4, 1e-2]}\n", "    warmup: {key: train.warmup_steps, range: [1, 4]}\n"
	values := func(seed, trials int, factors, key string) []any {
		sw := planned(t, fmt.Sprintf("ablate:\n  design: random\n  trials: %d\n  random_seed: %d\n  factors:\n%s", trials, seed, factors))
		var out []any
		for _, tr := range sw.Trials {
			out = append(out, tr.Spec.At(key))
		}
		return out
	}
	few := values(0, 5, lr, "train.lr")
	if more := values(0, 40, width+lr, "train.lr"); !slices.Equal(few, more[:5]) {
		t.Errorf("draws moved: %v, then %v", few, more[:5])
	}
	if other := values(1, 5, lr, "train.lr"); slices.Equal(few, other) {
		t.Error("another random_seed draws the same")
	}
	below := 0
	for _, v := range values(0, 200, lr, "train.lr") {
		x := v.(float64)
		if x < 1e-4 || x > 1e-2 {
			t.Errorf("%v is outside the range", x)
		}
		if x < 1e-3 {
			below++
		}
	}
	if below < 70 || below > 130 { // half of the logarithmic range; 4 standard deviations
		t.Errorf("%d of 200 below the geometric middle", below)
	}
	seen := map[any]int{}
	for _, v := range values(0, 200, width+lr, "train.warmup_steps") {
		seen[v]++
	}
	for v := range int64(4) {
		if seen[v+1] < 25 {
			t.Errorf("%d was drawn %d times of 200: %v", v+1, seen[v+1], seen)
		}
	}
}

// A cell has one name and one id in every design, so that a sweep that grows into a grid runs only
// what is new.
func TestAGridHoldsTheCellsOfOneAtATime(t *testing.T) {
	s := random.New(2, "blocks")
	b := drawBlock(s)
	all := ids(planned(t, b.text(spec.Grid, s)))
	for id, name := range ids(planned(t, b.text(spec.OneAtATime, s))) {
		if all[id] != name {
			t.Errorf("%s (%s) is %q in the grid", name, id, all[id])
		}
	}
}

// How trials are run makes no other runs of them, and the baseline again is made of none of them.
func TestSettingsLeaveTheTrialsAsTheyAre(t *testing.T) {
	const block = "ablate:\n  design: one-at-a-time\n  baseline: {pool: a}\n  factors:\n    pool: {a: {}, b: {image.with.pool: average}}\n  seeds: [1, 5]\n"
	plain := ids(planned(t, block))
	sw := planned(t, block+"  noise_floor: true\n  retries: {numeric: 2, exhausted: 3, internal: 0}\n  backoff: 20s\n  stop: {rule: median, metric: train/loss}\n  directions: {train/lr: down}\n  analysis: pooled\n  choose: train/loss\n")
	if sw.Directions["train/lr"] != spec.Down || sw.Analysis != spec.Pooled || sw.Choose != "train/loss" {
		t.Errorf("%v, %s, %s", sw.Directions, sw.Analysis, sw.Choose)
	}
	got := ids(sw)
	for id, name := range plain {
		if got[id] != name {
			t.Errorf("%s (%s) is %q with settings", name, id, got[id])
		}
	}
	if len(got) != len(plain)+2 {
		t.Errorf("%d trials beside %d", len(got), len(plain))
	}
	if want := []results.Factor{{Name: "pool", Levels: []string{"a", "b"}}}; !reflect.DeepEqual(sw.Factors, want) {
		t.Errorf("factors %v, want %v", sw.Factors, want)
	}
	for kind, n := range map[fault.Kind]int{fault.PluginDied: 1, fault.Exhausted: 3, fault.Unavailable: 1, fault.Internal: 0,
		fault.Numeric: 2, fault.Invalid: 0, fault.NotFound: 0, fault.Corrupt: 0, fault.Conflict: 0, fault.Canceled: 0} {
		if sw.Retries.For(kind) != n {
			t.Errorf("%d retries of %s, want %d", sw.Retries.For(kind), kind, n)
		}
	}
	for n, want := range map[int]time.Duration{1: 20 * time.Second, 2: 40 * time.Second, 3: time.Minute, 1000: time.Minute} {
		if got := sw.Retries.Wait(n); got != want {
			t.Errorf("retry %d after %s, want %s", n, got, want)
		}
	}
}

// A number of retries is for the failures that another attempt may not meet; a spec without a block has
// none.
func TestANumberOfRetries(t *testing.T) {
	sw := planned(t, "ablate:\n  design: one-at-a-time\n  baseline: {pool: a}\n  factors:\n    pool: {a: {}}\n  retries: 4\n")
	for kind, n := range map[fault.Kind]int{fault.PluginDied: 4, fault.Internal: 4, fault.Numeric: 0, fault.Invalid: 0} {
		if sw.Retries.For(kind) != n {
			t.Errorf("%d retries of %s, want %d", sw.Retries.For(kind), kind, n)
		}
	}
	if got := sw.Retries.Wait(1); got != 2*time.Second {
		t.Errorf("the first after %s", got)
	}
	if n := planned(t, "").Retries.For(fault.PluginDied); n != 0 {
		t.Errorf("%d retries without a block", n)
	}
}

// --set lies below the levels and reaches every trial.
func TestSetReachesEveryTrial(t *testing.T) {
	sw := planned(t, "ablate:\n  design: one-at-a-time\n  baseline: {lr: base}\n  factors:\n    lr: {base: {}, high: {train.lr: 0.1}}\n",
		"train.max_steps=3", "train.lr=0.01", "seed=5")
	for i, lr := range []float64{0.01, 0.1} {
		if s := sw.Trials[i].Spec; s.Train.MaxSteps != 3 || s.Seed != 5 || s.Train.LR != lr {
			t.Errorf("trial %d: %+v", i, s.Train)
		}
	}
}

// The resolved spec of a trial is a spec file that gives the same run.
func TestATrialsSpecLoadsAgain(t *testing.T) {
	sw := planned(t, "ablate:\n  design: one-at-a-time\n  baseline: {pool: a, lr: base}\n  factors:\n    pool: {a: {}, b: {image.with.pool: average}}\n"+
		"    lr: {base: {}, high: {train.lr: 0.1}}\n  include: [{pool: b, lr: high}]\n  seeds: [3]\n")
	for _, tr := range sw.Trials {
		s, err := spec.Parse("again.yaml", []byte(tr.Spec.YAML(false)), spec.Options{Catalog: spectest.Plugins(t)})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Identity(nil); got != tr.Identity || s.Variant != tr.Cells[0].Variant {
			t.Errorf("%s: identity %s, want %s", s.Variant, got, tr.Identity)
		}
	}
}

// Planning as many trials as there may be takes seconds, not minutes.
func BenchmarkPlan(b *testing.B) {
	var l strings.Builder
	for i := range 100 {
		fmt.Fprintf(&l, "%d, ", i+1)
	}
	text := "ablate:\n  design: grid\n  baseline: {a: 1, b: 1}\n  factors:\n    a: {key: train.warmup_steps, choices: [" + l.String() + "]}\n" +
		"    b: {key: eval.0.max_samples, choices: [" + l.String() + "]}\n"
	for b.Loop() {
		if n := len(planned(b, text).Trials); n != MaxTrials {
			b.Fatalf("%d trials", n)
		}
	}
	b.ReportMetric(float64(MaxTrials), "trials/op")
}
