//go:build clipcuda

package driver

// #include "symbols.h"
import "C"

import (
	"fmt"
	"os"
	"strings"

	"gorgonia.org/cu"

	"tandem/core/fault"
)

// Oldest gives the lowest compute capability on which the kernels run, times ten (Volta).
const Oldest = 70

// Properties holds what is known of a device without making a context.
type Properties struct {
	N               int    // cuda:N
	Name            string // "NVIDIA H100 80GB HBM3"
	Capability      int    // compute capability times ten: 90 is 9.0
	TotalMemory     int64  // bytes
	Multiprocessors int
	SharedPerBlock  int // bytes of shared memory that a block may ask for, with Function.SetDynamicShared
	L2              int // bytes
	Prohibited      bool

	handle int
}

// String returns the name that a spec gives the device: "cuda:0".
func (p Properties) String() string { return deviceName(p.N) }

// whyUnfit returns why the device cannot be used; nil when it can.
func (p Properties) whyUnfit() error {
	switch {
	case p.Capability < Oldest:
		return fault.New(fault.Unavailable, "%s has compute capability %d.%d", p.Name, p.Capability/10, p.Capability%10).
			WithOp(p.String()).WithHint("the kernels need %d.%d (Volta) or newer", Oldest/10, Oldest%10)
	case p.Prohibited:
		return fault.New(fault.Unavailable, "the compute mode of %s is prohibited", p.Name).
			WithOp(p.String()).WithHint("nvidia-smi -i %d -c DEFAULT, as root", p.N)
	}
	return nil
}

// Count returns the number of devices, at least one. Without a driver or a device the error is Unavailable, with
// what the loader or the driver says and the remedy.
func Count() (int, error) {
	var status C.int
	switch why := C.tandem_driver_open(&status); {
	case status != 0:
		return 0, callError("cuInit", result(status))
	case why != nil:
		return 0, fault.New(fault.Unavailable, "no NVIDIA driver: %s", C.GoString(why)).
			WithHint("install the NVIDIA driver (nvidia-smi must list the GPU); in a container: --gpus all, or the NVIDIA container toolkit")
	}
	n, err := cu.NumDevices()
	if err != nil {
		return 0, callError("cuDeviceGetCount", err)
	}
	if n == 0 {
		return 0, callError("cuDeviceGetCount", noDevice)
	}
	return n, nil
}

// Version returns the newest CUDA that the driver supports, as 12040 for 12.4, and the version of the
// kernel's module ("550.54.15"; "" where it is not told). Count must have succeeded.
func Version() (cuda int, module string) {
	if data, err := os.ReadFile("/sys/module/nvidia/version"); err == nil {
		module = strings.TrimSpace(string(data))
	}
	return cu.Version(), module
}

// VersionText formats a CUDA version for people: 12040 is "12.4".
func VersionText(cuda int) string { return fmt.Sprintf("%d.%d", cuda/1000, cuda%1000/10) }

// propertiesOf asks for the properties of a device that Count counts.
func propertiesOf(n int) (Properties, error) {
	p := Properties{N: n}
	dev, err := cu.GetDevice(n)
	if err != nil {
		return p, callError(p.String()+": cuDeviceGet", err)
	}
	p.handle = int(dev)
	if p.Name, err = dev.Name(); err != nil {
		return p, callError(p.String()+": cuDeviceGetName", err)
	}
	if p.TotalMemory, err = dev.TotalMem(); err != nil {
		return p, callError(p.String()+": cuDeviceTotalMem", err)
	}
	var major, minor, mode int
	for _, a := range []struct {
		to   *int
		what cu.DeviceAttribute
	}{
		{&major, cu.ComputeCapabilityMajor}, {&minor, cu.ComputeCapabilityMinor}, {&mode, cu.ComputeMode},
		{&p.Multiprocessors, cu.MultiprocessorCount}, {&p.L2, cu.L2CacheSize}, {&p.SharedPerBlock, sharedOptIn},
	} {
		if *a.to, err = dev.Attribute(a.what); err != nil {
			return p, callError(p.String()+": cuDeviceGetAttribute", err)
		}
	}
	p.Capability = 10*major + minor
	p.Prohibited = mode == 2 // CU_COMPUTEMODE_PROHIBITED
	return p, nil
}

// sharedOptIn stands for CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, which cu does not name.
const sharedOptIn = cu.DeviceAttribute(97)
