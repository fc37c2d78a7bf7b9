//go:build onednn

package devices

import "tandem/core/engine/device/onednn"

func init() {
	oneDNN.open = onednn.New
	oneDNN.version = func() string { return "oneDNN " + onednn.Version() }
}
