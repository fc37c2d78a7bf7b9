package graph

import "tandem/core/engine/device"

// attendBF16 gives attention the kernels in bfloat16 that a backend has; on others it stays in float32.
func (l *lowering) attendBF16(b device.Backend) {
	for _, st := range l.steps {
		st.kernel = device.WithBF16Attention(b, st.kernel)
	}
}
