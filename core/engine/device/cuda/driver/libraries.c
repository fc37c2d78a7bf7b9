//go:build clipcuda

#include "libraries.h"
#include <dlfcn.h>
#include <string.h>

enum { MISSING = -1 };
#define CALL(f, ...) ((f) ? (f)(__VA_ARGS__) : MISSING)

struct entry { const char *name; void *at; };

// open_library fills a table; not thread safe, Go's side has a lock.
static const char *open_library(void **lib, const char *path, const struct entry *entries, size_t n) {
    if (*lib) return NULL;
    *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*lib) return dlerror();
    for (size_t i = 0; i < n; i++) *(void **)entries[i].at = dlsym(*lib, entries[i].name);
    return NULL;
}
#define OPEN(lib, path, entries) open_library(&lib, path, entries, sizeof entries / sizeof *entries)

// ---- cuBLAS

static void *blas_lib;
static struct {
    int (*create)(void **);
    int (*destroy)(void *);
    int (*version)(void *, int *);
    int (*stream)(void *, void *);
    int (*workspace)(void *, void *, size_t);
    int (*mode)(void *, int);
    int (*one)(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int,
               const void *, void *, int, int, int, int);
    int (*many)(void *, int, int, int, int, int, const void *, const void *, int, int, long long, const void *, int,
                int, long long, const void *, void *, int, int, long long, int, int, int);
} blas;

static const struct entry blas_entries[] = {
    {"cublasCreate_v2", &blas.create},
    {"cublasDestroy_v2", &blas.destroy},
    {"cublasGetVersion_v2", &blas.version},
    {"cublasSetStream_v2", &blas.stream},
    {"cublasSetWorkspace_v2", &blas.workspace},
    {"cublasSetMathMode", &blas.mode},
    {"cublasGemmEx", &blas.one},
    {"cublasGemmStridedBatchedEx", &blas.many},
};

const char *tandem_blas_open(const char *path) { return OPEN(blas_lib, path, blas_entries); }
int tandem_blas_create(uintptr_t *handle) { return CALL(blas.create, (void **)handle); }
int tandem_blas_destroy(uintptr_t handle) { return CALL(blas.destroy, (void *)handle); }
int tandem_blas_version(uintptr_t handle, int *version) { return CALL(blas.version, (void *)handle, version); }
int tandem_blas_stream(uintptr_t handle, uintptr_t stream) { return CALL(blas.stream, (void *)handle, (void *)stream); }
int tandem_blas_workspace(uintptr_t handle, uintptr_t memory, size_t bytes) {
    return CALL(blas.workspace, (void *)handle, (void *)memory, bytes);
}
int tandem_blas_mode(uintptr_t handle, int mode) { return CALL(blas.mode, (void *)handle, mode); }

int tandem_blas_gemm(uintptr_t handle, const struct tandem_gemm *g) {
    enum { DEFAULT_ALGORITHM = -1 };
    void *h = (void *)handle;
    const void *a = (void *)g->a, *b = (void *)g->b;
    void *c = (void *)g->c;
    if (g->batch == 1 && blas.one) // may split k, a batch does not
        return blas.one(h, g->transpose_a, g->transpose_b, g->m, g->n, g->k, &g->alpha, a, g->type, g->lda, b, g->type,
                        g->ldb, &g->beta, c, g->result, g->ldc, g->compute, DEFAULT_ALGORITHM);
    return CALL(blas.many, h, g->transpose_a, g->transpose_b, g->m, g->n, g->k, &g->alpha, a, g->type, g->lda,
                g->stride_a, b, g->type, g->ldb, g->stride_b, &g->beta, c, g->result, g->ldc, g->stride_c, g->batch,
                g->compute, DEFAULT_ALGORITHM);
}

// ---- cuDNN

// cudnnConvolution{Fwd,BwdData,BwdFilter}AlgoPerf_t, which have one layout.
struct perf {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};
typedef int choose(void *, void *, void *, void *, void *, int, int *, struct perf *);
typedef int make(void **);
typedef int destroy(void *);

static void *dnn_lib;
static struct {
    const char *(*error)(int);
    size_t (*version)(void);
    make *create, *tensor, *filter, *convolution;
    destroy *destroy, *destroy_tensor, *destroy_filter, *destroy_convolution;
    int (*stream)(void *, void *);
    int (*set_tensor)(void *, int, int, int, int, int, int);
    int (*set_filter)(void *, int, int, int, int, int, int);
    int (*set_convolution)(void *, int, int, int, int, int, int, int, int);
    int (*set_math)(void *, int);
    choose *choose[3];
    int (*need[3])(void *, void *, void *, void *, void *, int, size_t *);
    int (*forward)(void *, const void *, void *, const void *, void *, const void *, void *, int, void *, size_t,
                   const void *, void *, void *);
    int (*back_data)(void *, const void *, void *, const void *, void *, const void *, void *, int, void *, size_t,
                     const void *, void *, void *);
    int (*back_filter)(void *, const void *, void *, const void *, void *, const void *, void *, int, void *, size_t,
                       const void *, void *, void *);
} dnn;

static const struct entry dnn_entries[] = {
    {"cudnnGetErrorString", &dnn.error},
    {"cudnnGetVersion", &dnn.version},
    {"cudnnCreate", &dnn.create},
    {"cudnnDestroy", &dnn.destroy},
    {"cudnnSetStream", &dnn.stream},
    {"cudnnCreateTensorDescriptor", &dnn.tensor},
    {"cudnnDestroyTensorDescriptor", &dnn.destroy_tensor},
    {"cudnnSetTensor4dDescriptor", &dnn.set_tensor},
    {"cudnnCreateFilterDescriptor", &dnn.filter},
    {"cudnnDestroyFilterDescriptor", &dnn.destroy_filter},
    {"cudnnSetFilter4dDescriptor", &dnn.set_filter},
    {"cudnnCreateConvolutionDescriptor", &dnn.convolution},
    {"cudnnDestroyConvolutionDescriptor", &dnn.destroy_convolution},
    {"cudnnSetConvolution2dDescriptor", &dnn.set_convolution},
    {"cudnnSetConvolutionMathType", &dnn.set_math},
    {"cudnnGetConvolutionForwardAlgorithm_v7", &dnn.choose[0]},
    {"cudnnGetConvolutionBackwardDataAlgorithm_v7", &dnn.choose[1]},
    {"cudnnGetConvolutionBackwardFilterAlgorithm_v7", &dnn.choose[2]},
    {"cudnnGetConvolutionForwardWorkspaceSize", &dnn.need[0]},
    {"cudnnGetConvolutionBackwardDataWorkspaceSize", &dnn.need[1]},
    {"cudnnGetConvolutionBackwardFilterWorkspaceSize", &dnn.need[2]},
    {"cudnnConvolutionForward", &dnn.forward},
    {"cudnnConvolutionBackwardData", &dnn.back_data},
    {"cudnnConvolutionBackwardFilter", &dnn.back_filter},
};

const char *tandem_dnn_open(const char *path) { return OPEN(dnn_lib, path, dnn_entries); }
const char *tandem_dnn_error(int status) { return dnn.error && status != MISSING ? dnn.error(status) : "no such entry"; }
size_t tandem_dnn_version(void) { return dnn.version ? dnn.version() : 0; }
int tandem_dnn_create(uintptr_t *handle) { return CALL(dnn.create, (void **)handle); }
int tandem_dnn_destroy(uintptr_t handle) { return CALL(dnn.destroy, (void *)handle); }
int tandem_dnn_stream(uintptr_t handle, uintptr_t stream) { return CALL(dnn.stream, (void *)handle, (void *)stream); }

static int describe(struct tandem_conv *c) {
    enum { NHWC = 1, CROSS_CORRELATION = 1, FLOAT = 0 };
    int s;
    (s = CALL(dnn.tensor, &c->x)) || (s = CALL(dnn.tensor, &c->y)) || (s = CALL(dnn.filter, &c->f)) ||
        (s = CALL(dnn.convolution, &c->conv)) ||
        (s = CALL(dnn.set_tensor, c->x, NHWC, c->type, c->n, c->c, c->h, c->w)) ||
        (s = CALL(dnn.set_tensor, c->y, NHWC, c->type, c->n, c->k, c->oh, c->ow)) ||
        (s = CALL(dnn.set_filter, c->f, c->type, NHWC, c->k, c->c, c->kh, c->kw)) ||
        (s = CALL(dnn.set_convolution, c->conv, c->pad, c->pad, c->stride, c->stride, 1, 1, CROSS_CORRELATION, FLOAT)) ||
        (s = CALL(dnn.set_math, c->conv, c->math));
    return s;
}

int tandem_conv_plan(uintptr_t handle, struct tandem_conv *c, size_t limit, int *found) {
    enum { DETERMINISTIC = 1, MOST = 16, DEFAULT = 0, FMA = 3, BF16 = 9, LAST_PRODUCT = 1 };
    struct perf candidates[MOST];
    int count = 0, s = describe(c);
    *found = 0;
    if (s) return s;
    void *first = c->direction == 1 ? c->f : c->x, *second = c->direction == 0 ? c->f : c->y;
    void *result = c->direction == 0 ? c->y : c->direction == 1 ? c->x : c->f;
    s = CALL(dnn.choose[c->direction], (void *)handle, first, second, c->conv, result, MOST, &count, candidates);
    if (s) return s;
    for (int i = 0; i < count && i < MOST; i++) {
        const struct perf *p = &candidates[i];
        if (p->status || p->determinism != DETERMINISTIC || p->memory > limit) continue;
        if (c->math == FMA && p->math != FMA && p->math != DEFAULT) continue;
        // The others (Winograd, FFT) transform what they multiply, and round that again.
        if (c->type == BF16 && p->algorithm > LAST_PRODUCT) continue;
        // The heuristics may name what the library then refuses; the size of its workspace is only told for
        // what it does.
        size_t bytes = p->memory;
        s = CALL(dnn.set_math, c->conv, c->math == FMA ? FMA : p->math);
        if (s) return s;
        if (dnn.need[c->direction] &&
            dnn.need[c->direction]((void *)handle, first, second, c->conv, result, p->algorithm, &bytes))
            continue;
        if (bytes > limit) continue;
        c->algorithm = p->algorithm;
        c->workspace = bytes;
        *found = 1;
        return 0;
    }
    return 0;
}

int tandem_conv_run(uintptr_t handle, const struct tandem_conv *c, uintptr_t in1, uintptr_t in2, uintptr_t out,
                    uintptr_t workspace, size_t bytes) {
    const float one = 1, zero = 0;
    void *h = (void *)handle, *a = (void *)in1, *b = (void *)in2, *r = (void *)out, *w = (void *)workspace;
    switch (c->direction) {
    case 0: return CALL(dnn.forward, h, &one, c->x, a, c->f, b, c->conv, c->algorithm, w, bytes, &zero, c->y, r);
    case 1: return CALL(dnn.back_data, h, &one, c->f, a, c->y, b, c->conv, c->algorithm, w, bytes, &zero, c->x, r);
    default: return CALL(dnn.back_filter, h, &one, c->x, a, c->y, b, c->conv, c->algorithm, w, bytes, &zero, c->f, r);
    }
}

void tandem_conv_destroy(struct tandem_conv *c) {
    if (c->x) CALL(dnn.destroy_tensor, c->x);
    if (c->y) CALL(dnn.destroy_tensor, c->y);
    if (c->f) CALL(dnn.destroy_filter, c->f);
    if (c->conv) CALL(dnn.destroy_convolution, c->conv);
    memset(c, 0, sizeof *c);
}

// ---- NCCL

typedef struct { char internal[TANDEM_NCCL_ID]; } unique;

static void *nccl_lib;
static struct {
    int (*version)(int *);
    const char *(*said)(void *);
    int (*id)(unique *);
    int (*join)(void **, int, unique, int);
    int (*leave)(void *);
    int (*sum)(const void *, void *, size_t, int, int, void *, void *);
} nccl;

static const struct entry nccl_entries[] = {
    {"ncclGetVersion", &nccl.version},   {"ncclGetLastError", &nccl.said},    {"ncclGetUniqueId", &nccl.id},
    {"ncclCommInitRank", &nccl.join},    {"ncclCommDestroy", &nccl.leave},    {"ncclAllReduce", &nccl.sum},
};

const char *tandem_nccl_open(const char *path) { return OPEN(nccl_lib, path, nccl_entries); }
const char *tandem_nccl_said(void) {
    const char *said = nccl.said ? nccl.said(NULL) : NULL;
    return said ? said : "";
}
int tandem_nccl_version(int *version) { return CALL(nccl.version, version); }
int tandem_nccl_id(char id[TANDEM_NCCL_ID]) { return CALL(nccl.id, (unique *)id); }
int tandem_nccl_join(uintptr_t *comm, int size, const char id[TANDEM_NCCL_ID], int rank) {
    unique u;
    memcpy(&u, id, sizeof u);
    return CALL(nccl.join, (void **)comm, size, u, rank);
}
int tandem_nccl_leave(uintptr_t comm) { return CALL(nccl.leave, (void *)comm); }
int tandem_nccl_sum(uintptr_t comm, uintptr_t at, size_t n, uintptr_t stream) {
    enum { FLOAT32 = 7, SUM = 0 };
    return CALL(nccl.sum, (void *)at, (void *)at, n, FLOAT32, SUM, (void *)comm, (void *)stream);
}
