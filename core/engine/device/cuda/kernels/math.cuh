// Activations and their derivatives in float32, right for NaN, infinities and the tails. expf, logf and log1pf are
// CUDA's own, within 2 ulp (CUDA C Programming Guide, appendix Mathematical Functions).
#pragma once
#include "common.cuh"

// The numbers of device.Activation.
enum { identity, relu, gelu, quick_gelu, tanh_gelu };

// reciprocal is 1/x within 1 ulp, in one instruction.
DEVICE float reciprocal(float x) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
	float y;
	asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
#else
	return 1 / x;
#endif
}

DEVICE float sigmoid(float x) { return reciprocal(1 + expf(-x)); }

// softplus is log(1 + exp(x)); it neither overflows nor loses small values.
DEVICE float softplus_of(float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); }

// normal is the density φ(x) and the distribution Φ(x) of the normal distribution, the latter to 2e-7 relative
// where x < 0 also. The ratio Φ(−z)/φ(z) is a polynomial in t = 1/(1 + 0.28z), times t: a least-maximum fit of its
// relative error over all z ≥ 0, as in core/engine/device/onednn.
DEVICE float normal(float x, float &density) {
	density = 0.398942280f * expf(-0.5f * x * x);
	const float t = reciprocal(1 + 0.28f * fabsf(x));
	float p = 6.196410684e-02f;
	p = p * t - 2.346043272e-01f;
	p = p * t + 2.316845865e-01f;
	p = p * t - 1.616690282e-02f;
	p = p * t + 1.824203773e-01f;
	p = p * t + 2.096312074e-01f;
	p = p * t + 2.583949446e-01f;
	p = p * t + 2.799898834e-01f;
	p = p * t + 2.800000477e-01f;
	const float tail = density * t * p;
	return x > 0 ? 1 - tail : tail;
}

// activate is act(x), and slope its derivative there; the compiler leaves out what is not used.
template <int act> DEVICE float activate(float x, float &slope) {
	if constexpr (act == relu) {
		slope = x > 0 ? 1 : 0;
		return x < 0 ? 0 : x; // NaN stays NaN
	} else if constexpr (act == gelu) {
		float density;
		const float distribution = normal(x, density);
		slope = distribution + x * density;
		return x * distribution;
	} else if constexpr (act == quick_gelu) {
		const float s = sigmoid(1.702f * x);
		slope = s + 1.702f * x * s * (1 - s);
		return x * s;
	} else if constexpr (act == tanh_gelu) { // x·σ(u), u = 2√(2/π)·(x + 0.044715x³)
		const float s = sigmoid(x * (1.5957691216f + 0.0713548163f * x * x)), d = s * (1 - s);
		slope = s + (d == 0 ? 0 : x * d * (1.5957691216f + 0.2140644488f * x * x)); // where d is 0, x² may be infinite
		return x * s;
	} else {
		slope = 1;
		return x;
	}
}

template <int n> struct number {
	static constexpr int value = n;
};

// with_activation calls f with the activation as a type, so that the choice is outside of f's loops.
template <class F> DEVICE void with_activation(i64 act, F f) {
	switch (act) {
	case identity: f(number<identity>{}); break;
	case relu: f(number<relu>{}); break;
	case gelu: f(number<gelu>{}); break;
	case quick_gelu: f(number<quick_gelu>{}); break;
	case tanh_gelu: f(number<tanh_gelu>{}); break;
	}
}
