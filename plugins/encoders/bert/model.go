package main

import (
	"strconv"

	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/fault"
	"tandem/core/media/token"
)

// model holds the encoder of BERT (Devlin et al. 2019, §3), as transformers' BertModel and RobertaModel compute it without
// dropout: embeddings of tokens, positions and the first token type, their layer norm, post-norm blocks without a mask,
// pooling, and OpenCLIP's projection of Hugging Face's text towers. Texts follow each other without padding.
type model struct {
	cfg       Config
	arch      architecture
	embedDim  int
	set       nn.Set
	tokens    *nn.Param // [V, W]
	positions *nn.Param // [P, W]
	types     *nn.Param // [types, W]; nil: none
	norm      *nn.LayerNorm
	blocks    []*block
	pooler    *nn.Linear   // nil: none
	proj      []*nn.Linear // in their order
}

// prefix begins the names of all parameters but the projection's, as in OpenCLIP's HFTextEncoder.
const prefix = "transformer."

// newModel registers the parameters, under OpenCLIP's names with query, key and value in one array, and with the initialisers
// of transformers: N(0, 0.02²), biases 0.
func newModel(cfg Config, a architecture, embedDim int) *model {
	m := &model{cfg: cfg, arch: a, embedDim: embedDim}
	init, w := nn.Normal(.02), a.Width
	m.tokens = m.set.Param(prefix+"embeddings.word_embeddings.weight", init, a.VocabSize, w)
	m.positions = m.set.Embedding(prefix+"embeddings.position_embeddings.weight", init, a.Positions, w)
	if a.Types > 0 {
		m.types = m.set.Embedding(prefix+"embeddings.token_type_embeddings.weight", init, a.Types, w)
	}
	m.norm = nn.NewLayerNorm(&m.set, prefix+"embeddings.LayerNorm", w)
	for i := range a.Layers {
		m.set.Enter(1 + i)
		m.blocks = append(m.blocks, newBlock(&m.set, prefix+"encoder.layer."+strconv.Itoa(i), a))
	}
	m.set.Enter(nn.Head)
	if a.Pool == "pooler" {
		m.pooler = nn.NewLinear(&m.set, prefix+"pooler.dense", w, w, init, nn.Zeros)
	}
	linear := func(name string, in, out int) {
		m.proj = append(m.proj, &nn.Linear{In: in, Out: out, Weight: m.set.Param(name, nn.FanIn, out, in)})
	}
	switch a.Proj {
	case "linear":
		linear("proj.weight", w, embedDim)
	case "mlp":
		hidden := (w + embedDim) / 2
		linear("proj.0.weight", w, hidden)
		linear("proj.2.weight", hidden, embedDim)
	}
	return m
}

// Params implements tower.TextModel.
func (m *model) Params() *nn.Set { return &m.set }

// Config implements tower.TextModel.
func (m *model) Config() any { return m.arch }

// ContextLength implements tower.TextModel.
func (m *model) ContextLength() int { return m.arch.context }

// VocabSize implements tower.TextModel.
func (m *model) VocabSize() int { return m.arch.VocabSize }

// FullContext implements tower.TextModel: nothing sees padding, as under transformers' attention_mask.
func (m *model) FullContext() bool { return false }

// Weights implements tower.Pretrained.
func (m *model) Weights() (path, within string) {
	if m.cfg.Folder == "" || !m.cfg.Pretrained {
		return "", ""
	}
	return m.cfg.Folder, prefix
}

// Build implements tower.TextModel.
func (m *model) Build(g *nn.Graph, ids *graph.Node, batch int) *graph.Node {
	x, spans := m.stem(g, ids, batch)
	first := m.first(g, batch)
	if m.arch.Pool == "mean" {
		return m.project(g, m.mean(m.apply(g, x, spans, len(m.blocks)), first, spans))
	}
	last := len(m.blocks) - 1
	x = m.apply(g, x, spans, last)
	end := g.Scope("layer." + strconv.Itoa(last))
	x = m.blocks[last].applyAt(g, x, first, spans)
	end()
	return m.project(g, m.pool(g, x))
}

// BuildTokens implements tower.TextTokenModel. The tokens are projected as the embedding is.
func (m *model) BuildTokens(g *nn.Graph, ids *graph.Node, batch int) (embedding, tokens *graph.Node) {
	x, spans := m.stem(g, ids, batch)
	x = m.apply(g, x, spans, len(m.blocks))
	first := m.first(g, batch)
	if m.arch.Pool == "mean" {
		embedding = m.mean(x, first, spans)
	} else {
		embedding = m.pool(g, graph.SelectRows(x, first))
	}
	return m.project(g, embedding), m.project(g, x)
}

// stem adds the embeddings of tokens, of their positions and of their type: ids i32 [N] → [N, W] with the spans of the texts.
func (m *model) stem(g *nn.Graph, ids *graph.Node, batch int) (*graph.Node, *graph.Spans) {
	defer g.Scope("embeddings")()
	places := g.Indices("positions", func(dst []int32, c *nn.Call) { // of each token in its text
		clear(dst)
		for i, n := range c.Lengths {
			for t := range n {
				dst[c.Starts[i]+t] = t + int32(m.arch.Offset)
			}
		}
	}, ids.Dim(0))
	starts := g.Indices("starts", func(dst []int32, c *nn.Call) { copy(dst, c.Starts) }, batch+1)
	x := graph.Add(graph.Gather(g.P(m.tokens), ids), graph.Gather(g.P(m.positions), places))
	if m.types != nil {
		types := graph.Reshape(g.P(m.types), 1, m.arch.Types, m.arch.Width)
		x = graph.Add(x, graph.Reshape(graph.SliceTokens(types, 0, 1), m.arch.Width))
	}
	return m.arch.normalise(g, m.norm, x), &graph.Spans{Starts: starts, Longest: m.arch.context}
}

// apply runs the first n blocks on x [N, W].
func (m *model) apply(g *nn.Graph, x *graph.Node, spans *graph.Spans, n int) *graph.Node {
	for i, b := range m.blocks[:n] {
		end := g.Scope("layer." + strconv.Itoa(i))
		x = b.apply(g, x, spans)
		end()
	}
	return x
}

// first gives the row of each text's first token, i32 [batch].
func (m *model) first(g *nn.Graph, batch int) *graph.Node {
	return g.Indices("first", func(dst []int32, c *nn.Call) { copy(dst, c.Starts) }, batch)
}

// mean averages the tokens of each text: x [N, W] → [B, W]. It is attention whose queries and keys are 0, so that all weights
// of a text are equal.
func (m *model) mean(x, first *graph.Node, spans *graph.Spans) *graph.Node {
	n, w := x.Dim(0), x.Dim(1)
	v := graph.Reshape(x, n, 1, w)
	zero := graph.Scale(v, 0, 0)
	qkv := graph.Reshape(graph.ConcatTokens(graph.ConcatTokens(zero, zero), v), n, 3*w)
	return graph.AttentionAt(qkv, first, spans, m.arch.Heads, false)
}

// pool maps the first tokens [B, W] to what stands for the texts.
func (m *model) pool(g *nn.Graph, x *graph.Node) *graph.Node {
	if m.pooler == nil {
		return x
	}
	return tanh(m.pooler.Apply(g, x, nn.Identity))
}

// tanh computes the hyperbolic tangent of x [B, W] as attention: each element is the query of a head of its own, with keys and
// values 1 and −1, and (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ) is their mean under the softmax of x and −x.
func tanh(x *graph.Node) *graph.Node {
	b, w := x.Dim(0), x.Dim(1)
	q := graph.Reshape(x, b, 1, w)
	signs := graph.ConcatTokens(graph.Scale(q, 0, 1), graph.Scale(q, 0, -1))
	return graph.Reshape(graph.CrossAttention(q, signs, signs, w, false), b, w)
}

// project maps rows [..., W] to [..., D].
func (m *model) project(g *nn.Graph, x *graph.Node) *graph.Node {
	defer g.Scope("proj")()
	for i, l := range m.proj {
		act := nn.Identity
		if i < len(m.proj)-1 {
			act = nn.GELU
		}
		x = l.Apply(g, x, act)
	}
	return x
}

// Tokenizer implements tower.TextModel.
func (m *model) Tokenizer(captions []string) (token.Tokenizer, error) {
	switch {
	case m.cfg.Folder != "":
		return readTokenizer(m.cfg.Folder)
	case m.cfg.Tokenizer == "hf":
		return token.ReadHF(m.cfg.TokenizerFile)
	case m.cfg.Tokenizer == "clip":
		return token.NewCLIP(), nil
	case m.cfg.Tokenizer == "byte":
		return token.NewBytes(m.arch.VocabSize)
	case m.arch.VocabSize < 514:
		return nil, fault.New(fault.Invalid, "%d is too small for tokenizer bpe", m.arch.VocabSize).WithPath("with.vocab_size").
			WithHint("at least 514: every byte, within and at the end of a word, start and end; or tokenizer: byte")
	case len(captions) == 0:
		return nil, nil
	}
	return token.Train(captions, m.arch.VocabSize)
}
