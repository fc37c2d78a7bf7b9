//go:build onednn

// Kernels for x86-64 processors with AVX2 and FMA.
#include "td.h"
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt,movbe")
#define TD_TABLE td_ops_v3
#define VL 8
#include "kernels.inc.h"
#endif
