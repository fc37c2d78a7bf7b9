//go:build onednn

// Primitives, their memory and packed copies of parameters, for oneDNN's 2.x and 3.x interfaces.
#include "prim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3
md td_md_strided(dnnl_data_type_t type, int nd, const dnnl_dims_t dims, const dnnl_dims_t strides) {
	md d = NULL;
	dnnl_memory_desc_create_with_strides(&d, nd, dims, type, strides);
	return d;
}
md td_md_tag(dnnl_data_type_t type, int nd, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
	md d = NULL;
	dnnl_memory_desc_create_with_tag(&d, nd, dims, type, tag);
	return d;
}
md td_md_clone(cmd from) {
	md d = NULL;
	dnnl_memory_desc_clone(&d, from);
	return d;
}
void td_md_free(md d) {
	if (d)
		dnnl_memory_desc_destroy(d);
}
#else
md td_md_strided(dnnl_data_type_t type, int nd, const dnnl_dims_t dims, const dnnl_dims_t strides) {
	md d = malloc(sizeof *d);
	if (d && dnnl_memory_desc_init_by_strides(d, nd, dims, type, strides) != dnnl_success) {
		free(d);
		return NULL;
	}
	return d;
}
md td_md_tag(dnnl_data_type_t type, int nd, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
	md d = malloc(sizeof *d);
	if (d && dnnl_memory_desc_init_by_tag(d, nd, dims, type, tag) != dnnl_success) {
		free(d);
		return NULL;
	}
	return d;
}
md td_md_clone(cmd from) {
	md d = malloc(sizeof *d);
	if (d)
		*d = *from;
	return d;
}
void td_md_free(md d) { free(d); }
#endif

cmd td_query(dnnl_primitive_desc_t pd, dnnl_query_t what) { return dnnl_primitive_desc_query_md(pd, what, 0); }

// td_kept holds a copy of a parameter in the layout that a primitive asked for. All primitives that want the
// same layout of the same memory share it. It is made again when the parameter has changed.
//
// A copy stays only where it is used KEPT times before the parameters change, as in accumulation and
// evaluation. In a plain training step each is used once, with checkpointing twice, and keeping it would
// take the memory of the parameters twice over to save little or nothing.
enum { KEPT = 3 };

struct td_kept {
	uintptr_t from; // 0 once that memory was freed
	uint64_t id;    // new whenever the struct is taken for other memory or another layout
	size_t from_bytes;
	md user, packed;
	int kind;
	void *data; // NULL: no copy stays
	size_t bytes;
	uint64_t generation; // 0 is stale
	int uses;            // in the present generation
	td_kept *next;
};

static void drop(td_backend *be, td_kept *p) {
	if (p->data)
		be->packed -= p->bytes;
	td_free(p->data, p->bytes);
	p->data = NULL;
}

// count begins a new generation: it drops copies that the last one used too seldom.
static void count(td_backend *be) {
	if (be->counted == be->generation)
		return;
	be->counted = be->generation;
	for (td_kept *p = be->packs; p; p = p->next) {
		if (p->uses < KEPT)
			drop(be, p);
		p->uses = 0;
	}
}

void td_touched(td_backend *be, uintptr_t at, size_t bytes, int freed) {
	for (td_kept *p = be->packs; p; p = p->next) {
		if (!p->from || p->from + p->from_bytes <= at || at + bytes <= p->from)
			continue;
		p->generation = 0;
		if (freed) {
			// The struct stays: an Exec may point at it, and sees by id that it is no longer its own.
			drop(be, p);
			p->from = p->id = 0;
		}
	}
}

static td_kept *find_pack(td_backend *be, uintptr_t from, cmd user, cmd packed, int kind) {
	td_kept *dead = NULL;
	for (td_kept *p = be->packs; p; p = p->next) {
		if (!p->from)
			dead = p;
		else if (p->from == from && p->kind == kind && dnnl_memory_desc_equal(p->user, user) && dnnl_memory_desc_equal(p->packed, packed))
			return p;
	}
	td_kept *p = dead;
	if (!p) {
		p = calloc(1, sizeof *p);
		if (!p)
			return NULL;
		p->next = be->packs;
		be->packs = p;
	} else {
		td_md_free(p->user);
		td_md_free(p->packed);
		p->user = p->packed = NULL;
	}
	p->bytes = dnnl_memory_desc_get_size(packed);
	p->user = td_md_clone(user);
	p->packed = td_md_clone(packed);
	if (!p->user || !p->packed)
		return NULL; // from is still 0: the struct is dead, to be taken again
	p->from = from;
	p->kind = kind;
	p->id = ++be->pack_ids;
	p->from_bytes = dnnl_memory_desc_get_size(user);
	p->generation = 0;
	p->uses = 0;
	return p;
}

int td_prim_arg(td_backend *be, prim *pr, int id, cmd desc) {
	dnnl_memory_t m;
	if (dnnl_memory_create(&m, desc, be->engine, DNNL_MEMORY_NONE) != dnnl_success)
		return -1;
	pr->mem[pr->n] = m;
	pr->arg[pr->n].arg = id;
	pr->arg[pr->n].memory = m;
	return pr->n++;
}

void td_at(prim *pr, int i, uintptr_t address) { dnnl_memory_set_data_handle(pr->mem[i], (void *)address); }

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
int td_prim_finish(td_backend *be, prim *pr, dnnl_primitive_desc_t pd) {
	const char *impl = NULL;
	dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &impl);
	snprintf(pr->impl, sizeof pr->impl, "%s", impl ? impl : "");
	if (dnnl_primitive_create(&pr->p, pd) != dnnl_success)
		return 0;
	cmd s = td_query(pd, dnnl_query_scratchpad_md);
	if (!grow(&be->scratch, &be->scratch_size, s ? dnnl_memory_desc_get_size(s) : 0))
		return 0;
	return td_prim_arg(be, pr, DNNL_ARG_SCRATCHPAD, s) >= 0;
}

void td_execute(td_backend *be, prim *pr) {
	dnnl_primitive_execute(pr->p, be->stream, pr->n, pr->arg);
}

static void prim_free(prim *pr) {
	for (int i = 0; i < pr->n; i++)
		dnnl_memory_destroy(pr->mem[i]);
	if (pr->p)
		dnnl_primitive_destroy(pr->p);
}

dnnl_primitive_attr_t td_attr(void) {
	dnnl_primitive_attr_t a = NULL;
	dnnl_primitive_attr_create(&a);
	dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user);
	return a;
}

static int new_reorder(td_backend *be, prim *pr, cmd from, cmd to) {
	dnnl_primitive_attr_t attr = td_attr();
	dnnl_primitive_desc_t pd = NULL;
	int ok = dnnl_reorder_primitive_desc_create(&pd, from, be->engine, to, be->engine, attr) == dnnl_success &&
			 td_prim_arg(be, pr, DNNL_ARG_FROM, from) == 0 && td_prim_arg(be, pr, DNNL_ARG_TO, to) == 1 && td_prim_finish(be, pr, pd);
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	dnnl_primitive_attr_destroy(attr);
	return ok;
}

void td_run_reorder(td_backend *be, prim *pr, uintptr_t from, uintptr_t to) {
	td_at(pr, 0, from);
	td_at(pr, 1, to);
	td_at(pr, 2, (uintptr_t)be->scratch);
	td_execute(be, pr);
}

int td_set_weights(td_backend *be, dn *d, cmd wanted, int back) {
	if (dnnl_memory_desc_equal(d->user, wanted))
		return 1;
	d->has_reorder = 1;
	d->packed = td_md_clone(wanted);
	return d->packed && grow(&be->reorder, &be->reorder_size, dnnl_memory_desc_get_size(wanted)) &&
		   (back ? new_reorder(be, &d->reorder, wanted, d->user) : new_reorder(be, &d->reorder, d->user, wanted));
}

int td_half_room(td_backend *be, int slot, int kind, long n) {
	if (kind == TD_EXACT)
		return 1;
	td_half *h = be->half + slot;
	h->from = 0;
	return grow(&h->data, &h->size, n * (kind == TD_BF16 ? 2 : 4));
}

// cast runs a kernel that rounds or widens n numbers.
static void cast(td_backend *be, int kind, uintptr_t from, void *to, long n) {
	td_exec e = {.be = be, .arg = {from, (uintptr_t)to}, .n = {n}};
	be->ops[kind == TD_BF16 ? td_to_bf16 : kind == TD_WIDENED ? td_from_bf16 : td_round_bf16](&e);
}

uintptr_t td_cast(td_backend *be, int slot, int kind, uintptr_t from, long n) {
	if (kind == TD_EXACT)
		return from;
	td_half *h = be->half + slot;
	if (h->from != from || h->n != n || h->kind != kind) {
		cast(be, kind, from, h->data, n);
		h->from = from;
		h->n = n;
		h->kind = kind;
	}
	return (uintptr_t)h->data;
}

static int operand_kind(dn *d, int half) {
	if (!half)
		return d->kind;
	return d->kind == TD_BF16 ? TD_EXACT : TD_WIDENED;
}

int td_operands(td_backend *be, dn *d, int moved) {
	int right = moved && !d->half_b ? TD_EXACT : operand_kind(d, d->half_b);
	return td_half_room(be, 0, operand_kind(d, d->half_a), d->na) && td_half_room(be, 1, right, d->nb);
}

uintptr_t td_operand(td_backend *be, dn *d, int slot, int half, uintptr_t from, long n) {
	return td_cast(be, slot, operand_kind(d, half), from, n);
}

// pack moves weights into the primitive's layout.
static void pack(td_backend *be, dn *d, uintptr_t from, void *to) {
	if (d->mover) {
		d->mover->arg[0] = from;
		d->mover->arg[1] = (uintptr_t)to;
		d->mover->run(d->mover);
	} else
		td_run_reorder(be, &d->reorder, from, (uintptr_t)to);
	if (d->kind == TD_ROUNDED)
		cast(be, TD_ROUNDED, (uintptr_t)to, to, dnnl_memory_desc_get_size(d->packed) / sizeof(float));
}

uintptr_t td_weights(td_backend *be, dn *d, uintptr_t from, int parameter) {
	if (d->half_b || !d->has_reorder)
		from = td_operand(be, d, 1, d->half_b, from, d->nb);
	if (!d->has_reorder)
		return from;
	td_kept *p = NULL;
	if (parameter) {
		count(be);
		if (!d->pack || d->pack->id != d->pack_id || d->pack->from != from) {
			d->pack = find_pack(be, from, d->user, d->packed, d->kind);
			d->pack_id = d->pack ? d->pack->id : 0;
		}
		p = d->pack;
	}
	if (p && ++p->uses >= KEPT && !p->data && (p->data = td_alloc(p->bytes))) {
		p->generation = 0;
		be->packed += p->bytes;
	}
	if (!p || !p->data) { // a copy for this once
		pack(be, d, from, be->reorder);
		return (uintptr_t)be->reorder;
	}
	if (p->generation != be->generation) {
		pack(be, d, from, p->data);
		p->generation = be->generation;
	}
	return (uintptr_t)p->data;
}

int td_scratch(td_backend *be, size_t bytes) { return grow(&be->scratch, &be->scratch_size, bytes); }

int td_room(td_backend *be, size_t bytes) { return grow(&be->reorder, &be->reorder_size, bytes); }

void td_dn_free(dn *d) {
	prim_free(&d->main);
	prim_free(&d->reorder);
	td_md_free(d->user);
	td_md_free(d->packed);
	td_release(d->mover);
	memset(d, 0, sizeof *d);
}

void td_run_dn(td_backend *be, dn *d, uintptr_t a, uintptr_t b, int parameter, uintptr_t c, uintptr_t bias, uintptr_t residual) {
	prim *p = &d->main;
	uintptr_t w = td_weights(be, d, b, parameter);
	td_at(p, 0, td_operand(be, d, 0, d->half_a, a, d->na));
	td_at(p, 1, w);
	td_at(p, 2, c);
	if (d->bias)
		td_at(p, d->bias, bias);
	if (d->residual)
		td_at(p, d->residual, residual);
	td_at(p, p->n - 1, (uintptr_t)be->scratch);
	td_execute(be, p);
}

td_exec *td_new_dn(td_backend *be, td_run_fn run, const long *n, size_t size) {
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

void td_release(td_exec *e) {
	if (!e)
		return;
	if (e->dn && e->run == td_run_matmul)
		td_matmul_free(e);
	else if (e->dn)
		td_dn_free(e->dn);
	free(e->dn);
	free(e->tmp);
	free(e);
}

const char *td_impl(td_exec *e) {
	if (!e->dn)
		return e->be->isa;
	return e->run == td_run_matmul ? td_matmul_impl(e) : ((dn *)e->dn)->main.impl;
}

void td_close(td_backend *be) {
	while (be->packs) {
		td_kept *p = be->packs;
		be->packs = p->next;
		td_free(p->data, p->bytes);
		td_md_free(p->user);
		td_md_free(p->packed);
		free(p);
	}
	td_free(be->scratch, be->scratch_size);
	td_free(be->reorder, be->reorder_size);
	for (int i = 0; i < 2; i++)
		td_free(be->half[i].data, be->half[i].size);
	dnnl_stream_destroy(be->stream);
	dnnl_engine_destroy(be->engine);
	free(be);
}
