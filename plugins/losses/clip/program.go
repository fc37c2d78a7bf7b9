package main

import (
	"tandem/core/device"
	"tandem/core/graph"
)

// key is what a program depends on besides the config.
type key struct {
	batch, dim int
	train      bool
}

// program computes the loss of one batch size.
type program struct {
	prog     *graph.Program
	instance *graph.Instance
	parts    []string  // names of the outputs, each [B]
	losses   []float32 // [B], scratch
	diagonal []int32   // [B]: pair i is at (i, i)
	weights  []float32 // [B]: d value / d loss of a row, the mean over rows and parts
}

// maxPrograms bounds the batch sizes that are kept: those of training, of its last batch, of an
// evaluation and of its last, with and without gradients.
const maxPrograms = 8

// programs compiles programs when they are first needed.
type programs struct {
	backend   device.Backend
	cfg       Config
	params    graph.Store
	workspace *graph.Workspace
	byKey     map[key]*program
}

func newPrograms(backend device.Backend, cfg Config, params graph.Store) *programs {
	return &programs{backend: backend, cfg: cfg, params: params,
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

func (c *programs) compile(k key) (*program, error) {
	g := graph.New(graph.Options{Training: k.train})
	image := g.Input("image", device.Real, k.batch, k.dim)
	text := g.Input("text", device.Real, k.batch, k.dim)
	s := g.Param(logitScale, 1)
	diagonal := g.Input("diagonal", device.I32, k.batch)
	logits := graph.ScaleByExp(graph.MatMul(image, text, false, true), s) // [B, B]

	p := &program{losses: make([]float32, k.batch)}
	var outputs []*graph.Node
	if c.cfg.Direction != "text" {
		p.parts = append(p.parts, imageToText)
		outputs = append(outputs, graph.CrossEntropy(logits, diagonal, c.cfg.LabelSmoothing))
	}
	if c.cfg.Direction != "image" {
		p.parts = append(p.parts, textToImage)
		outputs = append(outputs, graph.CrossEntropy(graph.Transpose(logits), diagonal, c.cfg.LabelSmoothing))
	}
	options := graph.CompileOptions{Outputs: outputs, Params: c.params, Workspace: c.workspace}
	if k.train {
		options.Backward, options.WRT = outputs, []*graph.Node{image, text}
		options.Frozen = func(string) bool { return !c.cfg.Learnable }
	}
	var err error
	if p.prog, err = graph.Compile(g, c.backend, options); err != nil {
		return nil, err
	}
	if p.instance, err = p.prog.NewInstance(); err != nil {
		p.prog.Close()
		return nil, err
	}
	p.diagonal, p.weights = make([]int32, k.batch), make([]float32, k.batch)
	for i := range k.batch {
		p.diagonal[i], p.weights[i] = int32(i), 1/float32(k.batch*len(outputs))
	}
	return p, nil
}

// forward computes the losses of all rows of image and text [B, D].
func (p *program) forward(image, text []float32) error {
	p.instance.SetInput("image", image)
	p.instance.SetInput("text", text)
	p.instance.SetInput("diagonal", p.diagonal)
	return p.instance.Forward()
}

// backward computes the gradients after forward.
func (p *program) backward(mode graph.Mode) error {
	for k := range p.parts {
		p.instance.SetGrad(k, p.weights)
	}
	return p.instance.Backward(mode)
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
