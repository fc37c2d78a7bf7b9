//go:build onednn

// Matrix products and convolutions through oneDNN, for its 2.x and 3.x interfaces.
#include "td.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Memory descriptors: 2.x passes structs by pointer, 3.x opaque handles. md is an owned descriptor,
// cmd a borrowed one.
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t md;
typedef const_dnnl_memory_desc_t cmd;

static md md_strided(int nd, const dnnl_dims_t dims, const dnnl_dims_t strides) {
	md d = NULL;
	dnnl_memory_desc_create_with_strides(&d, nd, dims, dnnl_f32, strides);
	return d;
}
static md md_tag(int nd, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
	md d = NULL;
	dnnl_memory_desc_create_with_tag(&d, nd, dims, dnnl_f32, tag);
	return d;
}
static md md_clone(cmd from) {
	md d = NULL;
	dnnl_memory_desc_clone(&d, from);
	return d;
}
static void md_free(md d) {
	if (d)
		dnnl_memory_desc_destroy(d);
}
#else
typedef dnnl_memory_desc_t *md;
typedef const dnnl_memory_desc_t *cmd;

static md md_strided(int nd, const dnnl_dims_t dims, const dnnl_dims_t strides) {
	md d = malloc(sizeof *d);
	if (d && dnnl_memory_desc_init_by_strides(d, nd, dims, dnnl_f32, strides) != dnnl_success) {
		free(d);
		return NULL;
	}
	return d;
}
static md md_tag(int nd, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
	md d = malloc(sizeof *d);
	if (d && dnnl_memory_desc_init_by_tag(d, nd, dims, dnnl_f32, tag) != dnnl_success) {
		free(d);
		return NULL;
	}
	return d;
}
static md md_clone(cmd from) {
	md d = malloc(sizeof *d);
	if (d)
		*d = *from;
	return d;
}
static void md_free(md d) { free(d); }
#endif

static cmd query(dnnl_primitive_desc_t pd, dnnl_query_t what) { return dnnl_primitive_desc_query_md(pd, what, 0); }

// td_pack is a parameter in the layout that a primitive asked for. It is shared by all primitives
// that want the same layout of the same memory, and made again when the parameter has changed.
struct td_pack {
	uintptr_t from; // 0 once that memory was freed
	uint64_t id;    // new whenever the struct is taken for other memory or another layout
	size_t from_bytes;
	md user, packed;
	void *data;
	size_t bytes;
	uint64_t generation; // 0 is stale
	td_pack *next;
};

void td_touched(td_backend *be, uintptr_t at, size_t bytes, int freed) {
	for (td_pack *p = be->packs; p; p = p->next) {
		if (!p->from || p->from + p->from_bytes <= at || at + bytes <= p->from)
			continue;
		p->generation = 0;
		if (freed) {
			// The struct stays: an Exec may point at it, and sees by id that it is no longer its own.
			be->packed -= p->bytes;
			td_free(p->data, p->bytes);
			p->data = NULL;
			p->from = p->id = 0;
		}
	}
}

static td_pack *find_pack(td_backend *be, uintptr_t from, cmd user, cmd packed) {
	td_pack *dead = NULL;
	for (td_pack *p = be->packs; p; p = p->next) {
		if (!p->from)
			dead = p;
		else if (p->from == from && dnnl_memory_desc_equal(p->user, user) && dnnl_memory_desc_equal(p->packed, packed))
			return p;
	}
	td_pack *p = dead;
	if (!p) {
		p = calloc(1, sizeof *p);
		if (!p)
			return NULL;
		p->next = be->packs;
		be->packs = p;
	} else {
		md_free(p->user);
		md_free(p->packed);
		p->user = p->packed = NULL;
	}
	p->bytes = dnnl_memory_desc_get_size(packed);
	p->data = td_alloc(p->bytes);
	p->user = md_clone(user);
	p->packed = md_clone(packed);
	if (!p->data || !p->user || !p->packed) {
		td_free(p->data, p->bytes);
		p->data = NULL;
		return NULL; // from is still 0: the struct is dead, to be taken again
	}
	p->from = from;
	p->id = ++be->pack_ids;
	p->from_bytes = dnnl_memory_desc_get_size(user);
	p->generation = 0;
	be->packed += p->bytes;
	return p;
}

// prim is one primitive with its memory objects.
typedef struct {
	dnnl_primitive_t p;
	dnnl_memory_t mem[6];
	dnnl_exec_arg_t arg[6];
	int n;
	char impl[64];
} prim;

static int prim_arg(td_backend *be, prim *pr, int id, cmd desc) {
	dnnl_memory_t m;
	if (dnnl_memory_create(&m, desc, be->engine, DNNL_MEMORY_NONE) != dnnl_success)
		return -1;
	pr->mem[pr->n] = m;
	pr->arg[pr->n].arg = id;
	pr->arg[pr->n].memory = m;
	return pr->n++;
}

static void at(prim *pr, int i, uintptr_t address) { dnnl_memory_set_data_handle(pr->mem[i], (void *)address); }

static int grow(void **p, size_t *size, size_t want) {
	if (want <= *size)
		return 1;
	void *q = td_alloc(want);
	if (!q)
		return 0;
	td_free(*p, *size);
	*p = q;
	*size = want;
	return 1;
}

// finish makes the primitive of a descriptor, with a scratchpad that all primitives share.
static int finish(td_backend *be, prim *pr, dnnl_primitive_desc_t pd) {
	const char *impl = NULL;
	dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &impl);
	snprintf(pr->impl, sizeof pr->impl, "%s", impl ? impl : "");
	if (dnnl_primitive_create(&pr->p, pd) != dnnl_success)
		return 0;
	cmd s = query(pd, dnnl_query_scratchpad_md);
	if (!grow(&be->scratch, &be->scratch_size, s ? dnnl_memory_desc_get_size(s) : 0))
		return 0;
	return prim_arg(be, pr, DNNL_ARG_SCRATCHPAD, s) >= 0;
}

static void execute(td_backend *be, prim *pr) {
	dnnl_primitive_execute(pr->p, be->stream, pr->n, pr->arg);
}

static void prim_free(prim *pr) {
	for (int i = 0; i < pr->n; i++)
		dnnl_memory_destroy(pr->mem[i]);
	if (pr->p)
		dnnl_primitive_destroy(pr->p);
}

static dnnl_primitive_attr_t new_attr(void) {
	dnnl_primitive_attr_t a = NULL;
	dnnl_primitive_attr_create(&a);
	dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user);
	return a;
}

static int new_reorder(td_backend *be, prim *pr, cmd from, cmd to) {
	dnnl_primitive_attr_t attr = new_attr();
	dnnl_primitive_desc_t pd = NULL;
	int ok = dnnl_reorder_primitive_desc_create(&pd, from, be->engine, to, be->engine, attr) == dnnl_success &&
			 prim_arg(be, pr, DNNL_ARG_FROM, from) == 0 && prim_arg(be, pr, DNNL_ARG_TO, to) == 1 && finish(be, pr, pd);
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	dnnl_primitive_attr_destroy(attr);
	return ok;
}

static void run_reorder(td_backend *be, prim *pr, uintptr_t from, uintptr_t to) {
	at(pr, 0, from);
	at(pr, 1, to);
	at(pr, 2, (uintptr_t)be->scratch);
	execute(be, pr);
}

// dn is a primitive with weights, and what moves them into the layout that it wants.
typedef struct {
	prim main, reorder;
	int ready, has_reorder;
	md user, packed; // of the weights
	td_pack *pack;
	uint64_t pack_id;
	int bias, residual; // indices of their memory in main, 0 where absent
} dn;

// set_weights compares the layout that the primitive wants with the one that the weights have.
static int set_weights(td_backend *be, dn *d, cmd wanted, int back) {
	if (dnnl_memory_desc_equal(d->user, wanted))
		return 1;
	d->has_reorder = 1;
	d->packed = md_clone(wanted);
	return d->packed && grow(&be->reorder, &be->reorder_size, dnnl_memory_desc_get_size(wanted)) &&
		   (back ? new_reorder(be, &d->reorder, wanted, d->user) : new_reorder(be, &d->reorder, d->user, wanted));
}

// weights gives the address of the weights in the primitive's layout.
static uintptr_t weights(td_backend *be, dn *d, uintptr_t from, int parameter) {
	if (!d->has_reorder)
		return from;
	if (parameter && (!d->pack || d->pack->id != d->pack_id || d->pack->from != from)) {
		d->pack = find_pack(be, from, d->user, d->packed);
		d->pack_id = d->pack ? d->pack->id : 0;
	}
	if (!parameter || !d->pack) { // without memory for a copy that stays, one that does not
		run_reorder(be, &d->reorder, from, (uintptr_t)be->reorder);
		return (uintptr_t)be->reorder;
	}
	if (d->pack->generation != be->generation) {
		run_reorder(be, &d->reorder, from, (uintptr_t)d->pack->data);
		d->pack->generation = be->generation;
	}
	return (uintptr_t)d->pack->data;
}

static void dn_free(dn *d) {
	prim_free(&d->main);
	prim_free(&d->reorder);
	md_free(d->user);
	md_free(d->packed);
	memset(d, 0, sizeof *d);
}

enum { BATCH, M, N, K, TA, TB, BIAS, RESIDUAL, ACT, PRE, WEIGHTS };
enum { IDENTITY, RELU, GELU, QUICKGELU };

// matmul is one primitive that does all of it when alpha is 1, a plain one for any other alpha (or
// where oneDNN has no fast fused one), and the kernel that does the rest after the plain one.
typedef struct {
	dn fused, plain;
	int stops; // fused stops before the activation
	td_exec *epilogue;
} matmul;

// matrix describes op(X) [batch, rows, cols] stored transposed or not; one batch needs no third axis.
static md matrix(const long *n, long rows, long cols, int trans) {
	long rs = trans ? 1 : cols, cs = trans ? rows : 1;
	if (n[BATCH] == 1)
		return md_strided(2, (dnnl_dims_t){rows, cols}, (dnnl_dims_t){rs, cs});
	return md_strided(3, (dnnl_dims_t){n[BATCH], rows, cols}, (dnnl_dims_t){rows * cols, rs, cs});
}

// build makes the primitive. packed lets oneDNN choose the layout of B.
static int build(td_backend *be, dn *d, const long *n, int bias, int act, int residual, int packed) {
	md a = matrix(n, n[M], n[K], n[TA]), c = matrix(n, n[M], n[N], 0), b = NULL, any = NULL;
	d->user = matrix(n, n[K], n[N], n[TB]);
	if (n[BATCH] == 1) {
		b = bias ? md_strided(2, (dnnl_dims_t){1, n[N]}, (dnnl_dims_t){n[N], 1}) : NULL;
		any = md_tag(2, (dnnl_dims_t){n[K], n[N]}, dnnl_format_tag_any);
	} else {
		b = bias ? md_strided(3, (dnnl_dims_t){1, 1, n[N]}, (dnnl_dims_t){n[N], n[N], 1}) : NULL;
		any = md_tag(3, (dnnl_dims_t){n[BATCH], n[K], n[N]}, dnnl_format_tag_any);
	}
	dnnl_primitive_attr_t attr = new_attr();
	dnnl_post_ops_t ops = NULL;
	dnnl_post_ops_create(&ops);
	int count = 0;
	float alpha = act == QUICKGELU ? 1.702f : 0;
	dnnl_alg_kind_t kinds[] = {0, dnnl_eltwise_relu, dnnl_eltwise_gelu_erf, dnnl_eltwise_swish};
	if (act) {
#if DNNL_VERSION_MAJOR >= 3
		dnnl_post_ops_append_eltwise(ops, kinds[act], alpha, 0);
#else
		dnnl_post_ops_append_eltwise(ops, 1, kinds[act], alpha, 0);
#endif
		count++;
	}
	if (residual)
		dnnl_post_ops_append_binary(ops, dnnl_binary_add, c);
	if (act || residual)
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
		ok = prim_arg(be, p, DNNL_ARG_SRC, a) == 0 && prim_arg(be, p, DNNL_ARG_WEIGHTS, query(pd, dnnl_query_weights_md)) == 1 &&
			 prim_arg(be, p, DNNL_ARG_DST, c) == 2;
		if (ok && bias)
			ok = (d->bias = prim_arg(be, p, DNNL_ARG_BIAS, b)) > 0;
		if (ok && residual)
			ok = (d->residual = prim_arg(be, p, DNNL_ARG_ATTR_MULTIPLE_POST_OP(count) | DNNL_ARG_SRC_1, c)) > 0;
		ok = ok && finish(be, p, pd) && set_weights(be, d, query(pd, dnnl_query_weights_md), 0);
	}
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	dnnl_post_ops_destroy(ops);
	dnnl_primitive_attr_destroy(attr);
	md_free(a);
	md_free(b);
	md_free(c);
	md_free(any);
	if (!ok)
		dn_free(d);
	return d->ready = ok;
}

static void run_dn(td_backend *be, dn *d, uintptr_t a, uintptr_t b, int parameter, uintptr_t c, uintptr_t bias, uintptr_t residual) {
	prim *p = &d->main;
	uintptr_t w = weights(be, d, b, parameter);
	at(p, 0, a);
	at(p, 1, w);
	at(p, 2, c);
	if (d->bias)
		at(p, d->bias, bias);
	if (d->residual)
		at(p, d->residual, residual);
	at(p, p->n - 1, (uintptr_t)be->scratch);
	execute(be, p);
}

static void epilogue(td_exec *t, uintptr_t from, uintptr_t bias, uintptr_t residual, uintptr_t to, uintptr_t pre, double alpha) {
	t->arg[0] = from;
	t->arg[1] = bias;
	t->arg[2] = residual;
	t->arg[3] = to;
	t->arg[4] = pre;
	t->s[0] = alpha;
	t->run(t);
}

// packs says whether B is worth reordering.
static int packs(const long *n) { return n[BATCH] == 1; }

static void run_matmul(td_exec *e) {
	td_backend *be = e->be;
	matmul *m = e->dn;
	uintptr_t bias = e->n[BIAS] ? e->arg[2] : 0, residual = e->n[RESIDUAL] ? e->arg[3] : 0;
	uintptr_t c = e->arg[4], pre = e->n[PRE] ? e->arg[5] : 0;
	if (m->fused.ready && e->s[0] == 1) {
		run_dn(be, &m->fused, e->arg[0], e->arg[1], e->n[WEIGHTS], pre ? pre : c, bias, residual);
		if (m->stops)
			epilogue(m->epilogue, pre ? pre : c, 0, residual, c, 0, 1);
		return;
	}
	if (!m->plain.ready && !build(be, &m->plain, e->n, 0, 0, 0, packs(e->n))) {
		fprintf(stderr, "onednn: no memory for a matrix product\n");
		abort();
	}
	run_dn(be, &m->plain, e->arg[0], e->arg[1], e->n[WEIGHTS], c, 0, 0);
	epilogue(m->epilogue, c, bias, residual, c, pre, e->s[0]);
}

static int slow(dn *d) { return strstr(d->main.impl, "ref") != NULL; }

static td_exec *new_dn(td_backend *be, td_run_fn run, const long *n, size_t size) {
	td_exec *e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->be = be;
	e->run = run;
	e->s[0] = 1;
	memcpy(e->n, n, sizeof e->n);
	if (!(e->dn = calloc(1, size))) {
		free(e);
		return NULL;
	}
	return e;
}

td_exec *td_new_matmul(td_backend *be, const long *n, char *err, int len) {
	td_exec *e = new_dn(be, run_matmul, n, sizeof(matmul));
	if (!e)
		return NULL;
	matmul *m = e->dn;
	// With Pre the primitive stops before the activation, and the kernel goes on from there; likewise
	// for ReLU, as oneDNN's makes 0 of a NaN.
	m->stops = n[PRE] || n[ACT] == RELU;
	build(be, &m->fused, n, n[BIAS], m->stops ? 0 : n[ACT], m->stops ? 0 : n[RESIDUAL], packs(n));
	if (m->fused.ready && slow(&m->fused))
		dn_free(&m->fused);
	if (!m->fused.ready && !build(be, &m->plain, n, 0, 0, 0, packs(n))) {
		snprintf(err, len, "oneDNN cannot multiply [%ld, %ld, %ld] by [%ld, %ld, %ld]", n[BATCH], n[M], n[K], n[BATCH], n[K], n[N]);
		td_release(e);
		return NULL;
	}
	long rest[TD_INTS] = {n[BATCH] * n[M], n[N], n[ACT]};
	double none[TD_FLOATS] = {0};
	if (!(m->epilogue = td_new(be, td_epilogue, rest, none, 0))) {
		td_release(e);
		return NULL;
	}
	return e;
}

enum { CB, CH, CW, CI, CO, CKH, CKW, CSTRIDE, CPAD };

static void run_conv_forward(td_exec *e) {
	dn *d = e->dn;
	// The weights are not known to be parameters: they are packed in every run, which is little.
	run_dn(e->be, d, e->arg[0], e->arg[1], 0, e->arg[2], 0, 0);
}

static void run_conv_back_data(td_exec *e) {
	run_dn(e->be, e->dn, e->arg[1], e->arg[0], 0, e->arg[2], 0, 0);
}

static void run_conv_back_weights(td_exec *e) {
	td_backend *be = e->be;
	dn *d = e->dn;
	prim *p = &d->main;
	at(p, 0, e->arg[0]);
	at(p, 1, d->has_reorder ? (uintptr_t)be->reorder : e->arg[2]);
	at(p, 2, e->arg[1]);
	at(p, p->n - 1, (uintptr_t)be->scratch);
	execute(be, p);
	if (d->has_reorder)
		run_reorder(be, &d->reorder, (uintptr_t)be->reorder, e->arg[2]);
}

td_exec *td_new_conv(td_backend *be, int kind, const long *n, char *err, int len) {
	td_run_fn runs[] = {run_conv_forward, run_conv_back_data, run_conv_back_weights};
	td_exec *e = new_dn(be, runs[kind], n, sizeof(dn));
	if (!e)
		return NULL;
	dn *d = e->dn;
	long oh = (n[CH] + 2 * n[CPAD] - n[CKH]) / n[CSTRIDE] + 1, ow = (n[CW] + 2 * n[CPAD] - n[CKW]) / n[CSTRIDE] + 1;
	dnnl_dims_t wdims = {n[CO], n[CI], n[CKH], n[CKW]}, strides = {n[CSTRIDE], n[CSTRIDE]};
	// oneDNN wants exact sizes: where the stride leaves rows over, the padding at the end is smaller.
	dnnl_dims_t left = {n[CPAD], n[CPAD]};
	dnnl_dims_t right = {(oh - 1) * n[CSTRIDE] + n[CKH] - n[CH] - n[CPAD], (ow - 1) * n[CSTRIDE] + n[CKW] - n[CW] - n[CPAD]};
	md x = md_tag(4, (dnnl_dims_t){n[CB], n[CI], n[CH], n[CW]}, dnnl_nhwc);
	md y = md_tag(4, (dnnl_dims_t){n[CB], n[CO], oh, ow}, dnnl_nhwc);
	md any = md_tag(4, wdims, dnnl_format_tag_any);
	d->user = md_tag(4, wdims, dnnl_oihw);
	dnnl_primitive_attr_t attr = new_attr();
	dnnl_primitive_desc_t forward = NULL, pd = NULL;
#if DNNL_VERSION_MAJOR >= 3
	dnnl_dims_t dilates = {0, 0};
	int ok = dnnl_convolution_forward_primitive_desc_create(&forward, be->engine, dnnl_forward_training,
				 dnnl_convolution_direct, x, any, NULL, y, strides, dilates, left, right, attr) == dnnl_success;
	if (ok && kind == 1)
		ok = dnnl_convolution_backward_data_primitive_desc_create(&pd, be->engine, dnnl_convolution_direct, x, any, y,
				 strides, dilates, left, right, forward, attr) == dnnl_success;
	if (ok && kind == 2)
		ok = dnnl_convolution_backward_weights_primitive_desc_create(&pd, be->engine, dnnl_convolution_direct, x, any,
				 NULL, y, strides, dilates, left, right, forward, attr) == dnnl_success;
#else
	dnnl_convolution_desc_t desc;
	int ok = dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, dnnl_convolution_direct, x, any, NULL, y,
				 strides, left, right) == dnnl_success &&
			 dnnl_primitive_desc_create(&forward, &desc, attr, be->engine, NULL) == dnnl_success;
	if (ok && kind == 1)
		ok = dnnl_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, x, any, y, strides, left, right) ==
				 dnnl_success &&
			 dnnl_primitive_desc_create(&pd, &desc, attr, be->engine, forward) == dnnl_success;
	if (ok && kind == 2)
		ok = dnnl_convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, x, any, NULL, y, strides, left,
				 right) == dnnl_success &&
			 dnnl_primitive_desc_create(&pd, &desc, attr, be->engine, forward) == dnnl_success;
#endif
	if (ok) {
		dnnl_primitive_desc_t use = kind ? pd : forward;
		cmd w = query(use, kind == 2 ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
		// Arguments 0 and 2 are what is read and written beside the weights (for kind 2, both are read).
		int ids[3][3] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
						 {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC},
						 {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
		ok = prim_arg(be, &d->main, ids[kind][0], kind == 1 ? y : x) == 0 && prim_arg(be, &d->main, ids[kind][1], w) == 1 &&
			 prim_arg(be, &d->main, ids[kind][2], kind == 1 ? x : y) == 2 && finish(be, &d->main, use) &&
			 set_weights(be, d, w, kind == 2);
	}
	if (forward)
		dnnl_primitive_desc_destroy(forward);
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	dnnl_primitive_attr_destroy(attr);
	md_free(x);
	md_free(y);
	md_free(any);
	if (!ok) {
		snprintf(err, len, "oneDNN cannot make this convolution");
		td_release(e);
		return NULL;
	}
	return e;
}

const char *td_impl(td_exec *e) {
	if (!e->dn)
		return e->be->isa;
	if (e->run != run_matmul)
		return ((dn *)e->dn)->main.impl;
	matmul *m = e->dn;
	return m->fused.ready ? m->fused.main.impl : m->plain.main.impl;
}

void td_release(td_exec *e) {
	if (!e)
		return;
	if (e->dn && e->run == run_matmul) {
		matmul *m = e->dn;
		dn_free(&m->fused);
		dn_free(&m->plain);
		td_release(m->epilogue);
	} else if (e->dn) {
		dn_free(e->dn);
	}
	free(e->dn);
	free(e->tmp);
	free(e);
}

void td_close(td_backend *be) {
	while (be->packs) {
		td_pack *p = be->packs;
		be->packs = p->next;
		td_free(p->data, p->bytes);
		md_free(p->user);
		md_free(p->packed);
		free(p);
	}
	td_free(be->scratch, be->scratch_size);
	td_free(be->reorder, be->reorder_size);
	dnnl_stream_destroy(be->stream);
	dnnl_engine_destroy(be->engine);
	free(be);
}
