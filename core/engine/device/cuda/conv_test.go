//go:build clipcuda

package cuda

import (
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// Where cuDNN is, it does what these do elsewhere.
func TestConvolutionsWithoutCuDNNMatchTheReference(t *testing.T) {
	b := open(t, Options{})
	b.noDNN = true
	var list []devicetest.Trial
	add := func(c device.Conv2D) {
		list = append(list, inAllDirections(c)...)
		c.BF16 = true
		list = append(list, inAllDirections(c)...)
	}
	add(device.Conv2D{B: 2, H: 17, W: 16, InC: 16, OutC: 72, KH: 3, KW: 3, Stride: 2, Pad: 1}) // weights in chunks of pixels
	add(device.Conv2D{B: 1, H: 6, W: 7, InC: 16, OutC: 24, KH: 1, KW: 1, Stride: 2})           // pixels between windows
	add(device.Conv2D{B: 1, H: 12, W: 5, InC: 8, OutC: 8, KH: 5, KW: 2, Stride: 3, Pad: 1})    // K is no whole step
	add(device.Conv2D{B: 2, H: 33, W: 32, InC: 3, OutC: 16, KH: 14, KW: 14, Stride: 14})       // patches
	compareOn(t, b, list)
	list, largeFrom = nil, 1
	t.Cleanup(func() { largeFrom = 128 })
	add(device.Conv2D{B: 1, H: 13, W: 12, InC: 70, OutC: 130, KH: 1, KW: 2, Stride: 1, Pad: 1})
	add(device.Conv2D{B: 2, H: 11, W: 12, InC: 72, OutC: 136, KH: 2, KW: 1, Stride: 1})
	compareOn(t, b, list)
}

func inAllDirections(c device.Conv2D) []devicetest.Trial {
	var list []devicetest.Trial
	for _, k := range []device.Kernel{device.ConvForward{Conv2D: c}, device.ConvBackData{Conv2D: c}, device.ConvBackWeights{Conv2D: c}} {
		list = append(list, devicetest.Trial{Kernel: k, Tol: 5e-6})
	}
	return list
}

// mapsInBF16 are convolutions whose maps may be bfloat16, by tensor cores and without.
var mapsInBF16 = []device.Conv2D{
	{B: 2, H: 17, W: 16, InC: 16, OutC: 72, KH: 3, KW: 3, Stride: 2, Pad: 1},
	{B: 1, H: 9, W: 11, InC: 40, OutC: 24, KH: 3, KW: 3, Stride: 1, Pad: 1}, // warps with columns to spare
	{B: 2, H: 17, W: 15, InC: 3, OutC: 32, KH: 3, KW: 3, Stride: 2, Pad: 1}, // the first of a tower
	{B: 1, H: 7, W: 8, InC: 6, OutC: 70, KH: 2, KW: 3, Stride: 1, Pad: 1},   // channels of no quad
	{B: 2, H: 11, W: 12, InC: 72, OutC: 136, KH: 2, KW: 1, Stride: 1},       // large tiles
}

func TestConvolutionsWriteMapsInBF16(t *testing.T) {
	b := open(t, Options{})
	b.noDNN, largeFrom = true, 1
	t.Cleanup(func() { largeFrom = 128 })
	var list []devicetest.Trial
	for _, c := range append(mapsInBF16, device.Conv2D{B: 2, H: 3, W: 5, InC: 24, OutC: 40, KH: 1, KW: 1, Stride: 1}) { // a product
		c.BF16 = true
		list = append(list, inAllDirections(c)...)
		for i, maps := range []device.Places{device.At(0, 2), device.At(1, 2), device.At(0, 1)} {
			if k := list[len(list)-3+i].Kernel; b.Halves(k)&maps != maps {
				t.Errorf("%T%+v: of maps %b may be half, want %b", k, k, b.Halves(k), maps)
			}
		}
	}
	devicetest.Halves(t, b, list, device.ConvForward{}, device.ConvBackData{}, device.ConvBackWeights{})
}

// cuDNN makes maps in bfloat16 that are ours but for the order of sums: a last bit here and there.
func TestCuDNNMakesMapsInBF16(t *testing.T) {
	plain, b := open(t, Options{}), open(t, Options{})
	plain.noDNN = true
	for _, c := range mapsInBF16 {
		c.BF16 = true
		for i, trial := range inAllDirections(c)[:2] {
			k := device.Halved{Kernel: trial.Kernel, In: device.At(i, 2)}
			for _, k.In = range []device.Places{k.In, device.At(2)} { // the map that is read is rounded first
				b.halves.forget()
				plain.halves.forget()
				got, want := mapOf(t, b, k), mapOf(t, plain, k)
				var largest float64
				for _, w := range want {
					largest = max(largest, math.Abs(float64(w)))
				}
				for j, w := range want {
					if d := math.Abs(float64(got[j] - w)); !(d <= math.Abs(float64(w))/128+1e-6*largest) {
						t.Fatalf("%T%+v: number %d is %g, want %g", k.Kernel, k, j, got[j], w)
					}
				}
			}
		}
	}
	if b.noDNN {
		t.Skip("there is no cuDNN")
	}
	if b.dnn == nil {
		t.Error("cuDNN was not asked")
	}
}

// prepared returns a kernel ready to run, and its arguments.
func prepared(t testing.TB, b *Backend, k device.Kernel) (device.Exec, []device.Arg) {
	t.Helper()
	x, err := b.Prepare(k)
	if err != nil {
		t.Fatal(err)
	}
	args, err := device.Signature(k)
	if err != nil {
		t.Fatal(err)
	}
	return x, args
}

// mapOf computes a convolution whose result is bfloat16.
func mapOf(t *testing.T, b *Backend, k device.Halved) []float32 {
	t.Helper()
	x, args := prepared(t, b, k)
	plain, err := device.Signature(k.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	var bufs []device.Buffer
	for i, v := range devicetest.Inputs(k.Kernel, plain) {
		if k.In.Has(i) {
			room, err := b.Alloc(device.Real, device.HalfRoom(args[i].Len))
			if err != nil {
				t.Fatal(err)
			}
			half := make([]uint16, args[i].Len)
			if values, ok := v.([]float32); ok {
				for j, x := range values {
					half[j] = uint16(math.Float32bits(device.RoundBF16(x)) >> 16)
				}
			}
			bufs = append(bufs, b.HalfView(room, 0, args[i].Len))
			b.Write(bufs[i], half)
			continue
		}
		buf, err := b.Alloc(device.Real, args[i].Len)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(buf, v)
		bufs = append(bufs, buf)
	}
	x.Run(bufs)
	half, y := make([]uint16, args[2].Len), make([]float32, args[2].Len)
	b.Read(half, bufs[2])
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	for i, h := range half {
		y[i] = math.Float32frombits(uint32(h) << 16)
	}
	return y
}

// Maps that do not begin on sixteen bytes are written number by number.
func TestMapsInBF16BeginAnywhere(t *testing.T) {
	b := open(t, Options{})
	b.noDNN = true
	for _, c := range mapsInBF16 {
		c.BF16 = true
		k := device.Halved{Kernel: device.ConvForward{Conv2D: c}, In: device.At(2)}
		x, args := prepared(t, b, k)
		var bufs []device.Buffer
		for i, v := range devicetest.Inputs(k, args)[:2] {
			buf, err := b.Alloc(device.Real, args[i].Len)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(buf, v)
			bufs = append(bufs, buf)
		}
		room, err := b.Alloc(device.Real, 2+device.HalfRoom(args[2].Len))
		if err != nil {
			t.Fatal(err)
		}
		var y [2][]uint16
		for off := range y {
			to := b.HalfView(room, off, args[2].Len)
			x.Run(append(bufs[:2:2], to))
			y[off] = make([]uint16, args[2].Len)
			b.Read(y[off], to)
		}
		if !slices.Equal(y[0], y[1]) || b.Err() != nil {
			t.Errorf("%+v: other numbers at another place, %v", c, b.Err())
		}
	}
}

func compareOn(t *testing.T, b *Backend, list []devicetest.Trial) {
	t.Helper()
	for _, c := range list {
		devicetest.Compare(t, b, c)
		if b.Err() != nil {
			t.Fatalf("%T%+v", c.Kernel, c.Kernel)
		}
	}
}

// It takes memory and seconds, and most towers have no convolution.
func TestCuDNNIsOpenedByTheFirstConvolutionThatWantsIt(t *testing.T) {
	b := open(t, Options{})
	c := device.Conv2D{B: 1, H: 4, W: 4, InC: 4, OutC: 4, KH: 1, KW: 1, Stride: 1}
	windows := c
	windows.KH, windows.KW = 3, 3
	for _, k := range []device.Kernel{device.MatMul{Batch: 1, M: 4, N: 4, K: 4}, device.ConvForward{Conv2D: c},
		device.WithBF16(device.ConvForward{Conv2D: windows})} {
		if _, err := b.Prepare(k); err != nil || b.dnn != nil {
			t.Fatalf("%T%+v: cuDNN is open: %v, error %v", k, k, b.dnn != nil, err)
		}
	}
	if _, err := b.Prepare(device.ConvForward{Conv2D: windows}); err != nil {
		t.Fatal(err)
	}
	if b.noDNN {
		t.Skip("there is no cuDNN")
	}
	if !strings.Contains(b.Name(), ", cuDNN ") {
		t.Errorf("the name is %q once cuDNN is open", b.Name())
	}
}
