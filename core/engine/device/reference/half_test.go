package reference_test

import (
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/device/reference"
)

func TestHalfArgumentsGiveTheBitsOfRealOnes(t *testing.T) {
	trials := slices.Concat(devicetest.Random(5, 400), devicetest.Fused())
	for i := range trials {
		trials[i].Kernel = device.WithBF16(trials[i].Kernel)
	}
	devicetest.Halves(t, reference.NewAutocasting[float32](2), trials, devicetest.OnHalf()...)
}

func TestFusedKernelsMatchFloat64(t *testing.T) {
	for _, c := range devicetest.Fused() {
		devicetest.Compare(t, reference.New[float32](2), c)
	}
}

// A fused kernel does the work of two.
func TestFusedKernelsAreTwoInOne(t *testing.T) {
	b := reference.New[float32](2)
	args := func(k device.Kernel) [][]float32 {
		want, err := device.Signature(k)
		if err != nil {
			t.Fatal(err)
		}
		var all [][]float32
		for _, v := range devicetest.Inputs(k, want) {
			x, _ := v.([]float32)
			all = append(all, x)
		}
		return all
	}
	run := func(k device.Kernel, in ...[]float32) [][]float32 {
		return devicetest.RunOn(t, b, k, in)
	}
	norm := device.LayerNormBack{Rows: 9, Cols: 33, Eps: 1e-5, Residual: true}
	x := args(norm)
	got := run(norm, x...)
	norm.Residual = false
	want := run(norm, x[0], x[1], x[2], nil, nil, nil)
	sum := run(device.Binary{N: 9 * 33, Period: 9 * 33, Op: device.OpAdd}, want[3], x[3], nil)
	for i, out := range [][]float32{sum[2], want[4], want[5]} {
		if !slices.Equal(got[4+i], out) {
			t.Errorf("layer norm: output %d is not that of two kernels", i)
		}
	}
	product := device.MatMul{Batch: 1, M: 20, N: 12, K: 70, TransA: true, BF16: true, RowSums: true}
	x = args(product)
	got = run(product, x...)
	product.RowSums = false
	want, rows := run(product, x[:5]...), run(device.SumRows{Rows: 70, Cols: 20}, x[0], nil)
	if !slices.Equal(got[4], want[4]) || !slices.Equal(got[5], rows[1]) {
		t.Error("product: the outputs are not those of two kernels")
	}
}
