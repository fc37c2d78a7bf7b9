package tower

import (
	"time"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// flight holds a forward pass that waits for its gradient.
type flight struct {
	program   *compiled
	instances []*graph.Instance // one for each part
	spans     [][]span          // of each part's tokens, if it gave any
}

// pass runs the forward pass of a request, and returns what it keeps, also after an error.
func (e *encoder) pass(req clip.ForwardRequest, second bool) (f flight, out clip.TokenOutput, err error) {
	parts, err := e.split(req)
	if err != nil {
		return f, out, err
	}
	for k, q := range parts {
		e.call.Step, e.call.Micro = q.Step, q.Micro
		start := time.Now()
		batch, tokens, err := e.front.prepare(q, &e.call)
		e.session.Note("prepare", "input", 0, start)
		if err != nil {
			return f, out, err
		}
		if k == 0 {
			if err := e.take(&f, e.key(q, second, len(parts), batch, tokens), len(parts)); err != nil {
				return f, out, err
			}
			out.Embedding = program.Result(req.Into, batch*len(parts), e.dim)
			e.session.Share(out.Embedding)
		}
		f.program.Extra.feed(f.instances[k], e.front, &e.call, e.intake)
	}
	if err := e.programs.Run(func() error { return graph.ForwardTogether(f.instances) }, e.intake.drop); err != nil {
		return f, clip.TokenOutput{}, e.explainExhausted(err, f.program)
	}
	forward, _ := f.program.FLOPs()
	e.session.AddWork(forward * float64(len(parts)))
	if err := e.read(&f, req, &out); err != nil {
		return f, clip.TokenOutput{}, err
	}
	return f, out, nil
}

// key names the program of a request of so many parts.
func (e *encoder) key(req clip.ForwardRequest, second bool, parts, batch, tokens int) programKey {
	key := programKey{training: req.Mode == clip.Train || req.Mode == clip.Embed, raw: req.Mode == clip.Raw,
		ema: req.EMA && e.params.average != nil, second: second, batch: batch, tokens: tokens}
	if key.training {
		key.phase, key.together = e.params.phase(req.Step), e.syncNorm && (e.sum != nil || parts > 1)
	}
	return key
}

// read takes the results of a forward pass off the device, embeddings to their tensor. It places the tokens, if the
// program has any.
func (e *encoder) read(f *flight, req clip.ForwardRequest, out *clip.TokenOutput) error {
	for k, i := range f.instances {
		if err := i.Read(0, rows(out.Embedding, k, len(f.instances)).F32()); err != nil {
			return err
		}
	}
	what, width := "embedding", e.dim
	at := program.FirstNotFinite(out.Embedding.F32())
	if f.program.Key.second {
		if err := e.readTokens(f, req, out); err != nil {
			return err
		}
		if at < 0 {
			what, width = "tokens", e.dim*e.front.tokenCount()
			at = program.FirstNotFinite(out.Tokens.F32())
		}
	}
	if at >= 0 {
		return fault.New(fault.Numeric, "the %s %s of sample %d of %d is not finite", e.modality, what, at/width, f.batch()).
			WithOp("forward").WithHint("a learning rate that is too high is the usual cause; lower train.lr or set train.max_grad_norm")
	}
	return nil
}

// split cuts a request into its parts, one where it has none.
func (e *encoder) split(req clip.ForwardRequest) ([]clip.ForwardRequest, error) {
	n := req.Parts
	if n <= 1 {
		return []clip.ForwardRequest{req}, nil
	}
	switch {
	case !e.syncNorm:
		return nil, fault.New(fault.Invalid, "the request has %d parts, and the encoder normalises none together", n).WithOp("forward").
			WithHint("sync_norm in the configuration asks for it")
	case req.Images == nil || req.Texts != nil:
		return nil, fault.New(fault.Invalid, "a request of %d parts holds pictures, and pictures only", n).WithOp("forward")
	case len(req.Images.Shape) < 1 || req.Images.Shape[0]%n != 0:
		return nil, fault.New(fault.Invalid, "pictures %v cannot be cut into %d equal parts", req.Images.Shape, n).WithOp("forward")
	}
	e.session.Share(req.Images)
	parts := make([]clip.ForwardRequest, n)
	for k := range parts {
		// What comes next is as large as all parts, and no part is fetched ahead.
		parts[k] = clip.ForwardRequest{Images: rows(req.Images, k, n), Mode: req.Mode, Step: req.Step, Micro: req.Micro + k, EMA: req.EMA}
	}
	return parts, nil
}

// rows shows part k of n of a tensor's rows.
func rows(t *tensor.Tensor, k, n int) *tensor.Tensor {
	if n == 1 {
		return t
	}
	shape := append(tensor.Shape{t.Shape[0] / n}, t.Shape[1:]...)
	size := len(t.Data) / n
	return &tensor.Tensor{DType: t.DType, Shape: shape, Data: t.Data[k*size : (k+1)*size]}
}

// batch returns the samples of all parts.
func (f *flight) batch() int { return f.program.Key.batch * len(f.instances) }

// take gets the activations of parts of a program.
func (e *encoder) take(f *flight, key programKey, parts int) error {
	p, err := e.programs.Get(key)
	if err != nil {
		return e.explainExhausted(err, nil)
	}
	f.program = p
	f.instances, err = e.programs.TakeTogether(p, parts)
	return e.explainExhausted(err, p)
}

// give frees the activations of a flight for later ones.
func (e *encoder) give(f flight) {
	if f.program != nil {
		e.programs.GiveTogether(f.program, f.instances)
	}
}
