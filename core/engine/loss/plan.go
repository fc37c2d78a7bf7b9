package loss

import (
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/fault"
)

var _ clip.Planner = (*Loss)(nil)

// Plan implements clip.Planner. The device stays open until Configure. Of further inputs it counts what the
// configuration tells, else one negative, teachers as wide as the embeddings, and guessedTokens.
func (l *Loss) Plan(ctx context.Context, q clip.PlanRequest) (clip.Plan, error) {
	if l.session.Backend != nil || q.Loss == nil {
		return clip.Plan{}, fault.New(fault.Conflict, "the loss is configured already, or there is no configuration").WithOp("plan")
	}
	c := *q.Loss
	guess(&c)
	def, in, err := l.defineValid(ctx, c)
	if err != nil {
		return clip.Plan{}, err
	}
	out, backend, libraries, err := l.session.Plan(c.Compute)
	if err != nil || backend == nil {
		return out, err
	}
	store := graph.Store{Layout: layout(def)}
	plan, err := newPrograms(nil, def, in, store, l.block, l.piece).Plan(nil, in.planned(c)) // losses keep float32
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

// guessedTokens stands for the number of a sample's tokens, which only the encoders tell once they are configured.
const guessedTokens = 64

// guess fills in what only the dataset and the teachers tell once they are configured, where c does not have it yet.
func guess(c *clip.LossConfig) {
	c.Negatives = max(c.Negatives, 1)
	if c.TeacherImageDim == 0 {
		c.TeacherImageDim = c.EmbedDim
	}
	if c.TeacherTextDim == 0 {
		c.TeacherTextDim = c.EmbedDim
	}
}

// planned returns the key of the program that training will use most.
func (in inputs) planned(c clip.LossConfig) programKey {
	k := programKey{batch: c.BatchSize, dim: c.EmbedDim, training: true, rows: c.BatchSize}
	if slices.Contains(in.names, clip.InputImageTokens) {
		k.imageTokens = guessedTokens
	}
	if slices.Contains(in.names, clip.InputTextTokens) {
		k.textTokens = guessedTokens
	}
	return k
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
