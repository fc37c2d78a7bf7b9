//go:build clipcuda

#include "lt.h"
#include <dlfcn.h>
#include <string.h>

enum { MISSING = -1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
#define CALL(f, ...) ((f) ? (f)(__VA_ARGS__) : MISSING)

// cublasLtMatmulHeuristicResult_t.
struct heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
typedef int make(void **);
typedef int drop(void *);
typedef int set(void *, int, const void *, size_t);

static void *lib;
static struct {
    make *create, *preference;
    drop *destroy, *drop_op, *drop_layout, *drop_preference;
    size_t (*version)(void);
    int (*op)(void **, int, int);
    int (*layout)(void **, int, uint64_t, uint64_t, int64_t);
    set *set_op, *set_layout, *set_preference;
    int (*ask)(void *, void *, void *, void *, void *, void *, void *, int, struct heuristic *, int *);
    int (*multiply)(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *,
                    void *, void *, void *, const void *, void *, size_t, void *);
} lt;

static const struct {
    const char *name;
    void *at;
} entries[] = {
    {"cublasLtCreate", &lt.create},
    {"cublasLtDestroy", &lt.destroy},
    {"cublasLtGetVersion", &lt.version},
    {"cublasLtMatmulDescCreate", &lt.op},
    {"cublasLtMatmulDescDestroy", &lt.drop_op},
    {"cublasLtMatmulDescSetAttribute", &lt.set_op},
    {"cublasLtMatrixLayoutCreate", &lt.layout},
    {"cublasLtMatrixLayoutDestroy", &lt.drop_layout},
    {"cublasLtMatrixLayoutSetAttribute", &lt.set_layout},
    {"cublasLtMatmulPreferenceCreate", &lt.preference},
    {"cublasLtMatmulPreferenceDestroy", &lt.drop_preference},
    {"cublasLtMatmulPreferenceSetAttribute", &lt.set_preference},
    {"cublasLtMatmulAlgoGetHeuristic", &lt.ask},
    {"cublasLtMatmul", &lt.multiply},
};

// Not thread safe; Go's side has a lock.
const char *tandem_lt_open(const char *path) {
    if (lib) return NULL;
    lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) return dlerror();
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) *(void **)entries[i].at = dlsym(lib, entries[i].name);
    return NULL;
}

int tandem_lt_create(uintptr_t *handle) { return CALL(lt.create, (void **)handle); }
int tandem_lt_destroy(uintptr_t handle) { return CALL(lt.destroy, (void *)handle); }
size_t tandem_lt_version(void) { return lt.version ? lt.version() : 0; }

// layout describes a matrix [rows, cols] by columns, or a batch of them.
static int layout(void **l, int type, int rows, int cols, int ld, int batch, long long stride) {
    enum { BATCH_COUNT = 5, STRIDE = 6 };
    int32_t count = batch;
    int64_t distance = stride;
    int s = CALL(lt.layout, l, type, (uint64_t)rows, (uint64_t)cols, ld);
    if (s || batch == 1) return s;
    (s = CALL(lt.set_layout, *l, BATCH_COUNT, &count, sizeof count)) || (s = CALL(lt.set_layout, *l, STRIDE, &distance, sizeof distance));
    return s;
}

static int describe(struct tandem_lt *p, uintptr_t bias) {
    enum { R_32F = 0, TRANSA = 3, TRANSB = 4, EPILOGUE = 7, BIAS_POINTER = 8 };
    int32_t ta = p->transpose_a, tb = p->transpose_b;
    uint32_t epilogue = (uint32_t)p->epilogue;
    void *pointer = (void *)bias;
    int s;
    (s = CALL(lt.op, &p->op, p->compute, R_32F)) ||
        (s = CALL(lt.set_op, p->op, TRANSA, &ta, sizeof ta)) || (s = CALL(lt.set_op, p->op, TRANSB, &tb, sizeof tb)) ||
        (s = CALL(lt.set_op, p->op, EPILOGUE, &epilogue, sizeof epilogue)) ||
        (bias && (s = CALL(lt.set_op, p->op, BIAS_POINTER, &pointer, sizeof pointer))) ||
        (s = layout(&p->a, p->type, ta ? p->k : p->m, ta ? p->m : p->k, p->lda, p->batch, p->stride_a)) ||
        (s = layout(&p->b, p->type, tb ? p->n : p->k, tb ? p->k : p->n, p->ldb, p->batch, p->stride_b)) ||
        (s = layout(&p->c, p->result, p->m, p->n, p->ldc, p->batch, p->stride_c));
    return s;
}

// prefer says which algorithms may be offered.
static int prefer(const struct tandem_lt *p, size_t limit, void **preference) {
    enum { WORKSPACE = 1, REDUCTIONS = 3, ALIGN_A = 5, COMPUTE_TYPE = 2 };
    // Parts of a sum over k that are added up in place come in the order in which they are done, those of the
    // result's type are rounded once more: only parts in float32, added up afterwards, are allowed.
    uint32_t reductions = COMPUTE_TYPE;
    uint64_t bytes = limit;
    const uint32_t align[] = {(uint32_t)p->align_a, (uint32_t)p->align_b, (uint32_t)p->align_c, (uint32_t)p->align_d};
    int s = CALL(lt.preference, preference);
    if (!s) s = CALL(lt.set_preference, *preference, WORKSPACE, &bytes, sizeof bytes);
    if (!s) s = CALL(lt.set_preference, *preference, REDUCTIONS, &reductions, sizeof reductions);
    for (int i = 0; i < 4 && !s; i++) s = CALL(lt.set_preference, *preference, ALIGN_A + i, &align[i], sizeof align[i]);
    return s;
}

int tandem_lt_plan(uintptr_t handle, struct tandem_lt *p, uintptr_t bias, size_t limit, int most) {
    struct heuristic results[TANDEM_LT_MOST];
    void *preference = NULL;
    int offered = 0;
    int s = describe(p, bias);
    if (!s) s = prefer(p, limit, &preference);
    if (!s) s = CALL(lt.ask, (void *)handle, p->op, p->a, p->b, p->c, p->c, preference, most, results, &offered);
    if (preference) CALL(lt.drop_preference, preference);
    p->count = 0;
    if (s == NOT_SUPPORTED || (s == INVALID_VALUE && preference)) return 0; // some versions answer what they lack so
    for (int i = 0; i < offered && !s; i++) {
        if (results[i].state || results[i].workspace > limit) continue;
        memcpy(p->found[p->count].algorithm, results[i].algorithm, sizeof results[i].algorithm);
        p->found[p->count++].workspace = results[i].workspace;
    }
    return s;
}

int tandem_lt_run(uintptr_t handle, const struct tandem_lt *p, int which, float alpha, uintptr_t a, uintptr_t b, float beta,
                  uintptr_t c, uintptr_t d, uintptr_t bias, uintptr_t workspace, size_t bytes, uintptr_t stream) {
    enum { BIAS_POINTER = 8 };
    void *pointer = (void *)bias;
    if (bias) {
        int s = CALL(lt.set_op, p->op, BIAS_POINTER, &pointer, sizeof pointer);
        if (s) return s;
    }
    return CALL(lt.multiply, (void *)handle, p->op, &alpha, (void *)a, p->a, (void *)b, p->b, &beta, (void *)c, p->c, (void *)d,
                p->c, p->found[which].algorithm, (void *)workspace, bytes, (void *)stream);
}

void tandem_lt_free(struct tandem_lt *p) {
    if (p->op) CALL(lt.drop_op, p->op);
    if (p->a) CALL(lt.drop_layout, p->a);
    if (p->b) CALL(lt.drop_layout, p->b);
    if (p->c) CALL(lt.drop_layout, p->c);
    p->op = p->a = p->b = p->c = NULL;
}
