package tower

import (
	"context"
	"strings"

	"tandem/core/engine/checkpoint"
	"tandem/core/engine/device"
	"tandem/core/engine/program"
	"tandem/core/engine/weights/keymap"
	"tandem/core/fault"
)

// pretrained returns the network that may begin with published weights; nil for another.
func pretrained(f front) Pretrained {
	var model Model
	switch f := f.(type) {
	case *textFront:
		model = f.TextModel
	case *imageFront:
		model = f.ImageModel
	}
	p, _ := model.(Pretrained)
	return p
}

// begin replaces the initial values of parameters by published ones, for networks that name some. It checks everything
// before it changes anything.
func (e *encoder) begin(ctx context.Context, b device.Backend, f front) error {
	p := pretrained(f)
	if p == nil {
		return nil
	}
	path, within := p.Weights()
	if path == "" {
		return nil
	}
	found, err := keymap.Locate(path)
	if err != nil {
		return err
	}
	if len(found) > 1 {
		return fault.New(fault.Invalid, "the weights are in %d parts, and one file is wanted", len(found)).WithFile(path, 0, 0).
			WithHint("transformers joins them: AutoModel.from_pretrained(FOLDER).save_pretrained(OTHER, max_shard_size=\"1TB\")")
	}
	file, err := keymap.Open(found[0])
	if err != nil {
		return err
	}
	defer file.Close()
	var arrays []checkpoint.Array
	for _, a := range withoutAdapters(append(checkpoint.Arrays(b, e.params.store.Layout, e.params.store.Values),
		checkpoint.Arrays(b, e.params.states.Layout, e.params.states.Values)...)) {
		_, there := file.Shape(a.Name)
		if !strings.HasPrefix(a.Name, within) && !there {
			continue
		}
		if err := file.Check(a.Name, a.Shape...); err != nil {
			return fault.New(fault.KindOf(err), "%w", err).WithFile(found[0], 0, 0).WithHint("the weights are of another network than config.json beside them describes")
		}
		if err := checkFinite(file, a); err != nil {
			return err.WithFile(found[0], 0, 0)
		}
		arrays = append(arrays, a)
	}
	for _, a := range arrays {
		if err := program.CheckContext(ctx, "configure"); err != nil {
			return err
		}
		values, err := file.F32(a.Name, a.Shape...)
		if err != nil {
			return err
		}
		b.Write(a.Buffer, values)
	}
	b.ParamsChanged()
	if average := e.params.average; average != nil {
		average.Restart()
	}
	return nil
}
