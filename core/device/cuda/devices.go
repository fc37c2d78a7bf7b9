//go:build clipcuda

package cuda

import (
	"fmt"

	"tandem/core/device/cuda/driver"
)

// Info is a GPU of this machine.
type Info struct {
	N            int    // cuda:N
	Name         string // "NVIDIA H100 80GB HBM3"
	Major, Minor int    // compute capability
	TotalMemory  int64  // bytes
	Driver       string // "driver 550.54.15, CUDA 12.4"
	Why          error  // Open refuses it, with the remedy; nil when it does not
}

// Devices lists the GPUs without touching them. fault.Unavailable when there is no driver or no GPU.
func Devices() ([]Info, error) {
	found, err := driver.Devices()
	if err != nil {
		return nil, err
	}
	version, module := driver.Version()
	text := "CUDA " + driver.VersionText(version)
	if module != "" {
		text = fmt.Sprintf("driver %s, %s", module, text)
	}
	list := make([]Info, len(found))
	for i, f := range found {
		list[i] = Info{N: f.N, Name: f.Name, Major: f.Capability / 10, Minor: f.Capability % 10,
			TotalMemory: f.TotalMemory, Driver: text, Why: f.Why}
	}
	return list, nil
}
