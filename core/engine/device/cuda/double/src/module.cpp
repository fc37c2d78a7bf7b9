#include "module.h"

#include <dlfcn.h>

#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "block.h"
#include "context.h"
#include "device.h"
#include "finding.h"
#include "settings.h"
#include "stream.h"

namespace cudadouble {
namespace {

std::set<Module *> &modules() {
  static auto *all = new std::set<Module *>;
  return *all;
}
std::set<Function *> &functions() {
  static auto *all = new std::set<Function *>;
  return *all;
}

Runner &of(Thread *t) { return *(Runner *)t->runner; }
const Runtime hooks = {
    [](Thread *t, int p) { return of(t).barrier(p); },
    [](Thread *t, unsigned mask, Meeting m, uint64_t v, unsigned *present) { return of(t).meet(mask, m, v, present); },
    [](Thread *t, const char *why) { of(t).trap(why); },
    [](Thread *t, const Access &a) { of(t).access(*t, a); },
};

const Kernel *hostKernel(const std::string &name) {
  const Kernels *all = hostKernels();
  if (!all) return nullptr;
  for (const Kernel *k = all->first; k; k = k->next)
    if (name == k->name) return k;
  return nullptr;
}

void drop(Module *m) {
  for (auto it = functions().begin(); it != functions().end();) {
    if ((*it)->module != m) {
      ++it;
      continue;
    }
    delete *it;
    it = functions().erase(it);
  }
  modules().erase(m);
  delete m;
}

// agree compares an entry's parameters in the PTX with the host build's.
CUresult agree(const Function &f) {
  const auto &ptx = f.entry.parameters;
  const char *name = f.name.c_str();
  if (int(ptx.size()) != f.kernel->count)
    return finding(CUDA_ERROR_INVALID_IMAGE, "%s has %zu parameters in the PTX and %d in libkernels.so: rebuild one of them", name, ptx.size(), f.kernel->count);
  for (size_t i = 0; i < ptx.size(); i++) {
    const bool real = f.kernel->parameters[i] == Parameter::Real;
    if ((ptx[i] == "f64") != real || (!real && ptx[i] != "u64" && ptx[i] != "s64" && ptx[i] != "b64"))
      return finding(CUDA_ERROR_INVALID_IMAGE, "%s: parameter %zu is .%s in the PTX and %s in libkernels.so", name, i, ptx[i].c_str(), real ? "double" : "a pointer or i64");
  }
  return CUDA_SUCCESS;
}

} // namespace

const Kernels *hostKernels() {
  static Kernels all;
  static bool open;
  if (open) return &all;
  void *lib = dlopen(settings().kernels.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto *get = lib ? (Kernels(*)())dlsym(lib, "double_kernels") : nullptr;
  if (!get) {
    const char *why = dlerror();
    finding(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, "%s", why ? why : "libkernels.so has no double_kernels");
    return nullptr;
  }
  all = get();
  all.bind(&hooks);
  open = true;
  return &all;
}

Function *functionOf(CUfunction h, const char *call, CUresult *e) {
  auto *f = (Function *)h;
  *e = CUDA_SUCCESS;
  if (functions().count(f) && f->module->context == current()) return f;
  *e = finding(CUDA_ERROR_INVALID_HANDLE, "%s: no such function in the current context", call);
  return nullptr;
}

void endModules(Context *c) {
  const std::set<Module *> all = modules();
  for (Module *m : all)
    if (m->context == c) drop(m); // the driver unloads them with the context; that is no leak
}

} // namespace cudadouble

using namespace cudadouble;

CUDADOUBLE cuModuleLoadData(CUmodule *m, const void *image) {
  ENTER;
  if (CUresult e = unsafeInCapture("cuModuleLoadData")) return e;
  const char *text = (const char *)image;
  if (!text || !memchr(text, '.', 256))
    return finding(CUDA_ERROR_INVALID_IMAGE, "cuModuleLoadData: the image is not PTX text, and the double takes no other");
  Ptx ptx = readPtx(text);
  if (!ptx.error.empty()) return finding(CUDA_ERROR_INVALID_PTX, "cuModuleLoadData: this is not PTX: %s", ptx.error.c_str());
  if (ptx.target > settings().capability)
    return finding(CUDA_ERROR_NO_BINARY_FOR_GPU, "cuModuleLoadData: PTX for sm_%d on a device of sm_%d", ptx.target, settings().capability);
  if (!hostKernels()) return CUDA_ERROR_SHARED_OBJECT_INIT_FAILED;
  auto *made = new Module{current(), std::move(ptx)};
  modules().insert(made);
  *m = CUmodule(made);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned, CUjit_option *, void **) {
  return cuModuleLoadData(m, image);
}

CUDADOUBLE cuModuleLoad(CUmodule *m, const char *path) {
  std::ifstream in(path);
  if (!in) return CUDA_ERROR_FILE_NOT_FOUND;
  std::stringstream text;
  text << in.rdbuf();
  return cuModuleLoadData(m, text.str().c_str());
}

CUDADOUBLE cuModuleUnload(CUmodule h) {
  ENTER;
  auto *m = (Module *)h;
  if (!modules().count(m)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuModuleUnload: no such module");
  completeAll(m->context);
  drop(m);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuModuleGetFunction(CUfunction *f, CUmodule h, const char *name) {
  ENTER;
  auto *m = (Module *)h;
  if (!modules().count(m)) return finding(CUDA_ERROR_INVALID_HANDLE, "cuModuleGetFunction: no such module");
  const auto entry = m->ptx.entries.find(name);
  if (entry == m->ptx.entries.end())
    return finding(CUDA_ERROR_NOT_FOUND, "cuModuleGetFunction: the PTX has no entry %s", name);
  const Kernel *k = hostKernel(name);
  if (!k)
    return finding(CUDA_ERROR_NOT_FOUND, "cuModuleGetFunction: libkernels.so has no %s: REGISTER_KERNEL(%s) is missing, or rebuild it", name, name);
  auto made = std::make_unique<Function>(Function{m, name, entry->second, k, 0});
  const size_t fixed = made->entry.shared;
  made->dynamicLimit = sharedDefault - (fixed < sharedDefault ? fixed : sharedDefault);
  if (CUresult e = agree(*made)) return e;
  *f = CUfunction(made.get());
  functions().insert(made.release());
  return CUDA_SUCCESS;
}

CUDADOUBLE cuFuncGetAttribute(int *v, CUfunction_attribute a, CUfunction h) {
  ENTER;
  CUresult e;
  const Function *f = functionOf(h, "cuFuncGetAttribute", &e);
  if (!f) return e;
  switch (int(a)) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *v = f->entry.maxThreads; break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *v = int(f->entry.shared); break;
  case CU_FUNC_ATTRIBUTE_NUM_REGS: *v = f->entry.registers ? f->entry.registers : 32; break;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION: *v = f->module->ptx.target; break;
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *v = settings().capability; break;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *v = int(f->dynamicLimit); break;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
  case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: *v = 0; break;
  default: return finding(CUDA_ERROR_NOT_SUPPORTED, "cuFuncGetAttribute: attribute %d is not known to the double", int(a));
  }
  return CUDA_SUCCESS;
}

CUDADOUBLE cuFuncSetAttribute(CUfunction h, CUfunction_attribute a, int v) {
  ENTER;
  CUresult e;
  Function *f = functionOf(h, "cuFuncSetAttribute", &e);
  if (!f) return e;
  if (a == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS;
  if (a != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    return finding(CUDA_ERROR_INVALID_VALUE, "cuFuncSetAttribute: attribute %d cannot be set", int(a));
  if (v < 0 || size_t(v) + f->entry.shared > sharedOptin())
    return finding(CUDA_ERROR_INVALID_VALUE, "cuFuncSetAttribute: %s with %d bytes of dynamic and %zu of static shared memory; this device has %zu a block", f->name.c_str(), v, f->entry.shared, sharedOptin());
  f->dynamicLimit = size_t(v);
  return CUDA_SUCCESS;
}

CUDADOUBLE cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
CUDADOUBLE cuFuncSetSharedMemConfig(CUfunction, CUsharedconfig) { return CUDA_SUCCESS; }
