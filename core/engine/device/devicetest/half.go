package devicetest

import (
	"math"
	"math/bits"
	"reflect"
	"testing"

	"tandem/core/engine/device"
)

// Halves holds the trials of kernels that may read or write Half to the bits of the same kernels on Real:
// inputs are numbers that Half holds, and what is written as Half is what Real would be rounded to. Every
// kind of kernel in kinds must be among them.
func Halves(t testing.TB, b device.Backend, trials []Trial, kinds ...device.Kernel) {
	t.Helper()
	h := b.(device.Halver)
	missing := map[reflect.Type]bool{}
	for _, k := range kinds {
		missing[reflect.TypeOf(k)] = true
	}
	for _, c := range trials {
		may := h.Halves(c.Kernel)
		if may == 0 {
			continue
		}
		if d, err := device.Describe(c.Kernel); err != nil || may&^d.Half != 0 {
			t.Fatalf("%T%+v: %b may be half, the kernel allows %b (%v)", c.Kernel, c.Kernel, may, d.Half, err)
		}
		delete(missing, reflect.TypeOf(c.Kernel))
		want := runHalf(t, b, c, may, 0)
		sets := []device.Places{may}
		if bits.OnesCount32(uint32(may)) > 1 { // each alone
			for i := range 32 {
				if may.Has(i) {
					sets = append(sets, device.At(i))
				}
			}
		}
		for _, in := range sets {
			equal(t, c.Kernel, in, runHalf(t, b, c, may, in), want)
		}
	}
	for kind := range missing {
		t.Errorf("no trial of %v has an argument that may be half", kind)
	}
}

// OnHalf lists a kernel of each kind that a device.Autocaster takes with Half: those of transformers and residual networks.
func OnHalf() []device.Kernel {
	return []device.Kernel{device.MatMul{}, device.Act{}, device.ActBack{}, device.Binary{}, device.Scale{}, device.SumRows{},
		device.LayerNorm{}, device.LayerNormBack{}, device.Attention{}, device.AttentionBack{}, device.AttentionAt{}, device.AttentionAtBack{},
		device.Patchify{}, device.Gather{}, device.GatherBack{}, device.Concat{}, device.Slice{}, device.SliceBack{}, device.MeanTokens{},
		device.MeanTokensBack{}, device.Transpose{}, device.BatchStats{}, device.BatchNorm{}, device.BatchNormBack{},
		device.AvgPool{}, device.AvgPoolBack{}, device.MaxPool{}, device.MaxPoolBack{}, device.ConvForward{}, device.ConvBackData{},
		device.ConvBackWeights{}}
}

func equal(t testing.TB, k device.Kernel, in device.Places, got, want [][]float32) {
	t.Helper()
	for o := range want {
		for i, w := range want[o] {
			g := got[o][i]
			if in.Has(o) {
				w = device.RoundBF16(w)
			}
			if math.Float32bits(g) != math.Float32bits(w) && !(g != g && w != w) {
				t.Fatalf("%T%+v with %b in half: argument %d[%d] is %g, want %g", k, k, in, o, i, g, w)
			}
		}
	}
}

// runHalf computes a trial whose inputs at rounded are rounded, with the arguments at in held as Half, and
// gives what outputs are after it, by argument.
func runHalf(t testing.TB, b device.Backend, c Trial, rounded, in device.Places) [][]float32 {
	t.Helper()
	plain, err := device.Signature(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	kernel := c.Kernel
	if in != 0 {
		kernel = device.Halved{Kernel: kernel, In: in}
	}
	exec := prepare(t, b, kernel)
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	bufs := make([]device.Buffer, len(plain))
	for i, v := range Inputs(c.Kernel, plain) {
		values, real := v.([]float32)
		switch {
		case v == nil:
			continue
		case in.Has(i):
			// Within a buffer, so that a view that begins elsewhere would show.
			room := alloc(t, b, device.Real, 16+device.HalfRoom(len(values)))
			defer b.Free(room)
			bufs[i] = b.(device.Halver).HalfView(room, 16, len(values))
			half := make([]uint16, len(values))
			for j, x := range values {
				half[j] = uint16(math.Float32bits(device.RoundBF16(x)) >> 16)
			}
			b.Write(bufs[i], half)
			continue
		case real && rounded.Has(i) && !plain[i].Out:
			for j, x := range values {
				values[j] = device.RoundBF16(x)
			}
		}
		bufs[i] = alloc(t, b, plain[i].DType, plain[i].Len)
		defer b.Free(bufs[i])
		b.Write(bufs[i], v)
	}
	exec.Run(bufs, c.Scalars...)
	outs := make([][]float32, len(plain))
	for i, arg := range plain {
		switch {
		case !arg.Out:
		case in.Has(i):
			half := make([]uint16, arg.Len)
			b.Read(half, bufs[i])
			for _, h := range half {
				outs[i] = append(outs[i], math.Float32frombits(uint32(h)<<16))
			}
		default:
			outs[i] = read(b, bufs[i])
		}
	}
	return outs
}
