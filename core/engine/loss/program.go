package loss

import (
	"fmt"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
)

// key is what a program depends on besides the definition.
type key struct {
	batch, dim int
	train      bool
}

// program computes the loss of one batch size.
type program struct {
	prog     *graph.Program
	instance *graph.Instance
	parts    []Part
	losses   []float32          // [B], scratch
	partners map[string][]int32 // by input
	eye      []float32          // [B, B]; nil when the loss does not use it
	weights  [][]float32        // of each part [B]: d value / d loss of a row
}

// maxPrograms bounds the batch sizes that are kept: those of training, of its last batch, of an
// evaluation and of its last, with and without gradients.
const maxPrograms = 8

// programs compiles programs when they are first needed.
type programs struct {
	backend   device.Backend
	def       Definition
	params    graph.Store
	workspace *graph.Workspace
	byKey     map[key]*program
	profile   func(graph.Event) // nil: none
	block     int               // logits above which a batch is not Whole
}

func newPrograms(backend device.Backend, def Definition, params graph.Store) *programs {
	return &programs{backend: backend, def: def, params: params,
		workspace: graph.NewWorkspace(backend), byKey: map[key]*program{}}
}

// get is the program for a key.
func (c *programs) get(k key) (*program, error) {
	if p := c.byKey[k]; p != nil {
		return p, nil
	}
	if len(c.byKey) >= maxPrograms {
		c.clear()
	}
	p, err := c.compile(k)
	if err != nil {
		return nil, err
	}
	c.byKey[k] = p
	return p, nil
}

// graph makes the graph of a key, and what feeds it.
func (c *programs) graph(k key) (*program, *graph.Graph, graph.CompileOptions) {
	g := graph.New(graph.Options{Training: k.train, Checkpointing: true}) // of Blocks
	b := Batch{Graph: g, Size: k.batch, limit: c.block, Scalars: map[string]*graph.Node{},
		Image: g.Input("image", device.Real, k.batch, k.dim),
		Text:  g.Input("text", device.Real, k.batch, k.dim),
	}
	for _, s := range c.def.Scalars {
		b.Scalars[s.Name] = g.Param(s.Name, 1)
	}
	p := &program{losses: make([]float32, k.batch), partners: map[string][]int32{}}
	b.Partners = func(from, n int) *graph.Node {
		name := fmt.Sprintf("partners.%d", len(p.partners))
		rows := make([]int32, n)
		for i := range rows {
			rows[i] = int32(from + i)
		}
		p.partners[name] = rows
		return g.Input(name, device.I32, n)
	}
	var eye *graph.Node
	b.Eye = func() *graph.Node {
		if eye == nil {
			eye = g.Input("eye", device.Real, k.batch, k.batch)
			p.eye = make([]float32, k.batch*k.batch)
			for i := range k.batch {
				p.eye[i*k.batch+i] = 1
			}
		}
		return eye
	}

	p.parts = c.def.Build(b)
	outputs := make([]*graph.Node, len(p.parts))
	for i, part := range p.parts {
		outputs[i] = part.Losses
		w := make([]float32, k.batch)
		for j := range w {
			w[j] = float32(part.Weight / float64(k.batch))
		}
		p.weights = append(p.weights, w)
	}
	options := graph.CompileOptions{Outputs: outputs, Params: c.params, Workspace: c.workspace, Profile: c.profile}
	if k.train {
		options.Backward, options.WRT = outputs, []*graph.Node{b.Image, b.Text}
		options.Frozen = func(string) bool { return !c.def.Learn }
	}
	return p, g, options
}

// plan is the memory of a key's program, which is not made; it needs no backend.
func (c *programs) plan(k key) (graph.MemoryPlan, error) {
	_, g, options := c.graph(k)
	return graph.Plan(g, nil, options) // losses keep float32
}

func (c *programs) compile(k key) (*program, error) {
	p, g, options := c.graph(k)
	var err error
	if p.prog, err = graph.Compile(g, c.backend, options); err != nil {
		return nil, err
	}
	if p.instance, err = p.prog.NewInstance(); err != nil {
		p.prog.Close()
		return nil, err
	}
	return p, nil
}

// forward computes the losses of all rows of image and text [B, D].
func (p *program) forward(image, text []float32) error {
	p.instance.SetInput("image", image)
	p.instance.SetInput("text", text)
	for name, rows := range p.partners {
		p.instance.SetInput(name, rows)
	}
	if p.eye != nil {
		p.instance.SetInput("eye", p.eye)
	}
	return p.instance.Forward()
}

// backward computes the gradients after forward.
func (p *program) backward(mode graph.Mode) error {
	for k := range p.parts {
		p.instance.SetGrad(k, p.weights[k])
	}
	return p.instance.Backward(mode)
}

func (c *programs) setProfile(f func(graph.Event)) {
	c.profile = f
	for _, p := range c.byKey {
		p.prog.SetProfile(f)
	}
}

func (c *programs) clear() {
	for k, p := range c.byKey {
		p.instance.Close()
		p.prog.Close()
		delete(c.byKey, k)
	}
}

func (c *programs) close() {
	c.clear()
	c.workspace.Close()
}
