// Package checkpoint writes and reads what an encoder or a loss saves: a safetensors file with
//
//   - every parameter and running statistic under its published name,
//   - the optimiser's state as optim.<slot>.<parameter>: optim.m.visual.proj, of trained parameters,
//   - the averaged parameters as ema.<parameter>, once there is an average, of trained parameters,
//   - whatever else its owner needs, such as a tokenizer,
//   - metadata: "format" (weights.EncoderFormat or weights.LossFormat) and what a reader must agree with.
//
// Arrays are written straight from device memory, one at a time.
package checkpoint

import (
	"context"
	"slices"
	"strings"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/program"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// An Array names a part of device memory and gives the shape that a file has it in.
type Array struct {
	Name   string
	Shape  []int
	Buffer device.Buffer
}

// Arrays lists the entries of a layout in a flat buffer of that layout.
func Arrays(b device.Backend, l graph.Layout, flat device.Buffer) []Array {
	return views(b, "", l, flat)
}

// SlotArrays lists the optimiser's state of the parameters of a layout.
func SlotArrays(b device.Backend, l graph.Layout, states []optim.State) (list []Array) {
	for _, s := range states {
		list = append(list, views(b, weights.SlotPrefix+s.Name+".", l, s.Buffer)...)
	}
	return list
}

// AverageArrays lists the averages of the parameters of a layout.
func AverageArrays(b device.Backend, l graph.Layout, flat device.Buffer) []Array {
	return views(b, weights.AveragePrefix, l, flat)
}

// HasAverage reports whether a file has averaged parameters.
func HasAverage(f *weights.File) bool {
	return slices.ContainsFunc(f.Names(), func(name string) bool { return strings.HasPrefix(name, weights.AveragePrefix) })
}

func views(b device.Backend, prefix string, l graph.Layout, flat device.Buffer) (list []Array) {
	for _, e := range l.Entries {
		list = append(list, Array{prefix + e.Name, e.Shape, b.View(flat, e.Off, e.N)})
	}
	return list
}

// Write writes arrays, other tensors and metadata to path (weights.Write).
func Write(ctx context.Context, path string, b device.Backend, arrays []Array, others []weights.Tensor, metadata map[string]string) error {
	var tensors []weights.Tensor
	var host []float32 // of the array that is being written
	for _, a := range arrays {
		tensors = append(tensors, weights.Tensor{
			Name: a.Name, DType: weights.F32, Shape: a.Shape,
			Load: func() ([]byte, error) {
				if err := program.CheckContext(ctx, "save"); err != nil {
					return nil, err
				}
				if n := a.Buffer.Len(); cap(host) < n {
					host = make([]float32, n)
				} else {
					host = host[:n]
				}
				if err := device.Read(b, host, a.Buffer); err != nil {
					return nil, err
				}
				return weights.Bytes(host), nil
			},
		})
	}
	return weights.Write(path, append(tensors, others...), metadata)
}

// CheckMetadata demands that a file's metadata agree with want on some keys.
func CheckMetadata(got, want map[string]string, keys ...string) *fault.Error {
	for _, key := range keys {
		if got[key] != want[key] {
			return fault.New(fault.Invalid, "%s is %q, want %q", key, got[key], want[key]).WithOp("load")
		}
	}
	return nil
}

// CheckArrays demands that a file have every array in its shape, as F32.
func CheckArrays(f *weights.File, arrays []Array) *fault.Error {
	for _, a := range arrays {
		info, ok := f.Info(a.Name)
		switch {
		case !ok:
			return fault.New(fault.Invalid, "tensor %q is missing", a.Name).WithOp("load")
		case !slices.Equal(info.Shape, a.Shape) || info.DType != weights.F32:
			return fault.New(fault.Invalid, "tensor %q is %s %v, want F32 %v", a.Name, info.DType, info.Shape, a.Shape).WithOp("load")
		}
	}
	return nil
}

// Unknown returns the first name in a file that is neither an array's nor one of others; "" when there is none.
func Unknown(f *weights.File, arrays []Array, others ...string) string {
	known := map[string]bool{}
	for _, a := range arrays {
		known[a.Name] = true
	}
	for _, name := range f.Names() {
		if !known[name] && !slices.Contains(others, name) {
			return name
		}
	}
	return ""
}

// Restore writes a file's values to the arrays, which CheckArrays has passed.
func Restore(b device.Backend, f *weights.File, arrays []Array) error {
	for _, a := range arrays {
		values, err := f.F32(a.Name, a.Shape...)
		if err != nil {
			return err
		}
		b.Write(a.Buffer, values)
	}
	return nil
}
