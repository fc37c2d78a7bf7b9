package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/fault"
	"tandem/core/media/token"
)

// A front does what differs between pictures and texts: it checks requests and feeds programs.
type front interface {
	Model
	// prepare checks a request and gives its batch size and, for texts, how many tokens to compute.
	prepare(req clip.ForwardRequest, c *nn.Call) (batch, tokens int, err error)
	// feed sets the inputs of a program made for the last prepared request.
	feed(i *graph.Instance, in *intake)
	// maxTokens and minTokens bound the number of tokens that prepare gives for a batch; 0 for pictures.
	maxTokens(batch int) int
	minTokens(batch int) int
	// side returns the side of pictures in pixels; 0 for texts.
	side() int
	// network adds input and network to a graph.
	network(g *nn.Graph, batch, tokens int) *graph.Node
	// tokenCount returns the most tokens that a sample has in the second output; 0 when there is none.
	tokenCount() int
	// networkWithTokens adds input and network with the second output to a graph.
	networkWithTokens(g *nn.Graph, batch, tokens int) (embedding, second *graph.Node)
	describe(*clip.EncoderInfo)
}

const inputName = "input"

// imageFront feeds pictures.
type imageFront struct {
	ImageModel
	request clip.ForwardRequest
}

func (f *imageFront) maxTokens(int) int { return 0 }
func (f *imageFront) minTokens(int) int { return 0 }
func (f *imageFront) side() int         { return f.ImageSize() }

func (f *imageFront) describe(info *clip.EncoderInfo) { info.ImageSize = f.ImageSize() }

func (f *imageFront) network(g *nn.Graph, batch, _ int) *graph.Node {
	s := f.ImageSize()
	return f.Build(g, g.Input(inputName, device.U8, batch, s, s, 3))
}

func (f *imageFront) tokenCount() int {
	if m, ok := f.ImageModel.(ImageTokenModel); ok {
		return m.TokenCount()
	}
	return 0
}

func (f *imageFront) networkWithTokens(g *nn.Graph, batch, _ int) (embedding, second *graph.Node) {
	s := f.ImageSize()
	return f.ImageModel.(ImageTokenModel).BuildTokens(g, g.Input(inputName, device.U8, batch, s, s, 3))
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
	f.request = req
	return x.Shape[0], 0, nil
}

func (f *imageFront) feed(i *graph.Instance, in *intake) {
	in.pictures(i, f.request)
	f.request = clip.ForwardRequest{} // belongs to the caller
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

func (f *textFront) maxTokens(batch int) int { return batch * f.ContextLength() }

func (f *textFront) side() int { return 0 }

// minTokens counts captions of one word: a beginning, a token and an end.
func (f *textFront) minTokens(batch int) int {
	if f.FullContext() {
		return f.maxTokens(batch)
	}
	return f.roundTokens(min(3, f.ContextLength())*batch, batch)
}

func (f *textFront) describe(info *clip.EncoderInfo) {
	info.ContextLength, info.VocabSize = f.ContextLength(), f.VocabSize()
}

func (f *textFront) network(g *nn.Graph, batch, tokens int) *graph.Node {
	return f.Build(g, f.input(g, batch, tokens), batch)
}

func (f *textFront) tokenCount() int {
	if _, ok := f.TextModel.(TextTokenModel); ok {
		return f.ContextLength()
	}
	return 0
}

func (f *textFront) networkWithTokens(g *nn.Graph, batch, tokens int) (embedding, second *graph.Node) {
	return f.TextModel.(TextTokenModel).BuildTokens(g, f.input(g, batch, tokens), batch)
}

// input adds the ids to a graph.
func (f *textFront) input(g *nn.Graph, batch, tokens int) *graph.Node {
	if f.FullContext() {
		return g.Input(inputName, device.I32, batch, f.ContextLength())
	}
	return g.Input(inputName, device.I32, tokens)
}

// Programs are made for numbers of tokens that are a multiple of tokenStep or, in a batch whose tokens
// would make more than maxSizes of them, of a larger one.
const (
	tokenStep = 16
	maxSizes  = 24
)

// roundTokens rounds n up to a number of tokens that programs are made for.
func (f *textFront) roundTokens(n, batch int) int {
	step := max(tokenStep, (f.maxTokens(batch)/maxSizes+tokenStep-1)/tokenStep*tokenStep)
	return min((n+step-1)/step*step, f.maxTokens(batch))
}

func (f *textFront) prepare(req clip.ForwardRequest, c *nn.Call) (int, int, error) {
	batch := len(req.Texts)
	if req.Images != nil || batch == 0 {
		return 0, 0, fault.New(fault.Invalid, "a text encoder takes texts, at least one, and texts only")
	}
	if f.tokenizer == nil {
		return 0, 0, fault.New(fault.Conflict, "there is no tokenizer yet").
			WithHint("configure the encoder with captions, or load a checkpoint")
	}
	context, full := f.ContextLength(), f.FullContext()
	f.ids = grow(f.ids, batch*context)
	fill(f.ids, f.tokenizer.Pad())
	c.Lengths, c.Ends, c.Starts = grow(c.Lengths, batch), grow(c.Ends, batch), grow(c.Starts, batch+1)
	at := 0
	for i, text := range req.Texts {
		ids := f.tokenizer.Encode(text, context)
		n := copy(f.ids[at:], ids)
		c.Lengths[i], c.Ends[i], c.Starts[i] = int32(n), argmax(ids), int32(at)
		if at += n; full {
			at += context - n
		}
	}
	c.Starts[batch] = int32(at)
	tokens := f.roundTokens(at, batch)
	f.ids = f.ids[:tokens]
	return batch, tokens, nil
}

func (f *textFront) feed(i *graph.Instance, _ *intake) { i.SetInput(inputName, f.ids) }

func fill(ids []int32, with int32) {
	for i := range ids {
		ids[i] = with
	}
}

// argmax returns the first position of the largest id.
func argmax(ids []int32) int32 {
	best := 0
	for i, id := range ids {
		if id > ids[best] {
			best = i
		}
	}
	return int32(best)
}
