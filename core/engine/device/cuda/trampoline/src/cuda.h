// This is bin/cuda/include/cuda.h: the toolkit's cuda.h (toolkit/ is a link to its folder), with the names
// of CUDA 9 to 12 that gorgonia.org/cu v0.9.6 is written for. CUDA 13 gave five of them other parameters;
// the driver still has the entries of before.
#ifndef TANDEM_CUDA_H
#define TANDEM_CUDA_H

#include "toolkit/cuda.h"

#if CUDA_VERSION >= 13000
#undef cuCtxCreate
#undef cuMemAdvise
#undef cuMemPrefetchAsync
#undef cuGraphAddDependencies
#undef cuGraphGetEdges
CUresult CUDAAPI cuCtxCreate_v2(CUcontext *, unsigned int, CUdevice);
CUresult CUDAAPI cuMemAdvise(CUdeviceptr, size_t, CUmem_advise, CUdevice);
CUresult CUDAAPI cuMemPrefetchAsync(CUdeviceptr, size_t, CUdevice, CUstream);
CUresult CUDAAPI cuGraphAddDependencies(CUgraph, const CUgraphNode *, const CUgraphNode *, size_t);
CUresult CUDAAPI cuGraphGetEdges(CUgraph, CUgraphNode *, CUgraphNode *, size_t *);
#define cuCtxCreate cuCtxCreate_v2
#endif

#endif
