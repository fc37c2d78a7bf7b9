package devicetest

import (
	"fmt"
	"math"
	"testing"

	"tandem/core/engine/device"
)

// Alone holds the trials of kernels whose items (rows, samples, elements) do not depend on each other to
// that: the first items alone, and the last one, give the bits that they give among all. It is what makes a
// frozen tower's features those of the sample, whatever batch they were computed in.
func Alone(t testing.TB, b device.Backend, trials []Trial) {
	t.Helper()
	for _, c := range trials {
		kernel, ok := c.Kernel.(device.Itemized)
		if !ok || kernel.Items() < 2 {
			continue
		}
		all := kernel.Items()
		args, err := device.Signature(c.Kernel)
		if err != nil {
			t.Fatal(err)
		}
		inputs := Inputs(c.Kernel, args)
		whole := runOn(t, b, c.Kernel, c.Scalars, inputs)
		for _, span := range [][2]int{{0, 1}, {0, 2}, {0, 3}, {0, all / 2}, {0, all - 1}, {all - 1, all}} {
			lo, hi := span[0], span[1]
			if hi <= lo || hi > all || hi-lo == all || lo > 0 && countsFromFirst(c.Kernel) {
				continue
			}
			few := kernel.WithItems(hi - lo)
			want, err := device.Signature(few)
			if err != nil {
				t.Fatal(err)
			}
			part := make([]any, len(inputs))
			for i := range inputs {
				part[i] = itemsOf(inputs[i], want[i].Len, args[i].Len, lo, hi)
			}
			got := runOn(t, b, few, c.Scalars, part)
			for i := range args {
				if !args[i].Out || args[i].Absent {
					continue
				}
				expect := itemsOf(whole[i], want[i].Len, args[i].Len, lo, hi).([]float32)
				for j, w := range expect {
					if g := got[i].([]float32)[j]; math.Float32bits(g) != math.Float32bits(w) && !(g != g && w != w) {
						t.Errorf("%s: %T%+v: items %d to %d alone: argument %d[%d] is %.9g, among all %.9g", b.Name(), c.Kernel, c.Kernel, lo, hi, i, j, g, w)
						break
					}
				}
			}
		}
	}
}

// countsFromFirst reports whether a kernel reads places in its input that count from the first item.
func countsFromFirst(k device.Kernel) bool {
	_, ok := k.(device.AttentionAt)
	return ok
}

// itemsOf returns the part of an argument that belongs to items lo to hi. The argument has length all, the part
// has length few; equal lengths mean that every item needs the whole.
func itemsOf(values any, few, all, lo, hi int) any {
	if few == all {
		return values
	}
	size := few / (hi - lo)
	switch v := values.(type) {
	case []float32:
		return v[lo*size : hi*size]
	case []int32:
		return v[lo*size : hi*size]
	case []uint8:
		return v[lo*size : hi*size]
	case nil:
		return nil
	}
	panic(fmt.Sprintf("devicetest: an argument of %T", values))
}

// runOn computes a kernel on values for its arguments and gives the reals that it leaves in them.
func runOn(t testing.TB, b device.Backend, k device.Kernel, scalars []float64, values []any) []any {
	t.Helper()
	args, err := device.Signature(k)
	if err != nil {
		t.Fatal(err)
	}
	exec := prepare(t, b, k)
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	bufs := make([]device.Buffer, len(args))
	for i, v := range values {
		if v != nil {
			bufs[i] = alloc(t, b, args[i].DType, args[i].Len)
			defer b.Free(bufs[i])
			b.Write(bufs[i], v)
		}
	}
	exec.Run(bufs, scalars...)
	outs := make([]any, len(args))
	for i, arg := range args {
		if arg.Out && bufs[i] != nil && arg.DType == device.Real {
			outs[i] = read(b, bufs[i])
		}
	}
	return outs
}
