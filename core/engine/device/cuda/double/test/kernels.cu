// Kernels of the double's own tests: right ones and ones with planted faults.
#include "../../kernels/common.cuh"

extern "C" __global__ void __launch_bounds__(256) twice(const float *x, float *y, i64 n) {
  const i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i < n) y[i] = 2 * x[i];
}
REGISTER_KERNEL(twice)

// sum has one block a row of n: shuffles, static and dynamic shared memory, barriers.
extern "C" __global__ void __launch_bounds__(1024) sum(const float *x, float *y, i64 n) {
  __shared__ float warps[32];
  DYN_SHARED(float, all);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, count = blockDim.x >> 5;
  float s = 0;
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) s += x[blockIdx.x * n + i];
  all[threadIdx.x] = s;
  for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(0xffffffffu, s, o);
  if (!lane) warps[warp] = s;
  __syncthreads();
  if (!warp) {
    s = lane < count ? warps[lane] : 0;
    for (int o = 16; o; o >>= 1) s += __shfl_down_sync(0xffffffffu, s, o);
    if (!lane) y[blockIdx.x] = s + 0 * all[blockDim.x - 1];
  }
}
REGISTER_KERNEL(sum)

// product is D = A B + D of one warp: A [16,16] row-major, B [16,8] by columns, bfloat16; D [16,8] float32.
extern "C" __global__ void __launch_bounds__(32) product(const unsigned short *a, const unsigned short *b, float *d) {
#ifndef __CUDACC__
  const int g = threadIdx.x >> 2, t = threadIdx.x & 3;
  const unsigned *pa = (const unsigned *)a, *pb = (const unsigned *)b;
  const unsigned fa[4] = {pa[g * 8 + t], pa[(g + 8) * 8 + t], pa[g * 8 + t + 4], pa[(g + 8) * 8 + t + 4]};
  const unsigned fb[2] = {pb[g * 8 + t], pb[g * 8 + t + 4]};
  float c[4] = {d[g * 8 + t * 2], d[g * 8 + t * 2 + 1], d[(g + 8) * 8 + t * 2], d[(g + 8) * 8 + t * 2 + 1]};
  double_mma_m16n8k16(c, fa, fb);
  d[g * 8 + t * 2] = c[0], d[g * 8 + t * 2 + 1] = c[1], d[(g + 8) * 8 + t * 2] = c[2], d[(g + 8) * 8 + t * 2 + 1] = c[3];
#endif
}
REGISTER_KERNEL(product)

// Planted faults.

// beyond writes element n + by: just past its memory, or far from it.
extern "C" __global__ void beyond(float *y, i64 n, i64 by) {
  if (threadIdx.x == 3) y[n + by] = 1;
}
REGISTER_KERNEL(beyond)

extern "C" __global__ void divergent(float *y) {
  if (threadIdx.x < 40) __syncthreads();
  y[threadIdx.x] = 1;
}
REGISTER_KERNEL(divergent)

extern "C" __global__ void divergentWarp(float *y) {
  float s = 1;
  if (threadIdx.x & 1) s = __shfl_xor_sync(0xffffffffu, s, 1);
  y[threadIdx.x] = s;
}
REGISTER_KERNEL(divergentWarp)

// racing reads its neighbour's element of shared memory without a barrier.
extern "C" __global__ void racing(float *y) {
  DYN_SHARED(float, all);
  all[threadIdx.x] = (float)threadIdx.x;
  y[threadIdx.x] = all[(threadIdx.x + 1) % blockDim.x];
}
REGISTER_KERNEL(racing)

extern "C" __global__ void scaled(const float *x, float *y, i64 n, double by) {
  const i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i < n) y[i] = (float)by * x[i];
}
REGISTER_KERNEL(scaled)

// Faults that only the checked build shows.

// peek reads one element past the end, where the driver's rounding of sizes hides it.
extern "C" __global__ void peek(const float *x, float *y, i64 n) { y[threadIdx.x] = x[threadIdx.x + (threadIdx.x == n - 1)]; }
REGISTER_KERNEL(peek)

extern "C" __global__ void wide(const float *x, float *y, i64 from) {
  const float4 v = *(const float4 *)(x + from);
  y[threadIdx.x] = v.x + v.w;
}
REGISTER_KERNEL(wide)

extern "C" __global__ void sharedUnwritten(float *y) {
  DYN_SHARED(float, all);
  if (threadIdx.x != 5) all[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = all[threadIdx.x];
}
REGISTER_KERNEL(sharedUnwritten)

extern "C" __global__ void sharedBeyond(float *y) {
  DYN_SHARED(float, all);
  all[threadIdx.x + 1] = 1;
  y[threadIdx.x] = 1;
}
REGISTER_KERNEL(sharedBeyond)

// colliding lets every block write the same elements.
extern "C" __global__ void colliding(float *y) { y[threadIdx.x] = (float)blockIdx.x; }
REGISTER_KERNEL(colliding)

// shifting reads its neighbour's element in place: other threads may have written it.
extern "C" __global__ void shifting(float *y, i64 n) {
  const i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i + 1 < n) y[i] = y[i + 1];
}
REGISTER_KERNEL(shifting)

// total sums blocks' parts in the block that is last, found by an atomic: no fault.
extern "C" __global__ void total(const float *x, float *parts, unsigned *done, float *y, i64 n) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    float s = 0;
    for (i64 i = blockIdx.x; i < n; i += gridDim.x) s += x[i];
    parts[blockIdx.x] = s;
    __threadfence();
    last = atomicAdd(done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float s = 0;
    for (unsigned i = 0; i < gridDim.x; i++) s += parts[i];
    *y = s;
  }
}
REGISTER_KERNEL(total)

extern "C" __global__ void divide(float *y, i64 by) { y[threadIdx.x] = (float)((i64)(threadIdx.x + 1) / by); }
REGISTER_KERNEL(divide)
