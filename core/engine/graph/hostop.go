package graph

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// A hostStep computes on the host what no kernel does. It reads its inputs from the device and writes its outputs there.
type hostStep interface {
	run(backend device.Backend, in, out []device.Buffer) error
}

// hostOp runs one of gorgonia's own operations on the host: values are read back, computed in float32
// and written again.
type hostOp struct {
	op     G.Op
	inputs []hostValue
	size   int // elements of the result
}

// hostValue says in which form an operation wants one input.
type hostValue struct {
	fixed  G.Value // a constant of the graph, nil else
	shape  tensor.Shape
	scalar bool
	size   int
}

func newHostOp(raw *G.Node, children []*G.Node) (*hostOp, error) {
	h := &hostOp{op: raw.Op(), size: max(raw.Shape().TotalSize(), 1)}
	for _, c := range children {
		v := hostValue{shape: c.Shape(), scalar: c.IsScalar(), size: max(c.Shape().TotalSize(), 1)}
		if isConstant(c) {
			v.fixed = c.Value()
		} else if c.Dtype() != tensor.Float32 {
			return nil, fault.New(fault.Unavailable, "%s takes real inputs only, not %v", raw.Op(), c.Dtype()).WithOp("graph")
		}
		h.inputs = append(h.inputs, v)
	}
	return h, nil
}

// run implements hostStep; in has nil for constants.
func (h *hostOp) run(backend device.Backend, in, out []device.Buffer) error {
	values := make([]G.Value, len(h.inputs))
	for i, v := range h.inputs {
		if v.fixed != nil {
			values[i] = v.fixed
			continue
		}
		data := make([]float32, v.size)
		backend.Read(data, in[i])
		if v.scalar {
			values[i] = G.NewF32(data[0])
		} else {
			values[i] = tensor.New(tensor.WithShape(v.shape...), tensor.WithBacking(data))
		}
	}
	result, err := h.op.Do(values...)
	if err != nil {
		return fault.New(fault.Internal, "%s: %v", h.op, err).WithOp("graph")
	}
	switch data := result.Data().(type) {
	case []float32:
		if len(data) != h.size {
			return fault.New(fault.Internal, "%s gave %d values, want %d", h.op, len(data), h.size).WithOp("graph")
		}
		backend.Write(out[0], data)
	case float32:
		backend.Write(out[0], []float32{data})
	default:
		return fault.New(fault.Unavailable, "%s gives %T, want float32", h.op, data).WithOp("graph")
	}
	return nil
}

func isConstant(raw *G.Node) bool {
	return raw.Op() != nil && raw.Value() != nil
}

// constantValues returns the elements of a constant of the graph.
func constantValues(raw *G.Node) ([]float32, error) {
	switch data := raw.Value().Data().(type) {
	case []float32:
		return data, nil
	case float32:
		return []float32{data}, nil
	default:
		return nil, fault.New(fault.Unavailable, "the constant %v is %T, want float32", raw, data).WithOp("graph")
	}
}
