//go:build clipcuda

package cuda

import "tandem/core/device"

func elementwiseCode(device.Kernel) (code, bool) { return code{}, false }
