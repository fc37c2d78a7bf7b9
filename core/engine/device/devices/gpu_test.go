package devices

import (
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

// withGPUs replaces what a build with CUDA knows of GPUs, for one test.
func withGPUs(t *testing.T, gpus []gpu, err error) (opened *[]Options) {
	t.Helper()
	before := cuda
	t.Cleanup(func() { cuda = before })
	opened = &[]Options{}
	cuda.gpus = func() ([]gpu, error) { return gpus, err }
	cuda.open = func(n int, o Options) (device.Backend, error) {
		*opened = append(*opened, o)
		return reference.New[float32](1), nil
	}
	return opened
}

func TestAutoIsAGPUThatCanBeUsed(t *testing.T) {
	broken := gpu{number: 0, Name: "Tesla K80", Major: 3, Minor: 7, Why: "has compute capability 3.7, want 7.0"}
	for name, c := range map[string]struct {
		gpus      []gpu
		err       error
		want, why string
	}{
		"the first that can be used": {[]gpu{broken, {number: 1, Name: "NVIDIA H100", Major: 9}}, nil, "cuda:1", ""},
		"none can be used":           {[]gpu{broken}, nil, "cpu", "cuda:0 has compute capability 3.7"},
		"none is there":              {nil, nil, "cpu", "there is none"},
		"no driver":                  {nil, fault.New(fault.Unavailable, "no NVIDIA driver"), "cpu", "no NVIDIA driver"},
	} {
		t.Run(name, func(t *testing.T) {
			withGPUs(t, c.gpus, c.err)
			got, why := Resolve("auto")
			if got != c.want || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
				t.Errorf("auto is %s (%q), want %s (%q)", got, why, c.want, c.why)
			}
		})
	}
}

func TestCheckFindsWhatADeviceLacks(t *testing.T) {
	withGPUs(t, []gpu{{number: 0, Name: "Tesla V100", Major: 7}, {number: 1, Name: "A100", Major: 8},
		{number: 2, Name: "Tesla K80", Major: 3, Why: "is too old"}}, nil)
	for _, c := range []struct {
		device, precision string
		kind              fault.Kind
		says              string
	}{
		{"cuda:0", "f32", "", ""},
		{"cuda", "", "", ""},
		{"auto", "f32", "", ""},
		{"cuda:1", "bf16", "", ""},
		{"cuda:1", "tf32", "", ""},
		{"cpu", "bf16", "", ""},
		{"cuda:0", "bf16", fault.Unavailable, "needs compute capability 8.0"},
		{"auto", "tf32", fault.Unavailable, "needs compute capability 8.0"},
		{"cuda:2", "f32", fault.Unavailable, "is too old"},
		{"cuda:3", "f32", fault.Unavailable, "this machine has 3 GPUs"},
		{"cpu", "tf32", fault.Invalid, "device cpu computes on cpu"},
		{"host", "tf32", fault.Invalid, "tf32 is that of NVIDIA GPUs"},
		{"cpu", "f16", fault.Invalid, "f16"},
		{"tpu", "f32", fault.Invalid, "unknown"},
	} {
		err := Check(c.device, c.precision)
		if fault.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s in %s: got %v, want kind %q and %q", c.device, c.precision, err, c.kind, c.says)
		}
		if f, ok := err.(*fault.Error); ok && f.Hint == "" && c.kind == fault.Unavailable {
			t.Errorf("%s in %s: %v names no remedy", c.device, c.precision, err)
		}
	}
}

func TestOptionsReachTheGPU(t *testing.T) {
	opened := withGPUs(t, []gpu{{number: 0, Name: "A100", Major: 8}}, nil)
	want := Options{Threads: 2, Precision: "tf32", MemoryLimit: 1 << 30}
	b, err := OpenWith("auto", want)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if len(*opened) != 1 || (*opened)[0] != want {
		t.Errorf("opened with %+v, want %+v", *opened, want)
	}
}

func TestListSaysWhyAGPUCannotBeUsed(t *testing.T) {
	last := func() Info { l := List(); return l[len(l)-1] }
	withGPUs(t, []gpu{{number: 0, Name: "Tesla K80", Major: 3, Minor: 7, Total: 12 << 30, Driver: "driver 470", Why: "is too old"}}, nil)
	if got := last(); got.Available || !strings.Contains(got.Detail, "is too old") || !strings.Contains(got.Detail, "12.0 GiB, driver 470") {
		t.Errorf("got %v", got)
	}
	withGPUs(t, nil, fault.New(fault.Unavailable, "no driver").WithHint("install one"))
	if got := last(); got.Available || got.Detail != "no driver" || got.Hint != "install one" {
		t.Errorf("got %v", got)
	}
	cuda.gpus, cuda.open = nil, nil
	if got := last(); got.Available || !strings.Contains(got.Hint, "make build CUDA=1") {
		t.Errorf("got %v, want how to get CUDA", got)
	}
	if _, err := Open("cuda:0", 1); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Format(err), "make build CUDA=1") {
		t.Errorf("got %v, want how to get CUDA", err)
	}
	if err := Check("cuda:0", "bf16"); err != nil {
		t.Errorf("a build without CUDA judges GPUs: %v", err)
	}
}

func TestInspectLooksIntoGPUsThatCanBeUsed(t *testing.T) {
	withGPUs(t, []gpu{{number: 0, Name: "Tesla K80", Why: "is too old", Hint: "buy another"}, {number: 1, Name: "NVIDIA H100", Major: 9, Total: 80 << 30, Driver: "CUDA 12.4"}}, nil)
	cuda.inspect = func(g *gpu) {
		if g.number != 1 {
			t.Errorf("looked into %s", g.device())
		}
		g.Free, g.BLAS = 60<<30, "12.8.4"
	}
	list := Inspect()
	old, h100 := list[len(list)-2], list[len(list)-1]
	if old.Available || old.Hint != "buy another" || old.GPU.Name != "Tesla K80" {
		t.Errorf("got %+v", old)
	}
	if !h100.Available || h100.Detail != "NVIDIA H100, compute capability 9.0, 60.0 of 80.0 GiB free, CUDA 12.4, cuBLAS 12.8.4" ||
		h100.GPU.FreeMemory != 60<<30 || h100.GPU.BLAS != "12.8.4" || h100.GPU.DNN != "" {
		t.Errorf("got %+v", h100)
	}
	cuda.inspect = func(g *gpu) { g.Why, g.Hint = "cuBLAS is missing", "install it" }
	list = Inspect()
	if last := list[len(list)-1]; last.Available || !strings.HasPrefix(last.Detail, "cuBLAS is missing (NVIDIA H100") || last.Hint != "install it" {
		t.Errorf("got %+v", last)
	}
}
