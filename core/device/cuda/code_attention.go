//go:build clipcuda

package cuda

import "tandem/core/device"

func attentionCode(device.Kernel) (code, bool) { return code{}, false }
