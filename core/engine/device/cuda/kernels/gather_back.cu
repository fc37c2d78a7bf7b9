// The gradient of a table of embeddings: dtable is zeroed (zero in tokens.cu), then dtable[ids[i]] += dy[i] in the
// order of i, without atomics on floats, so that the bits are the same each time. Flags say which arrays are bfloat16: a row
// is written once, when its sum is done.
//
// Up to few thousand ids, a block for each i looks through all ids: where i is the first with its id, it adds the
// rows of all of them. More ids are sorted first, by a stable radix sort of eight bits a pass (sort_count, sort_scan,
// sort_place), so that equal ids stand together in the order of i. Then pieces of 128 sorted places are summed by a
// block each, as long as the piece goes; a sum that began in an earlier piece or goes on in a later one is left in
// `edges`, and gather_back_join adds those up in order. So no block has more to do than another, even where one id,
// a padding, has most of the places.
//
// Bytes for n ids of rows of c floats, into a table of r rows: 4rc zeroed, 4nc of dy read, at most 4c·min(n, r)
// written; the sort moves about 28n a pass, edges 16nc/128. For 78,848 ids of 512 floats and 49,408 rows that is
// 101 + 161 + at most 101 + 5 + 5 MB.
#include "vector.cuh"

typedef unsigned long long u64;

// gather_back_few: dtable rows [height, cols] of ids [n]. Grid x is n blocks.
extern "C" __global__ void __launch_bounds__(256, 2) gather_back_few(const int *ids, const float *dy, float *dtable, i64 height,
	i64 n, i64 cols, i64 half_dy, i64 half_dtable) {
	const i64 i = blockIdx.x;
	const int id = ids[i];
	if (id < 0 || id >= height) return;
	int earlier = 0;
	for (i64 j = threadIdx.x; j < i; j += blockDim.x) earlier |= ids[j] == id;
	if (__syncthreads_or(earlier)) return;
	along(cols, cols % 4 == 0 && wide(dy, dtable), [&](auto w, i64 c) {
		auto sum = load(w, dy, i * cols + c, half_dy);
		for (i64 j = i + 1; j < n; j++) {
			if (ids[j] != id) continue;
			const auto v = load(w, dy, j * cols + c, half_dy);
			for (int k = 0; k < w.n; k++) sum.v[k] += v.v[k];
		}
		store(w, dtable, id * cols + c, sum, half_dtable);
	});
}
REGISTER_KERNEL(gather_back_few)

// A place to sort is id·2³² + i. The first pass makes it of ids; an id outside of the table becomes `height`, which
// sorts last and is left out. A block sorts a tile of 1024 places: a warp has 128 that stand together, in four rounds
// of 32.
enum { tile = 1024, rounds = 4, digits = 256 };

DEVICE u64 place_at(const int *ids, const u64 *places, i64 i, i64 height) {
	if (!ids) return places[i];
	const int id = ids[i];
	return (u64)(id < 0 || id >= height ? height : id) << 32 | (u64)i;
}

DEVICE int digit_of(u64 place, i64 shift) { return (int)(place >> (32 + shift) & (digits - 1)); }

// sort_count: counts [256, tiles] = how often each digit is in each tile. A block of 256 a tile.
extern "C" __global__ void __launch_bounds__(256) sort_count(const int *ids, const u64 *places, int *counts, i64 n,
	i64 height, i64 shift) {
	__shared__ int found[digits];
	found[threadIdx.x] = 0;
	__syncthreads();
	const i64 first = blockIdx.x * (i64)tile;
	for (i64 i = first + threadIdx.x; i < min(first + tile, n); i += blockDim.x)
		atomicAdd(&found[digit_of(place_at(ids, places, i, height), shift)], 1); // whole numbers: any order
	__syncthreads();
	counts[threadIdx.x * (i64)gridDim.x + blockIdx.x] = found[threadIdx.x];
}
REGISTER_KERNEL(sort_count)

// sort_scan: counts [n] become the sums of those before. One block of 1024.
extern "C" __global__ void __launch_bounds__(1024) sort_scan(int *counts, i64 n) {
	__shared__ int warps[32];
	const i64 share = (n + 1023) / 1024, first = min(threadIdx.x * share, n), end = min(first + share, n);
	int mine = 0;
	for (i64 i = first; i < end; i++) mine += counts[i];
	const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
	int before = mine;
	for (int o = 1; o < 32; o <<= 1) {
		const int other = __shfl_up_sync(0xffffffffu, before, o);
		if (lane >= o) before += other;
	}
	if (lane == 31) warps[warp] = before;
	__syncthreads();
	int earlier = 0;
	for (int i = 0; i < warp; i++) earlier += warps[i];
	int sum = earlier + before - mine;
	for (i64 i = first; i < end; i++) {
		const int count = counts[i];
		counts[i] = sum;
		sum += count;
	}
}
REGISTER_KERNEL(sort_scan)

// sort_place: sorted [n] = places in the order of the digit, those of equal digits as they stood. A block of 256 a
// tile.
extern "C" __global__ void __launch_bounds__(256) sort_place(const int *ids, const u64 *places, const int *counts,
	u64 *sorted, i64 n, i64 height, i64 shift) {
	__shared__ int found[8][digits];
	const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
	for (int w = 0; w < 8; w++) found[w][threadIdx.x] = 0;
	__syncthreads();
	const i64 first = blockIdx.x * (i64)tile + warp * (tile / 8);
	u64 place[rounds];
	int digit[rounds], rank[rounds];
#pragma unroll
	for (int r = 0; r < rounds; r++) {
		const i64 i = first + 32 * r + lane;
		place[r] = i < n ? place_at(ids, places, i, height) : 0;
		digit[r] = i < n ? digit_of(place[r], shift) : digits; // of no lane in the tile
		unsigned same = 0xffffffffu;
		for (int bit = 0; bit < 9; bit++) {
			const unsigned set = __ballot_sync(0xffffffffu, digit[r] >> bit & 1);
			same &= digit[r] >> bit & 1 ? set : ~set;
		}
		const int ahead = __popc(same & ((1u << lane) - 1));
		rank[r] = i < n ? found[warp][digit[r]] + ahead : 0;
		__syncwarp();
		if (i < n && ahead == 0) found[warp][digit[r]] = rank[r] + __popc(same);
		__syncwarp();
	}
	__syncthreads();
	int start = counts[threadIdx.x * (i64)gridDim.x + blockIdx.x];
	for (int w = 0; w < 8; w++) {
		const int count = found[w][threadIdx.x];
		found[w][threadIdx.x] = start;
		start += count;
	}
	__syncthreads();
#pragma unroll
	for (int r = 0; r < rounds; r++)
		if (first + 32 * r + lane < n) sorted[found[warp][digit[r]] + rank[r]] = place[r];
}
REGISTER_KERNEL(sort_place)

enum { piece = 128 };

DEVICE i64 id_of(u64 place) { return (i64)(place >> 32); }

// gather_back_sum: the sums of each piece of sorted places. edges [pieces, 2, cols]: first the sum that began in an
// earlier piece, second the one that began here and goes on. A block a piece.
extern "C" __global__ void __launch_bounds__(256) gather_back_sum(const u64 *sorted, const float *dy, float *dtable,
	float *edges, i64 height, i64 n, i64 cols, i64 half_dy, i64 half_dtable) {
	const i64 first = blockIdx.x * (i64)piece, end = min(first + piece, n);
	const bool begun = first > 0 && id_of(sorted[first - 1]) == id_of(sorted[first]);
	const bool goes_on = end < n && id_of(sorted[end]) == id_of(sorted[end - 1]);
	edges += blockIdx.x * 2 * cols;
	along(cols, cols % 4 == 0 && wide(dy, dtable, edges), [&](auto w, i64 c) {
		float *open = begun ? edges + c : nullptr; // where the present sum goes, if not to its row
		i64 id = id_of(sorted[first]);
		auto sum = fill(w, 0);
		constexpr int ahead = 4; // rows that are read at once
		for (i64 i = first; i < end; i += ahead) {
			u64 place[ahead];
			pack<w.n> v[ahead];
#pragma unroll
			for (int a = 0; a < ahead; a++)
				if (i + a < end) place[a] = sorted[i + a];
#pragma unroll
			for (int a = 0; a < ahead; a++)
				if (i + a < end) v[a] = load(w, dy, (i64)(place[a] & 0xffffffffu) * cols + c, half_dy);
#pragma unroll
			for (int a = 0; a < ahead; a++) {
				if (i + a >= end) continue;
				if (id_of(place[a]) != id) {
					if (open) store(w, open, sum);
					else if (id < height) store(w, dtable, id * cols + c, sum, half_dtable);
					open = nullptr;
					id = id_of(place[a]);
					sum = v[a];
				} else {
					for (int k = 0; k < w.n; k++) sum.v[k] += v[a].v[k];
				}
			}
		}
		if (!open && goes_on) open = edges + cols + c;
		if (open) store(w, open, sum);
		else if (id < height) store(w, dtable, id * cols + c, sum, half_dtable);
	});
}
REGISTER_KERNEL(gather_back_sum)

// gather_back_join: adds up the sums that go over pieces. A block a piece; those in which none begins have nothing to
// do.
extern "C" __global__ void __launch_bounds__(256, 4) gather_back_join(const u64 *sorted, const float *edges, float *dtable,
	i64 height, i64 n, i64 cols, i64 half_dtable) {
	const i64 first = blockIdx.x * (i64)piece, end = first + piece;
	if (end >= n) return;
	const i64 id = id_of(sorted[end - 1]);
	if (id >= height || id_of(sorted[end]) != id) return;
	if (first > 0 && id_of(sorted[first]) == id && id_of(sorted[first - 1]) == id) return; // began earlier
	i64 low = end, high = n; // the id's last place is in [low, high)
	while (high - low > 1) {
		const i64 middle = (low + high) / 2;
		if (id_of(sorted[middle]) == id) low = middle;
		else high = middle;
	}
	const i64 last = low / piece;
	along(cols, cols % 4 == 0 && wide(edges, dtable), [&](auto w, i64 c) {
		auto sum = load(w, edges + (blockIdx.x * 2 + 1) * cols + c);
#pragma unroll 8
		for (i64 b = blockIdx.x + 1; b <= last; b++) {
			const auto v = load(w, edges + b * 2 * cols + c);
			for (int k = 0; k < w.n; k++) sum.v[k] += v.v[k];
		}
		store(w, dtable, id * cols + c, sum, half_dtable);
	});
}
REGISTER_KERNEL(gather_back_join)
