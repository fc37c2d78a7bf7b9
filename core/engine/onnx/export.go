package onnx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// The names of a model's inputs and outputs, those of transformers' CLIP.
const (
	Pixels      = "pixel_values" // f32 [batch, 3, S, S], normalised
	IDs         = "input_ids"    // i64 [batch, T]
	ImageOutput = "image_embeds" // f32 [batch, D], rows of unit norm
	TextOutput  = "text_embeds"
)

// Source describes the graph that is exported.
type Source struct {
	// Build makes the graph for a batch and returns its output [batch, D].
	Build func(batch int) (*graph.Node, error)
	// Values returns the elements of a parameter or state.
	Values func(name string) ([]float32, error)
	// Input names the graph's input of pictures or ids; Size is S of pictures or T of ids.
	Input string
	Size  int
	Text  bool
	// Lengths says how long a text is: up to its largest id, or as many ids as are not Pad.
	EndIsLargest bool
	Pad          int
	// Indices describes the graph's other inputs.
	Indices map[string]Index
}

// Index describes an input of integers that follows from a text.
type Index struct {
	// Within is the place of each token in its text, [batch·T]. It excludes the rest.
	Within bool
	// Else text b has Step·b + Ends·(place of its largest id) + Lengths·(its length) + Offset, [batch].
	Step, Ends, Lengths, Offset int
}

// The batches of the two graphs that are compared: an axis that differs is a multiple of the batch.
const fewer, more = 2, 3

// Export translates a graph. What it cannot express is fault.Unavailable.
func Export(s Source) (Model, error) {
	var walks [2][]graph.Visited
	var output int
	for i, batch := range []int{fewer, more} {
		n, err := s.Build(batch)
		if err != nil {
			return Model{}, err
		}
		if walks[i], err = graph.Walk(n); err != nil {
			return Model{}, err
		}
		if i == 0 {
			output = graph.NodeID(n)
		}
	}
	if len(walks[0]) != len(walks[1]) {
		return Model{}, fault.New(fault.Unavailable, "the network is another one for another batch").WithOp("export")
	}
	t := &translator{source: s, names: map[int]string{}, given: map[int]given{}, made: map[string]string{}, taken: map[string]bool{}}
	input := Value{Name: Pixels, Type: Float, Dims: []int{-1, 3, s.Size, s.Size}}
	out := Value{Name: ImageOutput, Type: Float}
	if s.Text {
		input, out.Name = Value{Name: IDs, Type: Int64, Dims: []int{-1, s.Size}}, TextOutput
	}
	t.input = input.Name
	for i, v := range walks[0] {
		if err := t.visit(v, walks[1][i]); err != nil {
			return Model{}, err
		}
	}
	last := walks[0][len(walks[0])-1]
	out.Dims = []int{-1, last.Dim(-1)}
	t.model.Nodes = append(t.model.Nodes, Node{Op: "Identity", In: []string{t.names[output]}, Out: []string{out.Name}, Name: "output"})
	t.model.Inputs, t.model.Outputs = []Value{input}, []Value{out}
	return t.model, nil
}

// axes holds the shape of a value for both batches.
type axes [2][]int

// of returns axis i: how many times the batch, or, when fixed, its size.
func (a axes) of(i int) (n int, fixed bool, err error) {
	x, y := a[0][i], a[1][i]
	switch {
	case x == y:
		return x, true, nil
	case x%fewer == 0 && x/fewer*more == y:
		return x / fewer, false, nil
	}
	return 0, false, fault.New(fault.Unavailable, "an axis of %d for a batch of %d and %d for %d", x, fewer, y, more).WithOp("export")
}

// given is an input of the graph.
type given struct {
	name  string
	shape axes
}

// translator adds the nodes of a graph to a model.
type translator struct {
	source Source
	model  Model
	input  string
	names  map[int]string    // of values, by the graph's nodes
	given  map[int]given     // the graph's inputs
	made   map[string]string // constants and what follows from the input, by what they are
	taken  map[string]bool
	scope  string
}

// add adds an operator with one output and returns its name.
func (t *translator) add(op string, in []string, attributes ...Attribute) string {
	out := t.unique(t.scope + "/" + op)
	t.model.Nodes = append(t.model.Nodes, Node{Op: op, In: slices.Clone(in), Out: []string{out}, Name: out, Attributes: attributes})
	return out
}

func (t *translator) unique(name string) string {
	for i := 0; ; i++ {
		try := name
		if i > 0 {
			try += "_" + strconv.Itoa(i)
		}
		if !t.taken[try] {
			t.taken[try] = true
			return try
		}
	}
}

// ints returns a constant of int64.
func (t *translator) ints(values ...int) string {
	list := make([]int64, len(values))
	for i, v := range values {
		list[i] = int64(v)
	}
	return t.constant(fmt.Sprint("ints", values), Int64, []int{len(values)}, weights.Bytes(list))
}

// float returns a constant of one number, [1].
func (t *translator) float(v float64) string {
	return t.constant(fmt.Sprint("float", v), Float, []int{1}, weights.Bytes([]float32{float32(v)}))
}

func (t *translator) constant(what string, dtype Type, dims []int, data []byte) string {
	if name, ok := t.made[what]; ok {
		return name
	}
	name := t.unique("constant/" + strings.NewReplacer(" ", "_", "[", "", "]", "").Replace(what))
	t.made[what] = name
	t.model.Tensors = append(t.model.Tensors, Tensor{Name: name, Type: dtype, Dims: dims, Data: data})
	return name
}

// once returns what f gives for a key, and asks it once. Its nodes stand outside all scopes.
func (t *translator) once(key string, f func() string) string {
	if name, ok := t.made[key]; ok {
		return name
	}
	outer := t.scope
	t.scope = key
	name := f()
	t.scope = outer
	t.made[key] = name
	return name
}

// reshape gives a value a shape, at most one of whose axes depends on the batch.
func (t *translator) reshape(x string, shape axes) (string, error) {
	to := make([]int, len(shape[0]))
	for i := range to {
		n, fixed, err := shape.of(i)
		if err != nil {
			return "", err
		}
		if to[i] = n; !fixed {
			if slices.Contains(to[:i], -1) {
				return "", fault.New(fault.Unavailable, "two axes of %v depend on the batch", shape[0]).WithOp("export")
			}
			to[i] = -1
		}
	}
	return t.add("Reshape", []string{x, t.ints(to...)}), nil
}

// size returns a vector of int64 that is a shape, computed from the batch.
func (t *translator) size(shape axes) (string, error) {
	var parts []string
	dynamic := false
	for i := range shape[0] {
		n, fixed, err := shape.of(i)
		switch {
		case err != nil:
			return "", err
		case fixed:
			parts = append(parts, t.ints(n))
		case n == 1:
			parts, dynamic = append(parts, t.batch()), true
		default:
			parts, dynamic = append(parts, t.add("Mul", []string{t.batch(), t.ints(n)})), true
		}
	}
	if !dynamic {
		return t.ints(shape[0]...), nil
	}
	return t.add("Concat", parts, Attribute{"axis", int64(0)}), nil
}

// batch returns the batch's size, i64 [1].
func (t *translator) batch() string {
	return t.once("batch", func() string {
		return t.add("Gather", []string{t.add("Shape", []string{t.input}), t.ints(0)}, Attribute{"axis", int64(0)})
	})
}

// visit adds a node of the graph; other is the same for the larger batch.
func (t *translator) visit(v, other graph.Visited) (err error) {
	shape := axes{v.Shape(), other.Shape()}
	t.scope = v.Scope
	switch v.Role {
	case graph.Given:
		t.given[v.ID] = given{v.Name(), shape}
		return nil
	case graph.Fixed, graph.Kept:
		values := v.Value
		if v.Role == graph.Kept {
			if values, err = t.source.Values(v.Name()); err != nil {
				return err
			}
		}
		if !slices.Equal(shape[0], shape[1]) {
			return fault.New(fault.Unavailable, "the constant %s depends on the batch", v.Name()).WithOp("export")
		}
		name := t.unique(v.Name())
		t.model.Tensors = append(t.model.Tensors, Tensor{Name: name, Type: Float, Dims: v.Shape(), Data: weights.Bytes(values)})
		t.names[v.ID] = name
		return nil
	}
	if _, ok := v.Kernel.(device.Normalize); ok {
		t.names[v.ID] = t.add("Transpose", []string{t.input}, Attribute{"perm", []int64{0, 2, 3, 1}})
		return nil
	}
	t.names[v.ID], err = t.kernel(v, other.Kernel, shape)
	return err
}

// value returns the name of a value, which is made of the model's input when it is one of the graph's.
func (t *translator) value(id int) (string, error) {
	if name, ok := t.names[id]; ok {
		return name, nil
	}
	name, err := t.fromInput(t.given[id].name, t.given[id].shape)
	t.names[id] = name
	return name, err
}

// fromInput makes an input of the graph from the model's.
func (t *translator) fromInput(name string, shape axes) (string, error) {
	if name == t.source.Input && t.source.Text {
		return t.reshape(t.input, shape)
	}
	index, ok := t.source.Indices[name]
	if !ok {
		return "", fault.New(fault.Unavailable, "the input %s does not follow from the model's", name).WithOp("export")
	}
	outer := t.scope
	defer func() { t.scope = outer }()
	t.scope = name
	if index.Within {
		all := t.add("Expand", []string{t.places(t.source.Size), t.add("Concat", []string{t.batch(), t.ints(t.source.Size)}, Attribute{"axis", int64(0)})})
		return t.add("Reshape", []string{all, t.ints(-1)}), nil
	}
	var sum string
	plus := func(x string, times int) {
		if times != 1 {
			x = t.add("Mul", []string{x, t.ints(times)})
		}
		if sum != "" {
			x = t.add("Add", []string{sum, x})
		}
		sum = x
	}
	if index.Ends != 0 {
		plus(t.ends(), index.Ends)
	}
	if index.Lengths != 0 {
		plus(t.lengths(), index.Lengths)
	}
	if index.Step != 0 {
		plus(t.numbers(), index.Step)
	}
	if index.Offset != 0 || sum == "" {
		plus(t.add("Expand", []string{t.ints(1), t.batch()}), index.Offset)
	}
	return sum, nil
}

// numbers returns 0, 1, …, i64 [batch].
func (t *translator) numbers() string {
	return t.once("numbers", func() string {
		scalar := func(v string) string { return t.add("Squeeze", []string{v}) }
		return t.add("Range", []string{scalar(t.ints(0)), scalar(t.batch()), scalar(t.ints(1))})
	})
}

// ends returns the place of each text's largest id, i64 [batch].
func (t *translator) ends() string {
	return t.once("ends", func() string {
		return t.add("ArgMax", []string{t.input}, Attribute{"axis", int64(1)}, Attribute{"keepdims", int64(0)})
	})
}

// lengths returns how many tokens each text has, i64 [batch].
func (t *translator) lengths() string {
	return t.once("lengths", func() string {
		if t.source.EndIsLargest {
			return t.add("Add", []string{t.ends(), t.ints(1)})
		}
		padding := t.add("Equal", []string{t.input, t.ints(t.source.Pad)})
		there := t.cast(t.add("Not", []string{padding}), Int64)
		return t.add("ReduceSum", []string{there, t.ints(1)}, Attribute{"keepdims", int64(0)})
	})
}

// places returns 0, …, n−1, i64 [n].
func (t *translator) places(n int) string {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return t.ints(list...)
}

// present returns 1 for tokens that a text has and 0 for what follows them, f32 [batch, n]; lengths are i64 [batch].
func (t *translator) present(lengths string, n int) string {
	return t.cast(t.add("Less", []string{t.places(n), t.add("Unsqueeze", []string{lengths, t.ints(1)})}), Float)
}

func (t *translator) cast(x string, to Type) string {
	return t.add("Cast", []string{x}, Attribute{"to", int64(to)})
}
