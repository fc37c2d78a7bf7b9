package loss

import (
	"context"
	"strconv"

	"tandem/core/engine/checkpoint"
	"tandem/core/engine/program"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// arrays lists what a checkpoint (core/engine/checkpoint) holds. Its tensors have no axes, as those of published
// models; the metadata says whether the scalars were learned, and by which optimiser.
func (p *parameters) arrays() []checkpoint.Array {
	list := append(checkpoint.Arrays(p.backend, p.store.Layout, p.store.Values),
		checkpoint.SlotArrays(p.backend, p.store.Layout, p.States())...)
	for i := range list {
		list[i].Shape = []int{}
	}
	return list
}

// metadata describes the parameters, for a checkpoint that must agree with it.
func (p *parameters) metadata() map[string]string {
	return map[string]string{
		"format": weights.LossFormat, "learnable": strconv.FormatBool(p.Trains()), "optimizer": p.optimizer,
	}
}

// save writes the parameters and the optimiser's state.
func (p *parameters) save(ctx context.Context, path string) error {
	return checkpoint.Write(ctx, path, p.backend, p.arrays(), nil, p.metadata())
}

// load reads what save wrote, or the parameters of a published model, whose optimiser state starts at zero. It
// checks everything before it changes anything.
func (p *parameters) load(path string) error {
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	meta := f.Metadata()
	own := weights.IsCheckpoint(meta["format"])
	if own {
		if err := checkpoint.CheckMetadata(meta, p.metadata(), "format", "learnable", "optimizer"); err != nil {
			return err.WithFile(path, 0, 0)
		}
	}
	arrays := p.arrays()
	values := make([]float32, len(arrays))
	for i, a := range arrays {
		if i >= len(p.scalars) && !own {
			break
		}
		if values[i], err = readOne(f, a.Name); err != nil {
			return err
		}
	}
	for i, a := range arrays {
		p.backend.Write(a.Buffer, values[i:i+1])
	}
	for i, s := range p.scalars {
		p.current[s.Name] = float64(values[i])
	}
	p.backend.ParamsChanged()
	p.Forget()
	return nil
}

// readOne reads a tensor of one element, [] or [1], that is a finite number.
func readOne(f *weights.File, name string) (float32, error) {
	info, ok := f.Info(name)
	if !ok {
		return 0, fault.New(fault.Invalid, "tensor %q is missing", name).WithFile(f.Path(), 0, 0).WithOp("load")
	}
	values, err := f.F32(name)
	if err != nil {
		return 0, err
	}
	if len(values) != 1 {
		return 0, fault.New(fault.Invalid, "tensor %q is %v, want one element", name, info.Shape).
			WithFile(f.Path(), 0, 0).WithOp("load")
	}
	if program.FirstNotFinite(values) >= 0 {
		return 0, fault.New(fault.Corrupt, "tensor %q is %v", name, values[0]).WithFile(f.Path(), 0, 0).WithOp("load")
	}
	return values[0], nil
}
