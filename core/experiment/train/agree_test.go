package train_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// full implements a loss that cannot be saved.
type full struct{ *clipLoss }

func (full) Save(context.Context, string) error { return fault.New(fault.Exhausted, "no space left") }

func TestACheckpointThatCannotBeWrittenEndsAllRanks(t *testing.T) {
	cfg := config(t.TempDir())
	all := together(t, 2, cfg, parts, func(i int, r *rank) {
		if i == 0 {
			r.parts.Loss = full{r.parts.Loss.(*clipLoss)}
		}
	})
	for i, r := range all {
		if fault.KindOf(r.err) != fault.Exhausted || r.res.Steps != cfg.CheckpointEvery {
			t.Errorf("rank %d: %v after %d steps", i, r.err, r.res.Steps)
		}
	}
}

// All ranks evaluate after the same steps; what they break off together is done first by the run that goes on.
func TestRanksEvaluateAndBreakOffTogether(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.EvalEvery = 8
	var mu sync.Mutex
	evaluated := map[int][]int{}
	note := func(i, step int) {
		mu.Lock()
		defer mu.Unlock()
		evaluated[i] = append(evaluated[i], step)
	}
	first := together(t, 2, cfg, parts, func(i int, r *rank) {
		r.hooks.Evaluate = func(ctx context.Context, step int) error {
			if i == 0 && step == 16 {
				close(r.stop)
				<-train.StopOf(ctx)
			}
			stops, err := collective.GatherValues(ctx, r.cfg.Group, i == 0 && step == 16)
			if err == nil && stops[0] {
				return fault.New(fault.Canceled, "in the middle")
			}
			note(i, step)
			return err
		}
	})
	noErrors(t, first)
	second := together(t, 2, cfg, parts, func(i int, r *rank) {
		r.resume = first[0].res.CheckpointDir
		r.hooks.Evaluate = func(_ context.Context, step int) error { note(i, step); return nil }
	})
	noErrors(t, second)
	for i := range 2 {
		if !first[i].res.Stopped || first[i].res.Steps != 16 || !slices.Equal(evaluated[i], []int{8, 16, 24, 30}) {
			t.Errorf("rank %d: stopped with %+v, evaluated after %v", i, first[i].res, evaluated[i])
		}
	}
}

func TestBatchesThatRanksCannotShareAreInvalid(t *testing.T) {
	for _, c := range []struct {
		batch, micro, ranks, size int
		path                      string
		remark                    bool
	}{
		{128, 64, 2, 64, "", false}, {128, 0, 1, 128, "", false}, {128, 0, 2, 64, "", true}, {128, 128, 4, 32, "", true},
		{128, 16, 4, 16, "", false}, {12, 4, 2, 0, "train.micro_batch_size", false}, {10, 5, 4, 0, "train.batch_size", false},
		{12, 5, 2, 0, "train.micro_batch_size", false}, {12, -1, 1, 0, "train.micro_batch_size", false},
	} {
		size, remark, err := train.MicroBatch(c.batch, c.micro, c.ranks)
		f := new(fault.Error)
		if size != c.size || (remark != "") != c.remark || (err != nil) != (c.path != "") || err != nil && (!errors.As(err, &f) || f.Kind != fault.Invalid || f.Path != c.path) {
			t.Errorf("%+v: %d, %q, %v", c, size, remark, err)
		}
	}
	cfg := config("")
	cfg.Group = collective.Local(2)[1]
	if _, err := train.New(cfg, parts(), newMemory(), train.Hooks{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "buckets") {
		t.Errorf("encoders without buckets: %v", err)
	}
}
