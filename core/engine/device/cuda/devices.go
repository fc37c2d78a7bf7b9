//go:build clipcuda

package cuda

import (
	"fmt"

	"tandem/core/engine/device/cuda/driver"
)

// Info describes a GPU of this machine.
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

// Inspection holds what a look into a GPU finds.
type Inspection struct {
	FreeMemory int64  // bytes, for all processes
	BLAS, DNN  string // versions of cuBLAS and cuDNN; "" when missing
	NoDNN      error  // why there is no cuDNN, with the remedy: convolutions are done without
}

// Inspect looks into GPU n: it makes a context, which takes some hundred megabytes for the moment, and opens the
// libraries. Its error is the one that Open would return.
func Inspect(n int) (found Inspection, err error) {
	ctx, err := driver.Open(n)
	if err != nil {
		return found, err
	}
	defer ctx.Close()
	if found.FreeMemory, _, err = ctx.MemInfo(); err != nil {
		return found, err
	}
	stream, err := ctx.NewStream()
	if err != nil {
		return found, err
	}
	defer stream.Destroy()
	blas, err := ctx.OpenBLAS(stream)
	if err != nil {
		return found, err
	}
	defer blas.Destroy()
	found.BLAS, _ = blas.Version()
	dnn, err := ctx.OpenDNN(stream)
	if err != nil {
		found.NoDNN = err
		return found, nil
	}
	defer dnn.Destroy()
	found.DNN, _ = dnn.Version()
	return found, nil
}
