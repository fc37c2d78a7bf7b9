// cuBLAS, cuDNN and NCCL by dlopen: one binary for CUDA 11, 12 and 13. Their sonames differ, these calls do not.
// All but open return the library's status; -1 where it has no such entry.
#ifndef TANDEM_LIBRARIES_H
#define TANDEM_LIBRARIES_H

#include <stddef.h>
#include <stdint.h>

// Opens the library at a path. Null, or what dlopen says. A second open does nothing.
const char *tandem_blas_open(const char *path);
const char *tandem_dnn_open(const char *path);

int tandem_blas_create(uintptr_t *handle);
int tandem_blas_destroy(uintptr_t handle);
int tandem_blas_version(uintptr_t handle, int *version);
int tandem_blas_stream(uintptr_t handle, uintptr_t stream);
int tandem_blas_workspace(uintptr_t handle, uintptr_t memory, size_t bytes);
int tandem_blas_mode(uintptr_t handle, int mode);

// A column-major product, as cuBLAS has them.
struct tandem_gemm {
    int transpose_a, transpose_b, m, n, k, batch;
    int type, result, compute; // cudaDataType_t of both operands, of the result; cublasComputeType_t
    float alpha, beta;
    uintptr_t a, b, c;
    int lda, ldb, ldc;
    long long stride_a, stride_b, stride_c;
};
int tandem_blas_gemm(uintptr_t handle, const struct tandem_gemm *g);

const char *tandem_dnn_error(int status);
size_t tandem_dnn_version(void);
int tandem_dnn_create(uintptr_t *handle);
int tandem_dnn_destroy(uintptr_t handle);
int tandem_dnn_stream(uintptr_t handle, uintptr_t stream);

// A convolution on NHWC maps with filters [k, kh, kw, c]; x, w, y are descriptors.
struct tandem_conv {
    int direction; // 0 forward, 1 back to the data, 2 back to the filters
    int n, h, w, c, k, kh, kw, pad, stride, oh, ow;
    int type, math; // cudnnDataType_t, cudnnMathType_t
    void *x, *f, *y, *conv;
    int algorithm;
    size_t workspace;
};
// Makes the descriptors and chooses the fastest deterministic algorithm within limit bytes of workspace,
// by the library's heuristics. *found is 0 when there is none. Ends with tandem_conv_destroy in any case.
int tandem_conv_plan(uintptr_t handle, struct tandem_conv *c, size_t limit, int *found);
int tandem_conv_run(uintptr_t handle, const struct tandem_conv *c, uintptr_t in1, uintptr_t in2, uintptr_t out,
                    uintptr_t workspace, size_t bytes);
void tandem_conv_destroy(struct tandem_conv *c);

const char *tandem_nccl_open(const char *path);
const char *tandem_nccl_said(void); // what went wrong last; "" when unknown
int tandem_nccl_version(int *version);
enum { TANDEM_NCCL_ID = 128 };
int tandem_nccl_id(char id[TANDEM_NCCL_ID]);
int tandem_nccl_join(uintptr_t *comm, int size, const char id[TANDEM_NCCL_ID], int rank);
int tandem_nccl_leave(uintptr_t comm);
// Adds n values of float32 up over all ranks, in place.
int tandem_nccl_sum(uintptr_t comm, uintptr_t at, size_t n, uintptr_t stream);

#endif
