// Feature maps in float32 or bfloat16, of which a thread has four neighbouring channels. What is asked of a map once, not at
// every load, lets the compiler begin many loads before it needs the first: these kernels are bound by memory.
#pragma once
#include "quad.cuh"

// packed is a map of one type whose quads lie on their size, unpacked is any map: n channels from the thread's first on.
template <bool HALF> struct packed {
	const float *at;
};
struct unpacked {
	const float *at;
	int n;
	bool wide, half;
};

struct alignas(8) half_quad {
	unsigned short v[4];
};

// load reads four numbers from element i on, as they lie in memory; number makes floats of them.
DEVICE quad load(packed<false> m, i64 i) { return *(const quad *)(m.at + i); }
DEVICE half_quad load(packed<true> m, i64 i) { return *(const half_quad *)((const unsigned short *)m.at + i); }
DEVICE quad load(unpacked m, i64 i) { return load_as(m.at, i, m.n, m.wide, m.half); }

DEVICE quad number(quad q) { return q; }
DEVICE quad number(half_quad h) { return {{of_bf16(h.v[0]), of_bf16(h.v[1]), of_bf16(h.v[2]), of_bf16(h.v[3])}}; }

DEVICE void store(packed<false> m, i64 i, quad q) { *(quad *)(m.at + i) = q; }
DEVICE void store(packed<true> m, i64 i, quad q) {
	*(half_quad *)((unsigned short *)m.at + i) = {{bf16_of(q.v[0]), bf16_of(q.v[1]), bf16_of(q.v[2]), bf16_of(q.v[3])}};
}
DEVICE void store(unpacked m, i64 i, quad q) { store_as((float *)m.at, i, q, m.n, m.wide, m.half); }

// either says of some maps whether all of them are bfloat16 and whether all are float32. Null is both.
struct either {
	bool halves = true, floats = true;
};
template <class... M> DEVICE either types(const float *map, i64 half, M... more) {
	either all;
	if constexpr (sizeof...(more) > 0) all = types(more...);
	if (map) all.halves &= half != 0, all.floats &= half == 0;
	return all;
}

// with_maps calls f with what makes a map of a pointer and whether it is bfloat16. wide: quads of all lie on sixteen bytes.
template <class F> DEVICE void with_maps(bool wide, either all, int n, F f) {
	if (wide && all.halves)
		f([](const float *p, bool) { return packed<true>{p}; });
	else if (wide && all.floats)
		f([](const float *p, bool) { return packed<false>{p}; });
	else
		f([=](const float *p, bool half) { return unpacked{p, n, wide, half}; });
}

// ahead is how many rows of a map are loaded before the first is used: 32 bytes a thread.
template <class M> constexpr int ahead = 1;
template <> constexpr int ahead<packed<false>> = 2;
template <> constexpr int ahead<packed<true>> = 4;

// load_rows loads so many rows of a map, step apart, from row r on. Those from row `to` on are r instead.
template <int N, class M> struct raw_rows {
	decltype(load(M{}, 0)) row[N];
};
template <int N, class M> DEVICE raw_rows<N, M> load_rows(M map, i64 r, i64 step, i64 to, i64 C, i64 c) {
	raw_rows<N, M> q;
	const i64 at = r * C + c, apart = step * C;
#pragma unroll
	for (int k = 0; k < N; k++) q.row[k] = load(map, r + k * step < to ? at + k * apart : at);
	return q;
}
