// The C kernels, compiled once for each instruction set: TD_TABLE is the table to define, VL the
// floats of a vector register.
//
// Each kernel is a function over a range of independent items, and a td_<name> that hands ranges to
// threads. No reduction crosses threads but through partial sums that are added in order.
#pragma GCC optimize("O3", "no-trapping-math", "no-thread-jumps")
#include "td.h"

#if VL > 4
#include <immintrin.h>
#endif
#include <math.h>
#include <omp.h>
#include <string.h>

#include "math.inc.h"

typedef void (*range)(td_exec *, int part, long lo, long hi);

// Under this many streamed floats, waking a sleeping thread costs more than it saves.
enum { GRAIN = 1 << 16 };

// split_parts runs f over [0, n) on all threads or, when there is little to do, on this one: part p of
// the range is always the same, so that sums of parts can be added in order. cost is the work of an item
// in streamed floats; parts begin at multiples of step.
static void split_parts(td_exec *e, long n, long cost, long step, range f) {
	int parts = e->be->threads;
	if (parts == 1 || n * cost < GRAIN || n <= step) {
		f(e, 0, 0, n);
		return;
	}
#pragma omp parallel num_threads(parts)
	for (int p = omp_get_thread_num(); p < parts; p += omp_get_num_threads()) {
		long lo = n * p / parts / step * step, hi = p + 1 == parts ? n : n * (p + 1) / parts / step * step;
		if (lo < hi)
			f(e, p, lo, hi);
	}
}

// Pieces of a part, which other threads may take: another process may have taken a core.
enum { PIECES = 6 };

// split does what split_parts does, for items that do not depend on each other: a thread that is done with its part
// helps with the parts of others. f is told its thread, whose scratch it may use.
static void split(td_exec *e, long n, long cost, long step, range f) {
	int parts = e->be->threads;
	if (parts == 1 || n * cost < GRAIN || n <= step) {
		f(e, 0, 0, n);
		return;
	}
	struct {
		long next; // piece
		char line[56];
	} taken[parts];
	memset(taken, 0, sizeof taken);
	long pieces = (long)parts * PIECES, units = (n + step - 1) / step;
#pragma omp parallel num_threads(parts)
	for (int me = omp_get_thread_num(), p = 0; p < parts; p++) {
		int of = (me + p) % parts;
		for (;;) {
			long piece = __atomic_fetch_add(&taken[of].next, 1, __ATOMIC_RELAXED);
			if (piece >= PIECES)
				break;
			piece += (long)of * PIECES;
			long lo = units * piece / pieces * step, hi = units * (piece + 1) / pieces * step;
			if (hi > n)
				hi = n;
			if (lo < hi)
				f(e, me, lo, hi);
		}
	}
}

#define F(i) ((float *)e->arg[i])
#define H(i) ((uint16_t *)e->arg[i])
#define I(i) ((const int32_t *)e->arg[i])
#define SIMD _Pragma("omp simd")

// FLAT defines a kernel over n[0] independent elements; body sees i.
#define FLAT(name, cost, setup, body) \
	static void name##_range(td_exec *e, int part, long lo, long hi) { \
		(void)part; \
		setup; \
		SIMD for (long i = lo; i < hi; i++) { body; } \
	} \
	static void name(td_exec *e) { split(e, e->n[0], cost, 16, name##_range); }

enum { CHUNK = 256 }; // floats that a kernel computes before it writes them as bfloat16

#include "elementwise.inc.h"
#include "rows.inc.h"
#include "product.inc.h"
#include "matmul.inc.h"
#include "attention.inc.h"
#include "attention_at.inc.h"
#include "maps.inc.h"
#include "batchnorm.inc.h"

const td_run_fn TD_TABLE[td_count] = {
#define OP(name) [td_##name] = name,
	TD_KERNELS(OP)
#undef OP
};
