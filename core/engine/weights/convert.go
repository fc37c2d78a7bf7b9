package weights

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"tandem/core/fault"
)

// F32 reads a tensor as float32, row-major, widening F16 and BF16 exactly. With a shape given, another
// one is fault.Invalid; no shape means any. A dtype that is none of the three is fault.Invalid.
func (f *File) F32(name string, shape ...int) ([]float32, error) {
	t, err := f.readShaped(name, shape)
	if err != nil {
		return nil, err
	}
	if t.DType == F32 {
		return floats(t.Data), nil
	}
	values, err := t.F32()
	if err != nil {
		return nil, ioFault(err, f.path)
	}
	return values, nil
}

// U8 reads a U8 tensor; the rules of shape are those of F32.
func (f *File) U8(name string, shape ...int) ([]byte, error) {
	t, err := f.readShaped(name, shape)
	if err != nil {
		return nil, err
	}
	if t.DType != U8 {
		return nil, fault.New(fault.Invalid, "tensor %q is %s, want %s", name, t.DType, U8).WithFile(f.path, 0, 0)
	}
	return t.Data, nil
}

// floats takes what Read gave, which is aligned and nobody else's, for numbers without a copy.
func floats(data []byte) []float32 {
	if len(data) == 0 {
		return []float32{}
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&data[0])), len(data)/4)
}

func (f *File) readShaped(name string, shape []int) (Tensor, error) {
	info, ok := f.infos[name]
	if ok && len(shape) > 0 && !slices.Equal(info.Shape, shape) {
		return Tensor{}, fault.New(fault.Invalid, "tensor %q is %v, want %v", name, info.Shape, shape).WithFile(f.path, 0, 0)
	}
	return f.Read(name)
}

// F32 returns the tensor's values as float32 in new memory, widening F16 and BF16 exactly (NaN payloads are kept). Any
// other dtype is fault.Invalid.
func (t Tensor) F32() ([]float32, error) {
	switch t.DType {
	case F32:
		out := make([]float32, len(t.Data)/4)
		copy(Bytes(out), t.Data)
		return out, nil
	case F16, BF16:
		out := make([]float32, len(t.Data)/2)
		for i := range out {
			half := binary.LittleEndian.Uint16(t.Data[2*i:])
			if t.DType == BF16 {
				out[i] = math.Float32frombits(uint32(half) << 16)
			} else {
				out[i] = math.Float32frombits(widen(half))
			}
		}
		return out, nil
	}
	return nil, fault.New(fault.Invalid, "tensor %q is %s, want F32, F16 or BF16", t.Name, t.DType)
}

// widen gives the float32 bits of an IEEE 754 half.
func widen(h uint16) uint32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&0x3ff)
	switch {
	case exponent == 31: // infinity, NaN
		return sign | 255<<23 | fraction<<13
	case exponent > 0:
		return sign | (exponent+112)<<23 | fraction<<13
	case fraction == 0:
		return sign
	}
	exponent = 113 // a subnormal half is a normal single
	for fraction&0x400 == 0 {
		fraction <<= 1
		exponent--
	}
	return sign | exponent<<23 | (fraction&0x3ff)<<13
}
