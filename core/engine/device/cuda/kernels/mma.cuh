// Products of small matrices of bfloat16 by tensor cores, a warp at a time, and what feeds them (PTX ISA: mma.m16n8k16,
// ldmatrix, cp.async; from compute capability 8.0 on). A lane's part of a matrix is its fragment: of a [16, 16] four registers of two numbers
// each, of b [16, 8] two, of c [16, 8] four floats, which are columns 2(lane mod 4) and the next of the rows
// lane div 4 and that + 8.
#pragma once
#include "common.cuh"

// WITH_MMA is its argument where there are such tensor cores. The backend refuses bfloat16 on other GPUs.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define WITH_MMA(...) __VA_ARGS__
#else
#define WITH_MMA(...) asm volatile("trap;")
#endif

// mma adds a·b to c; products are exact, sums are float32.
DEVICE void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDA_ARCH__)
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
				 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	double_mma_m16n8k16(c, a, b);
#endif
}

// load_fragments loads four matrices of eight by eight from shared memory. Lane 8i + r gives the address of row r of
// matrix i, sixteen bytes on sixteen; f[i] is two neighbours of matrix i, of row lane div 4 and columns
// 2(lane mod 4) and the next. Transposed, they are of the matrix's transpose.
template <bool TRANSPOSED> DEVICE void load_fragments(unsigned (&f)[4], const unsigned short *row) {
#if defined(__CUDA_ARCH__)
	const unsigned at = (unsigned)__cvta_generic_to_shared(row);
	if (TRANSPOSED)
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
					 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(at) : "memory");
	else
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
					 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(at) : "memory");
#else
	const int lane = threadIdx.x % 32;
	for (int i = 0; i < 4; i++) {
		if (TRANSPOSED) {
			const unsigned short *low = __shfl_sync(0xffffffffu, row, 8 * i + 2 * (lane % 4));
			const unsigned short *high = __shfl_sync(0xffffffffu, row, 8 * i + 2 * (lane % 4) + 1);
			f[i] = low[lane / 4] | (unsigned)high[lane / 4] << 16;
		} else {
			const unsigned short *at = __shfl_sync(0xffffffffu, row, 8 * i + lane / 4) + 2 * (lane % 4);
			f[i] = at[0] | (unsigned)at[1] << 16;
		}
	}
#endif
}

// load_left loads operand a, rows [row, row + 16) and columns [k, k + 16) of a matrix in shared memory with PITCH numbers
// a row; TRANSPOSED, of its transpose. Rows begin on sixteen bytes.
template <int PITCH, bool TRANSPOSED> DEVICE void load_left(unsigned (&a)[4], const unsigned short *x, int row, int k) {
	const int i = threadIdx.x % 32 / 8, r = threadIdx.x % 8, m = row + i % 2 * 8, c = k + i / 2 * 8;
	load_fragments<TRANSPOSED>(a, TRANSPOSED ? x + (c + r) * PITCH + m : x + (m + r) * PITCH + c);
}

// load_right loads two operands b, columns [n, n + 8) and [n + 8, n + 16) of rows [k, k + 16), of the transpose of a
// matrix in shared memory; TRANSPOSED, of the matrix itself.
template <int PITCH, bool TRANSPOSED> DEVICE void load_right(unsigned (&b)[4], const unsigned short *x, int n, int k) {
	const int i = threadIdx.x % 32 / 8, r = threadIdx.x % 8, c = n + i / 2 * 8, m = k + i % 2 * 8;
	load_fragments<TRANSPOSED>(b, TRANSPOSED ? x + (m + r) * PITCH + c : x + (c + r) * PITCH + m);
}

// mma_pair adds a times the two operands that load_right loads.
DEVICE void mma_pair(float (&low)[4], float (&high)[4], const unsigned (&a)[4], const unsigned (&b)[4]) {
	const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
	mma(low, a, first);
	mma(high, a, second);
}

// pair_of rounds two numbers to bfloat16, low in the lower half.
DEVICE unsigned pair_of(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	unsigned pair;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
	return pair;
#else
	return bf16_of(low) | (unsigned)bf16_of(high) << 16;
#endif
}

// left_of makes operand a of two sums of mma, its columns 0 to 7 and 8 to 15: they lie in the same lanes.
DEVICE void left_of(unsigned (&a)[4], const float (&low)[4], const float (&high)[4]) {
	a[0] = pair_of(low[0], low[1]);
	a[1] = pair_of(low[2], low[3]);
	a[2] = pair_of(high[0], high[1]);
	a[3] = pair_of(high[2], high[3]);
}

// copy_16 begins to copy sixteen bytes to shared memory, or zeros where there is nothing to copy (from is an address
// all the same); both are on sixteen. copies_arrive waits for all that this thread began.
DEVICE void copy_16(void *to, const void *from, bool in) {
#if defined(__CUDA_ARCH__)
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(in ? 16 : 0)
				 : "memory");
#else
	struct alignas(16) octet {
		unsigned v[4];
	};
	*(octet *)to = in ? *(const octet *)from : octet{};
#endif
}
DEVICE void copies_arrive() {
#if defined(__CUDA_ARCH__)
	asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// copies are those of a thread to shared memory in groups of at most EACH, of which GROUPS at most are on their way. The CPU makes
// them when they must have arrived, not before: what is read too early is what was there.
template <int GROUPS, int EACH> struct copies {
#if !defined(__CUDA_ARCH__)
	struct {
		void *to;
		const void *from;
		bool in;
	} all[GROUPS][EACH];
	int count[GROUPS] = {}, ended = 0, arrived = 0; // of a group; groups
#endif
	// begin is copy_16.
	__device__ __forceinline__ void begin(void *to, const void *from, bool in) {
#if defined(__CUDA_ARCH__)
		copy_16(to, from, in);
#else
		all[ended % GROUPS][count[ended % GROUPS]++] = {to, from, in};
#endif
	}
	__device__ __forceinline__ void end_group() {
#if defined(__CUDA_ARCH__)
		asm volatile("cp.async.commit_group;" ::: "memory");
#else
		ended++;
#endif
	}
	// arrive_but waits for all groups that have ended but the last N.
	template <int N> __device__ __forceinline__ void arrive_but() {
#if defined(__CUDA_ARCH__)
		asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
		for (; arrived < ended - N; arrived++) {
			int &n = count[arrived % GROUPS];
			for (int i = 0; i < n; i++) copy_16(all[arrived % GROUPS][i].to, all[arrived % GROUPS][i].from, all[arrived % GROUPS][i].in);
			n = 0;
		}
#endif
	}
};
