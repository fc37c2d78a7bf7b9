//go:build clipcuda

package cuda

import "tandem/core/device"

func rowsCode(device.Kernel) (code, bool) { return code{}, false }
