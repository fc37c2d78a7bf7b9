package tower

import (
	"tandem/core/clip"
	"tandem/core/device"
	"tandem/core/fault"
	"tandem/core/graph"
	"tandem/core/nn"
	"tandem/core/token"
)

// front is the half of a tower that differs between pictures and texts: it checks requests and feeds
// programs.
type front interface {
	Model
	// prepare checks a request and gives its batch size and, for texts, the length to compute.
	prepare(req clip.ForwardRequest, c *nn.Call) (batch, length int, err error)
	// feed sets the inputs of a program made for the last prepared request.
	feed(i *graph.Instance)
	// longest is the length of the longest program: the context length, 0 for pictures.
	longest() int
	// network adds input and network to a graph.
	network(g *nn.Graph, batch, length int) *graph.Node
	describe(*clip.EncoderInfo)
}

const inputName = "input"

// imageFront feeds pictures.
type imageFront struct {
	ImageModel
	pixels []byte
}

func (f *imageFront) longest() int { return 0 }

func (f *imageFront) describe(info *clip.EncoderInfo) { info.ImageSize = f.ImageSize() }

func (f *imageFront) network(g *nn.Graph, batch, _ int) *graph.Node {
	s := f.ImageSize()
	return f.Build(g, g.Input(inputName, device.U8, batch, s, s, 3))
}

func (f *imageFront) prepare(req clip.ForwardRequest, _ *nn.Call) (int, int, error) {
	s := f.ImageSize()
	x := req.Images
	if x == nil || req.Texts != nil {
		return 0, 0, fault.New(fault.Invalid, "an image encoder takes images, and images only")
	}
	if sh := x.Shape; len(sh) != 4 || sh[0] < 1 || sh[1] != s || sh[2] != s || sh[3] != 3 || x.DType.Size() != 1 {
		return 0, 0, fault.New(fault.Invalid, "images are %s %v, want u8 [B %d %d 3]", x.DType, sh, s, s).
			WithHint("data.image_size has to be the encoder's image_size, %d", s)
	}
	f.pixels = x.U8()
	return x.Shape[0], 0, nil
}

func (f *imageFront) feed(i *graph.Instance) {
	i.SetInput(inputName, f.pixels)
	f.pixels = nil // belongs to the caller
}

// textFront tokenizes captions and feeds their ids.
type textFront struct {
	TextModel
	tokenizer token.Tokenizer // nil: to be loaded
	ids       []int32
}

func newTextFront(m TextModel, captions []string) (*textFront, error) {
	t, err := m.Tokenizer(captions)
	if err != nil {
		return nil, err
	}
	f := &textFront{TextModel: m}
	if t != nil {
		return f, f.adopt(t)
	}
	return f, nil
}

// adopt takes a tokenizer whose ids fit the token embedding.
func (f *textFront) adopt(t token.Tokenizer) error {
	if t.VocabSize() > f.VocabSize() {
		return fault.New(fault.Invalid, "%d is too small for a tokenizer of %d tokens", f.VocabSize(), t.VocabSize()).
			WithPath("with.vocab_size").WithHint("vocab_size: %d", t.VocabSize())
	}
	f.tokenizer = t
	return nil
}

func (f *textFront) longest() int { return f.ContextLength() }

func (f *textFront) describe(info *clip.EncoderInfo) {
	info.ContextLength, info.VocabSize = f.ContextLength(), f.VocabSize()
}

func (f *textFront) network(g *nn.Graph, batch, length int) *graph.Node {
	return f.Build(g, g.Input(inputName, device.I32, batch, length))
}

// lengthStep is the granularity of the lengths that programs are made for.
const lengthStep = 8

func (f *textFront) prepare(req clip.ForwardRequest, c *nn.Call) (int, int, error) {
	batch := len(req.Texts)
	if req.Images != nil || batch == 0 {
		return 0, 0, fault.New(fault.Invalid, "a text encoder takes texts, at least one, and texts only")
	}
	if f.tokenizer == nil {
		return 0, 0, fault.New(fault.Conflict, "there is no tokenizer yet").
			WithHint("configure the encoder with captions, or load a checkpoint")
	}
	full := f.ContextLength()
	f.ids = grow(f.ids, batch*full)
	c.Lengths, c.Ends = grow(c.Lengths, batch), grow(c.Ends, batch)
	longest := 0
	for i, text := range req.Texts {
		row := f.ids[i*full : (i+1)*full]
		n := copy(row, f.tokenizer.Encode(text, full))
		clear(row[n:])
		c.Lengths[i], c.Ends[i] = int32(n), argmax(row[:n])
		longest = max(longest, n)
	}
	length := min((longest+lengthStep-1)/lengthStep*lengthStep, full)
	if f.FullContext() {
		length = full
	}
	for i := 1; i < batch && length < full; i++ {
		copy(f.ids[i*length:(i+1)*length], f.ids[i*full:])
	}
	f.ids = f.ids[:batch*length]
	return batch, length, nil
}

func (f *textFront) feed(i *graph.Instance) { i.SetInput(inputName, f.ids) }

// argmax is the first position of the largest id.
func argmax(ids []int32) int32 {
	best := 0
	for i, id := range ids {
		if id > ids[best] {
			best = i
		}
	}
	return int32(best)
}
