#include "settings.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

namespace cudadouble {
namespace {

const char *get(const char *name, const char *otherwise) {
  const char *v = getenv(name);
  return v && *v ? v : otherwise;
}

size_t bytes(const char *s) {
  char *end;
  const double n = strtod(s, &end);
  const int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  return size_t(n * double(size_t(1) << shift));
}

std::string beside() {
  Dl_info info;
  if (!dladdr((void *)&settings, &info)) return "libkernels.so";
  const std::string self = info.dli_fname;
  return self.substr(0, self.find_last_of('/') + 1) + "libkernels.so";
}

Settings read() {
  Settings s;
  s.kernels = get("TANDEM_CUDA_DOUBLE", "");
  if (s.kernels.empty()) s.kernels = beside();
  s.devices = atoi(get("TANDEM_CUDA_DOUBLE_DEVICES", "1"));
  s.capability = int(atof(get("TANDEM_CUDA_DOUBLE_CAPABILITY", "9.0")) * 10 + 0.5);
  s.memory = bytes(get("TANDEM_CUDA_DOUBLE_MEMORY", "8G"));
  s.init = atoi(get("TANDEM_CUDA_DOUBLE_INIT", "0"));
  s.driver = atoi(get("TANDEM_CUDA_DOUBLE_DRIVER", "13000"));
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  s.threads = atoi(get("TANDEM_CUDA_DOUBLE_THREADS", "0"));
  if (s.threads < 1) s.threads = cores > 0 ? int(cores) : 1;
  s.seed = strtoull(get("TANDEM_CUDA_DOUBLE_SEED", "0"), nullptr, 10);
  s.trace = *get("TANDEM_CUDA_DOUBLE_TRACE", "") != 0;
  return s;
}

} // namespace

const Settings &settings() {
  static const Settings s = read();
  return s;
}

} // namespace cudadouble
