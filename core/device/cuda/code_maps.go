//go:build clipcuda

package cuda

import "tandem/core/device"

func mapsCode(device.Kernel) (code, bool) { return code{}, false }
