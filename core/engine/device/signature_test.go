package device_test

import (
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

func TestSignatureListsArgumentsInOrder(t *testing.T) {
	args, err := device.Signature(device.MatMul{Batch: 2, M: 3, N: 5, K: 7, Residual: true, Slope: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []device.Arg{
		{Name: "a", Len: 42}, {Name: "b", Len: 70}, {Name: "bias", Len: 5, Absent: true}, {Name: "residual", Len: 30},
		{Name: "c", Len: 30, Out: true}, {Name: "slope", Len: 30, Out: true},
	}
	if len(args) != len(want) {
		t.Fatalf("%d arguments, want %d", len(args), len(want))
	}
	for i := range want {
		if args[i] != want[i] {
			t.Errorf("argument %d is %+v, want %+v", i, args[i], want[i])
		}
	}
}

func TestSignatureSaysWhatIsImpossible(t *testing.T) {
	for want, k := range map[string]device.Kernel{
		"period 4 does not divide 6":    device.Binary{N: 6, Period: 4, Op: device.OpAdd},
		"patch 3 does not divide 8x6":   device.Patchify{B: 1, H: 8, W: 6, C: 3, P: 3},
		"every size must be at least 1": device.SumRows{Rows: 0, Cols: 3},
		"too large":                     device.SumRows{Rows: 1 << 40, Cols: 1 << 40},
		"unknown operator":              device.Binary{N: 1, Period: 1, Op: '/'},
		"SumRows{Rows:0":                device.SumRows{Rows: 0, Cols: 3},
	} {
		_, err := device.Signature(k)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want an invalid fault that says %q", k, err, want)
		}
	}
}
