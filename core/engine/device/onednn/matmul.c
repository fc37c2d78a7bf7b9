//go:build onednn

// Matrix products.
#include "prim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH, M, N, K, TA, TB, BIAS, COMBINE, ACT, SLOPE, WEIGHTS, HALF, ROW_SUMS };
enum { IDENTITY, RELU, GELU, QUICKGELU, TANHGELU };
enum { ALONE, ADDED, GATE }; // what COMBINE does with a further operand

// Where B has at most SMALL elements, the kernel of matmul.inc.h is faster than oneDNN's for AVX-512. More rows of A
// than FEW pay for a packed copy of B where a run of RUN rows of it takes more than half of a core's second cache.
enum { SMALL = 160 << 10, FEW = 32, RUN = 512 };

// matmul holds one of three ways to compute a product: the kernel of matmul.inc.h; a primitive that does all of it when
// alpha is 1; or, for any other alpha and where oneDNN has no fast fused primitive, a plain primitive and the kernel that
// does the rest after it.
typedef struct {
	dn fused, plain;
	int kind;  // TD_EXACT, TD_BF16 or TD_ROUNDED
	int stops; // fused, or the kernel of matmul.inc.h, stops before the activation
	td_exec *epilogue;
	td_exec *own; // the kernel of matmul.inc.h, NULL where oneDNN is to compute; fused has its operands
} matmul;

// matrix describes op(X) [batch, rows, cols] stored transposed or not; one batch needs no third axis.
static md matrix(dnnl_data_type_t type, const long *n, long rows, long cols, int trans) {
	long rs = trans ? 1 : cols, cs = trans ? rows : 1;
	if (n[BATCH] == 1)
		return td_md_strided(type, 2, (dnnl_dims_t){rows, cols}, (dnnl_dims_t){rs, cs});
	return td_md_strided(type, 3, (dnnl_dims_t){n[BATCH], rows, cols}, (dnnl_dims_t){rows * cols, rs, cs});
}

// packs tells whether oneDNN chooses the layout of B. In bfloat16 a B that is no parameter is
// rounded as it stands, and moved by the product itself.
static int packs(const long *n, int kind) { return n[BATCH] == 1 && (n[WEIGHTS] || kind != TD_BF16); }

// build makes the primitive.
static int build(td_backend *be, dn *d, const long *n, int kind, int bias, int act, int combine) {
	int packed = packs(n, kind);
	dnnl_data_type_t type = td_type(kind);
	md a = matrix(type, n, n[M], n[K], n[TA]), c = matrix(dnnl_f32, n, n[M], n[N], 0), b = NULL, any = NULL;
	// What is packed comes in float32: the move makes it bfloat16.
	d->user = matrix(packed ? dnnl_f32 : type, n, n[K], n[N], n[TB]);
	d->kind = kind;
	d->half_a = td_half_arg(n, 0);
	d->half_b = td_half_arg(n, 1);
	d->na = n[BATCH] * n[M] * n[K];
	d->nb = n[BATCH] * n[K] * n[N];
	if (n[BATCH] == 1) {
		b = bias ? td_md_strided(dnnl_f32, 2, (dnnl_dims_t){1, n[N]}, (dnnl_dims_t){n[N], 1}) : NULL;
		any = td_md_tag(type, 2, (dnnl_dims_t){n[K], n[N]}, dnnl_format_tag_any);
	} else {
		b = bias ? td_md_strided(dnnl_f32, 3, (dnnl_dims_t){1, 1, n[N]}, (dnnl_dims_t){n[N], n[N], 1}) : NULL;
		any = td_md_tag(type, 3, (dnnl_dims_t){n[BATCH], n[K], n[N]}, dnnl_format_tag_any);
	}
	dnnl_primitive_attr_t attr = td_attr();
	dnnl_post_ops_t ops = NULL;
	dnnl_post_ops_create(&ops);
	int count = 0;
	float alpha = act == QUICKGELU ? 1.702f : 0;
	dnnl_alg_kind_t kinds[] = {0, dnnl_eltwise_relu, dnnl_eltwise_gelu_erf, dnnl_eltwise_swish, dnnl_eltwise_gelu_tanh};
	if (act) {
#if DNNL_VERSION_MAJOR >= 3
		dnnl_post_ops_append_eltwise(ops, kinds[act], alpha, 0);
#else
		dnnl_post_ops_append_eltwise(ops, 1, kinds[act], alpha, 0);
#endif
		count++;
	}
	if (combine)
		dnnl_post_ops_append_binary(ops, combine == GATE ? dnnl_binary_mul : dnnl_binary_add, c);
	if (act || combine)
		dnnl_primitive_attr_set_post_ops(attr, ops);
	dnnl_primitive_desc_t pd = NULL;
	cmd right = packed ? any : d->user;
#if DNNL_VERSION_MAJOR >= 3
	int ok = dnnl_matmul_primitive_desc_create(&pd, be->engine, a, right, b, c, attr) == dnnl_success;
#else
	dnnl_matmul_desc_t desc;
	int ok = dnnl_matmul_desc_init(&desc, a, right, b, c) == dnnl_success &&
			 dnnl_primitive_desc_create(&pd, &desc, attr, be->engine, NULL) == dnnl_success;
#endif
	if (ok) {
		prim *p = &d->main;
		ok = td_prim_arg(be, p, DNNL_ARG_SRC, a) == 0 && td_prim_arg(be, p, DNNL_ARG_WEIGHTS, td_query(pd, dnnl_query_weights_md)) == 1 &&
			 td_prim_arg(be, p, DNNL_ARG_DST, c) == 2;
		if (ok && bias)
			ok = (d->bias = td_prim_arg(be, p, DNNL_ARG_BIAS, b)) > 0;
		if (ok && combine)
			ok = (d->residual = td_prim_arg(be, p, DNNL_ARG_ATTR_MULTIPLE_POST_OP(count) | DNNL_ARG_SRC_1, c)) > 0;
		ok = ok && td_prim_finish(be, p, pd) && td_set_weights(be, d, td_query(pd, dnnl_query_weights_md), 0) &&
			 td_operands(be, d, d->has_reorder);
	}
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	dnnl_post_ops_destroy(ops);
	dnnl_primitive_attr_destroy(attr);
	td_md_free(a);
	td_md_free(b);
	td_md_free(c);
	td_md_free(any);
	if (!ok)
		td_dn_free(d);
	return d->ready = ok;
}

static void epilogue(td_exec *t, uintptr_t from, uintptr_t bias, uintptr_t residual, uintptr_t to, uintptr_t slope, double alpha) {
	t->arg[0] = from;
	t->arg[1] = bias;
	t->arg[2] = residual;
	t->arg[3] = to;
	t->arg[4] = slope;
	t->s[0] = alpha;
	t->run(t);
}

void td_run_matmul(td_exec *e) {
	td_backend *be = e->be;
	matmul *m = e->dn;
	uintptr_t bias = e->n[BIAS] ? e->arg[2] : 0, residual = e->n[COMBINE] ? e->arg[3] : 0;
	uintptr_t c = e->arg[4], slope = e->n[SLOPE] ? e->arg[5] : 0, product = slope ? slope : c;
	if (m->own) {
		td_exec *own = m->own;
		own->arg[1] = td_weights(be, &m->fused, e->arg[1], e->n[WEIGHTS]);
		own->arg[0] = td_operand(be, &m->fused, 0, m->fused.half_a, e->arg[0], m->fused.na);
		own->arg[2] = m->stops ? 0 : bias;
		own->arg[3] = m->stops ? 0 : residual;
		own->arg[4] = m->stops ? slope : c;
		own->arg[5] = m->stops ? 0 : slope;
		own->arg[6] = e->n[ROW_SUMS] ? e->arg[5] : 0;
		own->s[0] = e->s[0];
		own->run(own);
		if (m->stops)
			epilogue(m->epilogue, slope, bias, residual, c, slope, 1);
		return;
	}
	if (m->fused.ready && e->s[0] == 1) {
		td_run_dn(be, &m->fused, e->arg[0], e->arg[1], e->n[WEIGHTS], product, bias, residual);
		if (m->stops)
			epilogue(m->epilogue, product, 0, residual, c, slope, 1);
		return;
	}
	if (!m->plain.ready && !build(be, &m->plain, e->n, m->kind, 0, 0, 0)) {
		fprintf(stderr, "onednn: no memory for a matrix product\n");
		abort();
	}
	td_run_dn(be, &m->plain, e->arg[0], e->arg[1], e->n[WEIGHTS], product, 0, 0);
	epilogue(m->epilogue, product, bias, residual, c, slope, e->s[0]);
}

// small tells whether the kernel of matmul.inc.h is faster.
static int small(td_backend *be, const long *n) {
	if (be->prefer != TD_MEASURED)
		return be->prefer == TD_OWN;
	if (n[BATCH] != 1 || n[N] % 16 || (n[TA] && n[TB]))
		return 0;
	return (n[TA] ? n[M] : n[K]) * n[N] <= SMALL;
}

int td_own(td_backend *be, const long *n) { return be->wide || be->prefer == TD_ONEDNN ? small(be, n) : 1; }

// own makes that kernel, 0 where there is no memory. What is chosen by M gives the same bits either way.
static int own(td_backend *be, matmul *m, const long *n, int kind) {
	double none[TD_FLOATS] = {0};
	dn *d = &m->fused;
	d->kind = kind;
	d->half_a = td_half_arg(n, 0);
	d->half_b = td_half_arg(n, 1);
	d->na = n[BATCH] * n[M] * n[K];
	d->nb = n[BATCH] * n[K] * n[N];
	d->user = matrix(dnnl_f32, n, n[K], n[N], n[TB]);
	m->stops = td_half_arg(n, 4); // the product is added up in the float32 of the slope
	int packed = n[TB] || n[N] % 16 || ((n[K] < RUN ? n[K] : RUN) * n[N] > be->second / 2 && n[M] > FEW);
	if (packed) {
		long move[TD_INTS] = {n[N], n[K], n[TB], n[BATCH]};
		long wide = (n[N] + be->panel - 1) / be->panel * be->panel;
		d->packed = td_md_strided(dnnl_f32, 1, (dnnl_dims_t){n[BATCH] * n[K] * wide}, (dnnl_dims_t){1});
		d->mover = td_new(be, td_pack, move, none, 0);
		d->has_reorder = 1;
		if (!d->packed || !d->mover || !td_room(be, dnnl_memory_desc_get_size(d->packed)))
			return 0;
	}
	long sizes[TD_INTS] = {n[M], n[N], n[K], n[TA], m->stops ? 0 : n[ACT], m->stops ? 0 : n[COMBINE], n[BATCH], packed};
	m->own = td_new(be, td_matmul, sizes, none, 0);
	return d->user && m->own && td_operands(be, d, packed) && td_scratch(be, sizeof(float) * be->threads * TD_HEIGHT * TD_STEP);
}

// steady tells whether oneDNN's product adds up a row in an order that does not depend on the rows beside it:
// that of its kernels for AVX-512.
static int steady(dn *d) { return strstr(d->main.impl, "brg") != NULL; }

static int slow(dn *d) { return strstr(d->main.impl, "ref") != NULL; }

// choose makes oneDNN's primitives that take operands of a kind, 0 where it has none that will do.
static int choose(td_backend *be, matmul *m, const long *n, int kind) {
	m->kind = kind;
	build(be, &m->fused, n, kind, n[BIAS], m->stops ? 0 : n[ACT], m->stops ? 0 : n[COMBINE]);
	if (m->fused.ready && slow(&m->fused))
		td_dn_free(&m->fused);
	if (!m->fused.ready && !build(be, &m->plain, n, kind, 0, 0, 0))
		return 0;
	if (be->prefer == TD_ONEDNN || (m->fused.ready ? steady(&m->fused) : steady(&m->plain)))
		return 1;
	td_dn_free(&m->fused);
	td_dn_free(&m->plain);
	return 0;
}

td_exec *td_new_matmul(td_backend *be, const long *n, char *err, int len) {
	td_exec *e = td_new_dn(be, td_run_matmul, n, sizeof(matmul));
	if (!e)
		return NULL;
	matmul *m = e->dn;
	// With Slope the primitive stops before the activation, and the kernel goes on from there; likewise
	// for ReLU, as oneDNN's makes 0 of a NaN.
	m->stops = n[SLOPE] || n[ACT] == RELU;
	int kind = n[HALF] ? TD_ROUNDED : TD_EXACT, ok = 0;
	if (n[HALF] && be->bf16)
		ok = choose(be, m, n, TD_BF16);
	if (!ok && (be->wide || be->prefer == TD_ONEDNN) && !(kind == TD_EXACT && td_own(be, n)))
		ok = choose(be, m, n, kind);
	if (!ok && !own(be, m, n, kind)) {
		snprintf(err, len, "no memory for a product of [%ld, %ld, %ld] by [%ld, %ld, %ld]", n[BATCH], n[M], n[K], n[BATCH], n[K], n[N]);
		td_release(e);
		return NULL;
	}
	// C may be bfloat16 with Slope alone: there the product has float32 memory to be written to.
	long rest[TD_INTS] = {n[BATCH] * n[M], n[N], n[ACT], n[COMBINE], [TD_HALF] = td_half_arg(n, 4) << 3};
	if (!(m->epilogue = td_new(be, td_epilogue, rest, (double[TD_FLOATS]){0}, 0))) {
		td_release(e);
		return NULL;
	}
	return e;
}

void td_matmul_free(td_exec *e) {
	matmul *m = e->dn;
	td_dn_free(&m->fused);
	td_dn_free(&m->plain);
	td_release(m->epilogue);
	td_release(m->own);
}

const char *td_matmul_impl(td_exec *e) {
	matmul *m = e->dn;
	if (m->own)
		return m->own->be->isa;
	return m->fused.ready ? m->fused.main.impl : m->plain.main.impl;
}
