// What matmul.c and conv.c share: primitives of oneDNN 2.x and 3.x with weights in a layout of its choice.
#ifndef TD_PRIM_H
#define TD_PRIM_H

#include "td.h"

// Memory descriptors: 2.x passes structs by pointer, 3.x opaque handles. md is an owned descriptor,
// cmd a borrowed one. NULL means that there is no memory.
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t md;
typedef const_dnnl_memory_desc_t cmd;
#else
typedef dnnl_memory_desc_t *md;
typedef const dnnl_memory_desc_t *cmd;
#endif

md td_md_strided(dnnl_data_type_t type, int nd, const dnnl_dims_t dims, const dnnl_dims_t strides);
md td_md_tag(dnnl_data_type_t type, int nd, const dnnl_dims_t dims, dnnl_format_tag_t tag);
md td_md_clone(cmd from);
void td_md_free(md);

// prim holds one primitive with its memory objects; the last is the scratchpad that all share.
typedef struct {
	dnnl_primitive_t p;
	dnnl_memory_t mem[6];
	dnnl_exec_arg_t arg[6];
	int n;
	char impl[64];
} prim;

cmd td_query(dnnl_primitive_desc_t pd, dnnl_query_t what);
// td_prim_arg adds an argument and returns its index, -1 when there is no memory.
int td_prim_arg(td_backend *be, prim *pr, int id, cmd desc);
// td_prim_finish makes the primitive of a descriptor once its arguments are there.
int td_prim_finish(td_backend *be, prim *pr, dnnl_primitive_desc_t pd);
// td_at sets the address of an argument.
void td_at(prim *pr, int i, uintptr_t address);
void td_execute(td_backend *be, prim *pr);
// td_attr makes attributes that leave the scratchpad to us.
dnnl_primitive_attr_t td_attr(void);

// How a product takes its operands: as they are, as bfloat16, or as float32 rounded to bfloat16 where
// the processor or oneDNN has no such product.
// TD_WIDENED is not a kind of product: it stands for an operand that is bfloat16 in memory and made float32.
enum { TD_EXACT, TD_BF16, TD_ROUNDED, TD_WIDENED };

static inline dnnl_data_type_t td_type(int kind) { return kind == TD_BF16 ? dnnl_bf16 : dnnl_f32; }

// td_half_room makes room for n operands in a slot of td_cast.
int td_half_room(td_backend *be, int slot, int kind, long n);
// td_cast gives the address of n floats as their kind says; from itself when exact.
uintptr_t td_cast(td_backend *be, int slot, int kind, uintptr_t from, long n);

// dn is a primitive with weights, and what moves them into the layout that it wants.
typedef struct {
	prim main, reorder;
	int ready, has_reorder;
	td_exec *mover; // moves them in reorder's stead
	md user, packed; // of the weights
	td_kept *pack;
	uint64_t pack_id;
	int kind;
	int half_a, half_b; // argument 0 and the weights are bfloat16 in memory
	long na, nb;        // elements of argument 0 and of the weights
	int bias, residual; // indices of their memory in main, 0 where absent
} dn;

// td_operands makes room for what td_operand gives of d's operands; moved: float32 weights need none.
int td_operands(td_backend *be, dn *d, int moved);
// td_operand gives the address of an operand as d's kind says; half: it is bfloat16 in memory.
uintptr_t td_operand(td_backend *be, dn *d, int slot, int half, uintptr_t from, long n);

// td_set_weights compares the layout that the primitive wants with user, the one that the weights
// have, and prepares the move; back moves out of the primitive's layout.
int td_set_weights(td_backend *be, dn *d, cmd wanted, int back);
// td_run_dn runs a primitive of arguments 0 (read), 1 (weights) and 2 (written). parameter says that the
// packed weights may be kept. bias and residual are 0 where absent.
void td_run_dn(td_backend *be, dn *d, uintptr_t a, uintptr_t b, int parameter, uintptr_t c, uintptr_t bias,
	uintptr_t residual);
void td_run_reorder(td_backend *be, prim *pr, uintptr_t from, uintptr_t to);
void td_dn_free(dn *d);
// td_room makes room for a packed copy that does not stay.
int td_room(td_backend *be, size_t bytes);
// td_scratch makes room for what one run leaves to no other.
int td_scratch(td_backend *be, size_t bytes);
// td_weights gives the address of the weights in the layout that they are wanted in.
uintptr_t td_weights(td_backend *be, dn *d, uintptr_t from, int parameter);

// td_new_dn is an Exec with size zeroed bytes at dn.
td_exec *td_new_dn(td_backend *be, td_run_fn run, const long *n, size_t size);

// What td_release and td_impl need to know of an Exec with primitives, by its run function.
void td_run_matmul(td_exec *e);
void td_matmul_free(td_exec *e);
const char *td_matmul_impl(td_exec *e);

#endif
