// Vector types, aligned as on the GPU.
#pragma once
#include "double.h"

#define DOUBLE_VECTORS(T, N, A2, A4)                                                                   \
  struct N##2 { T x, y; } __attribute__((aligned(A2)));                                                \
  struct N##3 { T x, y, z; };                                                                          \
  struct N##4 { T x, y, z, w; } __attribute__((aligned(A4)));                                          \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }                                                 \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                                         \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }

DOUBLE_VECTORS(float, float, 8, 16)
DOUBLE_VECTORS(int, int, 8, 16)
DOUBLE_VECTORS(unsigned, uint, 8, 16)
DOUBLE_VECTORS(short, short, 4, 8)
DOUBLE_VECTORS(unsigned short, ushort, 4, 8)
DOUBLE_VECTORS(signed char, char, 2, 4)
DOUBLE_VECTORS(unsigned char, uchar, 2, 4)
DOUBLE_VECTORS(double, double, 16, 16)
DOUBLE_VECTORS(long long, longlong, 16, 16)
DOUBLE_VECTORS(unsigned long long, ulonglong, 16, 16)
#undef DOUBLE_VECTORS
