// Kernel launches: the limits of a launch, the sense of its parameters, and its run.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "check.h"
#include "device.h"
#include "finding.h"
#include "grid.h"
#include "memory.h"
#include "module.h"
#include "settings.h"
#include "stream.h"

namespace cudadouble {
namespace {

std::string text(Dim d) { return format("(%u,%u,%u)", d.x, d.y, d.z); }

// limits checks what the driver refuses at once.
CUresult limits(const Function &f, Dim g, Dim b, size_t shared) {
  const char *n = f.name.c_str();
  const uint64_t threads = uint64_t(b.x) * b.y * b.z;
  if (!g.x || !g.y || !g.z || g.x > 2147483647u || g.y > 65535 || g.z > 65535)
    return finding(CUDA_ERROR_INVALID_VALUE, "%s: the grid %s is empty or larger than (2147483647,65535,65535)", n, text(g).c_str());
  if (!threads || b.x > 1024 || b.y > 1024 || b.z > 64 || threads > 1024)
    return finding(CUDA_ERROR_INVALID_VALUE, "%s: the block %s is empty or larger than (1024,1024,64) or 1024 threads", n, text(b).c_str());
  if (threads > uint64_t(f.entry.maxThreads))
    return finding(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "%s: a block of %llu threads, the PTX says at most %d (.maxntid)", n, (unsigned long long)threads, f.entry.maxThreads);
  if (shared > f.dynamicLimit)
    return finding(CUDA_ERROR_INVALID_VALUE, "%s: %zu bytes of dynamic shared memory, allowed are %zu beside %zu static ones (cuFuncSetAttribute raises it)", n, shared, f.dynamicLimit, f.entry.shared);
  return CUDA_SUCCESS;
}

// sense reports parameters whose bits are of another kind than the kernel declares: the sign of a wrong
// order or type on the host's side, where all are eight bytes.
CUresult sense(const Function &f, const uint64_t *values, CUresult code) {
  const Kernel &k = *f.kernel;
  for (int i = 0; i < k.count; i++) {
    const uint64_t v = values[i];
    const std::string which = format("%s: parameter %d", f.name.c_str(), i);
    double real;
    memcpy(&real, &v, 8);
    const bool address = allocationAt(v) != nullptr;
    switch (k.parameters[i]) {
    case Parameter::Pointer:
    case Parameter::ConstPointer:
      if (!v) break; // absent
      if (CUresult e = checkSpan(v, 1, which.c_str(), code)) return e;
      if (CUresult e = checkDevice(v, f.module->context, which.c_str(), code)) return e;
      if (v % uint64_t(std::min(16, k.elements[i])) && (k.elements[i] & (k.elements[i] - 1)) == 0)
        return finding(CUDA_ERROR_MISALIGNED_ADDRESS, "%s: 0x%llx is no address of elements of %d bytes", which.c_str(), (unsigned long long)v, k.elements[i]);
      break;
    case Parameter::Integer:
      if (address) return finding(code, "%s is an i64 and was given a device address", which.c_str());
      if (std::abs(double(int64_t(v))) > 0x1p56 && std::isnormal(real))
        return finding(code, "%s is an i64 and was given the double %g", which.c_str(), real);
      break;
    case Parameter::Real:
      if (address) return finding(code, "%s is a double and was given a device address", which.c_str());
      if (v && std::fpclassify(real) == FP_SUBNORMAL)
        return finding(code, "%s is a double and was given the integer %lld", which.c_str(), (long long)v);
      break;
    }
  }
  return CUDA_SUCCESS;
}

CUresult report(const Function &f, const Fault &fault) {
  const std::string where = format("kernel %s, block %s%s", f.name.c_str(), text(fault.block).c_str(), fault.known ? (", thread " + text(fault.thread)).c_str() : "");
  const std::string line = fault.pc ? sourceLine(fault.pc) : "";
  switch (fault.kind) {
  case Fault::Memory:
    return finding(CUDA_ERROR_ILLEGAL_ADDRESS, "%s%s %s 0x%zx: %s", where.c_str(), line.c_str(), fault.write ? "writes" : "reads", size_t(fault.address), nearest(fault.address).c_str());
  case Fault::Checked:
    return finding(fault.code, "%s%s %s", where.c_str(), line.c_str(), fault.text.c_str());
  case Fault::Divergence:
  case Fault::Trap:
    return finding(CUDA_ERROR_LAUNCH_FAILED, "%s%s: %s", where.c_str(), line.c_str(), fault.text.c_str());
  case Fault::None: break;
  }
  return CUDA_SUCCESS;
}

// Launch holds a launch with its parameters, which outlive the call.
struct Launch {
  Function function;
  Dim grid, block;
  size_t shared;
  std::vector<uint64_t> values;

  CUresult run() const {
    if (CUresult e = sense(function, values.data(), CUDA_ERROR_ILLEGAL_ADDRESS)) return e;
    std::vector<void *> parameters;
    for (const uint64_t &v : values) parameters.push_back((void *)&v);
    Grid g{function.kernel, hostKernels()->current, parameters.data(), grid, block, shared, hostKernels()->checked, 0};
    if (settings().seed) g.order = draw() | 1;
    return report(function, runGrid(g));
  }
};

} // namespace
} // namespace cudadouble

using namespace cudadouble;

CUDADOUBLE cuLaunchKernel(CUfunction h, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, CUstream sh, void **parameters, void **extra) {
  ENTER;
  CUresult e;
  Function *f = functionOf(h, "cuLaunchKernel", &e);
  if (!f) return e;
  Stream *s = streamOf(sh, f->name.c_str(), &e);
  if (!s) return e;
  const Dim g{gx, gy, gz}, b{bx, by, bz};
  if ((e = limits(*f, g, b, shared))) return e;
  if (extra) return finding(CUDA_ERROR_NOT_SUPPORTED, "cuLaunchKernel: `extra` is not supported by the double");
  if (!parameters && f->kernel->count) return finding(CUDA_ERROR_INVALID_VALUE, "%s: no parameters", f->name.c_str());
  auto l = std::make_shared<Launch>(Launch{*f, g, b, shared, {}});
  for (int i = 0; i < f->kernel->count; i++) {
    l->values.push_back(0);
    memcpy(&l->values.back(), parameters[i], 8);
  }
  if ((e = sense(*f, l->values.data(), CUDA_ERROR_INVALID_VALUE))) return e;
  return enqueue(s, {"kernel " + f->name, {}, [l] { return l->run(); }});
}

CUDADOUBLE cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction h, int threads, size_t shared) {
  ENTER;
  CUresult e;
  const Function *f = functionOf(h, "cuOccupancyMaxActiveBlocksPerMultiprocessor", &e);
  if (!f) return e;
  if (threads < 1) return CUDA_ERROR_INVALID_VALUE;
  const size_t each = f->entry.shared + shared;
  *n = std::min(blocksOnMultiprocessor(), threadsOnMultiprocessor() / ((threads + 31) / 32 * 32));
  if (each) *n = std::min(*n, int(sharedOnMultiprocessor() / each));
  if (threads > f->entry.maxThreads || shared > f->dynamicLimit) *n = 0;
  return CUDA_SUCCESS;
}

CUDADOUBLE cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, CUfunction f, int threads, size_t shared, unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared);
}
