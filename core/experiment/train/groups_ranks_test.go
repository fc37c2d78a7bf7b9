package train_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// grouped is a tower that adds gradients up over the ranks by itself, as GPUs do.
type grouped struct {
	*inBuckets
	group collective.Group // its own
}

func (g *grouped) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	if err := g.inBuckets.Backward(ctx, t, grad); err != nil {
		return err
	}
	return g.group.SumDoubles(ctx, g.g)
}

func (g *grouped) GradNorm(ctx context.Context) (float64, error) { return g.linear.GradNorm(ctx) }

func (g *grouped) Step(ctx context.Context, step int, lr, scale float64) error {
	return g.linear.Step(ctx, step, lr, scale)
}

func (g *grouped) StepWith(context.Context, int, float64, float64, []*tensor.Tensor) error {
	return errors.New("its gradients are summed already")
}

// A tower that adds its gradients up by itself beside one in buckets trains as one rank does.
func TestTowersMayAddTheirGradientsUpThemselves(t *testing.T) {
	cfg := config("")
	cfg.MicroBatchSize, cfg.Parallel = 3, true
	one, rec := parts(), newMemory()
	run(t, cfg, one, rec, train.Hooks{}, nil, "")
	own := collective.Local(2)
	all := together(t, 2, cfg, parts, func(k int, r *rank) {
		r.parts.Groups, r.parts.Buckets[0] = [2]bool{true, false}, nil
		r.parts.Image = &grouped{r.parts.Image.(*inBuckets), own[k]}
	})
	noErrors(t, all)
	nearly(t, "loss", series(all[0].rec.metrics["train/loss"]), series(rec.metrics["train/loss"]), 1e-6)
	nearly(t, "norm", series(all[0].rec.metrics["train/grad_norm"]), series(rec.metrics["train/grad_norm"]), 1e-6)
	w := all[0].parts.Image.(*grouped).w
	nearly(t, "weights", w, one.Image.(*linear).w, 1e-6)
	if !slices.Equal(w, all[1].parts.Image.(*grouped).w) {
		t.Error("ranks have other weights")
	}
}

// A tower in a group that has buckets too is refused: its gradients would be added up twice, or not at all.
func TestATowerInAGroupHasNoBuckets(t *testing.T) {
	for i, r := range together(t, 2, config(""), parts, func(_ int, r *rank) { r.parts.Groups[1] = true }) {
		if fault.KindOf(r.err) != fault.Internal || !strings.Contains(r.err.Error(), "2 buckets all the same") {
			t.Errorf("rank %d: %v", i, r.err)
		}
	}
}
