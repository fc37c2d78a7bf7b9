package cliptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// EncoderOptions say how to check an encoder.
type EncoderOptions struct {
	With     string       // the with block; "" for the defaults
	EmbedDim int          // 0: 8
	Batch    int          // samples of a batch; 0: 5
	Compute  clip.Compute // zero: host, one thread
	Captions []string     // for text encoders, samples and vocabulary; nil: a few of our own
	// Tolerance is the relative error that the gradient may show against finite differences, which
	// computation in f32 limits; 0: 0.02.
	Tolerance float64
	// Skip names rules that do not apply: "gradient" for networks with kinks everywhere.
	Skip []string
}

// captions differ in length and words.
var captions = []string{"cat", "a photo of a dog", "two red birds on a wire", "sun", "rain over the sea", "x y", "a tree"}

// TestEncoder checks the encoder that newEncoder makes, one subtest for each rule.
func TestEncoder(t *testing.T, newEncoder func() clip.Encoder, o EncoderOptions) {
	t.Helper()
	report(t, CheckEncoder(newEncoder, o))
}

// CheckEncoder is TestEncoder as values.
func CheckEncoder(newEncoder func() clip.Encoder, o EncoderOptions) []Finding {
	if o.EmbedDim == 0 {
		o.EmbedDim = 8
	}
	if o.Batch == 0 {
		o.Batch = 5
	}
	if o.Compute == (clip.Compute{}) {
		o.Compute = clip.Compute{Device: "host", Threads: 1, Precision: "f32"}
	}
	if o.Captions == nil {
		o.Captions = captions
	}
	if o.Tolerance == 0 {
		o.Tolerance = .02
	}
	return run(encoderCase{newEncoder, o}, encoderRules, o.Skip)
}

var encoderRules = []rule[encoderCase]{
	{"info", encoderCase.info},
	{"unknown option", encoderCase.unknownOption},
	{"unit rows", encoderCase.unitRows},
	{"inputs unmodified", encoderCase.inputs},
	{"determinism", encoderCase.determinism},
	{"permutation", encoderCase.permutation},
	{"embed equals train", encoderCase.embedEqualsTrain},
	{"gradient", encoderCase.gradient},
	{"gradients add up", encoderCase.accumulation},
	{"step", encoderCase.step},
	{"tickets", encoderCase.tickets},
	{"frozen", encoderCase.frozen},
	{"bad shapes", encoderCase.badShapes},
	{"non-finite gradient", encoderCase.nonFinite},
	{"save and load", encoderCase.saveLoad},
	{"load refuses", encoderCase.loadRefuses},
	{"cancellation", encoderCase.cancellation},
	{"close", encoderCase.close},
}

type encoderCase struct {
	make func() clip.Encoder
	o    EncoderOptions
}

// trial is a configured encoder.
type trial struct {
	clip.Encoder
	info clip.EncoderInfo
	o    EncoderOptions
}

func (c encoderCase) config(opt clip.Optimizer, seed uint64) clip.EncoderConfig {
	return clip.EncoderConfig{With: json.RawMessage(c.o.With), EmbedDim: c.o.EmbedDim, Seed: seed, Optimizer: opt,
		Compute: c.o.Compute, Captions: c.o.Captions}
}

func (c encoderCase) open(opt clip.Optimizer, seed uint64) (*trial, error) {
	e := c.make()
	info, err := e.Configure(ctx, c.config(opt, seed))
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("configure: %w", err)
	}
	return &trial{e, info, c.o}, nil
}

// with calls f with a configured encoder.
func (c encoderCase) with(opt clip.Optimizer, f func(*trial) error) error {
	e, err := c.open(opt, 1)
	if err != nil {
		return err
	}
	return errors.Join(f(e), e.Close())
}

// request is a batch of random pictures or of captions.
func (e *trial) request(mode clip.Mode) clip.ForwardRequest {
	q := clip.ForwardRequest{Mode: mode, Step: 3, Micro: 1}
	if e.info.Modality == clip.Text {
		for i := range e.o.Batch {
			q.Texts = append(q.Texts, e.o.Captions[i%len(e.o.Captions)])
		}
		return q
	}
	s := e.info.ImageSize
	q.Images = tensor.New(tensor.U8, e.o.Batch, s, s, 3)
	r := rand.New(rand.NewPCG(5, 5))
	for i := range q.Images.Data {
		q.Images.Data[i] = byte(r.Uint32())
	}
	return q
}

// forward is a Forward whose result is on the heap.
func (e *trial) forward(q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	out, ticket, err := e.Forward(ctx, q)
	if err != nil {
		return nil, 0, fmt.Errorf("forward: %w", err)
	}
	if out == nil {
		return nil, 0, errors.New("forward gave neither an embedding nor an error")
	}
	defer out.Free()
	if want := (tensor.Shape{e.o.Batch, e.o.EmbedDim}); out.DType != tensor.F32 || !out.Shape.Equal(want) {
		return nil, 0, fmt.Errorf("embedding is %v %v, want f32 %v", out.DType, out.Shape, want)
	}
	return out.Clone(), ticket, nil
}

func (e *trial) eval() (*tensor.Tensor, error) {
	out, _, err := e.forward(e.request(clip.Eval))
	return out, err
}

// backward forwards in mode Train and goes back with grad.
func (e *trial) backward(grad *tensor.Tensor) error {
	_, ticket, err := e.forward(e.request(clip.Train))
	if err != nil {
		return err
	}
	if err := e.Backward(ctx, ticket, grad); err != nil {
		return fmt.Errorf("backward: %w", err)
	}
	return nil
}

// cotangent is a gradient for the embedding that points along no row: the component along a row
// vanishes in the normalisation.
func (e *trial) cotangent(seed uint64) *tensor.Tensor { return normal(seed, e.o.Batch, e.o.EmbedDim) }

func (c encoderCase) info() error {
	return c.with(sgd, func(e *trial) error {
		i := e.info
		switch {
		case i.Modality != clip.Image && i.Modality != clip.Text:
			return fmt.Errorf("modality is %q", i.Modality)
		case i.EmbedDim != c.o.EmbedDim:
			return fmt.Errorf("embed dim is %d, want %d", i.EmbedDim, c.o.EmbedDim)
		case i.Modality == clip.Image && (i.ImageSize <= 0 || i.ContextLength != 0 || i.VocabSize != 0):
			return fmt.Errorf("image size %d, context length %d, vocabulary %d of an image encoder", i.ImageSize, i.ContextLength, i.VocabSize)
		case i.Modality == clip.Text && (i.ImageSize != 0 || i.ContextLength <= 0):
			return fmt.Errorf("image size %d, context length %d of a text encoder", i.ImageSize, i.ContextLength)
		case i.Parameters < 0 || !(i.FLOPs >= 0):
			return fmt.Errorf("%d parameters, %v FLOPs", i.Parameters, i.FLOPs)
		case i.Backend == "":
			return errors.New("the backend is not named")
		}
		_, err := e.Configure(ctx, c.config(sgd, 1))
		return wantKind("a second Configure", err, fault.Conflict)
	})
}

func (c encoderCase) unknownOption() error {
	e := c.make()
	defer e.Close()
	cfg := c.config(sgd, 1)
	cfg.With = json.RawMessage(`{"no_such_option": 1}`)
	_, err := e.Configure(ctx, cfg)
	return wantKind("an option that does not exist", err, fault.Invalid)
}

func (c encoderCase) unitRows() error {
	return c.with(sgd, func(e *trial) error {
		for _, mode := range []clip.Mode{clip.Eval, clip.Train, clip.Embed} {
			out, ticket, err := e.forward(e.request(mode))
			if err != nil {
				return err
			}
			if (ticket != 0) != (mode == clip.Train) {
				return fmt.Errorf("ticket %d in mode %d: Train alone has one", ticket, mode)
			}
			for i := range c.o.Batch {
				row := out.F32()[i*c.o.EmbedDim : (i+1)*c.o.EmbedDim]
				if norm := math.Sqrt(dot(row, row)); !(math.Abs(norm-1) < 1e-4) {
					return fmt.Errorf("row %d has the norm %v in mode %d", i, norm, mode)
				}
			}
		}
		return nil
	})
}

func (c encoderCase) inputs() error {
	return c.with(sgd, func(e *trial) error {
		q := e.request(clip.Train)
		texts := slices.Clone(q.Texts)
		var images []byte
		if q.Images != nil {
			images = bytes.Clone(q.Images.Data)
		}
		_, ticket, err := e.forward(q)
		if err != nil {
			return err
		}
		grad := e.cotangent(1)
		before := grad.Clone()
		if err := e.Backward(ctx, ticket, grad); err != nil {
			return err
		}
		if !slices.Equal(texts, q.Texts) || q.Images != nil && !bytes.Equal(images, q.Images.Data) {
			return errors.New("forward or backward changed the samples")
		}
		return same("backward's gradient, before and after", before, grad)
	})
}

func (c encoderCase) determinism() error {
	var outs [3]*tensor.Tensor
	for i, seed := range []uint64{1, 1, 2} {
		e, err := c.open(adamw, seed)
		if err != nil {
			return err
		}
		first, err1 := e.eval()
		again, err2 := e.eval()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if err := same("the same batch twice", first, again); err != nil {
			return err
		}
		if err := errors.Join(e.backward(e.cotangent(1)), e.Step(ctx, 1, .01, 1)); err != nil {
			return err
		}
		if outs[i], err = e.eval(); err != nil {
			return err
		}
		e.Close()
	}
	if err := same("two encoders of one seed after a step", outs[0], outs[1]); err != nil {
		return err
	}
	if same("", outs[0], outs[2]) == nil {
		return errors.New("the seed changes nothing")
	}
	return nil
}

func (c encoderCase) permutation() error {
	return c.with(sgd, func(e *trial) error {
		order := rotation(c.o.Batch)
		q := e.request(clip.Eval)
		want, _, err := e.forward(q)
		if err != nil {
			return err
		}
		p := q
		if q.Images != nil {
			p.Images = permuted(q.Images, order)
		} else {
			p.Texts = make([]string, len(order))
			for i, from := range order {
				p.Texts[i] = q.Texts[from]
			}
		}
		got, _, err := e.forward(p)
		if err != nil {
			return err
		}
		return near("embeddings of a permuted batch", got, permuted(want, order), 1e-5)
	})
}

func (c encoderCase) embedEqualsTrain() error {
	return c.with(sgd, func(e *trial) error {
		before, err := e.eval()
		if err != nil {
			return err
		}
		embedded, _, err := e.forward(e.request(clip.Embed))
		if err != nil {
			return err
		}
		after, err := e.eval()
		if err != nil {
			return err
		}
		if err := same("evaluation before and after Embed", before, after); err != nil {
			return err
		}
		trained, ticket, err := e.forward(e.request(clip.Train))
		if err != nil {
			return err
		}
		if err := e.Discard(ctx, ticket); err != nil {
			return err
		}
		return same("modes Embed and Train", embedded, trained)
	})
}

// gradient moves the parameters along their own gradient g of f = ⟨c, embedding⟩, which plain SGD
// does exactly, and compares the change of f with |g|²; then along the gradient h of another
// cotangent, where the change is ⟨g, h⟩ = (|g+h|² − |g|² − |h|²)/2.
func (c encoderCase) gradient() error {
	var g, h, both float64
	var cot, other *tensor.Tensor
	err := c.with(sgd, func(e *trial) error {
		cot, other = e.cotangent(1), e.cotangent(2)
		norm := func(cotangents ...*tensor.Tensor) (float64, error) {
			for _, t := range cotangents {
				if err := e.backward(t); err != nil {
					return 0, err
				}
			}
			n, err1 := e.GradNorm(ctx)
			return n, errors.Join(err1, e.Step(ctx, 1, 0, 1)) // a rate of 0: only the gradients go
		}
		var err1, err2, err3 error
		g, err1 = norm(cot)
		h, err2 = norm(other)
		both, err3 = norm(cot, other)
		return errors.Join(err1, err2, err3)
	})
	if err != nil {
		return err
	}
	if !(g > 0) || !(h > 0) {
		return fmt.Errorf("the squared gradient norms are %v and %v", g, h)
	}
	// value is f after a move of length s along the gradient of move.
	value := func(move *tensor.Tensor, norm float64) func(float64) (float64, error) {
		return func(s float64) (v float64, err error) {
			err = c.with(sgd, func(e *trial) error {
				if err := errors.Join(e.backward(move), e.Step(ctx, 1, s/math.Sqrt(norm), 1)); err != nil {
					return err
				}
				out, ticket, err := e.forward(e.request(clip.Train))
				if err != nil {
					return err
				}
				v = dot(out.F32(), cot.F32())
				return e.Discard(ctx, ticket)
			})
			return v, err
		}
	}
	if err := slopes(value(cot, g), -math.Sqrt(g), 1, c.o.Tolerance); err != nil {
		return fmt.Errorf("along the gradient: %w", err)
	}
	inner := (both - g - h) / 2
	if math.Abs(inner) < .05*math.Sqrt(g*h) {
		return nil // nearly orthogonal: rounding would be all that is compared
	}
	if err := slopes(value(other, h), -inner/math.Sqrt(h), 1, 2*c.o.Tolerance); err != nil {
		return fmt.Errorf("along another gradient: %w", err)
	}
	return nil
}

func (c encoderCase) accumulation() error {
	return c.with(sgd, func(e *trial) error {
		grad, minus := e.cotangent(1), e.cotangent(1)
		for i := range minus.F32() {
			minus.F32()[i] *= -1
		}
		_, t1, err1 := e.forward(e.request(clip.Train))
		_, t2, err2 := e.forward(e.request(clip.Train))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if t1 == t2 {
			return fmt.Errorf("two tickets are both %d", t1)
		}
		if err := e.Backward(ctx, t2, grad); err != nil {
			return err
		}
		one, err := e.GradNorm(ctx)
		if err != nil {
			return err
		}
		if err := e.Backward(ctx, t1, minus); err != nil {
			return err
		}
		rest, err := e.GradNorm(ctx)
		if err != nil {
			return err
		}
		if !(rest <= 1e-6*one) {
			return fmt.Errorf("the squared norm is %v after a gradient and %v after its opposite as well, want 0", one, rest)
		}
		return nil
	})
}

func (c encoderCase) step() error {
	moved := func(lr, scale float64) (out *tensor.Tensor, err error) {
		err = c.with(sgd, func(e *trial) error {
			before, err := e.eval()
			if err != nil {
				return err
			}
			if err := errors.Join(e.backward(e.cotangent(1)), e.Step(ctx, 1, lr, scale)); err != nil {
				return err
			}
			if n, err := e.GradNorm(ctx); err != nil || n != 0 {
				return fmt.Errorf("the squared gradient norm after Step is %v, want 0 (%v)", n, err)
			}
			if out, err = e.eval(); err == nil && same("", before, out) == nil {
				return errors.New("a step changes nothing")
			}
			return err
		})
		return out, err
	}
	a, err1 := moved(.02, .5)
	b, err2 := moved(.01, 1)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return near("half the scale and half the rate", a, b, 1e-5)
}

func (c encoderCase) tickets() error {
	return c.with(sgd, func(e *trial) error {
		grad := e.cotangent(1)
		_, ticket, err := e.forward(e.request(clip.Train))
		if err != nil {
			return err
		}
		if err := e.Backward(ctx, ticket, grad); err != nil {
			return err
		}
		if err := wantKind("a used ticket", e.Backward(ctx, ticket, grad), fault.Conflict); err != nil {
			return err
		}
		if err := wantKind("an unknown ticket", e.Backward(ctx, ticket+1e6, grad), fault.Conflict); err != nil {
			return err
		}
		if _, ticket, err = e.forward(e.request(clip.Train)); err != nil {
			return err
		}
		if err := errors.Join(e.Discard(ctx, ticket), e.Discard(ctx, ticket), e.Discard(ctx, 1e9)); err != nil {
			return fmt.Errorf("discard: %w", err)
		}
		return wantKind("a discarded ticket", e.Backward(ctx, ticket, grad), fault.Conflict)
	})
}

func (c encoderCase) badShapes() error {
	return c.with(sgd, func(e *trial) error {
		bad := map[string]clip.ForwardRequest{"neither images nor texts": {}}
		if s := e.info.ImageSize; e.info.Modality == clip.Image {
			bad["pictures of another size"] = clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, s+1, s+1, 3)}
			bad["pictures of one channel"] = clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, s, s, 1)}
			bad["pictures in f32"] = clip.ForwardRequest{Images: tensor.New(tensor.F32, 2, s, s, 3)}
			bad["texts for an image encoder"] = clip.ForwardRequest{Texts: []string{"a"}}
		} else {
			bad["pictures for a text encoder"] = clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, 8, 8, 3)}
		}
		for what, q := range bad {
			_, _, err := e.Forward(ctx, q)
			if err := wantKind(what, err, fault.Invalid); err != nil {
				return err
			}
		}
		_, ticket, err := e.forward(e.request(clip.Train))
		if err != nil {
			return err
		}
		err = e.Backward(ctx, ticket, tensor.New(tensor.F32, c.o.Batch, c.o.EmbedDim+1))
		return wantKind("a gradient of another width", err, fault.Invalid)
	})
}

func (c encoderCase) nonFinite() error {
	return c.with(sgd, func(e *trial) error {
		grad := e.cotangent(1)
		grad.F32()[0] = float32(math.NaN())
		if err := e.backward(grad); err != nil {
			return err
		}
		n, err := e.GradNorm(ctx)
		if err != nil {
			return fmt.Errorf("a gradient with a NaN makes GradNorm fail: %w", err)
		}
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			return fmt.Errorf("a gradient with a NaN has the squared norm %v", n)
		}
		return nil
	})
}

func (c encoderCase) learn(e *trial, step int) error {
	return errors.Join(e.backward(e.cotangent(uint64(step))), e.Step(ctx, step, .01, 1))
}

func (c encoderCase) saveLoad() error {
	// Another seed: what the file lacks shows.
	seed := uint64(0)
	open := func() (*trial, error) { seed++; return c.open(adamw, seed) }
	return saveLoad(open, c.learn, (*trial).eval)
}

func (c encoderCase) loadRefuses() error {
	return loadRefuses(func() (*trial, error) { return c.open(adamw, 1) }, (*trial).eval)
}

func (c encoderCase) cancellation() error {
	return c.with(sgd, func(e *trial) error {
		before, err := e.eval()
		if err != nil {
			return err
		}
		_, _, err = e.Forward(canceled(), e.request(clip.Train))
		if err := wantKind("a cancelled Forward", err, fault.Canceled); err != nil {
			return err
		}
		after, err := e.eval()
		if err != nil {
			return fmt.Errorf("after a cancelled Forward: %w", err)
		}
		return same("before and after a cancelled Forward", before, after)
	})
}

func (c encoderCase) close() error {
	e, err := c.open(sgd, 1)
	if err != nil {
		return err
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		return err
	}
	return c.make().Close() // never configured
}
