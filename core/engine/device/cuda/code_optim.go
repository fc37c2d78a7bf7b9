//go:build clipcuda

package cuda

import "tandem/core/engine/device"

// optimCode launches the kernels of optim.cu: flat ones, with the scalars of core/engine/device.
func optimCode(kernel device.Kernel) (code, bool) {
	lr, decay, gradScale := scalar{i: 0}, scalar{i: 1}, scalar{i: 2, otherwise: 1}
	switch k := kernel.(type) {
	case device.AdamW:
		rates := start("adamw_rates", dim{}, dim{}, temp(0), lr, k.Beta1, k.Beta2, scalar{i: 3, otherwise: 1})
		return code{scratch: 8, launches: []launch{rates, over(k.N, "adamw", arg(0), arg(1), arg(2), arg(3), temp(0), k.N,
			lr, decay, gradScale, k.Beta1, k.Beta2, k.Eps)}}, true
	case device.SGD:
		return run(over(k.N, "sgd", arg(0), arg(1), arg(2), k.N, lr, decay, gradScale, k.Momentum))
	case device.Lion:
		return run(over(k.N, "lion", arg(0), arg(1), arg(2), k.N, lr, decay, gradScale, k.Beta1, k.Beta2))
	case device.Average:
		return run(over(k.N, "average", arg(0), arg(1), k.N, scalar{i: 0}))
	}
	return code{}, false
}
