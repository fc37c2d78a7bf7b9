// cublasLt by dlopen, as libraries.h has cuBLAS. All but open and version return the library's status; -1 where it has
// no such entry.
#ifndef TANDEM_LT_H
#define TANDEM_LT_H

#include <stddef.h>
#include <stdint.h>

const char *tandem_lt_open(const char *path);
int tandem_lt_create(uintptr_t *handle);
int tandem_lt_destroy(uintptr_t handle);
size_t tandem_lt_version(void);

enum { TANDEM_LT_MOST = 8 };

// A column-major product D = alpha·op(A)·op(B) + beta·C with an epilogue. C has the layout of D.
struct tandem_lt {
    int transpose_a, transpose_b, m, n, k, batch;
    int type, result, compute; // cudaDataType_t of both operands, of C and D; cublasComputeType_t
    int epilogue;              // cublasLtEpilogue_t
    int lda, ldb, ldc;
    long long stride_a, stride_b, stride_c;
    int align_a, align_b, align_c, align_d; // bytes
    // Set by tandem_lt_plan:
    void *op, *a, *b, *c;
    int count; // of algorithms
    struct {
        uint64_t algorithm[8];
        size_t workspace;
    } found[TANDEM_LT_MOST];
};

// Makes the descriptors and asks for algorithms, the best first, which need at most limit bytes of workspace and sum in an
// order that is the same on every run. bias is an address as aligned as those of
// the products, and no more; it is not read. What is not offered is no error:
// count is 0. Ends with tandem_lt_free in any case.
int tandem_lt_plan(uintptr_t handle, struct tandem_lt *p, uintptr_t bias, size_t limit, int most);
int tandem_lt_run(uintptr_t handle, const struct tandem_lt *p, int which, float alpha, uintptr_t a, uintptr_t b, float beta,
                  uintptr_t c, uintptr_t d, uintptr_t bias, uintptr_t workspace, size_t bytes, uintptr_t stream);
void tandem_lt_free(struct tandem_lt *p);

#endif
