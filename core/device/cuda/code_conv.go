//go:build clipcuda

package cuda

import (
	"tandem/core/device"
	"tandem/core/fault"
)

// convCode is a convolution.
func (b *Backend) convCode(k device.Kernel) (code, error) {
	return code{}, fault.New(fault.Unavailable, "no convolution %T", k)
}
