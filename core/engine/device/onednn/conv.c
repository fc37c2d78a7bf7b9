//go:build onednn

// Convolutions: NHWC feature maps as they are, weights in the layout that oneDNN asks for.
#include "prim.h"

#include <stdio.h>
#include <string.h>

enum { CB, CH, CW, CI, CO, CKH, CKW, CSTRIDE, CPAD, CHALF };

static void run_conv_forward(td_exec *e) {
	dn *d = e->dn;
	// The weights are not known to be parameters: they are packed in every run, which is little.
	td_run_dn(e->be, d, e->arg[0], e->arg[1], 0, e->arg[2], 0, 0);
}

static void run_conv_back_data(td_exec *e) {
	td_run_dn(e->be, e->dn, e->arg[1], e->arg[0], 0, e->arg[2], 0, 0);
}

static void run_conv_back_weights(td_exec *e) {
	td_backend *be = e->be;
	dn *d = e->dn;
	prim *p = &d->main;
	// The gradient is in slot 0, where the data gradient looks for it next.
	td_at(p, 0, td_operand(be, d, 1, d->half_b, e->arg[0], d->nb));
	td_at(p, 1, d->has_reorder ? (uintptr_t)be->reorder : e->arg[2]);
	td_at(p, 2, td_operand(be, d, 0, d->half_a, e->arg[1], d->na));
	td_at(p, p->n - 1, (uintptr_t)be->scratch);
	td_execute(be, p);
	if (d->has_reorder)
		td_run_reorder(be, &d->reorder, (uintptr_t)be->reorder, e->arg[2]);
}

// build makes the primitive with operands of a kind: what is read is of that type, what is written
// float32.
static int build(td_backend *be, dn *d, int kind, const long *n, int half) {
	dnnl_data_type_t type = td_type(half);
	long oh = (n[CH] + 2 * n[CPAD] - n[CKH]) / n[CSTRIDE] + 1, ow = (n[CW] + 2 * n[CPAD] - n[CKW]) / n[CSTRIDE] + 1;
	dnnl_dims_t wdims = {n[CO], n[CI], n[CKH], n[CKW]}, strides = {n[CSTRIDE], n[CSTRIDE]};
	// oneDNN wants exact sizes: where the stride leaves rows over, the padding at the end is smaller.
	dnnl_dims_t left = {n[CPAD], n[CPAD]};
	dnnl_dims_t right = {(oh - 1) * n[CSTRIDE] + n[CKH] - n[CH] - n[CPAD], (ow - 1) * n[CSTRIDE] + n[CKW] - n[CW] - n[CPAD]};
	md x = td_md_tag(kind == 1 ? dnnl_f32 : type, 4, (dnnl_dims_t){n[CB], n[CI], n[CH], n[CW]}, dnnl_nhwc);
	md y = td_md_tag(kind == 0 ? dnnl_f32 : type, 4, (dnnl_dims_t){n[CB], n[CO], oh, ow}, dnnl_nhwc);
	md any = td_md_tag(kind == 2 ? dnnl_f32 : type, 4, wdims, dnnl_format_tag_any);
	// The forward primitive that a gradient is given as a hint.
	md fx = td_md_tag(type, 4, (dnnl_dims_t){n[CB], n[CI], n[CH], n[CW]}, dnnl_nhwc);
	md fy = td_md_tag(dnnl_f32, 4, (dnnl_dims_t){n[CB], n[CO], oh, ow}, dnnl_nhwc);
	md fany = td_md_tag(type, 4, wdims, dnnl_format_tag_any);
	d->user = td_md_tag(dnnl_f32, 4, wdims, dnnl_oihw);
	d->kind = half;
	d->half_a = td_half_arg(n, kind == 0 ? 0 : 1);
	d->half_b = kind == 2 && td_half_arg(n, 0);
	long nx = n[CB] * n[CI] * n[CH] * n[CW], ny = n[CB] * n[CO] * oh * ow;
	d->na = kind == 0 ? nx : ny;
	d->nb = kind == 2 ? nx : n[CO] * n[CI] * n[CKH] * n[CKW];
	dnnl_primitive_attr_t attr = td_attr();
	dnnl_primitive_desc_t forward = NULL, pd = NULL;
#if DNNL_VERSION_MAJOR >= 3
	dnnl_dims_t dilates = {0, 0};
	int ok = dnnl_convolution_forward_primitive_desc_create(&forward, be->engine, dnnl_forward_training,
				 dnnl_convolution_direct, fx, fany, NULL, fy, strides, dilates, left, right, attr) == dnnl_success;
	if (ok && kind == 1)
		ok = dnnl_convolution_backward_data_primitive_desc_create(&pd, be->engine, dnnl_convolution_direct, x, any, y,
				 strides, dilates, left, right, forward, attr) == dnnl_success;
	if (ok && kind == 2)
		ok = dnnl_convolution_backward_weights_primitive_desc_create(&pd, be->engine, dnnl_convolution_direct, x, any,
				 NULL, y, strides, dilates, left, right, forward, attr) == dnnl_success;
#else
	dnnl_convolution_desc_t desc;
	int ok = dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, dnnl_convolution_direct, fx, fany, NULL, fy,
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
		cmd w = td_query(use, kind == 2 ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
		// Arguments 0 and 2 are what is read and written beside the weights (for kind 2, both are read).
		int ids[3][3] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
						 {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC},
						 {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
		ok = td_prim_arg(be, &d->main, ids[kind][0], kind == 1 ? y : x) == 0 && td_prim_arg(be, &d->main, ids[kind][1], w) == 1 &&
			 td_prim_arg(be, &d->main, ids[kind][2], kind == 1 ? x : y) == 2 && td_prim_finish(be, &d->main, use) &&
			 td_set_weights(be, d, w, kind == 2) && td_operands(be, d, kind != 2 && d->has_reorder);
	}
	if (forward)
		dnnl_primitive_desc_destroy(forward);
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	dnnl_primitive_attr_destroy(attr);
	td_md_free(x);
	td_md_free(y);
	td_md_free(any);
	td_md_free(fx);
	td_md_free(fy);
	td_md_free(fany);
	if (!ok)
		td_dn_free(d);
	return ok;
}

td_exec *td_new_conv(td_backend *be, int kind, const long *n, char *err, int len) {
	td_run_fn runs[] = {run_conv_forward, run_conv_back_data, run_conv_back_weights};
	td_exec *e = td_new_dn(be, runs[kind], n, sizeof(dn));
	if (!e)
		return NULL;
	dn *d = e->dn;
	int ok = n[CHALF] && be->bf16 && build(be, d, kind, n, TD_BF16);
	if (ok && strstr(d->main.impl, "ref")) {
		td_dn_free(d);
		ok = 0;
	}
	if (!ok && !build(be, d, kind, n, n[CHALF] ? TD_ROUNDED : TD_EXACT)) {
		snprintf(err, len, "oneDNN cannot make this convolution");
		td_release(e);
		return NULL;
	}
	return e;
}
