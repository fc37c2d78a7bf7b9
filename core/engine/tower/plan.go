package tower

import (
	"context"
	"math"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/program"
	"tandem/core/fault"
)

var _ clip.Planner = (*encoder)(nil)

// Plan implements clip.Planner. The device stays open until Configure, so that towers that share one
// see what the other's takes by itself.
func (e *encoder) Plan(ctx context.Context, q clip.PlanRequest) (clip.Plan, error) {
	if e.configured || e.closed || q.Encoder == nil {
		return clip.Plan{}, fault.New(fault.Conflict, "the encoder is configured or closed already, or there is no configuration").WithOp("plan")
	}
	if err := program.CheckContext(ctx, "plan"); err != nil {
		return clip.Plan{}, err
	}
	c := *q.Encoder
	front, err := e.newFront(c)
	if err != nil {
		return clip.Plan{}, err
	}
	out, backend, libraries, err := e.session.Plan(c.Compute)
	if err != nil || backend == nil {
		return out, err
	}
	p := layouts(front.Params(), c.Optimizer)
	programs := newPrograms(nil, p, front, c.Compute, func([]float64) error { return nil })
	fixed := append(e.fixedParts(p, c), clip.MemoryPart{Name: "libraries", Bytes: libraries})
	second, all := q.Tokens && front.tokenCount() > 0, p.phase(math.MaxInt) // all parameters have started
	most, err := programs.Plan(backend, programKey{training: true, phase: all, together: c.SyncNorm, second: second, batch: q.Batch, tokens: front.maxTokens(q.Batch)})
	if err != nil {
		return out, err
	}
	least, err := programs.Plan(backend, programKey{training: true, phase: all, together: c.SyncNorm, second: second, batch: q.Batch, tokens: front.minTokens(q.Batch)})
	if err != nil {
		return out, err
	}
	if parts := int64(q.Parts); parts > 1 { // each has memory of its own
		for _, m := range []*graph.MemoryPlan{&most, &least} {
			m.Activations, m.Workspace, m.Accumulating = parts*m.Activations, parts*m.Workspace, parts*m.Accumulating
		}
	}
	for _, f := range fixed {
		out.Least += f.Bytes
	}
	out.Least += least.Activations + passWorkspace(least, q.Accumulate || q.Parts > 1) + least.Constants
	if q.EvalBatch > 0 {
		eval, err := programs.Plan(backend, programKey{batch: q.EvalBatch, tokens: front.maxTokens(q.EvalBatch)})
		if err != nil {
			return out, err
		}
		most.Activations, most.Workspace = max(most.Activations, eval.Activations), max(most.Workspace, eval.Workspace)
		most.Constants += eval.Constants
	}
	out.Parts = append(fixed, clip.MemoryPart{Name: "activations", Bytes: most.Activations},
		clip.MemoryPart{Name: "workspace", Bytes: max(most.Workspace, passWorkspace(most, q.Accumulate || q.Parts > 1))},
		clip.MemoryPart{Name: "constants", Bytes: most.Constants})
	if side := int64(front.side()); side > 0 {
		out.Parts = append(out.Parts, clip.MemoryPart{Name: "next pictures", Bytes: int64(q.Batch) * side * side * 3})
	}
	return out, nil
}

// passWorkspace returns the workspace that forward and backward passes need.
func passWorkspace(m graph.MemoryPlan, accumulate bool) int64 {
	if accumulate {
		return m.Accumulating
	}
	return m.Workspace
}

// fixedParts lists what does not depend on a batch, under the names that Memory uses.
func (e *encoder) fixedParts(p *params, c clip.EncoderConfig) []clip.MemoryPart {
	const size = 4
	trained := int64(p.trained.Total) * size
	ema := int64(0)
	if p.averages() {
		ema = int64(p.store.Layout.Total) * size
	}
	return []clip.MemoryPart{
		{Name: "parameters", Bytes: int64(p.store.Layout.Total) * size},
		{Name: "gradients", Bytes: trained},
		{Name: "optimizer", Bytes: int64(len(optim.Config{Name: c.Optimizer.Name}.Slots())) * trained},
		{Name: "ema", Bytes: ema},
		{Name: "statistics", Bytes: int64(p.states.Layout.Total) * size},
	}
}

// remedy says what a user may do about too little memory.
const remedy = "lower train.micro_batch_size (the gradient stays that of the whole batch), set train.activation_checkpointing: true, " +
	"or give the towers devices of their own (image.device, text.device)"

// remedyTogether says it of a tower that keeps all micro-batches of a step.
const remedyTogether = "set train.activation_checkpointing: true, give the towers devices of their own (image.device, text.device), " +
	"train on more ranks, or do without train.sync_norm, which keeps the activations of all micro-batches"

// explainExhausted adds to an error of too little memory what takes it; p is the program that was to run, if any.
func (e *encoder) explainExhausted(err error, p *compiled) error {
	if err == nil {
		return nil
	}
	var plan *graph.MemoryPlan
	if p != nil {
		memory := p.Memory()
		plan = &memory
	}
	how := remedy
	if e.syncNorm {
		how = remedyTogether
	}
	return e.session.Exhausted(err, e.parts(), plan, how)
}
