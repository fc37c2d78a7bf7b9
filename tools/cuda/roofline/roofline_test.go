package main

import (
	"math"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// countNoted counts kernels that a backend without memory noted.
func countNoted(t *testing.T, p precision, run func(s *devicetest.Shapes)) []launch {
	t.Helper()
	s := &devicetest.Shapes{}
	run(s)
	counted, err := count(devicetest.Step{Calls: s.Calls}, p)
	if err != nil {
		t.Fatal(err)
	}
	return counted.launches
}

func noteOn(t *testing.T, s *devicetest.Shapes, k device.Kernel, args ...device.Buffer) {
	t.Helper()
	e, err := s.Prepare(k)
	if err != nil {
		t.Fatal(err)
	}
	e.Run(args)
}

func alloc(s *devicetest.Shapes, n int) device.Buffer { b, _ := s.Alloc(device.Real, n); return b }

func TestAProductIsRoundingTheProductAndWhatFollows(t *testing.T) {
	rounding := []launch{
		{class: "rounding to bfloat16", rounding: 6 * 64},
		{class: "rounding to bfloat16", rounding: 6 * 128},
	}
	k := device.MatMul{Batch: 1, M: 4, N: 8, K: 16, Bias: true, Residual: true, BF16: true}
	withReLU := k
	withReLU.Act = device.ReLU
	for k, want := range map[device.MatMul][]launch{
		k: {{class: "products", unit: matrix, flops: 2 * 4 * 8 * 16, half: 2 * (64 + 128), activation: 4 * 2 * 32}},
		withReLU: {{class: "products", unit: matrix, flops: 2 * 4 * 8 * 16, half: 2 * (64 + 128), activation: 4 * 32},
			{class: "after products", activation: 4 * 3 * 32}},
	} {
		got := countNoted(t, bf16, func(s *devicetest.Shapes) {
			noteOn(t, s, k, alloc(s, 64), alloc(s, 128), alloc(s, 8), alloc(s, 32), alloc(s, 32))
		})
		if want = slices.Concat(rounding, want); !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestRoundedCopiesServeAgainUntilTheirSourceIsWritten(t *testing.T) {
	rounded := 0
	for _, l := range countNoted(t, bf16, func(s *devicetest.Shapes) {
		k := device.MatMul{Batch: 1, M: 4, N: 4, K: 4, BF16: true}
		a, b, c := alloc(s, 16), alloc(s, 16), alloc(s, 16)
		noteOn(t, s, k, a, b, nil, nil, c) // both are rounded
		noteOn(t, s, k, a, b, nil, nil, c) // none
		noteOn(t, s, device.Scale{N: 16}, c, b)
		noteOn(t, s, k, a, b, nil, nil, c) // b
		s.ParamsChanged()
		noteOn(t, s, k, a, b, nil, nil, c) // both
	}) {
		if l.class == "rounding to bfloat16" {
			rounded++
		}
	}
	if rounded != 5 {
		t.Errorf("%d operands were rounded, want 5", rounded)
	}
	for _, l := range countNoted(t, tf32, func(s *devicetest.Shapes) {
		noteOn(t, s, device.MatMul{Batch: 1, M: 4, N: 4, K: 4, BF16: true}, alloc(s, 16), alloc(s, 16), nil, nil, alloc(s, 16))
	}) {
		if l.class != "products" || l.activation != 3*64 {
			t.Errorf("TF32 launches %+v", l)
		}
	}
}

func TestConvolutionsUseWhatFitsThem(t *testing.T) {
	for _, c := range []struct {
		k    device.Conv2D
		in   precision
		want unit
	}{
		{device.Conv2D{B: 1, H: 4, W: 4, InC: 8, OutC: 8, KH: 1, KW: 1, Stride: 1, BF16: true}, bf16, matrix},
		{device.Conv2D{B: 1, H: 4, W: 4, InC: 8, OutC: 8, KH: 3, KW: 3, Stride: 1, Pad: 1, BF16: true}, bf16, ours},
		{device.Conv2D{B: 1, H: 4, W: 4, InC: 3, OutC: 8, KH: 3, KW: 3, Stride: 1, Pad: 1, BF16: true}, bf16, vector},
		{device.Conv2D{B: 1, H: 4, W: 4, InC: 8, OutC: 8, KH: 3, KW: 3, Stride: 1, Pad: 1}, tf32, vector},
	} {
		got := countNoted(t, c.in, func(s *devicetest.Shapes) {
			noteOn(t, s, device.ConvForward{Conv2D: c.k}, alloc(s, 16*c.k.InC), alloc(s, 8*c.k.InC*c.k.KH*c.k.KW), alloc(s, 128))
		})
		if last := got[len(got)-1]; last.unit != c.want || last.flops != 2*16*8*float64(c.k.InC*c.k.KH*c.k.KW) {
			t.Errorf("%+v: %+v", c.k, last)
		}
	}
}

func TestEveryKernelHasWork(t *testing.T) {
	for _, k := range []device.Kernel{
		device.Attention{B: 2, Tq: 3, Tk: 3, Heads: 2, HeadDim: 4},
		device.ConvForward{Conv2D: device.Conv2D{B: 1, H: 3, W: 3, InC: 1, OutC: 1, KH: 3, KW: 3, Stride: 1, Pad: 1}},
		device.BatchNormBack{Rows: 2, C: 2}, device.LayerNormBack{Rows: 2, Cols: 2},
	} {
		got := countNoted(t, f32, func(s *devicetest.Shapes) {
			args, err := device.Signature(k)
			if err != nil {
				t.Fatal(err)
			}
			var list []device.Buffer
			for _, a := range args {
				if a.Absent {
					list = append(list, nil)
				} else {
					list = append(list, alloc(s, a.Len))
				}
			}
			noteOn(t, s, k, list...)
		})
		for _, l := range got {
			if l.bytes() <= 0 {
				t.Errorf("%T: %+v", k, l)
			}
		}
	}
	if _, err := count(devicetest.Step{Calls: []devicetest.Call{{Kind: "Unheard"}}}, f32); err == nil {
		t.Error("an unknown kernel counts as nothing")
	}
}

func TestTheLargerOfArithmeticAndMemoryIsTheTime(t *testing.T) {
	g := gpu{F32: 10, BF16: 100, Bandwidth: 1000, Reached: shares{Products: .7, Bandwidth: .85, Vector: .5, Tensor: .4}}
	floor, expected := launch{unit: matrix, flops: 1000}.seconds(g, bf16, 100)
	if floor != 10 || math.Abs(expected-10/.7) > 1e-12 {
		t.Errorf("arithmetic: %g s, expected %g s", floor, expected)
	}
	floor, expected = launch{unit: matrix, flops: 1000}.seconds(g, bf16, 1e6)
	if floor != 1000 || math.Abs(expected-1000/.85) > 1e-9 {
		t.Errorf("memory: %g s, expected %g s", floor, expected)
	}
}
