package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

const (
	// maxPrograms bounds the compiled programs kept. A run uses few: for training and not, one or two
	// batch sizes, and so many numbers of tokens.
	maxPrograms = 40
	// maxIdleBytes bounds the activations kept for later use, beside those of the program that ran
	// last.
	maxIdleBytes = 1 << 30
)

// programKey is what a program is compiled for.
type programKey struct {
	// training programs serve Train and Embed, so that both give the same bits: a program without a
	// backward pass may fuse more, which rounds differently.
	training bool
	raw      bool // the embeddings are not normalised
	batch    int
	tokens   int // of texts; 0 for pictures
}

// program is a compiled network with the sets of activations that are not in use.
type program struct {
	key     programKey
	prog    *graph.Program
	fills   []nn.Indices
	scratch []int32
	idle    []*graph.Instance
	busy    int    // instances taken
	bytes   int64  // of an instance
	used    uint64 // when it was last taken, on the cache's clock
}

// programs compiles and caches.
type programs struct {
	backend   device.Backend
	params    *params
	workspace *graph.Workspace
	byKey     map[programKey]*program
	clock     uint64
	build     func(g *nn.Graph, batch, tokens int) *graph.Node
	bf16      bool // products in bfloat16; parameters, gradients and all else in float32
	// checkpointing computes blocks again in the backward pass.
	checkpointing bool
	profile       func(graph.Event)
}

func newPrograms(b device.Backend, p *params, build func(g *nn.Graph, batch, tokens int) *graph.Node) *programs {
	return &programs{backend: b, params: p, workspace: graph.NewWorkspace(b), byKey: map[programKey]*program{}, build: build}
}

// normEps keeps a zero embedding from dividing by zero.
const normEps = 1e-12

// get is the program of a key, compiled now if need be.
func (c *programs) get(k programKey) (*program, error) {
	c.clock++
	if p := c.byKey[k]; p != nil {
		p.used = c.clock
		return p, nil
	}
	c.evict()
	g, options, err := c.graph(k)
	if err != nil {
		return nil, err
	}
	prog, err := graph.Compile(g.Graph, c.backend, options)
	if err != nil {
		return nil, err
	}
	p := &program{key: k, prog: prog, fills: g.Filled(), bytes: prog.Memory().Activations, used: c.clock}
	c.byKey[k] = p
	return p, nil
}

// graph is what the program of a key is compiled from.
func (c *programs) graph(k programKey) (*nn.Graph, graph.CompileOptions, error) {
	g := nn.NewGraph(c.params.set, graph.Options{Training: k.training, BF16: c.bf16, Checkpointing: c.checkpointing})
	out := c.build(g, k.batch, k.tokens)
	if !k.raw {
		out = graph.L2Norm(out, normEps)
	}
	options := graph.CompileOptions{
		Outputs: []*graph.Node{out}, Params: c.params.store, States: c.params.states, Workspace: c.workspace,
		Profile: c.profile,
	}
	if k.training && len(c.params.trained.Entries) > 0 {
		options.Backward, options.Frozen = options.Outputs, c.params.frozen
	}
	return g, options, g.Err()
}

// plan is the memory of a key's program on a backend; none is made.
func (c *programs) plan(b device.Backend, k programKey) (graph.MemoryPlan, error) {
	g, options, err := c.graph(k)
	if err != nil {
		return graph.MemoryPlan{}, err
	}
	return graph.Plan(g.Graph, b, options)
}

// compute takes what a configuration says of how to compute.
func (c *programs) compute(o clip.Compute) {
	c.bf16, c.checkpointing = o.Precision == "bf16", o.Checkpointing
}

// take is an instance of a program that nobody uses.
func (c *programs) take(p *program) (*graph.Instance, error) {
	if n := len(p.idle); n > 0 {
		i := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy++
		return i, nil
	}
	i, err := p.prog.NewInstance()
	if err != nil {
		c.trim(nil, 0) // what is idle may be what is missing
		if i, err = p.prog.NewInstance(); err != nil {
			return nil, err
		}
	}
	p.busy++
	return i, nil
}

// give returns an instance for later use.
func (c *programs) give(p *program, i *graph.Instance) {
	p.busy--
	p.idle = append(p.idle, i)
	c.trim(p, maxIdleBytes)
}

// trim frees idle instances of programs other than keep, those unused for longest first, until what
// is idle there is at most limit bytes.
func (c *programs) trim(keep *program, limit int64) {
	for {
		var oldest *program
		var idle int64
		for _, p := range c.byKey {
			if p == keep || len(p.idle) == 0 {
				continue
			}
			idle += int64(len(p.idle)) * p.bytes
			if oldest == nil || p.used < oldest.used {
				oldest = p
			}
		}
		if oldest == nil || idle <= limit {
			return
		}
		oldest.closeIdle()
	}
}

// evict makes room for one program.
func (c *programs) evict() {
	for len(c.byKey) >= maxPrograms {
		var oldest *program
		for _, p := range c.byKey {
			if p.busy == 0 && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		if oldest == nil {
			return // all have tickets outstanding
		}
		oldest.close()
		delete(c.byKey, oldest.key)
	}
}

// feed sets the inputs of an instance.
func (p *program) feed(i *graph.Instance, f front, call *nn.Call, in *intake) {
	f.feed(i, in)
	for _, x := range p.fills {
		p.scratch = grow(p.scratch, x.N)
		x.Fill(p.scratch, call)
		i.SetInput(x.Name, p.scratch)
	}
}

func (p *program) closeIdle() {
	for _, i := range p.idle {
		i.Close()
	}
	p.idle = nil
}

func (p *program) close() {
	p.closeIdle()
	p.prog.Close()
}

// close frees every program; no instance may be in use.
func (c *programs) close() {
	for _, p := range c.byKey {
		p.close()
	}
	c.byKey = nil
	c.workspace.Close()
}
