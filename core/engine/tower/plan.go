package tower

import (
	"context"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/profile"
	"tandem/core/fault"
)

var _ clip.Planner = (*encoder)(nil)

// Plan implements clip.Planner. The device stays open until Configure, so that towers that share one
// see what the other's takes by itself.
func (e *encoder) Plan(ctx context.Context, q clip.PlanRequest) (out clip.Plan, err error) {
	if e.configured || e.closed || q.Encoder == nil {
		return out, fault.New(fault.Conflict, "the encoder is configured or closed already, or there is no configuration").WithOp("plan")
	}
	if err := alive(ctx, "plan"); err != nil {
		return out, err
	}
	c := *q.Encoder
	if err := check(c); err != nil {
		return out, err
	}
	if e.planned == nil {
		if e.planned, err = e.open(c.Compute); err != nil {
			return out, err
		}
	}
	out.Device, _ = devices.Resolve(c.Compute.Device)
	meter, ok := e.planned.(device.MemoryMeter)
	if !ok {
		return out, nil
	}
	now := meter.DeviceMemory()
	out.Free, out.Total = now.Free, now.Total
	front, err := e.build(c)
	if err != nil {
		return out, err
	}
	if err := freeze(front.Params(), c.Freeze); err != nil {
		return out, err
	}
	p := layouts(front.Params(), c.Optimizer.DecayEmbeddings)
	programs := newPrograms(nil, p, front.network)
	programs.compute(c.Compute)
	fixed := append(e.fixedParts(p, c), clip.MemoryPart{Name: "libraries", Bytes: now.Used})
	most, err := programs.plan(e.planned, programKey{training: true, batch: q.Batch, tokens: front.most(q.Batch)})
	if err != nil {
		return out, err
	}
	least, err := programs.plan(e.planned, programKey{training: true, batch: q.Batch, tokens: front.least(q.Batch)})
	if err != nil {
		return out, err
	}
	for _, f := range fixed {
		out.Least += f.Bytes
	}
	out.Least += least.Activations + passes(least, q.Accumulate) + least.Constants
	if q.EvalBatch > 0 {
		eval, err := programs.plan(e.planned, programKey{batch: q.EvalBatch, tokens: front.most(q.EvalBatch)})
		if err != nil {
			return out, err
		}
		most.Activations, most.Workspace = max(most.Activations, eval.Activations), max(most.Workspace, eval.Workspace)
		most.Constants += eval.Constants
	}
	out.Parts = append(fixed, clip.MemoryPart{Name: "activations", Bytes: most.Activations},
		clip.MemoryPart{Name: "workspace", Bytes: max(most.Workspace, passes(most, q.Accumulate))},
		clip.MemoryPart{Name: "constants", Bytes: most.Constants})
	if side := int64(front.side()); side > 0 {
		out.Parts = append(out.Parts, clip.MemoryPart{Name: "next pictures", Bytes: int64(q.Batch) * side * side * 3})
	}
	return out, nil
}

// passes is the workspace of forward and backward passes.
func passes(m graph.MemoryPlan, accumulate bool) int64 {
	if accumulate {
		return m.Accumulating
	}
	return m.Workspace
}

// fixedParts are what does not depend on a batch, as Memory names it.
func (e *encoder) fixedParts(p *params, c clip.EncoderConfig) []clip.MemoryPart {
	const size = 4
	trained := int64(p.trained.Total) * size
	return []clip.MemoryPart{
		{Name: "parameters", Bytes: int64(p.store.Layout.Total) * size},
		{Name: "gradients", Bytes: trained},
		{Name: "optimizer", Bytes: int64(len(optim.Config{Name: c.Optimizer.Name}.Slots())) * trained},
		{Name: "statistics", Bytes: int64(p.states.Layout.Total) * size},
	}
}

// closePlanned gives back what Plan left open.
func (e *encoder) closePlanned() {
	if e.planned != nil {
		e.planned.Close()
		e.planned = nil
	}
}

// remedy is what a user may do about too little memory.
const remedy = "lower train.micro_batch_size (the gradient stays that of the whole batch), set train.activation_checkpointing: true, " +
	"or give the towers devices of their own (image.device, text.device)"

// exhausted tells what the memory is for when there is too little of it; plan is that of the program that was
// to run, if any.
func (e *encoder) exhausted(err error, p *program) error {
	var wanted []clip.MemoryPart
	if p != nil {
		plan := p.prog.Memory()
		wanted = []clip.MemoryPart{{Name: "activations", Bytes: plan.Activations}, {Name: "workspace", Bytes: plan.Accumulating}}
	}
	return profile.Exhausted(err, e.backend, e.parts(), wanted, remedy)
}
