// Package tensor defines the host tensor that crosses package and process borders: a dtype, a shape and
// bytes, either on the heap or in shared memory.
//
// Tensors are dense and row-major (last axis contiguous). The package does no arithmetic; that is
// core/engine/device. It imports only the standard library.
package tensor

import (
	"fmt"
	"slices"
	"unsafe"
)

// DType names an element type. The numeric values are part of the wire protocol.
type DType uint8

// The element types.
const (
	F32  DType = 1 // IEEE 754 single
	BF16 DType = 2 // the upper half of a single
	U8   DType = 3 // images, 0–255
	I32  DType = 4 // ids, labels
)

// Size returns the number of bytes of one element; 0 for an unknown dtype.
func (d DType) Size() int {
	switch d {
	case F32, I32:
		return 4
	case BF16:
		return 2
	case U8:
		return 1
	}
	return 0
}

// String returns the short name: f32, bf16, u8, i32.
func (d DType) String() string {
	switch d {
	case F32:
		return "f32"
	case BF16:
		return "bf16"
	case U8:
		return "u8"
	case I32:
		return "i32"
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Shape lists the length of each axis, outermost first.
type Shape []int

// Elements returns the product of the axes; 1 for a scalar, which has no axes.
func (s Shape) Elements() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Equal reports whether two shapes have the same axes.
func (s Shape) Equal(o Shape) bool { return slices.Equal(s, o) }

// String returns the shape as [2 3 4].
func (s Shape) String() string { return fmt.Sprint([]int(s)) }

// Tensor holds a dense row-major array. Data has Shape.Elements()·DType.Size() bytes and is aligned to the
// element. The function that hands a tensor over says who may write Data, and until when.
type Tensor struct {
	DType DType
	Shape Shape
	Data  []byte
	// Release, when not nil, gives a shared-memory slot back; nobody may touch Data afterwards.
	// Call it through Free.
	Release func()
	// Shared identifies the slot for core/plugin/wire; nil for heap memory. Other packages leave it alone.
	Shared any
	// Pages holds the whole pages of shared memory around Data, for hardware that reads them by itself; nil
	// for heap memory. No other tensor lies in them at the same time. The pages of two tensors are equal or
	// disjoint, and stay mapped as long as the process lives.
	Pages []byte
}

// New returns a tensor of zeros on the heap.
func New(dtype DType, shape ...int) *Tensor {
	n := Shape(shape).Elements() * dtype.Size()
	words := make([]uint64, (n+7)/8) // 8-byte alignment for every dtype
	var data []byte
	if n > 0 {
		data = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
	}
	return &Tensor{DType: dtype, Shape: slices.Clone(Shape(shape)), Data: data}
}

// FromF32 returns a tensor on the heap with a copy of values. It panics when their number does not fit the
// shape.
func FromF32(values []float32, shape ...int) *Tensor {
	t := New(F32, shape...)
	if len(values) != t.Shape.Elements() {
		panic(fmt.Sprintf("tensor: %d values for shape %v", len(values), shape))
	}
	copy(t.F32(), values)
	return t
}

// Free calls Release if the tensor has one, which gives its memory back. It may be called on nil, and more than
// once.
func (t *Tensor) Free() {
	if t == nil || t.Release == nil {
		return
	}
	release := t.Release
	t.Release = nil
	release()
}

// Clone returns a copy on the heap.
func (t *Tensor) Clone() *Tensor {
	c := New(t.DType, t.Shape...)
	copy(c.Data, t.Data)
	return c
}

// F32 views the data as float32, sharing memory; it panics for another dtype.
func (t *Tensor) F32() []float32 { return view[float32](t, F32) }

// I32 views the data as int32, sharing memory; it panics for another dtype.
func (t *Tensor) I32() []int32 { return view[int32](t, I32) }

// U8 views the data as bytes, sharing memory; it panics for another dtype.
func (t *Tensor) U8() []byte { return view[byte](t, U8) }

func view[T any](t *Tensor, want DType) []T {
	if t.DType != want {
		panic(fmt.Sprintf("tensor: %v viewed as %v", t.DType, want))
	}
	if len(t.Data) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Data[0])), len(t.Data)/want.Size())
}
