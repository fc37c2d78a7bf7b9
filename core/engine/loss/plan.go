package loss

import (
	"context"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/profile"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var _ clip.Planner = (*Loss)(nil)

// Plan implements clip.Planner. The device stays open until Configure.
func (l *Loss) Plan(ctx context.Context, q clip.PlanRequest) (out clip.Plan, err error) {
	if l.backend != nil || q.Loss == nil {
		return out, fault.New(fault.Conflict, "the loss is configured already, or there is no configuration").WithOp("plan")
	}
	c := *q.Loss
	def, err := l.checked(ctx, c)
	if err != nil {
		return out, err
	}
	if l.planned == nil {
		if l.planned, err = l.open(c.Compute); err != nil {
			return out, err
		}
	}
	out.Device, _ = devices.Resolve(c.Compute.Device)
	meter, ok := l.planned.(device.MemoryMeter)
	if !ok {
		return out, nil
	}
	now := meter.DeviceMemory()
	out.Free, out.Total = now.Free, now.Total
	store := graph.Store{Layout: layout(def)}
	programs := newPrograms(nil, def, store)
	programs.block = l.block
	plan, err := programs.plan(key{c.BatchSize, c.EmbedDim, true})
	if err != nil {
		return out, err
	}
	parameters := int64(store.Layout.Total) * 4
	out.Parts = []clip.MemoryPart{
		{Name: "libraries", Bytes: now.Used},
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

func (l *Loss) closePlanned() {
	if l.planned != nil {
		l.planned.Close()
		l.planned = nil
	}
}

const remedy = "lower train.batch_size, or give the loss a device of its own (loss.device)"

// exhausted tells what the memory is for when there is too little of it.
func (l *Loss) exhausted(err error, p *program) error {
	var wanted []clip.MemoryPart
	if p != nil {
		plan := p.prog.Memory()
		wanted = []clip.MemoryPart{{Name: "activations", Bytes: plan.Activations}, {Name: "workspace", Bytes: plan.Workspace}}
	}
	return profile.Exhausted(err, l.backend, l.parts(), wanted, remedy)
}

// share shows the backend the memory of tensors, once, so that hardware may read and write it by itself.
func (l *Loss) share(tensors ...*tensor.Tensor) {
	s, ok := l.backend.(device.HostSharer)
	if !ok {
		return
	}
	for _, t := range tensors {
		if t != nil && len(t.Pages) > 0 && !l.known[&t.Pages[0]] {
			l.known[&t.Pages[0]] = true
			_ = s.ShareHost(t.Pages) // refused, it is copied once more
		}
	}
}

// into is the place for a result: the one asked for when it fits.
func into(t *tensor.Tensor, batch, dim int) *tensor.Tensor {
	if t != nil && t.DType == tensor.F32 && t.Shape.Equal(tensor.Shape{batch, dim}) {
		return t
	}
	return tensor.New(tensor.F32, batch, dim)
}
