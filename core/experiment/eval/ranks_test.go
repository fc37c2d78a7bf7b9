package eval_test

import (
	"context"
	"encoding/gob"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/probe"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// everyRank evaluates job i of a plan on every rank of a group and returns the results in the order of ranks.
func everyRank(t *testing.T, size int, jobs func(rank int) []eval.Job) (results [][]eval.Result, errs []error) {
	results, errs = make([][]eval.Result, size), make([]error, size)
	var all sync.WaitGroup
	for rank, g := range collective.Local(size) {
		all.Go(func() {
			plan := eval.NewPlan(jobs(rank))
			plan.Ranks = &eval.Ranks{Group: g, Until: t.Context()}
			for i := range jobs(rank) {
				res, err := plan.Run(t.Context(), i, nil)
				results[rank] = append(results[rank], res)
				if err != nil {
					errs[rank] = err
					return
				}
			}
		})
	}
	all.Wait()
	return results, errs
}

// gallery has 13 samples, one of which cannot be read.
func gallery() *paints {
	p := &paints{broken: []int{5}}
	for i := range 13 {
		name := classNames[i*i%4]
		p.colour, p.said, p.groups = append(p.colour, name), append(p.said, classNames[i%3]), append(p.groups, int64(i/2))
		p.negatives = append(p.negatives, []string{"white", "red"})
	}
	return p
}

// Whatever ranks share, rank 0 finds what one rank finds alone, by as many batches of the same samples.
func TestRanksFindWhatOneFinds(t *testing.T) {
	gob.Register(greyed{})
	towers := [3]*tower{{}, {}, {}}
	jobs := func(rank int) []eval.Job {
		p := gallery()
		parts := eval.Parts{Source: eval.Source{Data: p, Info: p.info(), Key: "k"}, Train: &eval.Source{Data: p, Info: p.info(), Key: "t"},
			Image: towers[rank], Text: &tower{}}
		cfg := eval.Config{Name: "paint", BatchSize: 2, MaxBadShare: 1, Keep: true, Measures: []eval.Measure{zeroShot("{}", "a {}"), eval.Retrieval{},
			eval.Choices{}, eval.Nearest{Target: "label", Nearest: probe.Nearest{K: 2}}, &learns{t: t}, eval.Robustness{ZeroShot: eval.ZeroShot{Target: "label", Templates: []string{"{}"}},
				Kinds: []string{"impulse_noise"}, Severities: []int{1, 3}}}}
		cfg.Average.Image, cfg.Average.Text = true, true
		second := cfg
		second.Name, second.Measures = "again", []eval.Measure{zeroShot("{}")}
		return []eval.Job{{Config: cfg, Parts: parts}, {Config: second, Parts: parts}}
	}
	alone := eval.NewPlan(jobs(0))
	got, errs := everyRank(t, 3, jobs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		want, err := alone.Run(t.Context(), i, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got[0][i], want) {
			t.Errorf("evaluation %d: rank 0 found %+v, one rank %+v", i, got[0][i], want)
		}
		if !reflect.DeepEqual(got[1][i], eval.Result{}) {
			t.Errorf("rank 1 found %+v", got[1][i])
		}
	}
	if a, b := len(towers[1].batches), len(towers[2].batches); a == 0 || b == 0 || a > 2*b {
		t.Errorf("ranks 1 and 2 embedded %d and %d batches", a, b)
	}
}

// failing is a tower that cannot compute.
type failing struct{ tower }

func (*failing) Forward(context.Context, clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	return nil, 0, fault.New(fault.PluginDied, "it is gone")
}

// An error at one rank ends the evaluation of all, which then can evaluate again.
func TestAnErrorAtOneRankIsThatOfAll(t *testing.T) {
	for _, broken := range []string{"pictures", "texts", "figures"} {
		_, errs := everyRank(t, 3, func(rank int) []eval.Job {
			p := gallery()
			parts := eval.Parts{Source: eval.Source{Data: p, Info: p.info()}, Image: &tower{}, Text: &tower{}}
			measures := []eval.Measure{zeroShot("{}")}
			switch {
			case broken == "pictures" && rank == 1:
				parts.Image = &failing{}
			case broken == "texts" && rank == 2:
				parts.Text = &failing{}
			case broken == "figures":
				measures = append(measures, eval.Calibration{ZeroShot: eval.ZeroShot{Target: "label", Templates: []string{"{}"}}}) // nobody knows a scale
			}
			return []eval.Job{{Config: eval.Config{Name: "paint", BatchSize: 2, MaxBadShare: 1, Measures: measures}, Parts: parts}}
		})
		if slices.Contains(errs, nil) {
			t.Fatalf("%s: errors %v", broken, errs)
		}
		if broken != "figures" && (fault.KindOf(errs[0]) != fault.PluginDied || !strings.HasPrefix(errs[0].Error(), "rank ")) {
			t.Errorf("%s: %v", broken, errs[0])
		}
	}
}
