#include "device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "context.h"
#include "finding.h"
#include "memory.h"
#include "settings.h"

namespace cudadouble {

// The numbers are of table "Technical Specifications per Compute Capability" of the CUDA programming guide.
size_t sharedOptin() {
  switch (settings().capability) {
  case 70: return 96 << 10;
  case 75: return 64 << 10;
  case 80: case 87: return 163 << 10;
  case 86: case 89: return 99 << 10;
  default: return settings().capability >= 90 ? 227 << 10 : 48 << 10;
  }
}

size_t sharedOnMultiprocessor() {
  switch (settings().capability) {
  case 70: return 96 << 10;
  case 75: return 64 << 10;
  default: return sharedOptin() + 1024;
  }
}

int threadsOnMultiprocessor() {
  const int c = settings().capability;
  return c == 75 ? 1024 : c == 86 || c == 87 || c == 89 ? 1536 : 2048;
}

int blocksOnMultiprocessor() {
  const int c = settings().capability;
  return c == 75 || c == 86 || c == 87 ? 16 : c == 89 ? 24 : 32;
}

int multiprocessors() { return 8; }

} // namespace cudadouble

using namespace cudadouble;

#define DEVICE(d)                                                                                      \
  LOCK;                                                                                                \
  if (!initialised()) return finding(CUDA_ERROR_NOT_INITIALIZED, "%s before cuInit", __func__);        \
  if (d < 0 || d >= devices()) return CUDA_ERROR_INVALID_DEVICE

CUDADOUBLE cuDriverGetVersion(int *v) {
  *v = settings().driver;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceGetCount(int *n) {
  LOCK;
  if (!initialised()) return CUDA_ERROR_NOT_INITIALIZED;
  *n = devices();
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceGet(CUdevice *d, int ordinal) {
  DEVICE(ordinal);
  *d = ordinal;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceGetName(char *name, int n, CUdevice d) {
  DEVICE(d);
  snprintf(name, size_t(n), "CPU test double");
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceGetUuid(CUuuid *u, CUdevice d) {
  DEVICE(d);
  memset(u, 0, sizeof *u);
  memcpy(u->bytes, "tandem-double", 13);
  u->bytes[15] = char(d);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceGetUuid_v2(CUuuid *u, CUdevice d) { return cuDeviceGetUuid(u, d); }

CUDADOUBLE cuDeviceGetPCIBusId(char *s, int n, CUdevice d) {
  DEVICE(d);
  snprintf(s, size_t(n), "0000:%02x:00.0", d + 1);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceTotalMem_v2(size_t *bytes, CUdevice d) {
  DEVICE(d);
  *bytes = settings().memory;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER;
  *total = settings().memory;
  *free = *total - std::min(*total, used(current()->device));
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d) {
  DEVICE(d);
  const int c = settings().capability;
  switch (int(a)) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *v = 1024; break;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *v = 1024; break;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *v = 64; break;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *v = 2147483647; break;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *v = 65535; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *v = int(sharedDefault); break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *v = int(sharedOptin()); break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *v = int(sharedOnMultiprocessor()); break;
  case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *v = c >= 80 ? 1024 : 0; break;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *v = 65536; break;
  case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: *v = 65536; break;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *v = 32; break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *v = multiprocessors(); break;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *v = threadsOnMultiprocessor(); break;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *v = blocksOnMultiprocessor(); break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *v = c / 10; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *v = c % 10; break;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *v = 1000000; break;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *v = 64; break;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *v = 1 << 20; break;
  case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: *v = 2; break;
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
  case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
  case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
  case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *v = 1; break;
  case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: *v = d + 1; break;
  default: *v = 0; trace("cuDeviceGetAttribute(%d): 0, the double does not know it", int(a));
  }
  return CUDA_SUCCESS;
}

CUDADOUBLE cuDeviceCanAccessPeer(int *can, CUdevice a, CUdevice b) {
  DEVICE(a);
  if (b < 0 || b >= devices()) return CUDA_ERROR_INVALID_DEVICE;
  *can = 0;
  return CUDA_SUCCESS;
}
