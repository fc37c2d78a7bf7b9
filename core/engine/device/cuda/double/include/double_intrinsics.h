// Arithmetic, bit, memory and atomic intrinsics. The GPU's fast forms (__expf, __fdividef) are exact here.
#pragma once
#include "double.h"

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }
#define __expf expf /* glibc has its own __expf and the like */
#define __logf logf
#define __log2f log2f
#define __exp10f(x) exp2f((x) * 3.32192809488736234787f)
#define __sinf sinf
#define __cosf cosf
#define __powf powf
#define __tanhf tanhf
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline int __float2int_rn(float x) { return int(nearbyintf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline unsigned __float2uint_rn(float x) { return unsigned(nearbyintf(x)); }
inline float __int2float_rn(int x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }

namespace cudadouble {
template <class To, class From> To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To t;
  memcpy(&t, &v, sizeof t);
  return t;
}
} // namespace cudadouble
inline int __float_as_int(float x) { return cudadouble::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cudadouble::bits<unsigned>(x); }
inline float __int_as_float(int x) { return cudadouble::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return cudadouble::bits<float>(x); }
inline long long __double_as_longlong(double x) { return cudadouble::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return cudadouble::bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
  const unsigned long long both = (unsigned long long)b << 32 | a;
  unsigned r = 0;
  for (int i = 0; i < 4; i++) r |= unsigned(both >> (s >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return r;
}

// min and max follow CUDA: of a number and a NaN they give the number.
#define DOUBLE_MINMAX(T)                                                                               \
  inline T min(T a, T b) { return b < a ? b : a; }                                                     \
  inline T max(T a, T b) { return a < b ? b : a; }
DOUBLE_MINMAX(int)
DOUBLE_MINMAX(unsigned)
DOUBLE_MINMAX(long)
DOUBLE_MINMAX(unsigned long)
DOUBLE_MINMAX(long long)
DOUBLE_MINMAX(unsigned long long)
#undef DOUBLE_MINMAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }
using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;

template <class T> T __ldg(const T *p) { return *p; }
template <class T> T __ldcs(const T *p) { return *p; }
template <class T> T __ldcg(const T *p) { return *p; }
template <class T> void __stcs(T *p, T v) { *p = v; }
template <class T> void __stcg(T *p, T v) { *p = v; }
inline void __threadfence() { asm volatile("mfence" ::: "memory"); }
inline void __threadfence_block() {}
inline void __trap() { cudadouble::runtime->trap(cudadouble::current, "__trap()"); }
inline void __nanosleep(unsigned) {}

// Atomics change a word in one piece among blocks on other cores too.
namespace cudadouble {
template <class T, class F> T atomically(T *p, F change) {
  using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  U old = __atomic_load_n((U *)p, __ATOMIC_RELAXED), next;
  do next = bits<U>(change(bits<T>(old)));
  while (!__atomic_compare_exchange_n((U *)p, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  return bits<T>(old);
}
} // namespace cudadouble
template <class T> using DoubleSame = typename std::enable_if<true, T>::type; // the value follows the pointer's type
template <class T> T atomicAdd(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return T(o + v); }); }
template <class T> T atomicSub(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return T(o - v); }); }
template <class T> T atomicMin(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return v < o ? v : o; }); }
template <class T> T atomicMax(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return o < v ? v : o; }); }
template <class T> T atomicAnd(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return T(o & v); }); }
template <class T> T atomicOr(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return T(o | v); }); }
template <class T> T atomicXor(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T o) { return T(o ^ v); }); }
template <class T> T atomicExch(T *p, DoubleSame<T> v) { return cudadouble::atomically(p, [=](T) { return v; }); }
template <class T> T atomicCAS(T *p, DoubleSame<T> is, DoubleSame<T> v) {
  return cudadouble::atomically(p, [=](T o) { return o == is ? v : o; });
}
inline unsigned atomicInc(unsigned *p, unsigned limit) {
  return cudadouble::atomically(p, [=](unsigned o) { return o >= limit ? 0u : o + 1; });
}
