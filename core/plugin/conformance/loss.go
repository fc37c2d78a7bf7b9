package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// LossOptions says how to check a loss.
type LossOptions struct {
	With     string // the with block; "" for the defaults
	EmbedDim int    // 0: 8
	Batch    int    // 0: 6
	Compute  clip.Compute
	Inputs   []string // what it takes beside image and text, as its descriptor names it
	// Capabilities are those of its descriptor. Those that have a rule are checked.
	Capabilities []string
	// Tolerance bounds the relative error that gradients may show against finite differences; 0: 0.02.
	Tolerance float64
	// Skip names rules that do not apply: "permutation" for losses that remember earlier batches.
	Skip    []string
	Only    []string      // rules to check, with those that they need; nil: all
	Observe func(Finding) // called after every rule, when not nil
}

// TestLoss checks the loss that newLoss makes, one subtest for each rule.
func TestLoss(t *testing.T, newLoss func() clip.Loss, o LossOptions) {
	t.Helper()
	report(t, CheckLoss(newLoss, o))
}

// CheckLoss checks what TestLoss checks and returns the findings.
func CheckLoss(newLoss func() clip.Loss, o LossOptions) []Finding {
	return ExamineLoss(always(newLoss), o)
}

// ExamineLoss checks what TestLoss checks, on instances that start makes and that may fail to start.
func ExamineLoss(start func() (clip.Loss, error), o LossOptions) []Finding {
	if o.EmbedDim == 0 {
		o.EmbedDim = 8
	}
	if o.Batch == 0 {
		o.Batch = 6
	}
	if o.Compute == (clip.Compute{}) {
		o.Compute = clip.Compute{Device: "host", Threads: 1, Precision: "f32"}
	}
	if o.Tolerance == 0 {
		o.Tolerance = .02
	}
	return sharing(func(dir string) []Finding {
		c := lossCase{start: start, o: o}
		c.plain = &shared[*lossTrial]{open: func() (*lossTrial, error) { return c.open(sgd) }, bits: c.bits, dir: dir}
		defer c.plain.drop()
		return run(c, lossRules, selection{o.Skip, o.Only}, o.Observe)
	})
}

// Needs of rules of losses.
var (
	computes       = []string{"configure", "result"}
	computesRepeat = []string{"configure", "result", "determinism"}
)

var lossRules = []rule[lossCase]{
	{"configure", "Configure accepts the options.", "pass options that fit with --with", nil, lossCase.configure},
	{"info", "What Configure returns is complete, and a second Configure is refused.", "fill every field of the answer; refuse a second Configure as a conflict", configured, lossCase.info},
	{"unknown option", "An option that does not exist is refused as invalid.", "decode the with block strictly", nil, lossCase.unknownOption},
	{"result", "Compute returns a finite value, and with Train finite gradients f32 [B, D] of both embeddings.", "return the same value with and without Train, and gradients only with it", configured, lossCase.result},
	{inputsRule, "Embeddings of a request are not written to.", "copy what you change", computes, lossCase.inputs},
	{"determinism", "The same calls give the same bits.", "draw random numbers from the seed and the step alone; reduce in a fixed order", computes, lossCase.determinism},
	{"permutation", "The same pairs in another order give the same value and the same gradients in that order.", "treat all rows alike; leave the rule out if the loss remembers earlier batches", computesRepeat, lossCase.permutation},
	{"embedding gradients", "The gradients of the embeddings are those of finite differences.", "differentiate the value with respect to each input; mind the mean over the batch", computesRepeat, lossCase.embeddingGradients},
	{"input gradients", "The gradients of further inputs are those of finite differences.", "differentiate the value with respect to each input that the descriptor names", computesRepeat, lossCase.inputGradients},
	{"parameter gradient", "GradNorm is the square of the norm of the parameters' gradient, which Step follows.", "GradNorm is a sum of squares without a root; Step multiplies by scale and clears", computesRepeat, lossCase.parameterGradient},
	{"step", "Step multiplies gradients by scale.", "apply scale before the optimizer", append(computesRepeat, "parameter gradient"), lossCase.step},
	{"buckets", "The buckets of gradients are the parameters' gradient, and a step with them is the step without.", "list every learned gradient once; let Step use what it is given and clear all", append(computesRepeat, "step"), lossCase.buckets},
	{"per sample", "Values per sample come when asked for, one a sample, and their mean is the part of that name.", "fill per_sample only when asked", computes, lossCase.perSample},
	{"rows", "What is computed of disjoint rows adds up to what is computed of the batch.", "score the asked rows of both against all of the other; divide by the whole batch; gradients have the whole's shape", append(computesRepeat, "per sample"), lossCase.rows},
	{"bad shapes", "Embeddings of different shapes and batches of one are refused as invalid.", "compare both shapes before you compute", computes, lossCase.badShapes},
	{"bad inputs", "A further input that is missing or of another shape is refused as invalid.", "check every input that the descriptor names before you compute", computes, lossCase.badInputs},
	{"non-finite", "An embedding with a NaN gives an error of kind numeric.", "check the value before you return it", computes, lossCase.nonFinite},
	{"checkpoint file", "Save writes a safetensors file with at least as many numbers as parameters.", "save every parameter; count parameters as what is saved", computes, lossCase.checkpointFile},
	{"save and load", "After Load, values and later steps have the bits of the instance that saved.", "save the optimizer's state too", append(computesRepeat, "checkpoint file"), lossCase.saveLoad},
	{"load refuses", "A damaged file is refused as corrupt, and the instance stays as it was.", "check the whole file before you change anything", append(computesRepeat, "checkpoint file"), lossCase.loadRefuses},
	{"cancellation", "A cancelled call ends soon and adds no gradient.", "look at the context before you add gradients", computes, lossCase.cancellation},
	{"close", "Close works, also twice and without Configure.", "let Close do nothing the second time", configured, lossCase.close},
}

type lossCase struct {
	plain *shared[*lossTrial] // with plain SGD
	start func() (clip.Loss, error)
	o     LossOptions
}

// lossTrial holds a configured loss.
type lossTrial struct {
	clip.Loss
	info clip.LossInfo
	o    LossOptions
}

func (c lossCase) config(opt clip.Optimizer) clip.LossConfig {
	cfg := clip.LossConfig{With: json.RawMessage(c.o.With), EmbedDim: c.o.EmbedDim, BatchSize: c.o.Batch, Seed: 1,
		Optimizer: opt, Compute: c.o.Compute}
	FurtherConfig(c.o.Inputs, &cfg)
	return cfg
}

func (c lossCase) open(opt clip.Optimizer) (*lossTrial, error) {
	l, err := c.start()
	if err != nil {
		return nil, err
	}
	info, err := l.Configure(ctx, c.config(opt))
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("configure: %w", err)
	}
	return &lossTrial{l, info, c.o}, nil
}

func (c lossCase) with(opt clip.Optimizer, f func(*lossTrial) error) error {
	if opt.Name == sgd.Name {
		return c.plain.use(f)
	}
	l, err := c.open(opt)
	if err != nil {
		return err
	}
	return errors.Join(f(l), l.Close())
}

// pairs returns unit rows that are somewhat like their partners, as in the middle of training.
func (c lossCase) pairs() (image, text *tensor.Tensor) {
	image, text = unitRows(1, c.o.Batch, c.o.EmbedDim), unitRows(2, c.o.Batch, c.o.EmbedDim)
	for i := range text.F32() {
		text.F32()[i] = .8*text.F32()[i] + .6*image.F32()[i]
	}
	for r := range c.o.Batch {
		row := text.F32()[r*c.o.EmbedDim : (r+1)*c.o.EmbedDim]
		norm := float32(math.Sqrt(dot(row, row)))
		for i := range row {
			row[i] /= norm
		}
	}
	return image, text
}

// request returns a request of pairs.
func (c lossCase) request(train bool) clip.LossRequest {
	image, text := c.pairs()
	return clip.LossRequest{Image: image, Text: text, Train: train, Inputs: Further(c.o.Inputs, c.o.Batch, c.o.EmbedDim)}
}

// compute calls Compute on embeddings, with the further inputs that the loss takes.
func (l *lossTrial) compute(image, text *tensor.Tensor, train bool) (*clip.LossResult, error) {
	return l.computeOf(clip.LossRequest{Image: image, Text: text, Train: train, Inputs: Further(l.o.Inputs, image.Shape[0], l.o.EmbedDim)})
}

// computeOf calls Compute and copies its tensors to the heap.
func (l *lossTrial) computeOf(q clip.LossRequest) (*clip.LossResult, error) {
	image, train := q.Image, q.Train
	r, err := l.Compute(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	if r == nil {
		return nil, errors.New("compute gave neither a result nor an error")
	}
	for _, g := range []**tensor.Tensor{&r.DImage, &r.DText} {
		if (*g != nil) != train {
			return nil, fmt.Errorf("there is a gradient: %v, with Train %v", *g != nil, train)
		}
		if *g == nil {
			continue
		}
		if (*g).DType != tensor.F32 || !(*g).Shape.Equal(image.Shape) {
			return nil, fmt.Errorf("a gradient is %v %v, want f32 %v", (*g).DType, (*g).Shape, image.Shape)
		}
		heap := (*g).Clone()
		(*g).Free()
		*g = heap
	}
	return r, takeGradients(r, q)
}

func (c lossCase) info() error {
	return c.with(sgd, func(l *lossTrial) error {
		if l.info.Parameters < 0 || l.info.Backend == "" {
			return fmt.Errorf("%d parameters on %q", l.info.Parameters, l.info.Backend)
		}
		_, err := l.Configure(ctx, c.config(sgd))
		return wantKind("a second Configure", err, fault.Conflict)
	})
}

func (c lossCase) configure() error {
	return c.with(sgd, func(*lossTrial) error { return nil })
}

func (c lossCase) unknownOption() error {
	l, err := c.start()
	if err != nil {
		return err
	}
	defer l.Close()
	cfg := c.config(sgd)
	cfg.With = json.RawMessage(`{"no_such_option": 1}`)
	_, err = l.Configure(ctx, cfg)
	return wantKind("an option that does not exist", err, fault.Invalid)
}

func (c lossCase) result() error {
	return c.with(sgd, func(l *lossTrial) error {
		image, text := c.pairs()
		eval, err1 := l.compute(image, text, false)
		image, text = c.pairs()
		train, err2 := l.compute(image, text, true)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if math.IsNaN(eval.Value) || math.IsInf(eval.Value, 0) {
			return fmt.Errorf("the value is %v", eval.Value)
		}
		if d := math.Abs(eval.Value - train.Value); d > 1e-5*(1+math.Abs(eval.Value)) {
			return fmt.Errorf("the value is %v, and %v with Train", eval.Value, train.Value)
		}
		return nil
	})
}

func (c lossCase) inputs() error {
	return c.with(sgd, func(l *lossTrial) error {
		q := c.request(true)
		i, t, further := q.Image.Clone(), q.Text.Clone(), cloneInputs(q.Inputs)
		if _, err := l.computeOf(q); err != nil {
			return err
		}
		return errors.Join(checkSame("image embeddings before and after", i, q.Image), checkSame("text embeddings before and after", t, q.Text),
			checkInputsSame(further, q.Inputs))
	})
}

func (c lossCase) determinism() error {
	var first *clip.LossResult
	for range 2 {
		err := c.with(adamw, func(l *lossTrial) error {
			image, text := c.pairs()
			if err := c.learn(l, 1); err != nil {
				return err
			}
			r, err := l.compute(image, text, true)
			if err != nil || first == nil {
				first = r
				return err
			}
			if r.Value != first.Value {
				return fmt.Errorf("the value after a step is %v and %v", first.Value, r.Value)
			}
			return errors.Join(checkSame("image gradients", first.DImage, r.DImage), checkSame("text gradients", first.DText, r.DText))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c lossCase) permutation() error {
	return c.with(sgd, func(l *lossTrial) error {
		q, order := c.request(true), rotation(c.o.Batch)
		p := clip.LossRequest{Image: permuteRows(q.Image, order), Text: permuteRows(q.Text, order), Train: true, Inputs: map[string]clip.LossInput{}}
		for name, x := range q.Inputs {
			p.Inputs[name] = permuteInput(name, x, order)
		}
		want, err1 := l.computeOf(q)
		got, err2 := l.computeOf(p)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if d := math.Abs(want.Value - got.Value); d > 1e-5*(1+math.Abs(want.Value)) {
			return fmt.Errorf("the value is %v, and %v for the same pairs in another order", want.Value, got.Value)
		}
		err := errors.Join(checkNear("image gradients of permuted pairs", got.DImage, permuteRows(want.DImage, order), 1e-4),
			checkNear("text gradients of permuted pairs", got.DText, permuteRows(want.DText, order), 1e-4))
		for name, g := range want.Gradients {
			permuted := permuteInput(name, clip.LossInput{Value: g}, order).Value
			err = errors.Join(err, checkNear("gradients of "+name+" of permuted pairs", got.Gradients[name], permuted, 1e-4))
		}
		return err
	})
}

// embeddingGradients checks the gradients of the embeddings: it moves one input at a time along a random
// direction.
func (c lossCase) embeddingGradients() error {
	return c.with(sgd, func(l *lossTrial) error {
		image, text := c.pairs()
		r, err := l.compute(image, text, true)
		if err != nil {
			return err
		}
		for i, in := range []struct {
			what string
			x, g *tensor.Tensor
		}{{"image", image, r.DImage}, {"text", text, r.DText}} {
			err := l.checkSlope(uint64(40+i), clip.LossInput{Value: in.x}, in.g, func(moved *tensor.Tensor) clip.LossRequest {
				q := c.request(false)
				if in.what == "image" {
					q.Image = moved
				} else {
					q.Text = moved
				}
				return q
			})
			if err != nil {
				return fmt.Errorf("by the %s embeddings: %w", in.what, err)
			}
		}
		return nil
	})
}

// parameterGradient checks the gradient of the parameters: it moves them along it, as plain SGD does. Without
// parameters there must be no gradient.
func (c lossCase) parameterGradient() error {
	image, text := c.pairs()
	var norm float64
	var parameters int64
	err := c.with(sgd, func(l *lossTrial) error {
		parameters = l.info.Parameters
		if _, err := l.compute(image, text, false); err != nil {
			return err
		}
		if n, err := l.GradNorm(ctx); err != nil || n != 0 {
			return fmt.Errorf("the squared gradient norm without Train is %v, want 0 (%v)", n, err)
		}
		if _, err := l.compute(image, text, true); err != nil {
			return err
		}
		var err error
		if norm, err = l.GradNorm(ctx); err != nil {
			return err
		}
		if err := l.Step(ctx, 1, 0, 1); err != nil {
			return err
		}
		if n, err := l.GradNorm(ctx); err != nil || n != 0 {
			return fmt.Errorf("the squared gradient norm after Step is %v, want 0 (%v)", n, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case parameters == 0 && norm != 0:
		return fmt.Errorf("the squared gradient norm is %v without parameters", norm)
	case parameters == 0:
		return nil
	case !(norm > 0):
		return fmt.Errorf("the squared gradient norm is %v with %d parameters", norm, parameters)
	}
	return slopes(func(s float64) (v float64, err error) {
		err = c.with(sgd, func(l *lossTrial) error {
			if _, err := l.compute(image, text, true); err != nil {
				return err
			}
			if err := l.Step(ctx, 1, s/math.Sqrt(norm), 1); err != nil {
				return err
			}
			r, err := l.compute(image, text, false)
			if err == nil {
				v = r.Value
			}
			return err
		})
		return v, err
	}, -math.Sqrt(norm), 1, c.o.Tolerance)
}
