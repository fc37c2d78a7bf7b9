// Package devices opens backends by name: what a spec or a flag calls "auto", "cpu", "host" or
// "cuda:0". It is the one place that knows which backends this binary was built with.
package devices

import (
	"fmt"
	"strconv"
	"strings"

	"tandem/core/device"
	"tandem/core/device/host"
	"tandem/core/fault"
)

// Info is one device for people to choose from.
type Info struct {
	Name      string // what Open takes
	Available bool
	Detail    string // what computes there, or why nothing does and the remedy
}

// Open makes the backend of a device with up to threads threads:
//
//	auto    the fastest device here
//	cpu     oneDNN when built in, else the pure Go backend
//	host    the pure Go backend
//	cuda:N  GPU number N; cuda is cuda:0
//
// An unknown name is fault.Invalid, a device that is missing here fault.Unavailable with the reason.
func Open(name string, threads int) (device.Backend, error) {
	switch {
	case name == "auto" || name == "" || name == "cpu":
		if oneDNN.open == nil {
			return host.New[float32](threads), nil
		}
		return oneDNN.open(threads)
	case name == "host":
		return host.New[float32](threads), nil
	case name == "cuda" || strings.HasPrefix(name, "cuda:"):
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "cuda:")); name != "cuda" && (err != nil || n < 0) {
			return nil, fault.New(fault.Invalid, "device %q: %q is not a GPU number", name, strings.TrimPrefix(name, "cuda:"))
		}
		return nil, fault.New(fault.Unavailable, "device %q: %s", name, noCUDA).WithHint("use device: cpu")
	}
	return nil, fault.New(fault.Invalid, "device %q is unknown", name).WithHint("devices are auto, cpu, host and cuda:N")
}

const noCUDA = "this version has no CUDA backend"

// oneDNN is set by the file that the build tag onednn adds.
var oneDNN struct {
	open    func(threads int) (device.Backend, error)
	version func() string
}

// List is every device that Open knows, available or not.
func List() []Info {
	cpu := Info{Name: "cpu", Available: true,
		Detail: "pure Go; built without oneDNN: apt-get install libdnnl-dev, then make build, is many times faster"}
	if oneDNN.open != nil {
		cpu.Detail = oneDNN.version()
	}
	return []Info{cpu,
		{Name: "host", Available: true, Detail: "pure Go, the reference"},
		{Name: "cuda:0", Detail: noCUDA}}
}

// String is one line of a list.
func (i Info) String() string {
	state := "missing"
	if i.Available {
		state = "available"
	}
	return fmt.Sprintf("%-8s %-9s %s", i.Name, state, i.Detail)
}
