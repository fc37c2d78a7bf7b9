// libnccl.so.2: what the CUDA backend calls. Ranks are processes of one machine; they meet in shared memory. Numbers are of nccl.h.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "../enqueue.h"
#include "../known.h"

using namespace cudadouble;

namespace {

enum Result { Success = 0, UnhandledCudaError = 1, SystemError = 2, InternalError = 3, InvalidArgument = 4, InvalidUsage = 5, RemoteError = 6 };
enum { Float32 = 7, Sum = 0 };
constexpr int most = 16;               // ranks
constexpr size_t chunk = 1 << 18;      // floats that ranks exchange at a time
constexpr auto patience = std::chrono::seconds(60);

// Shared is what the ranks of a group have in common; a new file of zeros.
struct Shared {
  std::atomic<int> arrived, round;
  int version[most];
  char gpu[most][64];
  float values[most][chunk];
};

struct Comm {
  Shared *shared;
  int rank, size;
  bool meet() const {
    const int now = shared->round;
    if (++shared->arrived == size) {
      shared->arrived = 0;
      ++shared->round;
      return true;
    }
    const auto until = std::chrono::steady_clock::now() + patience;
    while (shared->round == now) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return true;
  }
};

struct Comms {
  Known<Comm *> all;
  ~Comms() {
    if (all.size()) double_finding(0, ("leak: " + std::to_string(all.size()) + " of NCCL's communicators are alive when the process ends").c_str());
  }
} comms;

std::string last; // what ncclGetLastError says

int bad(Result r, const char *call, const std::string &why) {
  last = why;
  return double_finding(r, (std::string(call) + ": " + why).c_str());
}
// refused is an error of the environment, not a bug: no finding.
int refused(Result r, const std::string &why) {
  last = why;
  return r;
}

int version() {
  const char *v = getenv("TANDEM_CUDA_DOUBLE_NCCL");
  return v ? atoi(v) : 22304;
}

struct Id { char internal[128]; };

std::string fileOf(const Id &id) { return "/dev/shm/tandem-cuda-double-" + std::string(id.internal, strnlen(id.internal, 32)); }

} // namespace

#define NCCL extern "C" __attribute__((visibility("default")))

NCCL int ncclGetVersion(int *v) { *v = version(); return Success; }
NCCL const char *ncclGetLastError(void *) { return last.c_str(); }

NCCL int ncclGetUniqueId(Id *id) {
  std::random_device random;
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "%08x%08x%d", random(), random(), int(getpid()));
  return Success;
}

NCCL int ncclCommInitRank(void **out, int size, Id id, int rank) {
  if (double_entered("ncclCommInitRank")) return UnhandledCudaError;
  if (size < 1 || size > most || rank < 0 || rank >= size || !id.internal[0]) return bad(InvalidArgument, "ncclCommInitRank", "rank " + std::to_string(rank) + " of " + std::to_string(size));
  CUdevice device;
  if (cuCtxGetDevice(&device)) return UnhandledCudaError;
  const std::string file = fileOf(id);
  const int fd = open(file.c_str(), O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Shared))) return refused(SystemError, "no shared memory");
  void *at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return refused(SystemError, "no shared memory");
  auto *c = new Comm{(Shared *)at, rank, size};
  c->shared->version[rank] = version();
  // One GPU of the machine: what CUDA_VISIBLE_DEVICES leaves, and its number among these.
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  snprintf(c->shared->gpu[rank], sizeof c->shared->gpu[rank], "%.40s:%d", visible ? visible : "all", device);
  int r = Success;
  if (!c->meet()) r = refused(RemoteError, "not all ranks have joined");
  unlink(file.c_str()); // the memory goes with the last who has it
  for (int k = 0; k < size && !r; k++) {
    // As NCCL's init.cc says it.
    if (c->shared->version[k] != version())
      r = refused(InvalidUsage, "Mismatched NCCL version detected : rank " + std::to_string(k) + " version " + std::to_string(c->shared->version[k]) + " rank " + std::to_string(rank) + " version " + std::to_string(version()));
    else if (k != rank && !strcmp(c->shared->gpu[k], c->shared->gpu[rank]))
      r = refused(InvalidUsage, "Duplicate GPU detected : rank " + std::to_string(rank) + " and rank " + std::to_string(k) + " both on CUDA device " + std::to_string(device));
  }
  if (r) {
    munmap(at, sizeof(Shared));
    delete c;
    return r;
  }
  comms.all.insert(c);
  *out = c;
  return Success;
}

NCCL int ncclCommDestroy(void *comm) {
  auto *c = (Comm *)comm;
  if (!comms.all.erase(c)) return bad(InvalidArgument, "ncclCommDestroy", "destroyed before, or never made");
  munmap(c->shared, sizeof(Shared));
  delete c;
  return Success;
}

NCCL int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, void *comm, CUstream stream) {
  auto *c = (Comm *)comm;
  if (!comms.all.has(c)) return bad(InvalidArgument, "ncclAllReduce", "no such communicator");
  if (type != Float32 || op != Sum) return bad(InvalidArgument, "ncclAllReduce", "the double adds up float32 alone");
  if (double_entered("ncclAllReduce")) return UnhandledCudaError;
  const CUresult e = double_enqueue(stream, {"ncclAllReduce", {{from, n * 4, "sendbuff", true}, {to, n * 4, "recvbuff", false}}, [=] {
    for (size_t at = 0; at < n; at += chunk) {
      const size_t m = std::min(chunk, n - at);
      memcpy(c->shared->values[c->rank], (const float *)from + at, m * 4);
      if (!c->meet()) { double_finding(RemoteError, "ncclAllReduce: another rank does not come"); return; }
      for (size_t i = 0; i < m; i++) {
        float sum = c->shared->values[0][i];
        for (int k = 1; k < c->size; k++) sum += c->shared->values[k][i];
        ((float *)to)[at + i] = sum;
      }
      if (!c->meet()) { double_finding(RemoteError, "ncclAllReduce: another rank does not come"); return; }
    }
  }});
  return e ? UnhandledCudaError : Success;
}
