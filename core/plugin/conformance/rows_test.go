package conformance

import (
	"context"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// rowSquares computes shares of squares, which are those of pairs, and may break a rule.
type rowSquares struct {
	*squares
	fault string
}

func (l *rowSquares) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	from, n, batch := q.RowOffset, q.Rows, q.Image.Shape[0]
	if n == 0 {
		return l.squares.Compute(ctx, q)
	}
	if from+n > batch {
		if l.fault != "takes rows beyond the last" {
			return nil, fault.New(fault.Invalid, "%d rows from %d of %d", n, from, batch)
		}
		n = batch - from
	}
	before, d := l.g, q.Image.Shape[1]
	// All other pairs are as near as can be, so that they add nothing.
	image := q.Image.Clone()
	copy(image.F32(), q.Text.F32())
	copy(image.F32()[from*d:(from+n)*d], q.Image.F32()[from*d:(from+n)*d])
	q.Image = image
	r, err := l.squares.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.PerSample && l.fault != "gives all samples" {
		r.PerSample["squares"] = r.PerSample["squares"][from : from+n]
	}
	factor := float64(batch) / float64(n)
	switch l.fault {
	case "takes the mean of its rows":
		r.Value *= factor
	case "takes the mean of its part":
		r.Parts["squares"] *= factor
	case "scales its gradients":
		for _, g := range []*tensor.Tensor{r.DImage, r.DText} {
			for i := range g.F32() {
				g.F32()[i] *= float32(factor)
			}
		}
	case "scales its parameter's gradient":
		l.g = before + (l.g-before)*factor
	}
	return r, nil
}

func TestEveryRuleOfRowsCanBeBroken(t *testing.T) {
	rules := map[string]string{}
	for _, fault := range []string{"takes rows beyond the last", "gives all samples", "takes the mean of its rows", "takes the mean of its part",
		"scales its gradients", "scales its parameter's gradient"} {
		rules[fault] = "rows"
	}
	breaks(t, func(fault string) []Finding {
		return CheckLoss(func() clip.Loss { return &rowSquares{&squares{}, fault} }, LossOptions{Capabilities: []string{clip.CapRows}, Only: []string{"rows"}})
	}, rules)
}
