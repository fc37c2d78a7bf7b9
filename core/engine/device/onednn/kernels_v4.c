//go:build onednn

// Kernels for x86-64 processors with AVX-512.
#include "td.h"
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512cd,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt,movbe,prefer-vector-width=512")
#define TD_TABLE td_ops_v4
#define VL 16
#include "kernels.inc.h"
#endif
