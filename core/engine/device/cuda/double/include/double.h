// The device language of CUDA for g++: as much of it as the kernels use. Included by kernels/common.cuh.
// Threads are fibers of src/block.cpp; barriers and warp operations really meet.
#pragma once
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#include "double_abi.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
// One block at a time runs on an OS thread, and a block never changes its OS thread.
#define __shared__ static thread_local
#define DYN_SHARED(T, name) T *const name = (T *)cudadouble::current->shared

namespace cudadouble {
inline thread_local Thread *current;
inline const Runtime *runtime;
inline const Kernel *first;
} // namespace cudadouble

#define threadIdx (cudadouble::current->thread)
#define blockIdx (cudadouble::current->block)
#define blockDim (cudadouble::current->blockDim)
#define gridDim (cudadouble::current->gridDim)
constexpr int warpSize = 32;
using dim3 = cudadouble::Dim;

#include "double_intrinsics.h"
#include "double_vector.h"
#include "double_warp.h"

namespace cudadouble {

template <class T> constexpr Parameter parameterOf() {
  static_assert(sizeof(T) == 8, "kernel parameters are eight bytes wide: pointers, i64 or double");
  static_assert(std::is_pointer_v<T> || std::is_integral_v<T> || std::is_same_v<T, double>,
                "kernel parameters are pointers, i64 or double");
  if (std::is_pointer_v<T>)
    return std::is_const_v<std::remove_pointer_t<T>> ? Parameter::ConstPointer : Parameter::Pointer;
  return std::is_integral_v<T> ? Parameter::Integer : Parameter::Real;
}

template <class T> constexpr int elementOf() {
  using E = std::remove_pointer_t<T>;
  if constexpr (std::is_pointer_v<T> && !std::is_void_v<E>) return sizeof(E);
  return 1;
}

template <auto F> struct Entry;
template <class... A, void (*F)(A...)> struct Entry<F> {
  template <size_t... I> static void call(void *const *p, std::index_sequence<I...>) {
    F(*(A *)p[I]...);
  }
  static void run(void *const *p) { call(p, std::index_sequence_for<A...>{}); }
  static inline const Parameter parameters[] = {parameterOf<A>()..., Parameter::Integer};
  static inline const int elements[] = {elementOf<A>()..., 0};
  static inline Kernel kernel = {};
  static bool add(const char *name) {
    kernel = {name, run, int(sizeof...(A)), parameters, elements, first};
    first = &kernel;
    return true;
  }
};

} // namespace cudadouble

#define REGISTER_KERNEL(k) [[maybe_unused]] static const bool double_has_##k = cudadouble::Entry<k>::add(#k);
