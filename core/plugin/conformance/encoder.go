package conformance

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

// EncoderOptions says how to check an encoder.
type EncoderOptions struct {
	With     string // the with block; "" for the defaults
	EmbedDim int    // 0: 8
	Batch    int    // samples of a batch; 0: 5
	// Modality tells an encoder that can be either tower which one to be.
	Modality clip.Modality
	Compute  clip.Compute // zero: host, one thread
	Outputs  []string     // what it gives beside the embedding, as its descriptor names it
	// Capabilities are those of its descriptor. Those that have a rule are checked.
	Capabilities []string
	Captions     []string // for text encoders, samples and vocabulary; nil: a few of our own
	// Tolerance bounds the relative error that the gradient may show against finite differences, which
	// computation in f32 limits; 0: 0.02.
	Tolerance float64
	// Skip names rules that do not apply: "gradient" for networks with kinks everywhere.
	Skip    []string
	Only    []string      // rules to check, with those that they need; nil: all
	Observe func(Finding) // called after every rule, when not nil
}

// captions holds texts that differ in length and words.
var captions = []string{"cat", "a photo of a dog", "two red birds on a wire", "sun", "rain over the sea", "x y", "a tree"}

// TestEncoder checks the encoder that newEncoder makes, one subtest for each rule.
func TestEncoder(t *testing.T, newEncoder func() clip.Encoder, o EncoderOptions) {
	t.Helper()
	report(t, CheckEncoder(newEncoder, o))
}

// CheckEncoder checks what TestEncoder checks and returns the findings.
func CheckEncoder(newEncoder func() clip.Encoder, o EncoderOptions) []Finding {
	return ExamineEncoder(always(newEncoder), o)
}

// ExamineEncoder checks what TestEncoder checks, on instances that start makes and that may fail to start.
func ExamineEncoder(start func() (clip.Encoder, error), o EncoderOptions) []Finding {
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
	return sharing(func(dir string) []Finding {
		c := encoderCase{start: start, o: o}
		c.plain = &shared[*trial]{open: func() (*trial, error) { return c.open(sgd, 1) }, bits: (*trial).bits, dir: dir}
		defer c.plain.drop()
		return run(c, encoderRules, selection{o.Skip, o.Only}, o.Observe)
	})
}

type encoderCase struct {
	plain *shared[*trial] // with plain SGD
	start func() (clip.Encoder, error)
	o     EncoderOptions
}

// trial holds a configured encoder.
type trial struct {
	clip.Encoder
	info clip.EncoderInfo
	o    EncoderOptions
}

func (c encoderCase) config(opt clip.Optimizer, seed uint64) clip.EncoderConfig {
	return clip.EncoderConfig{With: json.RawMessage(c.o.With), EmbedDim: c.o.EmbedDim, Modality: c.o.Modality, Seed: seed, Optimizer: opt,
		Compute: c.o.Compute, Captions: c.o.Captions}
}

func (c encoderCase) open(opt clip.Optimizer, seed uint64) (*trial, error) {
	return c.openWith(c.config(opt, seed))
}

func (c encoderCase) openWith(cfg clip.EncoderConfig) (*trial, error) {
	e, err := c.start()
	if err != nil {
		return nil, err
	}
	info, err := e.Configure(ctx, cfg)
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("configure: %w", err)
	}
	return &trial{e, info, c.o}, nil
}

// with calls f with a configured encoder.
func (c encoderCase) with(opt clip.Optimizer, f func(*trial) error) error {
	if opt.Name == sgd.Name {
		return c.plain.use(f)
	}
	e, err := c.open(opt, 1)
	if err != nil {
		return err
	}
	return errors.Join(f(e), e.Close())
}

// request returns a batch of random pictures or of captions.
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

// forward calls Forward and copies its result to the heap.
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

// backward calls Forward in mode Train and Backward with grad.
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

// cotangent returns a gradient for the embedding that points along no row: the component along a row vanishes
// in the normalisation.
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

func (c encoderCase) configure() error {
	return c.with(sgd, func(*trial) error { return nil })
}

func (c encoderCase) unknownOption() error {
	return c.refuses("an option that does not exist", func(cfg *clip.EncoderConfig) { cfg.With = json.RawMessage(`{"no_such_option": 1}`) })
}

func (c encoderCase) badConfig() error {
	return errors.Join(
		c.refuses("an embed_dim of 0", func(cfg *clip.EncoderConfig) { cfg.EmbedDim = 0 }),
		c.refuses("an optimizer that does not exist", func(cfg *clip.EncoderConfig) { cfg.Optimizer.Name = "no_such_optimizer" }))
}

// refuses checks that Configure refuses a configuration after a change.
func (c encoderCase) refuses(what string, change func(*clip.EncoderConfig)) error {
	e, err := c.start()
	if err != nil {
		return err
	}
	defer e.Close()
	cfg := c.config(sgd, 1)
	change(&cfg)
	_, err = e.Configure(ctx, cfg)
	return wantKind(what, err, fault.Invalid)
}

// modes lists the modes with a name, in which rows have the norm 1.
var modes = []struct {
	mode clip.Mode
	name string
}{{clip.Eval, "Eval"}, {clip.Train, "Train"}, {clip.Embed, "Embed"}}

func (c encoderCase) embedding() error {
	return c.with(sgd, func(e *trial) error {
		for _, m := range modes {
			out, ticket, err := e.forward(e.request(m.mode))
			if err != nil {
				return fmt.Errorf("mode %s: %w", m.name, err)
			}
			if trains := e.info.Parameters > e.info.Frozen; (ticket != 0) != (m.mode == clip.Train && trains) {
				return fmt.Errorf("ticket %d in mode %s, with %d parameters to train", ticket, m.name, e.info.Parameters-e.info.Frozen)
			}
			if ticket != 0 {
				if err := e.Discard(ctx, ticket); err != nil {
					return fmt.Errorf("discard: %w", err)
				}
			}
			for i, v := range out.F32() {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return fmt.Errorf("row %d has a %v in mode %s", i/c.o.EmbedDim, v, m.name)
				}
			}
		}
		return nil
	})
}

func (c encoderCase) unitRows() error {
	return c.with(sgd, func(e *trial) error {
		for _, m := range modes {
			out, ticket, err := e.forward(e.request(m.mode))
			if err != nil {
				return err
			}
			if ticket != 0 {
				defer e.Discard(ctx, ticket)
			}
			for i := range c.o.Batch {
				row := out.F32()[i*c.o.EmbedDim : (i+1)*c.o.EmbedDim]
				if norm := math.Sqrt(dot(row, row)); !(math.Abs(norm-1) < 1e-4) {
					return fmt.Errorf("row %d has the norm %v in mode %s", i, norm, m.name)
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
		return checkSame("backward's gradient, before and after", before, grad)
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
		if err := checkSame("the same batch twice", first, again); err != nil {
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
	if err := checkSame("two encoders of one seed after a step", outs[0], outs[1]); err != nil {
		return err
	}
	if checkSame("", outs[0], outs[2]) == nil {
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
			p.Images = permuteRows(q.Images, order)
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
		return checkNear("embeddings of a permuted batch", got, permuteRows(want, order), 1e-5)
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
		if err := checkSame("evaluation before and after Embed", before, after); err != nil {
			return err
		}
		trained, ticket, err := e.forward(e.request(clip.Train))
		if err != nil {
			return err
		}
		if err := e.Discard(ctx, ticket); err != nil {
			return err
		}
		return checkSame("modes Embed and Train", embedded, trained)
	})
}
