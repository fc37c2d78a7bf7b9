// Elementwise kernels: each reads what it needs once and writes its result once. Entries of "[n]" arrays are
// launched as flat (vector.cuh), those of "[rows, cols]" as planes. Outputs may be inputs where core/engine/device allows
// it, so pointers are not restrict.
#include "math.cuh"
#include "reduce.cuh"
#include "vector.cuh"

// map_all writes y[i] = f(x[i]...) for all i of [n].
template <class F, class... X> DEVICE void map_all(i64 n, F f, numbers y, X... x) {
	flat(n, wide(y.at, x.at...), [&](auto w, i64 i) { store(w, y, i, map_pack(f, load(w, x, i)...)); });
}
template <class F, class... X> DEVICE void map(i64 n, F f, numbers y, X... x) { map_all(n, f, y, numbers(x)...); }

template <class F, int V, class... P> DEVICE pack<V> map_pack(F f, pack<V> a, P... more) {
	pack<V> y;
#pragma unroll
	for (int k = 0; k < V; k++) y.v[k] = f(a.v[k], more.v[k]...);
	return y;
}

// act: y [n] = act(x [n]). Here and below flags say which arrays are bfloat16.
extern "C" __global__ void __launch_bounds__(256) act(const float *x, float *y, i64 n, i64 which, i64 half_x, i64 half_y) {
	with_activation(which, [&](auto a) {
		map(n, [](float v) { float slope; return activate<decltype(a)::value>(v, slope); }, numbers(y, half_y), numbers(x, half_x));
	});
}
REGISTER_KERNEL(act)

// act_back: dx [n] = dy [n] · act'(x [n]).
extern "C" __global__ void __launch_bounds__(256) act_back(const float *x, const float *dy, float *dx, i64 n, i64 which,
	i64 half_x, i64 half_dy, i64 half_dx) {
	with_activation(which, [&](auto a) {
		map(n, [](float v, float d) { float slope; activate<decltype(a)::value>(v, slope); return d * slope; },
			numbers(dx, half_dx), numbers(x, half_x), numbers(dy, half_dy));
	});
}
REGISTER_KERNEL(act_back)

enum { combine_nothing, combine_adds, combine_multiplies };

// epilogue is what follows a product, in place when to is from: v = from + bias, slope = act'(v),
// to = act(v), plus other or times it. from, other, to, slope [rows, cols], bias [cols]; bias, other and
// slope may be null. The flags say what is bfloat16. Plane.
extern "C" __global__ void __launch_bounds__(256) epilogue(const float *from, const float *bias, const float *other,
	float *to, float *slope, i64 height, i64 cols, i64 which, i64 combine, i64 half_bias, i64 half_other, i64 half_to,
	i64 half_slope) {
	const bool quads = cols % 4 == 0 && wide(from, bias, other, to, slope);
	with_activation(which, [&](auto a) {
		columns(cols, quads, [&](auto w, i64 c) {
			auto b = fill(w, 0);
			if (bias) b = load(w, bias, c, half_bias);
			rows(height, [&](i64 r) {
				const i64 at = r * cols + c;
				auto x = load(w, from + at), d = x;
				auto o = fill(w, combine == combine_multiplies ? 1 : 0);
				if (combine != combine_nothing) o = load(w, other, at, half_other);
#pragma unroll
				for (int k = 0; k < w.n; k++) {
					const float y = activate<decltype(a)::value>(x.v[k] + b.v[k], d.v[k]);
					x.v[k] = combine == combine_multiplies ? y * o.v[k] : y + o.v[k];
				}
				store(w, to, at, x, half_to);
				if (slope) store(w, slope, at, d, half_slope);
			});
		});
	});
}
REGISTER_KERNEL(epilogue)

// binary: out [rows, cols] = a [rows, cols] op b [cols], b repeating; op is '+', '-' or '*'. Plane.
extern "C" __global__ void __launch_bounds__(256) binary(const float *a, const float *b, float *out, i64 height, i64 cols,
	i64 op, i64 half_a, i64 half_b, i64 half_out) {
	const auto all = [&](auto f) {
		columns(cols, cols % 4 == 0 && wide(a, b, out), [&](auto w, i64 c) {
			const auto y = load(w, b, c, half_b);
			rows(height, [&](i64 r) {
				const i64 at = r * cols + c;
				store(w, out, at, map_pack(f, load(w, a, at, half_a), y), half_out);
			});
		});
	};
	if (op == '+') all([](float x, float y) { return x + y; });
	else if (op == '-') all([](float x, float y) { return x - y; });
	else all([](float x, float y) { return x * y; });
}
REGISTER_KERNEL(binary)

// binary_scalar: out [n] = a [n] op b [1].
extern "C" __global__ void __launch_bounds__(256) binary_scalar(const float *a, const float *b, float *out, i64 n, i64 op,
	i64 half_a, i64 half_b, i64 half_out) {
	const float y = load(width<1>{}, b, 0, half_b).v[0];
	const numbers from(a, half_a), to(out, half_out);
	if (op == '*') map(n, [=](float x) { return x * y; }, to, from);
	else map(n, [=](float x) { return op == '+' ? x + y : x - y; }, to, from);
}
REGISTER_KERNEL(binary_scalar)

// scale: y [n] = alpha · x [n] + beta.
extern "C" __global__ void __launch_bounds__(256) scale(const float *x, float *y, i64 n, double alpha, double beta, i64 half_x,
	i64 half_y) {
	const float a = (float)alpha, b = (float)beta;
	map(n, [=](float v) { return a * v + b; }, numbers(y, half_y), numbers(x, half_x));
}
REGISTER_KERNEL(scale)

// factor is f(s) of device.ScaleBy.
DEVICE float factor(const float *s, i64 exponential) { return exponential ? expf(*s) : *s; }

// scale_by: y [n] = f(s [1]) · x [n], f being exp or the identity.
extern "C" __global__ void __launch_bounds__(256) scale_by(const float *x, const float *s, float *y, i64 n, i64 exponential) {
	const float a = factor(s, exponential);
	map(n, [=](float v) { return a * v; }, y, x);
}
REGISTER_KERNEL(scale_by)

// scale_by_back: dx [n] = f(s) · dy [n], and parts [blocks] = the blocks' sums of dy · x.
extern "C" __global__ void __launch_bounds__(256) scale_by_back(const float *x, const float *s, const float *dy, float *dx,
	double *parts, i64 n, i64 exponential) {
	const float a = factor(s, exponential);
	double sum = 0;
	flat(n, wide(x, dy, dx), [&](auto w, i64 i) {
		auto d = load(w, dy + i);
		const auto v = load(w, x + i);
#pragma unroll
		for (int k = 0; k < w.n; k++) {
			sum += (double)d.v[k] * v.v[k];
			d.v[k] *= a;
		}
		store(w, dx + i, d);
	});
	sum = team_sum(sum);
	if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
REGISTER_KERNEL(scale_by_back)

// scale_by_slope: ds [1] = f'(s) · Σ parts [n]. One block.
extern "C" __global__ void __launch_bounds__(256) scale_by_slope(const double *parts, const float *s, float *ds, i64 n,
	i64 exponential) {
	double sum = 0;
	for (i64 i = threadIdx.x; i < n; i += blockDim.x) sum += parts[i];
	sum = team_sum(sum);
	if (threadIdx.x == 0) *ds = (float)(exponential ? sum * expf(*s) : sum);
}
REGISTER_KERNEL(scale_by_slope)

// accumulate: acc [n] += alpha · x [n].
extern "C" __global__ void __launch_bounds__(256) accumulate(const float *x, float *acc, i64 n, double alpha) {
	const float a = (float)alpha;
	map(n, [=](float v, float y) { return y + a * v; }, acc, x, acc);
}
REGISTER_KERNEL(accumulate)

// sum_squares: parts [blocks] = the blocks' sums of x [n] squared; sum_parts (rows.cu) adds them up.
extern "C" __global__ void __launch_bounds__(256) sum_squares(const float *x, double *parts, i64 n) {
	double sum = 0;
	flat(n, wide(x), [&](auto w, i64 i) {
		const auto v = load(w, x + i);
#pragma unroll
		for (int k = 0; k < w.n; k++) sum += (double)v.v[k] * v.v[k];
	});
	sum = team_sum(sum);
	if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
REGISTER_KERNEL(sum_squares)

// softplus: y [n] = log(1 + exp(x [n])).
extern "C" __global__ void __launch_bounds__(256) softplus(const float *x, float *y, i64 n) {
	map(n, [](float v) { return softplus_of(v); }, y, x);
}
REGISTER_KERNEL(softplus)

// softplus_back: dx [n] = dy [n] · σ(x [n]).
extern "C" __global__ void __launch_bounds__(256) softplus_back(const float *x, const float *dy, float *dx, i64 n) {
	map(n, [](float v, float d) { return d * sigmoid(v); }, dx, x, dy);
}
REGISTER_KERNEL(softplus_back)

// normalize: y [n, 3] = a[c] · x [n, 3] + b[c], of bytes. A thread reads four bytes and writes sixteen: side by
// side both ways; its first channel is what is left of its place by 3.
extern "C" __global__ void __launch_bounds__(256) normalize(const unsigned char *x, float *y, i64 n, double a0, double a1,
	double a2, double b0, double b1, double b2) {
	const float a[3] = {(float)a0, (float)a1, (float)a2}, b[3] = {(float)b0, (float)b1, (float)b2};
	const auto pick = [](const float (&of)[3], int c) { return c == 0 ? of[0] : c == 1 ? of[1] : of[2]; };
	flat(3 * n, wide(y) && ((unsigned long long)x & 3) == 0, [&](auto w, i64 i) {
		const int first = (int)(i % 3);
		const unsigned bytes = w.n == 4 ? *(const unsigned *)(x + i) : x[i];
		pack<w.n> out;
#pragma unroll
		for (int k = 0; k < w.n; k++) {
			const int c = first + k % 3 - (first + k % 3 >= 3 ? 3 : 0);
			out.v[k] = fmaf(pick(a, c), (float)(bytes >> 8 * k & 255), pick(b, c)); // rounded once: OpenCLIP's to 3.3e-7
		}
		store(w, y + i, out);
	});
}
REGISTER_KERNEL(normalize)

// convert: y [n] = x [n], rounded to bfloat16 (ties to even) with half_y; x is bfloat16 with half_x.
extern "C" __global__ void __launch_bounds__(256) convert(const float *x, float *y, i64 n, i64 half_x, i64 half_y) {
	flat(n, wide(x, y), [&](auto w, i64 i) { store(w, y, i, load(w, x, i, half_x), half_y); });
}
REGISTER_KERNEL(convert)

// broadcast_rows: out [rows, cols] = scale · x [cols]. Plane.
extern "C" __global__ void __launch_bounds__(256) broadcast_rows(const float *x, float *out, i64 height, i64 cols,
	double scale) {
	const float a = (float)scale;
	columns(cols, cols % 4 == 0 && wide(x, out), [&](auto w, i64 c) {
		const auto y = map_pack([=](float v) { return a * v; }, load(w, x + c));
		rows(height, [&](i64 r) { store(w, out + r * cols + c, y); });
	});
}
REGISTER_KERNEL(broadcast_rows)
