// Package weights reads and writes safetensors files: checkpoints, published models, optimiser state.
//
// The format (github.com/huggingface/safetensors, format version 0.4) is an 8-byte little-endian
// header length, a JSON object that gives dtype, shape and data_offsets of each tensor and optionally
// __metadata__ (string → string), padded with spaces to a multiple of 8, and the tensors' bytes back
// to back, little-endian and row-major, without holes.
//
// Files are written in the order of the reference implementation (wide dtypes first, then by name),
// so that equal content gives equal bytes whoever writes it. Reading is strict: whatever contradicts
// itself is fault.Corrupt with the file and the tensor, before any tensor is touched.
//
// The package works on little-endian machines only, as all that Go and CUDA share are. It knows
// nothing of devices, encoders or training.
package weights

import (
	"fmt"
	"math"
	"unsafe"

	"tandem/core/fault"
)

// DType names an element type as safetensors does.
type DType string

// The element types that tandem uses. Files may hold the other types of the format too (F64, I8, …):
// their bytes can be read, not converted.
const (
	F32  DType = "F32"
	BF16 DType = "BF16" // the upper half of an F32
	F16  DType = "F16"  // IEEE 754 half
	I64  DType = "I64"
	I32  DType = "I32"
	U8   DType = "U8"
	Bool DType = "BOOL" // one byte, 0 or 1
)

var sizes = map[DType]int{
	Bool: 1, U8: 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
	F16: 2, BF16: 2, "I16": 2, "U16": 2,
	F32: 4, I32: 4, "U32": 4,
	I64: 8, "F64": 8, "U64": 8,
}

// Size returns the bytes of one element; 0 for an unknown dtype.
func (d DType) Size() int { return sizes[d] }

// A Tensor holds one named array. Data holds the product of Shape times DType.Size() bytes, little-endian and
// row-major; a scalar has no axes and one element.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
	// Load, when Data is nil, gives the bytes when their turn to be written comes, so that state on a
	// device need not be held in memory as a whole. The slice is used before the next Load is called.
	Load func() ([]byte, error)
}

// FromF32 makes a tensor that shares the memory of values. It panics when their count does not fit the shape.
func FromF32(name string, values []float32, shape ...int) Tensor {
	return from(name, F32, values, shape)
}

// FromI64 makes a tensor that shares the memory of values. It panics when their count does not fit the shape.
func FromI64(name string, values []int64, shape ...int) Tensor {
	return from(name, I64, values, shape)
}

// FromU8 makes a tensor that shares the memory of values. It panics when their count does not fit the shape.
func FromU8(name string, values []byte, shape ...int) Tensor {
	return from(name, U8, values, shape)
}

func from[T any](name string, dtype DType, values []T, shape []int) Tensor {
	if n, err := elements(shape); err != nil || n != len(values) {
		panic(fmt.Sprintf("weights: %s: %d values for shape %v", name, len(values), shape))
	}
	return Tensor{Name: name, DType: dtype, Shape: append([]int{}, shape...), Data: Bytes(values)}
}

// Bytes views numbers as their bytes, sharing memory; never nil.
func Bytes[T any](values []T) []byte {
	var zero T
	if len(values) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(zero)))
}

// elements multiplies the axes. It refuses negative ones and products that do not fit in 63 bits.
func elements(shape []int) (int, error) {
	n, zero := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fault.New(fault.Invalid, "shape %v has a negative axis", shape)
		case d == 0:
			zero = true
		case n > math.MaxInt/d:
			return 0, fault.New(fault.Invalid, "shape %v has too many elements", shape)
		default:
			n *= d
		}
	}
	if zero {
		return 0, nil
	}
	return n, nil
}
