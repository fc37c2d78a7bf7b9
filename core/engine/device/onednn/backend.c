//go:build onednn

#define _GNU_SOURCE
#include "td.h"

#include <malloc.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

static size_t rounded(size_t bytes) { return (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1); }

static _Atomic int64_t mapped; // bytes straight from the kernel

// Large memory comes straight from the kernel, aligned for huge pages: parameters and activations
// are streamed, and small pages would spend a tenth of the time on address translation.
void *td_alloc(size_t bytes) {
	if (bytes == 0)
		bytes = 64;
	if (bytes < HUGE_PAGE) {
		void *p;
		if (posix_memalign(&p, 64, bytes))
			return NULL;
		return memset(p, 0, bytes);
	}
	size_t size = rounded(bytes);
	char *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t lead = -(uintptr_t)p & (HUGE_PAGE - 1);
	if (lead)
		munmap(p, lead);
	if (HUGE_PAGE - lead)
		munmap(p + lead + size, HUGE_PAGE - lead);
	madvise(p + lead, size, MADV_HUGEPAGE);
	atomic_fetch_add(&mapped, size);
	return p + lead;
}

void td_free(void *p, size_t bytes) {
	if (!p)
		return;
	if (bytes < HUGE_PAGE) {
		free(p);
		return;
	}
	atomic_fetch_sub(&mapped, rounded(bytes));
	munmap(p, rounded(bytes));
}

int64_t td_allocated(void) {
	int64_t heap = 0;
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
	struct mallinfo2 m = mallinfo2();
	heap = m.arena + m.hblkhd;
#endif
	return atomic_load(&mapped) + heap;
}

void td_zero(td_backend *be, void *p, size_t bytes) {
	(void)be;
	memset(p, 0, bytes);
}

td_backend *td_open(int threads, char *err, int len) {
	td_backend *be = calloc(1, sizeof *be);
	if (!be)
		return NULL;
	be->threads = threads;
	be->generation = 1;
	long second = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
	second = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
	be->second = (second > 0 ? second : 512 << 10) / (long)sizeof(float);
	omp_set_num_threads(threads);
	omp_set_dynamic(0);
	if (dnnl_engine_create(&be->engine, dnnl_cpu, 0) != dnnl_success ||
		dnnl_stream_create(&be->stream, be->engine, dnnl_stream_default_flags) != dnnl_success) {
		snprintf(err, len, "oneDNN has no CPU engine");
		free(be);
		return NULL;
	}
	be->ops = td_ops_base;
	be->isa = "generic";
	be->panel = 8;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		be->ops = td_ops_v3;
		be->isa = "avx2";
	}
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
		be->ops = td_ops_v4;
		be->isa = "avx512";
	}
	const char *want = getenv("TANDEM_ISA"); // for tests of the narrower tables
	if (want && !strcmp(want, "generic")) {
		be->ops = td_ops_base;
		be->isa = "generic";
	} else if (want && !strcmp(want, "avx2") && be->ops == td_ops_v4) {
		be->ops = td_ops_v3;
		be->isa = "avx2";
	}
	if (be->ops != td_ops_base)
		be->panel = be->ops == td_ops_v4 ? 64 : 16;
	int isa = dnnl_get_effective_cpu_isa();
	be->wide = be->ops == td_ops_v4 && (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
	be->bf16 = be->ops == td_ops_v4 && (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
#endif
	return be;
}

td_exec *td_new(td_backend *be, int op, const long *n, const double *f, size_t tmp) {
	td_exec *e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->be = be;
	e->run = be->ops[op];
	memcpy(e->n, n, sizeof e->n);
	memcpy(e->f, f, sizeof e->f);
	if (tmp && posix_memalign((void **)&e->tmp, 64, tmp * sizeof(float))) {
		free(e);
		return NULL;
	}
	return e;
}

void td_run(td_exec *e) {
	// The thread count belongs to the calling thread, and Go may call from any.
	if (omp_get_max_threads() != e->be->threads)
		omp_set_num_threads(e->be->threads);
	e->run(e);
}
