package loss

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/program"
)

// maxPrograms limits the batch sizes that are kept: those of training, of its last batch, of an evaluation and of
// its last, with and without gradients.
const maxPrograms = 8

// programKey names what a program is compiled for.
type programKey struct {
	batch, dim              int
	training                bool
	from, rows              int // those that are scored: rows is batch for all
	imageTokens, textTokens int // T of these inputs; 0 for losses without them
}

// tokens returns T of an input with tokens.
func (k programKey) tokens(name string) int {
	if name == clip.InputImageTokens {
		return k.imageTokens
	}
	return k.textTokens
}

// terms holds the parts of a batch's loss, and the inputs of their program that do not change.
type terms struct {
	parts   []Part
	losses  []float32   // [rows], scratch
	rows    *rowNumbers // that Build asks for
	eye     []float32   // [B, B]; nil when the loss does not use it
	weights [][]float32 // of each part [rows]: d value / d loss of a row

	inputs     []string // beside image and text
	computed   []*hostInput
	candidates []candidate // inputs with a gradient,
	wrt        []string    // and those of them that the value depends on, as InputGrad counts them
}

type (
	programs = program.Cache[programKey, *terms]
	compiled = program.Program[programKey, *terms]
	source   = program.Source[*terms]
)

// newPrograms makes the cache of a loss's programs. Batches of more than block logits are computed in blocks. The
// backend may be nil when the programs are only planned.
func newPrograms(backend device.Backend, def Definition, in inputs, params graph.Store, block, piece int) *programs {
	return program.NewCache(backend, maxPrograms, func(k programKey) (source, error) {
		g := graph.New(graph.Options{Training: k.training, Checkpointing: true}) // of Blocks
		t := &terms{losses: make([]float32, k.rows), rows: newRowNumbers()}
		b := t.batch(g, k, def.Scalars, block)
		b.pieces = piece
		t.candidates = []candidate{{"image", b.Image}, {"text", b.Text}}
		in.addTo(&b, t, k)
		t.parts = def.Build(b)
		outputs := make([]*graph.Node, len(t.parts))
		for i, part := range t.parts {
			outputs[i] = part.Losses
			w := make([]float32, k.rows)
			for j := range w {
				w[j] = float32(part.Weight / float64(k.batch))
			}
			t.weights = append(t.weights, w)
		}
		options := graph.CompileOptions{Outputs: outputs, Params: params}
		if k.training {
			options.Backward = outputs
			for _, c := range t.candidates {
				if graph.Depends(outputs, c.node) {
					options.WRT, t.wrt = append(options.WRT, c.node), append(t.wrt, c.name)
				}
			}
			options.Frozen = func(string) bool { return !def.Learn }
		}
		return source{Graph: g, Options: options, Extra: t}, nil
	})
}

// batch makes what Build works with, and notes the inputs that it asks for.
func (t *terms) batch(g *graph.Graph, k programKey, scalars []Scalar, block int) Batch {
	b := Batch{Graph: g, Size: k.batch, Rows: k.rows, from: k.from, limit: block, rows: t.rows, Scalars: map[string]*graph.Node{},
		Image: g.Input("image", device.Real, k.batch, k.dim),
		Text:  g.Input("text", device.Real, k.batch, k.dim),
	}
	for _, s := range scalars {
		b.Scalars[s.Name] = g.Param(s.Name, 1)
	}
	b.Partners = func(from, n int) *graph.Node { return t.rows.partners(g, from, n) }
	var eye *graph.Node
	b.Eye = func() *graph.Node {
		if eye == nil {
			eye = g.Input("eye", device.Real, k.batch, k.batch)
			t.eye = make([]float32, k.batch*k.batch)
			for i := range k.batch {
				t.eye[i*k.batch+i] = 1
			}
		}
		return eye
	}
	return b
}

// feed sets an instance's inputs: those of a request, and those that Build asked for.
func (t *terms) feed(i *graph.Instance, req clip.LossRequest) {
	i.SetInput("image", req.Image.F32())
	i.SetInput("text", req.Text.F32())
	t.feedInputs(i, req)
	for name, ids := range t.rows.ids {
		i.SetInput(name, ids)
	}
	if t.eye != nil {
		i.SetInput("eye", t.eye)
	}
}

// setGrads sets the gradient of the batch's value by the loss of each row.
func (t *terms) setGrads(i *graph.Instance) {
	for k := range t.parts {
		i.SetGrad(k, t.weights[k])
	}
}
