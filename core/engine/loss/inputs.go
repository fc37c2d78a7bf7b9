package loss

import (
	"maps"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// inputs tells what a loss takes beside image and text.
type inputs struct {
	names                     []string
	dim                       int // D
	negatives                 int // K
	teacherImage, teacherText int // widths of the teachers' embeddings
}

// newInputs reads the inputs of a definition, and refuses a configuration that does not have them.
func newInputs(def Definition, c clip.LossConfig) (in inputs, err error) {
	in = inputs{def.Inputs, c.EmbedDim, c.Negatives, c.TeacherImageDim, c.TeacherTextDim}
	for i, name := range in.names {
		missing := ""
		switch {
		case !slices.Contains(clip.LossInputs, name) || slices.Contains(in.names[:i], name):
			return in, fault.New(fault.Internal, "the loss names the input %q, which does not exist, or names it twice", name).WithOp("configure")
		case name == clip.InputTextNegatives && in.negatives < 1:
			missing = "choose a dataset that gives further texts of each sample"
		case name == clip.InputTeacherImage && in.teacherImage < 1:
			missing = "give the spec a teacher.image"
		case name == clip.InputTeacherText && in.teacherText < 1:
			missing = "give the spec a teacher.text"
		}
		if missing != "" {
			return in, fault.New(fault.Invalid, "the loss takes %s, and there is none", name).WithOp("configure").WithHint("%s", missing)
		}
	}
	return in, nil
}

// shape returns the shape of an input for a batch; tokens is T of the inputs with tokens.
func (in inputs) shape(name string, batch, tokens int) tensor.Shape {
	switch name {
	case clip.InputTextNegatives:
		return tensor.Shape{batch * in.negatives, in.dim}
	case clip.InputTeacherImage:
		return tensor.Shape{batch, in.teacherImage}
	case clip.InputTeacherText:
		return tensor.Shape{batch, in.teacherText}
	case clip.InputGroups:
		return tensor.Shape{batch}
	case clip.InputImageTokens, clip.InputTextTokens:
		return tensor.Shape{batch, tokens, in.dim}
	}
	return tensor.Shape{batch, in.dim}
}

// tokens returns T of the request's tokens of one side; 0 when there are none.
func tokens(req clip.LossRequest, name string) int {
	if v := req.Inputs[name].Value; v != nil && len(v.Shape) == 3 {
		return v.Shape[1]
	}
	return 0
}

// check finds inputs that are missing, unasked for or of another form.
func (in inputs) check(req clip.LossRequest) error {
	invalid := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithOp("compute")
	}
	for _, name := range slices.Sorted(maps.Keys(req.Inputs)) {
		if !slices.Contains(in.names, name) {
			return invalid("the request has the input %s, the loss takes %s", name,
				strings.Join(slices.Concat([]string{"image", "text"}, in.names), ", "))
		}
	}
	batch := req.Image.Shape[0]
	for _, name := range in.names {
		x, ok := req.Inputs[name]
		if !ok || x.Value == nil {
			return invalid("no %s", name)
		}
		dtype := tensor.F32
		if name == clip.InputGroups {
			dtype = tensor.I32
		}
		if want := in.shape(name, batch, max(tokens(req, name), 1)); x.Value.DType != dtype || !x.Value.Shape.Equal(want) {
			return invalid("%s is %v %v, want %v %v", name, x.Value.DType, x.Value.Shape, dtype, want)
		}
		if !clip.TokenInput(name) {
			continue
		}
		if n := x.Lengths; n == nil || n.DType != tensor.I32 || !n.Shape.Equal(tensor.Shape{batch}) {
			return invalid("%s has no lengths i32 [%d]", name, batch)
		}
		for i, n := range x.Lengths.I32() {
			if n < 1 || int(n) > x.Value.Shape[1] {
				return invalid("%s: sample %d has %d tokens of %d", name, i, n, x.Value.Shape[1])
			}
		}
	}
	return nil
}

// addTo gives a batch its inputs, and notes those that Build asks for.
func (in inputs) addTo(b *Batch, t *terms, k programKey) {
	g, nodes, lengths := b.Graph, map[string]*graph.Node{}, map[string]*graph.Node{}
	b.Negatives = in.negatives
	for _, name := range in.names {
		shape := in.shape(name, k.batch, k.tokens(name))
		switch {
		case name == clip.InputGroups:
			continue // on the host
		case clip.TokenInput(name):
			lengths[name] = g.Input(name+".lengths", device.I32, k.batch)
		}
		nodes[name] = g.Input(name, device.Real, shape...)
		t.inputs = append(t.inputs, name)
		if clip.DifferentiableInput(name) {
			t.candidates = append(t.candidates, candidate{name, nodes[name]})
		}
	}
	find := func(from map[string]*graph.Node, name string) *graph.Node {
		n, ok := from[name]
		if !ok {
			panic("loss: " + name + " is not among Definition.Inputs, or has no such form")
		}
		return n
	}
	b.Input = func(name string) *graph.Node { return find(nodes, name) }
	b.Lengths = func(name string) *graph.Node { return find(lengths, name) }
	masks := func(kind string, share bool) func(string) *graph.Node {
		return func(name string) *graph.Node {
			find(lengths, name)
			return t.onHost(g, name+kind, func(dst []float32, req clip.LossRequest) {
				fillMask(dst, req.Inputs[name].Lengths.I32(), share)
			}, k.batch, k.tokens(name))
		}
	}
	b.Mask, b.TokenShares = masks(".mask", false), masks(".shares", true)
	groups := func(name string, share bool) func() *graph.Node {
		return func() *graph.Node {
			if !slices.Contains(in.names, clip.InputGroups) {
				panic("loss: " + clip.InputGroups + " is not among Definition.Inputs")
			}
			return t.onHost(g, name, func(dst []float32, req clip.LossRequest) {
				fillGroups(dst, req.Inputs[clip.InputGroups].Value.I32(), share)
			}, k.batch, k.batch)
		}
	}
	b.SameGroup, b.GroupTargets = groups("groups.same", false), groups("groups.targets", true)
}

// fillMask writes [B, T]: 1, or with share 1 divided by their number, for a sample's own tokens, 0 after them.
func fillMask(dst []float32, lengths []int32, share bool) {
	clear(dst)
	width := len(dst) / len(lengths)
	for i, n := range lengths {
		one := float32(1)
		if share {
			one = 1 / float32(n)
		}
		for k := range n {
			dst[i*width+int(k)] = one
		}
	}
}

// fillGroups writes [B, B]: 1 where row and column are of one group or, with share, 1 divided by the group's size.
func fillGroups(dst []float32, groups []int32, share bool) {
	size := map[int32]float32{}
	for _, g := range groups {
		size[g]++
	}
	for i, a := range groups {
		one := float32(1)
		if share {
			one = 1 / size[a]
		}
		for j, b := range groups {
			if dst[i*len(groups)+j] = 0; a == b {
				dst[i*len(groups)+j] = one
			}
		}
	}
}

// hostInput fills an input from each request on the host.
type hostInput struct {
	name   string
	node   *graph.Node
	values []float32
	fill   func(dst []float32, req clip.LossRequest)
}

// onHost makes an input that fill computes, once however often it is asked for.
func (t *terms) onHost(g *graph.Graph, name string, fill func([]float32, clip.LossRequest), shape ...int) *graph.Node {
	for _, h := range t.computed {
		if h.name == name {
			return h.node
		}
	}
	h := &hostInput{name, g.Input(name, device.Real, shape...), make([]float32, tensor.Shape(shape).Elements()), fill}
	t.computed = append(t.computed, h)
	return h.node
}

// candidate names an input that a gradient is wanted of.
type candidate struct {
	name string
	node *graph.Node
}

// feedInputs sets the inputs beside image and text.
func (t *terms) feedInputs(i *graph.Instance, req clip.LossRequest) {
	for _, name := range t.inputs {
		x := req.Inputs[name]
		i.SetInput(name, x.Value.F32())
		if x.Lengths != nil && clip.TokenInput(name) {
			i.SetInput(name+".lengths", x.Lengths.I32())
		}
	}
	for _, h := range t.computed {
		h.fill(h.values, req)
		i.SetInput(h.name, h.values)
	}
}

// gradient reads the gradient of an input off the device, into if that fits; zeros for one that the value does not
// depend on.
func (t *terms) gradient(b device.Backend, i *graph.Instance, name string, into *tensor.Tensor, shape tensor.Shape) *tensor.Tensor {
	out := program.Place(into, tensor.F32, shape...)
	if at := slices.Index(t.wrt, name); at >= 0 {
		b.Read(out.F32(), i.InputGrad(at))
	} else {
		clear(out.F32())
	}
	return out
}
