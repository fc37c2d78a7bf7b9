//go:build clipcuda

package devices

import (
	"errors"
	"fmt"

	"tandem/core/engine/device"
	backend "tandem/core/engine/device/cuda"
	"tandem/core/fault"
)

func init() {
	cuda.open = func(n int, o Options) (device.Backend, error) {
		return backend.Open(n, backend.Options{TF32: o.Precision == "tf32", MemoryLimit: o.MemoryLimit})
	}
	cuda.group = backend.GroupID
	cuda.gpus = func() ([]gpu, error) {
		found, err := backend.Devices()
		if err != nil {
			return nil, err
		}
		list := make([]gpu, len(found))
		for i, f := range found {
			list[i] = gpu{number: f.N, Name: f.Name, Major: f.Major, Minor: f.Minor, Total: f.TotalMemory, Driver: f.Driver}
			list[i].Why, list[i].Hint = reason(f.Why)
		}
		return list, nil
	}
	cuda.inspect = func(g *gpu) {
		found, err := backend.Inspect(g.number)
		g.Free, g.BLAS, g.DNN = found.FreeMemory, found.BLAS, found.DNN
		if g.Why, g.Hint = reason(err); found.NoDNN != nil {
			why, hint := reason(found.NoDNN)
			g.Hint = fmt.Sprintf("convolutions are done by tandem's own kernels, as %s; for NVIDIA's, %s", why, hint)
		}
	}
}

// reason returns the text of an error without the device's name, and its remedy; "" for none.
func reason(err error) (why, hint string) {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f.Msg, f.Hint
	}
	if err != nil {
		why = err.Error()
	}
	return why, ""
}
