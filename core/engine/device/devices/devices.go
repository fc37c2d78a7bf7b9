// Package devices opens backends by name: what a spec or a flag calls "auto", "cpu", "host" or
// "cuda:0". It is the one place that knows which backends this binary was built with.
package devices

import (
	"fmt"
	"slices"
	"strings"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

// Info describes one device for people to choose from.
type Info struct {
	Name      string // what Open takes
	Available bool
	Detail    string // what computes there, or why nothing does
	Hint      string // the remedy, or what would be better; "" when all is well
	GPU       *GPU   // nil for what is none
}

// GPU describes an NVIDIA GPU, whether it can be used or not.
type GPU struct {
	Name        string // NVIDIA H100 80GB HBM3
	Capability  string // compute capability: 9.0
	TotalMemory int64  // bytes
	FreeMemory  int64  // bytes, for all processes; 0 from List
	Driver      string // driver 550.54.15, CUDA 12.4
	BLAS, DNN   string // versions of cuBLAS and cuDNN; "" when missing and from List
}

// Options configures how a backend computes.
type Options struct {
	Threads int // at most so many; under one is one
	// Precision is what products and convolutions that do not ask for bfloat16 are done in: "" or f32, or
	// tf32, which rounds their inputs to ten bits of significand on GPUs that can. bf16 only checks that
	// the device can: kernels ask for it one by one (device.WithBF16).
	Precision string
	// MemoryLimit is how many bytes of a GPU's memory the backend may take; 0: as much as there is.
	MemoryLimit int64
}

// Open calls OpenWith with so many threads and the defaults of all else.
func Open(name string, threads int) (device.Backend, error) {
	return OpenWith(name, Options{Threads: threads})
}

// OpenWith makes the backend of a device:
//
//	auto    a GPU when there is one that can be used, else cpu
//	cpu     oneDNN when built in, else the pure Go backend
//	host    the pure Go backend
//	cuda:N  GPU number N; cuda is cuda:0
//
// An unknown name is fault.Invalid. A device that is missing here is fault.Unavailable with the reason. So is a
// precision that the device lacks, except tf32 where there is no GPU: that is fault.Invalid.
func OpenWith(name string, o Options) (device.Backend, error) {
	if err := Check(name, o.Precision); err != nil {
		return nil, err
	}
	resolved, _ := Resolve(name)
	if n, ok := gpuNumber(resolved); ok {
		if cuda.open == nil {
			return nil, noCUDA(name)
		}
		return cuda.open(n, o)
	}
	if resolved == "cpu" && oneDNN.open != nil {
		return oneDNN.open(o.Threads)
	}
	return reference.New[float32](o.Threads), nil
}

// Resolve returns the device that a name stands for: cpu, host or cuda:N. auto stands for a GPU when one can be
// used; otherwise why says why not, in a build that has CUDA.
func Resolve(name string) (resolved string, why string) {
	switch name {
	case "cuda":
		return "cuda:0", ""
	case "auto", "":
		if cuda.gpus == nil {
			return "cpu", ""
		}
		gpus, err := cuda.gpus()
		if err != nil {
			return "cpu", err.Error()
		}
		why = "there is none"
		for _, g := range gpus {
			if g.Why == "" {
				return g.device(), ""
			}
			why = fmt.Sprintf("%s %s", g.device(), g.Why)
		}
		return "cpu", why
	}
	return name, ""
}

// Check finds, without opening it, what keeps a device from computing in a precision; see OpenWith for the
// errors. A build without CUDA knows nothing of GPUs and finds nothing wrong with them: a plugin in another
// language may use them.
func Check(name, precision string) error {
	if !slices.Contains([]string{"", "f32", "tf32", "bf16", "bf16-emulated"}, precision) {
		return fault.New(fault.Invalid, "precision %q is unknown", precision).WithHint("precisions are f32, tf32, bf16 and bf16-emulated")
	}
	resolved, why := Resolve(name)
	n, gpu := gpuNumber(resolved)
	switch {
	case !gpu && resolved != "cpu" && resolved != "host":
		if text, ok := strings.CutPrefix(name, "cuda:"); ok {
			return fault.New(fault.Invalid, "device %q: %q is not a GPU number", name, text)
		}
		return fault.New(fault.Invalid, "device %q is unknown", name).WithHint("devices are auto, cpu, host and cuda:N")
	case !gpu && precision == "tf32":
		if why != "" {
			why = ": " + why
		}
		return fault.New(fault.Invalid, "precision tf32 is that of NVIDIA GPUs, and %s computes on %s%s", orAuto(name), resolved, why).
			WithHint("precision: f32 or bf16, or device: cuda:0")
	case !gpu || cuda.gpus == nil:
		return nil
	}
	return checkGPU(n, precision)
}

func orAuto(name string) string {
	if name == "" || name == "auto" {
		return "device auto"
	}
	return "device " + name
}

// oneDNN gives access to the oneDNN backend; the file that the build tag onednn adds sets it.
var oneDNN struct {
	open    func(threads int) (device.Backend, error)
	version func() string
}

// List returns every device that Open knows, available or not. It touches no GPU.
func List() []Info { return list(false) }

// Inspect returns what List does, after a look into each GPU: how much memory is free, which libraries there are,
// and whether it can be used after all. The look takes a moment and, for that moment, some of the GPU's memory.
func Inspect() []Info { return list(true) }

func list(inspect bool) []Info {
	cpu := Info{Name: "cpu", Available: true,
		Detail: "pure Go; built without oneDNN", Hint: "apt-get install libdnnl-dev, then make build, is many times faster"}
	if oneDNN.open != nil {
		cpu.Detail, cpu.Hint = oneDNN.version(), ""
	}
	return append([]Info{cpu, {Name: "host", Available: true, Detail: "pure Go, the reference"}}, listGPUs(inspect)...)
}

// String formats the device as one line of a list.
func (i Info) String() string {
	state := "missing"
	if i.Available {
		state = "available"
	}
	return fmt.Sprintf("%-8s %-9s %s", i.Name, state, i.Detail)
}
