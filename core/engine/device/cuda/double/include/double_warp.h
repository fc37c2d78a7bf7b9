// Barriers and what lanes of a warp do together. Masks are honoured: a lane outside its own mask, or a
// mask whose lanes do not all come, is a finding (src/block.cpp).
#pragma once
#include "double.h"

inline void __syncthreads() { cudadouble::runtime->barrier(cudadouble::current, 0); }
inline int __syncthreads_count(int p) { return cudadouble::runtime->barrier(cudadouble::current, p != 0); }
inline int __syncthreads_or(int p) { return __syncthreads_count(p) != 0; }
inline int __syncthreads_and(int p) {
  const dim3 &d = blockDim;
  return __syncthreads_count(p) == int(d.x * d.y * d.z);
}

namespace cudadouble {

inline unsigned lane() { return current->linear & 31; }

// valueOf returns the value of lane `from`; NaNs (all bits) where nobody gave one, as the GPU's result is undefined.
template <class T> T shuffle(unsigned mask, T value, unsigned from) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  unsigned present;
  const uint64_t *all = runtime->meet(cudadouble::current, mask, Meeting::Shuffle, bits, &present);
  bits = present >> from & 1 ? all[from] : ~uint64_t(0);
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline unsigned vote(unsigned mask, bool predicate, unsigned &present) {
  const uint64_t *all = runtime->meet(cudadouble::current, mask, Meeting::Vote, predicate, &present);
  unsigned yes = 0;
  for (unsigned i = 0; i < 32; i++) yes |= unsigned(present >> i & 1 && all[i]) << i;
  return yes;
}

} // namespace cudadouble

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  unsigned present;
  cudadouble::runtime->meet(cudadouble::current, mask, cudadouble::Meeting::Sync, 0, &present);
}

template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  const unsigned l = cudadouble::lane(), w = unsigned(width);
  return cudadouble::shuffle(mask, v, (l & ~(w - 1)) + (unsigned(from) & (w - 1)));
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
  const unsigned l = cudadouble::lane(), w = unsigned(width), from = l ^ unsigned(bits);
  return cudadouble::shuffle(mask, v, from >= (l & ~(w - 1)) + w ? l : from);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
  const unsigned l = cudadouble::lane(), w = unsigned(width);
  return cudadouble::shuffle(mask, v, (l & (w - 1)) + by < w ? l + by : l);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
  const unsigned l = cudadouble::lane(), w = unsigned(width);
  return cudadouble::shuffle(mask, v, (l & (w - 1)) >= by ? l - by : l);
}

inline unsigned __ballot_sync(unsigned mask, int p) {
  unsigned present;
  return cudadouble::vote(mask, p != 0, present);
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) {
  unsigned present;
  return cudadouble::vote(mask, p != 0, present) == present;
}

// double_mma_m16n8k16 plays mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: d += a b in float32, with
// the fragments of the PTX manual (a: 4 registers of two bfloat16, b: 2, d: 4 floats a lane). The sum
// runs over k in order, one rounding a step: a tensor core's own order is not published.
inline void double_mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  struct Fragment { unsigned a[4], b[2]; } mine;
  memcpy(mine.a, a, sizeof a);
  memcpy(mine.b, b, sizeof b);
  unsigned present;
  const uint64_t *met = cudadouble::runtime->meet(cudadouble::current, 0xffffffffu, cudadouble::Meeting::Matrix, uint64_t(&mine), &present);
  if (present != 0xffffffffu) cudadouble::runtime->trap(cudadouble::current, "mma.sync by a warp that is not whole");
  const Fragment *all[32];
  for (int i = 0; i < 32; i++) all[i] = (const Fragment *)met[i];
  const auto half = [](unsigned pair, int hi) {
    const unsigned bits = hi ? pair & 0xffff0000u : pair << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
  };
  const int group = int(cudadouble::lane()) >> 2, inGroup = int(cudadouble::lane()) & 3;
  for (int i = 0; i < 4; i++) {
    const int row = group + (i >= 2 ? 8 : 0), col = inGroup * 2 + (i & 1);
    float sum = d[i];
    for (int k = 0; k < 16; k++) {
      const Fragment &fa = *all[(row & 7) * 4 + (k & 7) / 2], &fb = *all[col * 4 + (k & 7) / 2];
      sum = fmaf(half(fa.a[(k >= 8 ? 2 : 0) + (row >= 8 ? 1 : 0)], k & 1), half(fb.b[k >= 8], k & 1), sum);
    }
    d[i] = sum;
  }
  __syncwarp(); // `mine` lives until all have read it
}
