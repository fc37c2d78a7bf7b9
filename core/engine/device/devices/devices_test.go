package devices

import (
	"testing"

	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

func TestOpenKnowsItsNames(t *testing.T) {
	for _, name := range []string{"auto", "cpu", "host", ""} {
		b, err := Open(name, 1)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
	}
	for name, want := range map[string]fault.Kind{
		"tpu": fault.Invalid, "cuda:x": fault.Invalid, "cuda:-1": fault.Invalid,
	} {
		if _, err := Open(name, 1); fault.KindOf(err) != want {
			t.Errorf("%q: got %v, want kind %s", name, err, want)
		}
	}
}

func TestListNamesOnlyWhatOpenTakes(t *testing.T) {
	for _, info := range List() {
		b, err := Open(info.Name, 1)
		if (err == nil) != info.Available {
			t.Errorf("%s: listed as available %v, but opening gives %v", info.Name, info.Available, err)
		}
		if err != nil {
			if fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%s: a missing device gives %v, want unavailable", info.Name, err)
			}
			continue
		}
		b.Close()
	}
}

func BenchmarkPeakHost(b *testing.B) {
	for b.Loop() {
		peak, err := PeakGFLOPS(reference.New[float32](2), false)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(peak, "GFLOP/s")
	}
}
