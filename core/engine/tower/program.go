package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/program"
)

// maxPrograms limits the compiled programs kept. A run uses few: for training and not, one or two batch sizes, and
// so many numbers of tokens.
const maxPrograms = 40

// programKey names what a program is compiled for.
type programKey struct {
	// training programs serve Train and Embed, so that both give the same bits: a program without a
	// backward pass may fuse more, which rounds differently.
	training bool
	phase    int  // of training: see params.phase
	together bool // the batches of all ranks and parts are normalised as one
	raw      bool // the embeddings are not normalised
	ema      bool // the parameters are the averaged ones
	second   bool // tokens are an output too
	batch    int
	tokens   int // of texts; 0 for pictures
}

// inputs fills a program's inputs that depend on the batch: rows to pick, lengths. It knows the rows of its second
// output, and what its backward pass is for.
type inputs struct {
	indices []nn.Indices
	scratch []int32
	second  tokenRows
	trains  bool // it has a backward pass
	waits   bool // some of what is trained starts later
}

type (
	programs = program.Cache[programKey, *inputs]
	compiled = program.Program[programKey, *inputs]
	source   = program.Source[*inputs]
)

// normEps keeps a zero embedding from dividing by zero.
const normEps = 1e-12

// newPrograms makes the cache of a network's programs. The backend may be nil when they are only planned.
// sum adds values up over the ranks.
func newPrograms(b device.Backend, p *params, f front, o clip.Compute, sum func([]float64) error) *programs {
	return program.NewCache(b, maxPrograms, func(k programKey) (source, error) {
		how := graph.Options{Training: k.training, BF16: o.BF16(), Checkpointing: o.Checkpointing}
		if k.together {
			how.Sum = sum
		}
		g := nn.NewGraph(p.set, how)
		g.Step = k.phase
		outputs, rows := outputs(g, f, k)
		store := p.store
		if k.ema {
			store.Values = p.average.Values()
		}
		options := graph.CompileOptions{Outputs: outputs, Params: store, States: p.states}
		if trained := p.trainedAt(k.phase); k.training && len(trained) > 0 {
			options.Backward, options.Frozen = options.Outputs, func(name string) bool { return !trained[name] }
		}
		extra := &inputs{indices: g.Filled(), second: rows, trains: len(options.Backward) > 0, waits: p.waits(k.phase)}
		return source{Graph: g.Graph, Options: options, Extra: extra}, g.Err()
	})
}

// outputs adds the network to a graph and gives what its program computes: embeddings and, for keys that ask for them,
// tokens.
func outputs(g *nn.Graph, f front, k programKey) (out []*graph.Node, rows tokenRows) {
	if k.second {
		embedding, tokens := f.networkWithTokens(g, k.batch, k.tokens)
		out, rows = []*graph.Node{embedding, tokens}, newTokenRows(tokens)
	} else {
		out = []*graph.Node{f.network(g, k.batch, k.tokens)}
	}
	if !k.raw {
		for i, x := range out {
			out[i] = graph.L2Norm(x, normEps)
		}
	}
	return out, rows
}

// feed sets the inputs of an instance to the request that front has prepared.
func (in *inputs) feed(i *graph.Instance, f front, call *nn.Call, images *intake) {
	f.feed(i, images)
	for _, x := range in.indices {
		in.scratch = grow(in.scratch, x.N)
		x.Fill(in.scratch, call)
		i.SetInput(x.Name, in.scratch)
	}
}
