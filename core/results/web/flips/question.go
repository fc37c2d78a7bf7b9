package flips

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/store"
	"tandem/core/results/web"
)

// question is what the address of the page asks for.
type question struct {
	given              url.Values
	evaluation, target string
	a, b               string // variants
	seedA, seedB       string // "": all
	kind               kind   // "": the first that there are examples of
	label, text        int    // classes; -1: all, or none
	page               int
}

// keys are what an address may have, in the order of the page.
var keys = []string{"evaluation", "a", "seed_a", "b", "seed_b", "kind", "label", "text", "page"}

func parse(v url.Values) (*question, error) {
	q := &question{given: url.Values{}, a: v.Get("a"), b: v.Get("b"), seedA: v.Get("seed_a"), seedB: v.Get("seed_b")}
	for _, k := range keys {
		if v.Has(k) && (v.Get(k) != "" || k == "a" || k == "b") {
			q.given.Set(k, v.Get(k))
		}
	}
	if k := v.Get("kind"); k != "" {
		if q.kind = kind(k); !slices.Contains(kinds, q.kind) {
			return nil, fault.New(fault.Invalid, "kind: there is no %q", k).WithHint("a, b, wrong, wrong-same or right")
		}
	}
	for key, to := range map[string]*int{"label": &q.label, "text": &q.text, "page": &q.page} {
		*to = -1
		text := v.Get(key)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fault.New(fault.Invalid, "%s: %q is no number from 0 on", key, text)
		}
		*to = n
	}
	q.page = max(1, q.page)
	for key, text := range map[string]string{"seed_a": q.seedA, "seed_b": q.seedB} {
		if _, err := strconv.ParseInt(text, 10, 64); text != "" && err != nil {
			return nil, fault.New(fault.Invalid, "%s: %q is no seed", key, text)
		}
	}
	return q, nil
}

// complete fills in what the address leaves out: the evaluation of the deciding metric, the baseline against the variant that has most
// examples right, or two seeds of the only variant.
func (q *question) complete(e *store.Experiment, all []store.Predicted) error {
	if err := q.chooseEvaluation(e, all); err != nil {
		return err
	}
	variants := q.variants(all)
	for key, v := range map[string]string{"a": q.a, "b": q.b} {
		if q.given.Has(key) && !slices.Contains(variants, v) {
			f := fault.New(fault.NotFound, "%s: variant %q has no predictions of %s/%s", key, v, q.evaluation, q.target).WithHint("%s have some", strings.Join(variants, ", "))
			if near := fault.Nearest(v, variants); near != "" {
				f.WithHint("did you mean %s?", near)
			}
			return f
		}
	}
	if !q.given.Has("a") {
		q.a = variants[0]
		if slices.Contains(variants, e.Baseline) {
			q.a = e.Baseline
		}
	}
	if !q.given.Has("b") {
		q.b = q.best(all, slices.DeleteFunc(variants, func(v string) bool { return v == e.Noise && v != "" }))
	}
	if q.a == q.b && q.seedA == "" && q.seedB == "" { // a variant against itself: two of its seeds
		seeds := q.seeds(all, q.a)
		q.seedA, q.seedB = seeds[0], seeds[min(1, len(seeds)-1)]
	}
	for s, key := range []string{"seed_a", "seed_b"} {
		if len(q.of(all, s)) == 0 {
			return fault.New(fault.NotFound, "%s: %s has no predictions under that seed", key, named([]string{q.a, q.b}[s]))
		}
	}
	return nil
}

func (q *question) chooseEvaluation(e *store.Experiment, all []store.Predicted) error {
	asked := q.given.Get("evaluation")
	chosen := -1
	for i, p := range all {
		if asked != "" && evaluationName(p) == asked || asked == "" && strings.HasPrefix(e.Metric, metric.Evaluated(p.Evaluation, "")) {
			chosen = i
			break
		}
	}
	if chosen < 0 && asked != "" {
		var names []string
		for _, p := range all {
			if n := evaluationName(p); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		return fault.New(fault.NotFound, "evaluation: no predictions of %q", asked).WithHint("there are some of %s", strings.Join(names, ", "))
	}
	p := all[max(0, chosen)]
	q.evaluation, q.target = p.Evaluation, p.Target
	return nil
}

func evaluationName(p store.Predicted) string { return p.Evaluation + "/" + p.Target }

// asked reports whether predictions are of the evaluation that is asked for.
func (q *question) asked(p store.Predicted) bool {
	return p.Evaluation == q.evaluation && p.Target == q.target
}

// variants returns the variants that have predictions, in the order of the design.
func (q *question) variants(all []store.Predicted) (names []string) {
	for _, p := range all {
		if q.asked(p) && !slices.Contains(names, p.Variant) {
			names = append(names, p.Variant)
		}
	}
	return names
}

func (q *question) seeds(all []store.Predicted, variant string) (seeds []string) {
	for _, p := range all {
		if q.asked(p) && p.Variant == variant {
			seeds = append(seeds, strconv.FormatInt(p.Seed, 10))
		}
	}
	return seeds
}

// best returns the variant other than A that has most examples right; A where there is no other. The repeat of the baseline is none.
func (q *question) best(all []store.Predicted, variants []string) string {
	best, most := q.a, -1.0
	for _, v := range variants {
		right, n := 0, 0
		for _, p := range all {
			if q.asked(p) && p.Variant == v {
				right, n = right+p.Correct, n+p.N
			}
		}
		if share := float64(right) / float64(max(1, n)); v != q.a && share > most {
			best, most = v, share
		}
	}
	return best
}

// of returns the predictions of a side.
func (q *question) of(all []store.Predicted, s int) (side []store.Predicted) {
	variant, seed := q.a, q.seedA
	if s == 1 {
		variant, seed = q.b, q.seedB
	}
	for _, p := range all {
		if q.asked(p) && p.Variant == variant && (seed == "" || seed == strconv.FormatInt(p.Seed, 10)) {
			side = append(side, p)
		}
	}
	return side
}

// sides says what is compared.
func (q *question) sides() url.Values {
	return url.Values{"evaluation": {q.evaluation, q.target}, "a": {q.a, q.seedA}, "b": {q.b, q.seedB}}
}

// with returns the question with other values: key, value, key, value.
func (q *question) with(pairs ...string) *question {
	other := *q
	other.given = url.Values{}
	for k, v := range q.given {
		other.given[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		other.given.Del(pairs[i])
		if pairs[i+1] != "" {
			other.given.Set(pairs[i], pairs[i+1])
		}
	}
	return &other
}

// address returns where the page answers a question.
func (q *question) address(experiment string) string {
	path := web.ExperimentPath(experiment, "flips")
	if len(q.given) > 0 {
		path += "?" + q.given.Encode()
	}
	return path
}

// choice is an option of a form.
type choice struct {
	Value, Name string
	Chosen      bool
}

// form holds what may be asked for.
type form struct {
	Evaluations, A, B, SeedsA, SeedsB, Labels, Texts []choice
	Kind                                             kind
	label, text                                      int
}

func newForm(q *question, all []store.Predicted) form {
	f := form{Kind: kind(q.given.Get("kind")), label: q.label, text: q.text}
	for _, p := range all {
		n := evaluationName(p)
		if !slices.ContainsFunc(f.Evaluations, func(c choice) bool { return c.Value == n }) {
			f.Evaluations = append(f.Evaluations, choice{n, n, q.asked(p)})
		}
	}
	for _, v := range q.variants(all) {
		f.A = append(f.A, choice{v, named(v), v == q.a})
		f.B = append(f.B, choice{v, named(v), v == q.b})
	}
	for _, x := range []struct {
		to            *[]choice
		variant, seed string
	}{{&f.SeedsA, q.a, q.seedA}, {&f.SeedsB, q.b, q.seedB}} {
		*x.to = append(*x.to, choice{"", "all seeds", x.seed == ""})
		for _, seed := range q.seeds(all, x.variant) {
			*x.to = append(*x.to, choice{seed, "seed " + seed, seed == x.seed})
		}
	}
	return f
}

// mostClasses limits how many classes a form offers.
const mostClasses = 1000

// name fills in the classes that examples have, by their names.
func (f *form) name(l *looked, classes []int) {
	f.Labels, f.Texts = []choice{{"", "any", f.label < 0}}, []choice{{"", "where they differ most", f.text < 0}}
	for _, class := range classes[:min(mostClasses, len(classes))] {
		id, name := strconv.Itoa(class), l.class(class)
		f.Labels = append(f.Labels, choice{id, name, class == f.label})
		f.Texts = append(f.Texts, choice{id, name, class == f.text})
	}
}
