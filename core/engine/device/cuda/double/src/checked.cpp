// The hooks that g++ -fsanitize=thread calls at loads and stores, in libkernels-checked.so. There is no
// ThreadSanitizer here: they go to the double's own checks (src/check.cpp).
#include "double.h"

using namespace cudadouble;

namespace {

inline void access(const void *p, unsigned bytes, bool write, bool aligned, bool atomic, const void *pc) {
  Thread *const t = current;
  const auto at = uintptr_t(p);
  if (!t || uintptr_t(t->stack) - at <= stackBytes) return; // a thread's own variables
  if (at - uintptr_t(t) < sizeof *t || p == &current || p == &runtime || at - uintptr_t(runtime) < sizeof *runtime) return;
  runtime->access(t, {at, bytes, write, atomic, aligned, pc});
}

} // namespace

#define HOOK extern "C" __attribute__((visibility("default")))
#define PC __builtin_return_address(0)

HOOK void __tsan_init() {}
#define SIZED(n)                                                                                       \
  HOOK void __tsan_read##n(void *p) { access(p, n, false, true, false, PC); }                          \
  HOOK void __tsan_write##n(void *p) { access(p, n, true, true, false, PC); }                          \
  HOOK void __tsan_unaligned_read##n(void *p) { access(p, n, false, false, false, PC); }               \
  HOOK void __tsan_unaligned_write##n(void *p) { access(p, n, true, false, false, PC); }
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)
HOOK void __tsan_read_range(void *p, unsigned long n) { access(p, unsigned(n), false, false, false, PC); }
HOOK void __tsan_write_range(void *p, unsigned long n) { access(p, unsigned(n), true, false, false, PC); }
HOOK void __tsan_vptr_update(void **, void *) {}

#define ATOMIC(bits, T)                                                                                \
  HOOK T __tsan_atomic##bits##_load(const volatile T *p, int) {                                        \
    access((const void *)p, bits / 8, false, true, true, PC);                                          \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                       \
  }                                                                                                    \
  HOOK int __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *is, T v, int, int) {        \
    access((const void *)p, bits / 8, true, true, true, PC);                                           \
    return __atomic_compare_exchange_n(p, is, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
  }
ATOMIC(32, unsigned)
ATOMIC(64, unsigned long)

// Vectors are loaded in pieces as far as the hooks above see, so the language's own check of alignment
// (-fsanitize=alignment) is in too. It calls this when an address is misaligned.
struct TypeMismatch {
  const char *file;
  unsigned line, column;
  const void *type;
  unsigned char logAlignment, kind;
};
HOOK void __ubsan_handle_type_mismatch_v1(TypeMismatch *m, uintptr_t at) {
  access((const void *)at, 1u << m->logAlignment, m->kind == 1, true, false, PC);
}
