package wire

import (
	"math"

	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

func shapeOut(s tensor.Shape) []int64 {
	out := make([]int64, len(s))
	for i, d := range s {
		out[i] = int64(d)
	}
	return out
}

// shapeIn checks what came over the wire: no negative axis, no overflow, a known dtype.
func shapeIn(t *pb.Tensor) (tensor.DType, tensor.Shape, int, error) {
	dtype := tensor.DType(t.Dtype)
	n := int64(dtype.Size())
	if n == 0 || t.Dtype > math.MaxUint8 {
		return 0, nil, 0, fault.New(fault.Invalid, "a tensor has the unknown dtype %d", t.Dtype)
	}
	shape := make(tensor.Shape, len(t.Shape))
	for i, d := range t.Shape {
		if d < 0 || (d > 0 && n > math.MaxInt64/d) {
			return 0, nil, 0, fault.New(fault.Invalid, "a tensor has the shape %v", t.Shape)
		}
		shape[i] = int(d)
		n *= d
	}
	return dtype, shape, int(n), nil
}

// inlineTensor returns a message that holds t's elements.
func inlineTensor(t *tensor.Tensor) *pb.Tensor {
	return &pb.Tensor{Dtype: pb.DType(t.DType), Shape: shapeOut(t.Shape), Inline: t.Data}
}

// slotReference returns a message that names t's slot.
func slotReference(t *tensor.Tensor, s *slot) *pb.Tensor {
	return &pb.Tensor{
		Dtype: pb.DType(t.DType), Shape: shapeOut(t.Shape),
		Arena: arenaID, Offset: s.offset, Generation: s.generation,
	}
}

// fromInline returns the tensor in a message. It copies the bytes, which may be unaligned.
func fromInline(m *pb.Tensor) (*tensor.Tensor, error) {
	dtype, shape, n, err := shapeIn(m)
	if err != nil {
		return nil, err
	}
	if len(m.Inline) != n {
		return nil, fault.New(fault.Invalid, "a tensor %v %v has %d bytes, want %d", dtype, shape, len(m.Inline), n)
	}
	t := tensor.New(dtype, shape...)
	copy(t.Data, m.Inline)
	return t, nil
}

// tensor returns the plugin's view of a tensor of a request, nil for nil. The view is valid during the call.
func (w *Window) tensor(m *pb.Tensor) (*tensor.Tensor, error) {
	if m == nil {
		return nil, nil
	}
	if m.Arena == 0 {
		return fromInline(m)
	}
	if w == nil || m.Arena != arenaID {
		return nil, fault.New(fault.Internal, "a tensor is in arena %d, which this plugin was not given", m.Arena)
	}
	dtype, shape, n, err := shapeIn(m)
	if err != nil {
		return nil, err
	}
	data, pages, err := w.at(m.Offset, m.Generation, uint64(n))
	if err != nil {
		return nil, err
	}
	return &tensor.Tensor{DType: dtype, Shape: shape, Data: data, Pages: pages}, nil
}

// resultTensor returns where a request wants a result; nil when it wants the result inline.
func (w *Window) resultTensor(out *pb.Tensor) (*tensor.Tensor, error) {
	if out.GetArena() == 0 {
		return nil, nil
	}
	return w.tensor(out)
}

// answer puts a result where the request wants it and frees it. what names the result for errors.
func (w *Window) answer(what string, t *tensor.Tensor, out *pb.Tensor) (*pb.Tensor, error) {
	if t == nil {
		return nil, fault.New(fault.Internal, "the %s is missing", what)
	}
	defer t.Free()
	if len(t.Data) != t.Shape.Elements()*t.DType.Size() {
		return nil, fault.New(fault.Internal, "the %s %v %v has %d bytes", what, t.DType, t.Shape, len(t.Data))
	}
	if out == nil {
		m := inlineTensor(t)
		if t.Release != nil {
			m.Inline = append([]byte(nil), t.Data...)
		}
		return m, nil
	}
	to, err := w.tensor(out)
	if err != nil {
		return nil, err
	}
	if t.DType != to.DType || !t.Shape.Equal(to.Shape) {
		return nil, fault.New(fault.Internal, "the %s is %v %v, want %v %v", what, t.DType, t.Shape, to.DType, to.Shape)
	}
	if len(t.Data) > 0 && &t.Data[0] != &to.Data[0] {
		copy(to.Data, t.Data)
	}
	return out, nil
}
