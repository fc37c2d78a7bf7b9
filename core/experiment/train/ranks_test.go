package train_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/objective"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// nearly compares values, as sums of float32 in another order do.
func nearly(t *testing.T, what string, got, want []float64, limit float64) {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if math.Abs(got[i]-w) > limit*math.Max(1, math.Abs(w)) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], w)
			return
		}
	}
}

func series(m map[int]float64) (list []float64) {
	for _, step := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[step])
	}
	return list
}

func TestRanksTrainAsOneDoes(t *testing.T) {
	for _, c := range []struct{ ranks, micro int }{{2, 6}, {2, 3}, {3, 4}, {4, 1}} {
		for _, inputs := range []func() train.Parts{parts, richParts} {
			for _, parallel := range []bool{false, true} {
				cfg := config("")
				cfg.Steps = 12
				cfg.MicroBatchSize, cfg.Parallel = c.micro, parallel
				one, rec := inputs(), newMemory()
				run(t, cfg, one, rec, train.Hooks{}, nil, "")
				all := together(t, c.ranks, cfg, inputs, nil)
				noErrors(t, all)
				for i, r := range all {
					if !slices.Equal(r.weights(), all[0].weights()) {
						t.Errorf("%+v: rank %d has other weights than rank 0", c, i)
					}
					if i > 0 && len(r.rec.metrics) > 0 {
						t.Errorf("%+v: rank %d records", c, i)
					}
				}
				nearly(t, "loss", series(all[0].rec.metrics["train/loss"]), series(rec.metrics["train/loss"]), 1e-6)
				nearly(t, "norm", series(all[0].rec.metrics["train/grad_norm"]), series(rec.metrics["train/grad_norm"]), 1e-6)
				want := &rank{parts: bucketed(one)}
				nearly(t, "weights", all[0].weights(), want.weights(), 1e-6)
			}
		}
	}
}

// exchanging implements a tower that adds something up over the ranks in every pass.
type exchanging struct {
	*inBuckets
	group collective.Group
	sums  []float64
}

func (e *exchanging) sum(ctx context.Context) error {
	one := []float64{float64(e.group.Rank() + 1)}
	err := e.group.SumDoubles(ctx, one)
	e.sums = append(e.sums, one...)
	return err
}

func (e *exchanging) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if err := e.sum(ctx); err != nil {
		return nil, 0, err
	}
	return e.inBuckets.Forward(ctx, q)
}

func (e *exchanging) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	if err := e.inBuckets.BackwardLast(ctx, t, grad, tokens); err != nil { // its buckets are ready
		return err
	}
	return e.sum(ctx)
}

// While a tower exchanges, nothing else is exchanged.
func TestTowersExchangeInTheMiddleOfAPass(t *testing.T) {
	for _, both := range []bool{false, true} {
		cfg := config("")
		cfg.MicroBatchSize, cfg.Parallel = 6, true
		all := together(t, 2, cfg, parts, func(_ int, r *rank) {
			r.parts.Exchanges = [2]bool{true, both}
			r.parts.Image = &exchanging{inBuckets: r.parts.Image.(*inBuckets), group: r.cfg.Group}
			if both {
				r.parts.Text = &exchanging{inBuckets: r.parts.Text.(*inBuckets), group: r.cfg.Group}
			}
		})
		noErrors(t, all)
		for i, r := range all {
			sums := r.parts.Image.(*exchanging).sums
			if len(sums) != 2*cfg.Steps || slices.ContainsFunc(sums, func(v float64) bool { return v != 3 }) {
				t.Errorf("rank %d has sums %v", i, sums)
			}
		}
	}
}

// Of a large batch each rank computes the loss of its own rows, alone or as part of a sum.
func TestRanksShareOutTheRowsOfALargeLoss(t *testing.T) {
	cfg := config("")
	cfg.MicroBatchSize = 3
	train.ShareRows(t, cfg.BatchSize)
	for _, weights := range [][]float64{{1}, {1, 0.25}} {
		losses := func(p *train.Parts, rows bool) {
			var members []objective.Member
			p.LossRows, p.LossBuckets = rows, nil
			for i, w := range weights {
				m := objective.Member{Name: fmt.Sprint("m", i), Weight: w, Loss: &clipLoss{s: []float64{1 + float64(i)}, g: []float64{0}}}
				if rows {
					m.Loss = &rowsLoss{clipLoss: m.Loss.(*clipLoss)}
				}
				members, p.LossBuckets = append(members, m), append(p.LossBuckets, []int{1})
			}
			if p.Loss = members[0].Loss; len(weights) > 1 {
				p.Loss = objective.Add(members, false)
			}
		}
		one, rec := parts(), newMemory()
		losses(&one, false)
		run(t, cfg, one, rec, train.Hooks{}, nil, "")
		all := together(t, 2, cfg, parts, func(_ int, r *rank) {
			losses(&r.parts, true)
		})
		noErrors(t, all)
		for _, name := range slices.Sorted(maps.Keys(rec.metrics)) {
			if strings.HasPrefix(name, "train/loss") || strings.HasPrefix(name, "train/grad_norm") {
				nearly(t, name, series(all[0].rec.metrics[name]), series(rec.metrics[name]), 1e-6)
			}
		}
		for i, r := range all {
			nearly(t, "image", r.parts.Image.(*inBuckets).w, one.Image.(*linear).w, 1e-6)
			nearly(t, "text", r.parts.Text.(*inBuckets).w, one.Text.(*linear).w, 1e-6)
			for k, m := range objective.Members(r.parts.Loss) {
				l := m.Loss.(*rowsLoss)
				if len(l.asked) != cfg.Steps || l.asked[0].RowOffset != 6*i || l.asked[0].Rows != 6 {
					t.Errorf("rank %d was asked for %d rows from %d, %d times", i, l.asked[0].Rows, l.asked[0].RowOffset, len(l.asked))
				}
				nearly(t, "scale", l.s, objective.Members(one.Loss)[k].Loss.(*clipLoss).s, 1e-6)
			}
		}
	}
}

// A frozen tower needs no buckets, and runs forward only.
func TestRanksLeaveAFrozenTowerAlone(t *testing.T) {
	cfg := config("")
	cfg.MicroBatchSize = 3
	frozen := func() train.Parts {
		p := parts()
		p.Frozen = [2]bool{true, false}
		return p
	}
	one := frozen()
	run(t, cfg, one, newMemory(), train.Hooks{}, nil, "")
	all := together(t, 2, cfg, frozen, func(_ int, r *rank) {
		r.parts.Image = locked{r.parts.Image.(*inBuckets).linear, t}
		r.parts.Buckets[0] = nil
	})
	noErrors(t, all)
	nearly(t, "text", all[1].parts.Text.(*inBuckets).w, one.Text.(*linear).w, 1e-6)
}

// What a rank cannot read is replaced by what one rank would draw, and counted once.
func TestRanksReplaceUnreadableSamplesAsOneDoes(t *testing.T) {
	for _, broken := range []int{4, 13} {
		cfg := config("")
		cfg.MicroBatchSize = 3
		inputs := func() train.Parts {
			p := parts()
			p.Data = &gallery{patterns: patterns{samples}, broken: broken}
			p.Text = &counting{linear: p.Text.(*linear), limit: 21}
			return p
		}
		one, rec := inputs(), newMemory()
		want := run(t, cfg, one, rec, train.Hooks{}, nil, "")
		all := together(t, 4, cfg, inputs, nil)
		noErrors(t, all)
		nearly(t, "loss", series(all[0].rec.metrics["train/loss"]), series(rec.metrics["train/loss"]), 1e-6)
		for _, name := range []string{"train/samples_replaced", "train/captions_cut", "train/captions_cut_share"} {
			if !maps.Equal(all[0].rec.metrics[name], rec.metrics[name]) || len(rec.metrics[name]) == 0 {
				t.Errorf("%s is %v, of one rank %v", name, all[0].rec.metrics[name], rec.metrics[name])
			}
		}
		if !slices.Equal(all[0].rec.events, rec.events) {
			t.Errorf("events %v, of one rank %v", all[0].rec.events, rec.events)
		}
		for i, r := range all {
			if got := r.res.Counts; got.Replaced != want.Counts.Replaced || got.Captions != want.Counts.Captions || got.Longest != want.Counts.Longest {
				t.Errorf("rank %d counts %+v, want %+v", i, got, want.Counts)
			}
		}
	}
}

func TestAllRanksEndWhenTooManySamplesCannotBeRead(t *testing.T) {
	all := together(t, 2, config(""), func() train.Parts {
		p := parts()
		p.Data = &gallery{patterns: patterns{samples}, broken: 1}
		return p
	}, nil)
	for i, r := range all {
		if fault.KindOf(r.err) != fault.Corrupt || !strings.Contains(r.err.Error(), "too few") {
			t.Errorf("rank %d: %v", i, r.err)
		}
	}
}

// A stop of any rank stops all after the same step; what goes on has the bits of a run that was not stopped, on as many
// ranks, and its values on another number.
func TestRanksStopTogetherAndGoOn(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MicroBatchSize = 3
	whole := together(t, 2, cfg, richParts, nil)
	noErrors(t, whole)
	for stopper := range 2 {
		cfg.Dir = t.TempDir()
		first := together(t, 2, cfg, richParts, func(i int, r *rank) {
			if i == stopper {
				r.hooks.Step = func(s train.StepReport) {
					if s.Step == 17 {
						close(r.stop)
					}
				}
			}
		})
		noErrors(t, first)
		for i, r := range first {
			if !r.res.Stopped || r.res.Steps != 17 || train.Verify(r.res.CheckpointDir, "", 17) != nil {
				t.Errorf("stopped on rank %d: rank %d ends with %+v", stopper, i, r.res)
			}
		}
		for _, ranks := range []int{2, 4} {
			goOn := cfg
			goOn.Dir = t.TempDir()
			second := together(t, ranks, goOn, richParts, func(_ int, r *rank) { r.resume = first[0].res.CheckpointDir })
			noErrors(t, second)
			for i, r := range second {
				if ranks == 2 && !slices.Equal(r.weights(), whole[0].weights()) {
					t.Errorf("stopped on rank %d and resumed: rank %d has other weights", stopper, i)
				}
				nearly(t, "weights", r.weights(), whole[0].weights(), 1e-6)
			}
			for step, v := range second[0].rec.metrics["train/loss"] {
				if want := whole[0].rec.metrics["train/loss"][step]; ranks == 2 && v != want || math.Abs(v-want) > 1e-6 {
					t.Errorf("resumed on %d ranks: the loss of step %d is %v, want %v", ranks, step, v, want)
				}
			}
		}
		alone := richParts()
		cfg.Dir = ""
		run(t, cfg, alone, newMemory(), train.Hooks{}, nil, first[0].res.CheckpointDir)
		nearly(t, "weights of one rank", (&rank{parts: bucketed(alone)}).weights(), whole[0].weights(), 1e-6)
	}
}

// While it waits for a batch a rank obeys a stop, and so do the others.
func TestARankThatWaitsForABatchCanBeStopped(t *testing.T) {
	all := together(t, 2, config(t.TempDir()), parts, func(i int, r *rank) {
		if i == 1 {
			data := &stuck{patterns: patterns{samples}, waiting: make(chan struct{})}
			r.parts.Data, r.stop = data, data.waiting
		}
	})
	noErrors(t, all)
	if a, b := all[0].res, all[1].res; !a.Stopped || !b.Stopped || a.Steps != b.Steps || a.Steps > 2 {
		t.Errorf("%+v and %+v", a, b)
	}
}

// broken fails in a method.
type brokenTower struct {
	*inBuckets
	forward, backward error
}

func (b brokenTower) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if q.Step == 3 && b.forward != nil {
		return nil, 0, b.forward
	}
	return b.inBuckets.Forward(ctx, q)
}

func (b brokenTower) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	if b.backward != nil {
		return b.backward
	}
	return b.inBuckets.BackwardLast(ctx, t, grad, tokens)
}

func TestAFailureOfOneRankIsOneOfAll(t *testing.T) {
	numeric := fault.New(fault.Numeric, "the embedding of sample 3 is not finite")
	all := together(t, 3, config(""), parts, func(i int, r *rank) {
		if i == 1 {
			r.parts.Image = brokenTower{inBuckets: r.parts.Image.(*inBuckets), forward: numeric}
		}
	})
	for i, r := range all {
		if fault.KindOf(r.err) != fault.Numeric || !strings.Contains(r.err.Error(), "sample 3") || i != 1 != strings.Contains(r.err.Error(), "rank 1") {
			t.Errorf("rank %d: %v", i, r.err)
		}
		if r.cfg.Group.Cause() != nil {
			t.Errorf("the group of rank %d cannot be used any more: %v", i, r.cfg.Group.Cause())
		}
	}
	all = together(t, 3, config(""), parts, func(i int, r *rank) {
		if i == 1 {
			r.parts.Text = brokenTower{inBuckets: r.parts.Text.(*inBuckets), backward: errors.New("its plugin died")}
		}
	})
	for i, r := range all {
		if r.err == nil || i != 1 && fault.KindOf(r.err) != fault.Unavailable || !strings.Contains(r.err.Error(), "its plugin died") {
			t.Errorf("rank %d: %v", i, r.err)
		}
	}
}

func TestRanksThatDriftApartAreFoundOut(t *testing.T) {
	all := together(t, 2, config(""), parts, func(i int, r *rank) {
		if i == 1 {
			r.parts.Loss.(*clipLoss).s[0] = math.Nextafter(1, 2)
		}
	})
	for i, r := range all {
		if fault.KindOf(r.err) != fault.Internal || !strings.Contains(r.err.Error(), "drifted apart at step 1") {
			t.Errorf("rank %d: %v", i, r.err)
		}
	}
}
