package assemble

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/objective"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files/leftover"
)

// bothTowers reports whether both towers take weights.
func bothTowers(towers []string) bool {
	return slices.Contains(towers, RoleImage) && slices.Contains(towers, RoleText)
}

// LoadWeights gives both towers and the loss the parameters at path: published weights, or those of a checkpoint
// folder. The remarks are worth telling.
func (m *Model) LoadWeights(ctx context.Context, path string) (remarks []string, err error) {
	return m.model().initialise(ctx, path, []string{RoleImage, RoleText})
}

// learner takes weights: a model, or a teacher.
type learner struct {
	spec        *spec.Spec
	section     string // of the spec: "" or "teacher."
	image, text clip.Encoder
	loss        clip.Loss // nil: none
}

// model returns the model's own towers and loss.
func (m *Model) model() learner {
	return learner{spec: m.Spec, image: m.Image, text: m.Text, loss: m.Loss}
}

// initialise gives towers and loss, just configured, the parameters at path: published weights, or
// those of a checkpoint folder. towers, image or text, are those that take them; the loss does when both towers do, and of
// a sum of losses those that lossFiles says.
// Optimisers start anew. The remarks are worth telling.
func (m learner) initialise(ctx context.Context, path string, towers []string) (remarks []string, err error) {
	dir, release, err := leftover.Dir("tandem-weights-")
	if err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	checkpoint := ""
	named := path
	if isCheckpoint(path) {
		checkpoint = path
		p, err := OpenCheckpoint(path, false)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		path = filepath.Join(dir, "model.safetensors")
		if err := weights.Write(path, p.Tensors, p.Meta); err != nil {
			return nil, err
		}
	} else if path, remarks, err = m.published(path, dir, towers); err != nil {
		return nil, err
	}
	var losses []string
	if bothTowers(towers) && m.loss != nil {
		var more []string
		if losses, more, err = m.lossFiles(ctx, path, checkpoint, dir); err != nil {
			return nil, err
		}
		remarks = append(remarks, more...)
	}
	var calls []func(context.Context) error
	for tower, e := range map[string]clip.Encoder{RoleImage: m.image, RoleText: m.text} {
		if slices.Contains(towers, tower) {
			calls = append(calls, func(ctx context.Context) error {
				return Place(m.spec, asNamed(e.Load(ctx, path), path, named), m.section+tower)
			})
		}
	}
	if err := atOnce(ctx, calls...); err != nil {
		return remarks, err
	}
	for i, file := range losses {
		if file == "" {
			continue
		}
		switch err := objective.Members(m.loss)[i].Loss.Load(ctx, file); {
		case fault.KindOf(err) == fault.Invalid: // a loss with other parameters
			remarks = append(remarks, fmt.Sprintf("the loss starts anew: %v", err))
		case err != nil:
			return nil, err
		}
	}
	return remarks, nil
}

// lossFiles returns the file that each member of the loss takes its scalars from; "" for none. Of a sum a member whose name
// has a loss in the checkpoint takes that one's; the weights' own logit_scale goes to the first of the others that has
// one, unless a member took it already.
func (m learner) lossFiles(ctx context.Context, path, checkpoint, dir string) (files, remarks []string, err error) {
	published, remarks, err := lossWeights(path, dir)
	members := objective.Members(m.loss)
	if err != nil || len(members) == 1 {
		return []string{published}, remarks, err
	}
	files = make([]string, len(members))
	var state train.State
	if checkpoint != "" {
		if state, err = train.ReadState(checkpoint); err != nil {
			return nil, nil, err
		}
	}
	for i, l := range members {
		own := filepath.Join(dir, fmt.Sprintf("member%d.safetensors", i))
		if at := slices.Index(state.Losses, l.Name); at >= 0 {
			if files[i], err = scalarsOf(filepath.Join(checkpoint, state.LossFiles()[at]), own); err != nil {
				return nil, nil, err
			}
			published = ""
			continue
		}
		if err := l.Loss.Save(ctx, own); err != nil {
			return nil, nil, err
		}
		if published != "" && hasTensor(own, keymap.LogitScale) {
			remarks = append(remarks, fmt.Sprintf("the loss %s takes the logit_scale of the weights; of the others each starts as its settings say", l.Name))
			files[i], published = published, ""
		}
	}
	return files, remarks, nil
}

// scalarsOf writes the scalars in the file of a loss, without what its optimiser keeps, to another file and returns its
// path; "" when there are none.
func scalarsOf(file, to string) (string, error) {
	f, err := weights.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range []string{keymap.LogitScale, keymap.LogitBias} {
		if _, has := f.Info(name); !has {
			continue
		}
		values, err := f.F32(name)
		if err != nil {
			return "", err
		}
		tensors = append(tensors, weights.FromF32(name, values[:1]))
	}
	if tensors == nil {
		return "", nil
	}
	return to, weights.Write(to, tensors, map[string]string{"format": "pt"})
}

// asNamed makes a fault of a file that was joined or converted one of the file that the user named.
func asNamed(err error, joined, named string) error {
	if f, ok := err.(*fault.Error); ok && f.File == joined {
		f.File = named
	}
	return err
}

// lossWeights writes the scalars that published weights have for a loss to a file of their own; "" when
// there are none.
func lossWeights(path, dir string) (file string, remarks []string, err error) {
	f, err := keymap.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range []string{keymap.LogitScale, keymap.LogitBias} {
		v, ok, err := f.Scalar(name)
		if err != nil {
			return "", nil, err
		}
		if ok {
			tensors = append(tensors, weights.FromF32(name, []float32{v}))
		}
	}
	if len(tensors) == 0 {
		return "", []string{"the weights come without a logit_scale; the loss starts as its settings say"}, nil
	}
	file = filepath.Join(dir, train.LossFile)
	return file, nil, weights.Write(file, tensors, map[string]string{"format": "pt"})
}
