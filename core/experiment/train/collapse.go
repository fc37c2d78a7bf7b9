package train

import (
	"fmt"
	"math"
)

// chanceLoss returns the least loss of a model that gives every pair the same similarity. For losses over a
// softmax it is ln B. For those with a bias (SigLIP), where each pair is judged on its own, it is the entropy
// of all B judgements of a row with odds of one in B.
func chanceLoss(batch int, scalars map[string]float64) float64 {
	b := float64(batch)
	if _, ok := scalars["logit_bias"]; ok {
		return math.Log(b) + (b-1)*math.Log(b/(b-1))
	}
	return math.Log(b)
}

// watchCollapse warns once when the smoothed loss stays at that of chance long after the warm-up.
func (t *Trainer) watchCollapse(r StepReport) error {
	const decay, patience, margin = 0.95, 200, 0.99
	if r.Step == 1 {
		t.state.SmoothLoss = r.Loss
	}
	t.state.SmoothLoss = decay*t.state.SmoothLoss + (1-decay)*r.Loss
	least := chanceLoss(t.cfg.BatchSize, r.Scalars)
	if len(t.parts.Inputs) > 0 || len(t.parts.losses()) > 0 { // of these losses nobody knows the value of chance
		return nil
	}
	if t.state.Alarmed || r.Step < patience || t.state.SmoothLoss < margin*least {
		return nil
	}
	t.state.Alarmed = true
	return t.rec.Event("warning", "collapsed",
		fmt.Sprintf("after %d steps the loss is %.4f, that of chance (%.4f for batches of %d): the towers give every pair the same similarity",
			r.Step, t.state.SmoothLoss, least, t.cfg.BatchSize),
		"lower train.lr, lengthen the warm-up or check that images and captions belong together")
}
