// Optimisers on flat buffers: one pass, every number read and written once.
#include "vector.cuh"

// adamw_rates: rates [2] = lr/(1−β₁ᵗ) and 1/(1−β₂ᵗ), in double before they are rounded. One thread: the same for
// all numbers, and double is slow on most GPUs.
extern "C" __global__ void __launch_bounds__(32) adamw_rates(float *rates, double lr, double beta1, double beta2,
	double step) {
	rates[0] = (float)(lr / (1 - pow(beta1, step)));
	rates[1] = (float)(1 / (1 - pow(beta2, step)));
}
REGISTER_KERNEL(adamw_rates)

// adamw: one step on g [n] → p, m, v [n], with the rates of adamw_rates. 28 bytes a number.
extern "C" __global__ void __launch_bounds__(256) adamw(const float *g, float *p, float *m, float *v, const float *rates,
	i64 n, double lr, double decay, double gradScale, double beta1, double beta2, double eps) {
	const float rate = rates[0], correct = rates[1], keep = (float)(lr * decay), scale = (float)gradScale;
	const float b1 = (float)beta1, c1 = (float)(1 - beta1), b2 = (float)beta2, c2 = (float)(1 - beta2), e = (float)eps;
	flat(n, wide(g, p, m, v), [&](auto w, i64 i) {
		const auto gs = load(w, g + i);
		auto ps = load(w, p + i), ms = load(w, m + i), vs = load(w, v + i);
#pragma unroll
		for (int k = 0; k < w.n; k++) {
			const float grad = gs.v[k] * scale;
			ms.v[k] = b1 * ms.v[k] + c1 * grad;
			vs.v[k] = b2 * vs.v[k] + c2 * grad * grad;
			ps.v[k] = ps.v[k] - keep * ps.v[k] - rate * ms.v[k] / (sqrtf(vs.v[k] * correct) + e);
		}
		store(w, p + i, ps);
		store(w, m + i, ms);
		store(w, v + i, vs);
	});
}
REGISTER_KERNEL(adamw)

// sgd: one step on g [n] → p, v [n]. 20 bytes a number.
extern "C" __global__ void __launch_bounds__(256) sgd(const float *g, float *p, float *v, i64 n, double lr, double decay,
	double gradScale, double momentum) {
	const float rate = (float)lr, d = (float)decay, scale = (float)gradScale, mu = (float)momentum;
	flat(n, wide(g, p, v), [&](auto w, i64 i) {
		const auto gs = load(w, g + i);
		auto ps = load(w, p + i), vs = load(w, v + i);
#pragma unroll
		for (int k = 0; k < w.n; k++) {
			vs.v[k] = mu * vs.v[k] + scale * gs.v[k] + d * ps.v[k];
			ps.v[k] -= rate * vs.v[k];
		}
		store(w, p + i, ps);
		store(w, v + i, vs);
	});
}
REGISTER_KERNEL(sgd)

// lion: one step on g [n] → p, m [n]. 20 bytes a number.
extern "C" __global__ void __launch_bounds__(256) lion(const float *g, float *p, float *m, i64 n, double lr, double decay,
	double gradScale, double beta1, double beta2) {
	const float rate = (float)lr, d = (float)decay, scale = (float)gradScale;
	const float b1 = (float)beta1, c1 = (float)(1 - beta1), b2 = (float)beta2, c2 = (float)(1 - beta2);
	flat(n, wide(g, p, m), [&](auto w, i64 i) {
		const auto gs = load(w, g + i);
		auto ps = load(w, p + i), ms = load(w, m + i);
#pragma unroll
		for (int k = 0; k < w.n; k++) {
			const float grad = scale * gs.v[k], u = b1 * ms.v[k] + c1 * grad;
			ps.v[k] -= rate * ((u > 0 ? 1 : u < 0 ? -1 : u) + d * ps.v[k]);
			ms.v[k] = b2 * ms.v[k] + c2 * grad;
		}
		store(w, p + i, ps);
		store(w, m + i, ms);
	});
}
REGISTER_KERNEL(lion)

// average: avg [n] moves to x [n] by a share of the way. 12 bytes a number.
extern "C" __global__ void __launch_bounds__(256) average(const float *x, float *avg, i64 n, double weight) {
	const float share = (float)weight;
	flat(n, wide(x, avg), [&](auto w, i64 i) {
		const auto xs = load(w, x + i);
		auto as = load(w, avg + i);
#pragma unroll
		for (int k = 0; k < w.n; k++) as.v[k] += share * (xs.v[k] - as.v[k]);
		store(w, avg + i, as);
	});
}
REGISTER_KERNEL(average)
