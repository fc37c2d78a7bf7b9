package loss

import (
	"context"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/fault"
)

var _ clip.Planner = (*Loss)(nil)

// Plan implements clip.Planner. The device stays open until Configure.
func (l *Loss) Plan(ctx context.Context, q clip.PlanRequest) (clip.Plan, error) {
	if l.session.Backend != nil || q.Loss == nil {
		return clip.Plan{}, fault.New(fault.Conflict, "the loss is configured already, or there is no configuration").WithOp("plan")
	}
	c := *q.Loss
	def, err := l.defineValid(ctx, c)
	if err != nil {
		return clip.Plan{}, err
	}
	out, backend, libraries, err := l.session.Plan(c.Compute)
	if err != nil || backend == nil {
		return out, err
	}
	store := graph.Store{Layout: layout(def)}
	plan, err := newPrograms(nil, def, store, l.block).Plan(nil, programKey{c.BatchSize, c.EmbedDim, true}) // losses keep float32
	if err != nil {
		return out, err
	}
	parameters := int64(store.Layout.Total) * 4
	out.Parts = []clip.MemoryPart{
		{Name: "libraries", Bytes: libraries},
		{Name: "parameters", Bytes: parameters},
		{Name: "gradients", Bytes: parameters},
		{Name: "activations", Bytes: plan.Activations},
		{Name: "workspace", Bytes: plan.Workspace},
		{Name: "constants", Bytes: plan.Constants},
	}
	if def.Learn {
		slots := optim.Config{Name: c.Optimizer.Name}.Slots()
		out.Parts = append(out.Parts, clip.MemoryPart{Name: "optimizer", Bytes: int64(len(slots)) * parameters})
	}
	out.Least = out.Needed()
	return out, nil
}

// remedy says what a user may do about too little memory.
const remedy = "lower train.batch_size, or give the loss a device of its own (loss.device)"

// explainExhausted adds to an error of too little memory what takes it; p is the program that was to run, if any.
func (l *Loss) explainExhausted(err error, p *compiled) error {
	var plan *graph.MemoryPlan
	if p != nil {
		memory := p.Memory()
		plan = &memory
	}
	return l.session.Exhausted(err, l.parts(), plan, remedy)
}
