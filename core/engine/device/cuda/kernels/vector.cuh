// Walking over arrays so that memory moves in the widest pieces: sixteen bytes a thread, side by side. Buffers
// begin on 256 bytes, but views of them begin anywhere: every kernel asks `wide` of its pointers and moves one
// float a thread where the answer is no.
#pragma once
#include "numbers.cuh"

// width is how many floats a thread moves at once, 4 or 1, as a type.
template <int V> struct width {
	static constexpr int n = V;
};

// pack is so many floats, which one instruction loads or stores.
template <int V> struct alignas(4 * V) pack {
	float v[V];
};

template <int V> DEVICE pack<V> load(width<V>, const float *p) { return *(const pack<V> *)p; }
template <int V> DEVICE void store(width<V>, float *p, pack<V> x) { *(pack<V> *)p = x; }

// store with half writes as bfloat16, two bytes a number from p on, what else it writes as float.
template <int V> DEVICE void store(width<V>, float *p, i64 at, pack<V> x, bool half) {
	struct alignas(2 * V) halves { unsigned short v[V]; } y;
	if (!half) {
		*(pack<V> *)(p + at) = x;
		return;
	}
	for (int k = 0; k < V; k++) y.v[k] = bf16_of(x.v[k]);
	*(halves *)((unsigned short *)p + at) = y;
}

// load with half reads bfloat16, two bytes a number from p on, what else it reads as float.
template <int V> DEVICE pack<V> load(width<V>, const float *p, i64 at, bool half) {
	struct alignas(2 * V) halves { unsigned short v[V]; };
	if (!half) return *(const pack<V> *)(p + at);
	const halves x = *(const halves *)((const unsigned short *)p + at);
	pack<V> y;
	for (int k = 0; k < V; k++) y.v[k] = of_bf16(x.v[k]);
	return y;
}

template <int V> DEVICE pack<V> load(width<V> w, numbers x, i64 i) { return load(w, x.at, i, x.half); }
template <int V> DEVICE void store(width<V> w, numbers y, i64 i, pack<V> x) { store(w, y.to(), i, x, y.half); }

// fill is a pack of equal numbers.
template <int V> DEVICE pack<V> fill(width<V>, float x) {
	pack<V> p;
	for (int k = 0; k < V; k++) p.v[k] = x;
	return p;
}

// wide says whether all pointers are on sixteen bytes; null is.
template <class... P> DEVICE bool wide(const P *...p) { return (((unsigned long long)p | ...) & 15) == 0; }

// flat calls f(width, i) for pieces of [0, n): quads when wide, the few after the last quad one by one. Launch:
// a grid and blocks along x, of any size.
template <class F> DEVICE void flat(i64 n, bool wide, F f) {
	const i64 first = blockIdx.x * (i64)blockDim.x + threadIdx.x, step = gridDim.x * (i64)blockDim.x;
	const i64 quads = wide ? n / 4 : 0;
#pragma unroll 1
	for (i64 i = first; i < quads; i += step) f(width<4>{}, 4 * i);
#pragma unroll 1
	for (i64 i = 4 * quads + first; i < n; i += step) f(width<1>{}, i);
}

// A plane is [rows, cols]: a thread keeps its columns, so that what belongs to a column stays in registers, and
// walks over rows. columns calls f(width, column), quads when wide (cols must be a multiple of 4 then); rows,
// inside of f, calls g(row). Launch: grid and blocks along x over columns, along y over rows, of any size.
template <class F> DEVICE void columns(i64 cols, bool wide, F f) {
	const i64 first = blockIdx.x * (i64)blockDim.x + threadIdx.x, step = gridDim.x * (i64)blockDim.x;
	if (wide)
		for (i64 c = 4 * first; c < cols; c += 4 * step) f(width<4>{}, c);
	else
		for (i64 c = first; c < cols; c += step) f(width<1>{}, c);
}

template <class G> DEVICE void rows(i64 rows, G g) {
	const i64 step = gridDim.y * (i64)blockDim.y;
#pragma unroll 1 // many threads, few registers
	for (i64 r = blockIdx.y * (i64)blockDim.y + threadIdx.y; r < rows; r += step) g(r);
}

// along calls f(width, column) for the columns of a row that this thread has, when the threads along x share a row.
template <class F> DEVICE void along(i64 cols, bool wide, F f) {
	if (wide)
#pragma unroll 1
		for (i64 c = 4 * threadIdx.x; c < cols; c += 4 * blockDim.x) f(width<4>{}, c);
	else
#pragma unroll 1
		for (i64 c = threadIdx.x; c < cols; c += blockDim.x) f(width<1>{}, c);
}
