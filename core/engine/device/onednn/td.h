// The seam between Go and C of the oneDNN backend. Everything here is C memory that Go fills before
// one cgo call per Run.
#ifndef TD_H
#define TD_H

#include <dnnl.h>
#include <stdint.h>

// Operations, in the order of the tables of kernel functions. OP(name) is a kernel of kernels.inc.h.
#define TD_KERNELS(OP) \
	OP(sum_rows) OP(sum_cols) OP(broadcast_rows) OP(act) OP(act_back) OP(binary) OP(scale) OP(scale_by) \
	OP(scale_by_back) OP(accumulate) OP(sum_squares) OP(layer_norm) OP(layer_norm_back) OP(l2_norm) \
	OP(l2_norm_back) OP(attention) OP(attention_back) OP(attention_at) OP(attention_at_back) OP(normalize) OP(patchify) OP(avg_pool) \
	OP(avg_pool_back) OP(max_pool) OP(max_pool_back) OP(batch_stats) OP(batch_norm) OP(batch_norm_back) \
	OP(running_stats) OP(gather) OP(gather_back) OP(concat) OP(slice) OP(slice_back) OP(mean_tokens) \
	OP(mean_tokens_back) OP(transpose) OP(cross_entropy) OP(cross_entropy_back) OP(softplus) \
	OP(softplus_back) OP(adamw) OP(sgd) OP(lion) OP(average) OP(epilogue) OP(pack) OP(matmul) OP(to_bf16) OP(from_bf16) \
	OP(round_bf16)

enum {
#define OP(name) td_##name,
	TD_KERNELS(OP)
#undef OP
	td_count
};

enum { TD_ARGS = 10, TD_INTS = 16, TD_FLOATS = 8, TD_SCALARS = 4 };

// The last of a kernel's whole numbers is a set of bits: which arguments are bfloat16 in memory.
enum { TD_HALF = TD_INTS - 1 };

static inline int td_half_arg(const long *n, int i) { return n[TD_HALF] >> i & 1; }

enum { TD_MEASURED, TD_OWN, TD_ONEDNN };

typedef struct td_exec td_exec;
typedef struct td_backend td_backend;
typedef struct td_kept td_kept;

typedef void (*td_run_fn)(td_exec *);

// td_exec holds a prepared kernel. Go writes arg and s before td_run.
struct td_exec {
	td_run_fn run;
	td_backend *be;
	uintptr_t arg[TD_ARGS]; // addresses of the buffers, 0 where absent
	double s[TD_SCALARS];   // run-time numbers, defaults filled in
	long n[TD_INTS];        // the kernel's whole numbers
	double f[TD_FLOATS];    // the kernel's other numbers
	float *tmp;             // scratch of the kernel's own
	void *dn;               // primitives of a matmul or convolution
};

// td_half holds the last operand that was made bfloat16, until its memory is written: a gradient is
// an operand of two products in a row.
typedef struct {
	void *data;
	size_t size;
	uintptr_t from; // 0: nothing
	long n;
	int kind;
} td_half;

struct td_backend {
	int threads;
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	const td_run_fn *ops; // the table for this processor
	const char *isa;
	int panel; // columns in a panel of that table's pack
	int wide;  // oneDNN has its products for AVX-512
	int bf16; // the processor multiplies bfloat16
	long second; // floats in a core's second cache
	int prefer;  // whose products are taken where both can: TD_MEASURED, or one of the two for comparison
	void *scratch; // oneDNN's scratchpad, and blocks of A: one Exec runs at a time
	size_t scratch_size;
	void *reorder; // packed copy of a right-hand side that is no parameter
	size_t reorder_size;
	td_half half[2];
	uint64_t generation; // counts changes of parameters
	uint64_t counted;    // the generation whose uses of packed copies are being counted
	td_kept *packs;
	uint64_t pack_ids;
	int64_t packed; // bytes of packed copies
};

td_backend *td_open(int threads, char *err, int len);
void td_close(td_backend *);
void *td_alloc(size_t bytes); // zeroed, aligned; NULL when there is none
void td_free(void *, size_t bytes);
// td_allocated returns the bytes that the C side of this process has from the system: memory of td_alloc, rounded up as it
// is, and malloc's, with primitives and scratch in it (large memory alone where the library does not say).
int64_t td_allocated(void);
void td_zero(td_backend *, void *, size_t bytes);
// td_touched tells that memory was written from outside or freed: packed copies of it are stale or dead.
void td_touched(td_backend *, uintptr_t at, size_t bytes, int freed);

// td_new prepares kernel op and allocates tmp floats of scratch for it. NULL when there is no memory.
td_exec *td_new(td_backend *, int op, const long *n, const double *f, size_t tmp);
// td_new_matmul: n is batch, m, n, k, transA, transB, bias, residual, act, pre, weights, bf16, row sums.
td_exec *td_new_matmul(td_backend *, const long *n, char *err, int len);
// td_own tells whether the kernel of matmul.inc.h computes a product of float32.
int td_own(td_backend *, const long *n);
// td_new_conv: kind 0 forward, 1 data gradient, 2 weight gradient; n is b, h, w, inC, outC, kh, kw,
// stride, pad, bf16.
td_exec *td_new_conv(td_backend *, int kind, const long *n, char *err, int len);
void td_release(td_exec *);
void td_run(td_exec *);

// td_impl returns the name of the oneDNN implementation of a matmul or convolution.
const char *td_impl(td_exec *);

extern const td_run_fn td_ops_base[td_count], td_ops_v3[td_count], td_ops_v4[td_count];

// The rows of the block of A that a product of our own copies at once, and how far they are apart at most.
enum { TD_HEIGHT = 96, TD_STEP = 528 };

// Scratch in floats that attention needs, for tables of every vector width.
static inline long td_round(long n) { return (n + 15) & ~15L; }

#endif
